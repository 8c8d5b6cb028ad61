"""Which objects refer to stored data, found by the owner of that data. Source: SDK contract 1, 9."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import orjson

from bubu_contract.references import STORAGE_REFERENCE
from core.api.artifact import ARTIFACT
from core.api.objects import Object
from core.api.resource import STEP_RUN, STORY_RUN, Resource
from core.payloads.address import may_refer
from core.payloads.referred import keys_referred_to
from core.workloads.trigger import is_answered
from reconcilers.adapters.triggers import TRIGGERS
from reconcilers.adapters.watched_kind import WatchedKind

_MARKS: Final = (STORAGE_REFERENCE.encode(), ARTIFACT.encode())
"""Few objects have references. To write one as text and search that takes a hundredth of the time of a walk."""
REFERRED_OWNER: Final = "referred-owner"
"""Index of StoryRuns, StepRuns and StoryTriggers: ``namespace/owner`` of each stored object that they refer to; and
``namespace/`` if one of these objects may have further references inside. Inputs of answered StoryTriggers do not
count: their run has them.
"""


def keys_in(obj: Object) -> frozenset[str]:
    """The keys of the stored objects that an object refers to."""
    content = (obj.get("spec"), obj.get("status"))
    try:
        text = orjson.dumps(content)
    except TypeError:  # nested too deeply
        return keys_referred_to(content)
    return keys_referred_to(content) if any(mark in text for mark in _MARKS) else frozenset()


def referred_owners(obj: Object) -> list[str]:
    """For the index ``REFERRED_OWNER``."""
    namespace = obj["metadata"]["namespace"]
    found = set[str]()
    for key in keys_in(obj):
        parts = key.split("/")
        if len(parts) > 3 and parts[1] == namespace:
            found.add(f"{namespace}/{parts[2]}")
            if may_refer(key):
                found.add(f"{namespace}/")
    return sorted(found)


def _of_trigger(trigger: Object) -> list[str]:
    return [] if is_answered(trigger) else referred_owners(trigger)


REFERRING: Final = (
    WatchedKind(STORY_RUN, {REFERRED_OWNER: referred_owners}),
    WatchedKind(STEP_RUN, {REFERRED_OWNER: referred_owners}),
    replace(TRIGGERS, indexes={REFERRED_OWNER: _of_trigger}),
)
REFERRING_KINDS: Final[tuple[Resource, ...]] = tuple(kind.resource for kind in REFERRING)
