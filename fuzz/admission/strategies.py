"""Random valid writes: an object of any kind, created or changed, together with the objects that make it valid.

``KINDS`` makes the objects. They are completely valid, so admission has no findings about them, not even warnings.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Final

from hypothesis import strategies as st

from core.api.objects import Object
from core.policy.settings import CrossNamespacePolicy
from fuzz.admission import strategies_definitions as definitions
from fuzz.admission import strategies_runs as runs
from fuzz.admission import strategies_story as stories
from fuzz.admission import strategies_streaming as streaming
from fuzz.admission.cases import Case
from fuzz.admission.chance import Chance
from fuzz.admission.strategies_world import POLICIES, Surroundings

Maker = Callable[[Chance, Surroundings], Object]

KINDS: Final[dict[str, Maker]] = {
    "Story": stories.story,
    "Engram": definitions.engram,
    "Impulse": definitions.impulse,
    "EngramTemplate": definitions.engram_template,
    "ImpulseTemplate": definitions.impulse_template,
    "StoryRun": runs.story_run,
    "StepRun": runs.step_run,
    "StoryTrigger": runs.story_trigger,
    "EffectClaim": runs.effect_claim,
    "Transport": streaming.transport,
    "TransportBinding": streaming.binding,
    "ReferenceGrant": definitions.reference_grant,
}

FREE: Final = ("Story", "Engram", "Impulse", "EngramTemplate", "ImpulseTemplate", "Transport", "ReferenceGrant")
"""Kinds whose spec may be replaced by any other spec."""


def created(
    chance: Chance, kind: str, policies: Sequence[CrossNamespacePolicy] = POLICIES, *, realtime: bool | None = None
) -> Case:
    """A created object; ``realtime``: whether Stories are realtime ones; ``None``: both are possible."""
    around = Surroundings(chance, policies)
    new = stories.story(chance, around, realtime) if realtime is not None else KINDS[kind](chance, around)
    return Case(new, None, tuple(around.objects), around.policy)


def changed(chance: Chance, case: Case) -> Case:
    """An update of a created object: of its spec if it may change, and always of its metadata."""
    kind, new, old = case.new["kind"], copy.deepcopy(case.new), copy.deepcopy(case.new)
    old["metadata"]["labels"] = {"before": "x"}
    if kind in FREE and chance.yes():
        old["spec"] = {} if chance.yes() else {**old["spec"], "zz": chance.number(0, 9)}
    elif kind == "StoryRun" and chance.yes():
        old["spec"].pop("cancelRequested", None)
        new["spec"]["cancelRequested"] = True
    elif kind == "StepRun" and chance.yes():
        old["spec"]["timeout"] = "7s"
    elif kind == "TransportBinding" and chance.yes():
        old["spec"]["connectorEndpoint"] = "before:1"
    elif kind == "EffectClaim" and chance.yes():
        old["spec"] = {
            key: old["spec"][key] for key in ("stepRunRef", "effectKey", "idempotencyKey") if key in old["spec"]
        }
    return Case(new, old, case.objects, case.policy)


@st.composite
def cases(draw: st.DrawFn, kind: str = "", *, update: bool | None = None) -> Case:
    """A valid write of any kind, or of the kind ``kind``."""
    chance = Chance(draw)
    chosen = kind or chance.pick(tuple(KINDS))
    case = created(chance, chosen)
    return changed(chance, case) if (chance.yes(3) if update is None else update) else case
