"""All kinds of the contract. Importing this builds every model; ``core.api.named_kinds`` builds those of one kind."""

from __future__ import annotations

from typing import Final

from core.api.binding import TRANSPORT_BINDING_KIND
from core.api.effectclaim import EFFECT_CLAIM_KIND
from core.api.engram import ENGRAM_KIND
from core.api.grant import REFERENCE_GRANT_KIND
from core.api.impulse import IMPULSE_KIND
from core.api.kind import Kind
from core.api.steprun import STEP_RUN_KIND
from core.api.story import STORY_KIND
from core.api.storyrun import STORY_RUN_KIND
from core.api.storytrigger import STORY_TRIGGER_KIND
from core.api.templates import ENGRAM_TEMPLATE_KIND, IMPULSE_TEMPLATE_KIND
from core.api.transport import TRANSPORT_KIND

KINDS: Final[tuple[Kind, ...]] = (
    STORY_KIND,
    ENGRAM_KIND,
    IMPULSE_KIND,
    ENGRAM_TEMPLATE_KIND,
    IMPULSE_TEMPLATE_KIND,
    STORY_RUN_KIND,
    STEP_RUN_KIND,
    STORY_TRIGGER_KIND,
    EFFECT_CLAIM_KIND,
    TRANSPORT_KIND,
    TRANSPORT_BINDING_KIND,
    REFERENCE_GRANT_KIND,
)
"""The twelve kinds, in the order of ``core.api.resource.OUR_RESOURCES``."""
