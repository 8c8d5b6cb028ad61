"""All kinds of the contract, by apiVersion and kind. Importing this builds every model: only for code at the
boundary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.binding import TRANSPORT_BINDING_KIND
from core.api.effectclaim import EFFECT_CLAIM_KIND
from core.api.engram import ENGRAM_KIND
from core.api.grant import REFERENCE_GRANT_KIND
from core.api.impulse import IMPULSE_KIND
from core.api.kind import Kind, KindModel
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


def kind_named(name: str) -> Kind | None:
    """The kind of that name, e.g. ``Story``, for any version."""
    return next((kind for kind in KINDS if kind.resource.kind == name), None)


def model_for(api_version: str, kind: str) -> type[KindModel] | None:
    """The model of a kind in one version, e.g. ``bubustack.io/v1alpha1`` and ``Story``."""
    return next((model for version, name, model in _models() if (version, name) == (api_version, kind)), None)


def api_versions(kind: Kind) -> tuple[str, ...]:
    """Every ``group/version`` of the kind, the stored one first."""
    versions = sorted(kind.versions, key=lambda version: not version.stored)
    return tuple(f"{kind.resource.group}/{version.name}" for version in versions)


def _models() -> Iterator[tuple[str, str, type[KindModel]]]:
    for kind in KINDS:
        for version in kind.versions:
            yield f"{kind.resource.group}/{version.name}", kind.resource.kind, version.model
