"""How much is stored, by kind and by run. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.payloads.place import StoredKind, StoredPlace
from core.payloads.stored_object import StoredObject


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of objects, and their size."""

    objects: int = 0
    size_bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.objects + other.objects, self.size_bytes + other.size_bytes)


@dataclass(frozen=True, slots=True)
class RunAmount:
    """What is stored for one run.

    Attributes:
        run: a StoryRun; for objects of a StepRun that does not exist any more, and for inputs of a StoryTrigger, the
            segment of the key.
        is_known: whether there is such a run.
    """

    namespace: str
    run: str
    amount: Amount
    is_known: bool


@dataclass(slots=True)
class UsageCount:
    """Counts objects of one namespace.

    Attributes:
        runs: by name of a StepRun or StoryRun, the name of the run.
    """

    namespace: str
    runs: Mapping[str, str]
    _kinds: dict[StoredKind, Amount] = field(default_factory=dict)
    _runs: dict[tuple[str, bool], Amount] = field(default_factory=dict)

    def add(self, place: StoredPlace, each: StoredObject) -> None:
        amount = Amount(1, each.size_bytes)
        self._kinds[place.kind] = self._kinds.get(place.kind, Amount()) + amount
        if place.kind is not StoredKind.CACHE:
            run = (self.runs.get(place.owner, place.owner), place.owner in self.runs)
            self._runs[run] = self._runs.get(run, Amount()) + amount

    @property
    def by_kind(self) -> dict[StoredKind, Amount]:
        """Every kind, in the order of ``StoredKind``."""
        return {kind: self._kinds.get(kind, Amount()) for kind in StoredKind}

    @property
    def by_run(self) -> list[RunAmount]:
        """Without the cache, which belongs to no run; largest first."""
        found = [RunAmount(self.namespace, run, amount, known) for (run, known), amount in self._runs.items()]
        return sorted(found, key=lambda each: (-each.amount.size_bytes, each.run))
