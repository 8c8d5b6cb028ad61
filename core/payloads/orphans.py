"""Objects of runs that are gone. Pure. Source: SDK contract 9."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from core.payloads.place import StoredKind, StoredPlace
from core.payloads.stored_object import StoredObject


@dataclass(frozen=True, slots=True)
class Orphan:
    """An object that no run owns."""

    place: StoredPlace
    found: StoredObject


@dataclass(frozen=True, slots=True)
class Owners:
    """What exists in a namespace.

    Attributes:
        names: of StoryRuns and StepRuns.
        referred: keys of the objects that they and StoryTriggers refer to.
    """

    names: frozenset[str]
    referred: frozenset[str] = frozenset()

    def keep(self, orphan: Orphan) -> bool:
        if orphan.place.kind is StoredKind.LOGS and orphan.found.key.split("/")[-2] in self.names:
            return True  # the StepRun, also if the container did not know its StoryRun
        return orphan.place.owner in self.names or orphan.found.key in self.referred


def orphan_of(place: StoredPlace, found: StoredObject, owners: Owners, older_than: datetime) -> Orphan | None:
    """The object as an orphan. None: its owner exists, something refers to it, it is a part of the output cache, or it
    was written at ``older_than`` or later: a container may not have said yet that it has written it.
    """
    if place.kind is StoredKind.CACHE or found.modified_at >= older_than:
        return None
    orphan = Orphan(place, found)
    return None if owners.keep(orphan) else orphan


def still_orphans(orphans: Iterable[Orphan], owners: Owners) -> list[Orphan]:
    """Those of ``orphans`` that a later look at the namespace confirms."""
    return [each for each in orphans if not owners.keep(each)]
