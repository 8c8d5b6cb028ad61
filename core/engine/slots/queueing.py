"""Which waiting Engram steps may start: limits, order, and why the others wait. Pure; the time is an argument.

Only Engram steps take slots, so a run that waits for its child holds none. A step takes its slot when it is granted,
before the StepRun is created, and keeps it until the StepRun has ended: a limit holds at every instant. No step waits
while a slot that it may use is free; priority only decides which step gets a slot that several want. A Story at its own
limit blocks no other Story.

Costs: adding, withdrawing or releasing a step takes O(log n), plus the waiting steps of its own run; finding the next
step takes O(g), where g is the number of combinations of queue, base priority and held slots among the waiting runs.
Source: StoryRun contract 13.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import inf
from typing import Final, NamedTuple

from core.api.objects import NamespacedName
from core.engine.slots.queue_heads import QueueHeads, Standing, Terms
from core.engine.slots.queue_positions import Filing, QueueEntry, QueuePositions, level
from core.policy.settings import OperatorSettings, QueueSettings

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND_US: Final = 1_000_000
_UNCONFIGURED: Final = QueueSettings()
"""A queue that no key of the ConfigMap names: only other limits apply to it, and the steps that wait for those age."""


class Owner(NamedTuple):
    """The owner of a slot: a step of a run."""

    run_uid: str
    step: str
    """The full name, ``fan/a`` for a branch."""


@dataclass(frozen=True, slots=True)
class Occupant:
    """A step that has a slot."""

    owner: Owner
    story: str
    queue: str


@dataclass(frozen=True, slots=True)
class Demand:
    """An engram step that is ready to start."""

    run: NamespacedName
    run_uid: str
    step: str
    """The full name, ``fan/a`` for a branch."""
    story: str
    """``story_key`` of core.engine.slots.scheduling."""
    story_limit: int
    """``spec.policy.concurrency`` of the Story as the run executes it; 0 or less: no limit."""
    queue: str
    priority: int
    """The base priority, to which aging adds."""
    queued_at: datetime
    """Aware; stored before it counts, so that a restart does not move the step to the end of its queue."""
    order: int = 0
    """Position in the Story: decides between steps that queued at the same instant."""

    @property
    def owner(self) -> Owner:
        return Owner(self.run_uid, self.step)


@dataclass(frozen=True, slots=True)
class SlotLimits:
    """How many Engram steps may run; 0 or less means unlimited."""

    everywhere: int = 0
    queues: Mapping[str, QueueSettings] = field(default_factory=dict)

    def of(self, queue: str) -> QueueSettings:
        return self.queues.get(queue, _UNCONFIGURED)


def limits_of(settings: OperatorSettings) -> SlotLimits:
    return SlotLimits(settings.runs.global_concurrency, settings.runs.queues)


class HeldBy(StrEnum):
    """Why a step waits. Its message starts with the value, by which queued steps are recognized."""

    STORY = "Queued due to story concurrency limit"
    QUEUE = "Queued due to queue concurrency limit"
    EVERYWHERE = "Queued due to global concurrency limit"
    PRIORITY = "Queued due to higher-priority work"


@dataclass(frozen=True, slots=True)
class Held:
    """What holds a waiting step back, with the numbers of that limit; with PRIORITY, of the limit that is scarce."""

    obstacle: HeldBy
    running: int
    limit: int
    place: int
    """Position in its queue; 1: next."""
    queue: str

    @property
    def message(self) -> str:
        counts = "" if self.obstacle is HeldBy.PRIORITY else f" ({self.running} running, limit {self.limit})"
        return f"{self.obstacle}{counts}; {ordinal(self.place)} in queue {self.queue}"


@dataclass(frozen=True, slots=True)
class Grants:
    """``granted`` in the order of granting; ``held`` by step, in the order of the demands."""

    granted: tuple[Demand, ...]
    held: Mapping[Owner, Held]


def decide(occupants: Iterable[Occupant], waiting: Iterable[Demand], limits: SlotLimits, now: datetime) -> Grants:
    """Which steps may start now, and why the others may not. O(n log n) for ``n`` waiting steps at few limits.

    If this decision gives a free slot to higher-priority work, the steps that wanted it are held back by that work.
    """
    ledger = Ledger()
    for occupant in occupants:
        ledger.occupy(occupant)
    demands = list(waiting)
    for demand in demands:
        ledger.add(demand)
    granted = tuple(ledger.grant(limits, now))
    highest: dict[str, int] = {}
    for demand in granted:
        mine = effective_priority(demand, limits, now)
        highest[demand.queue] = max(mine, highest.get(demand.queue, mine))
    held: dict[Owner, Held] = {}
    for demand in demands:
        found = ledger.why(demand.owner, limits, now)
        if found is None:
            continue
        rivals = {HeldBy.EVERYWHERE: highest.values(), HeldBy.QUEUE: [highest.get(demand.queue, -inf)]}
        mine = effective_priority(demand, limits, now)
        if any(rival > mine for rival in rivals.get(found.obstacle, ())):
            found = replace(found, obstacle=HeldBy.PRIORITY)
        held[demand.owner] = found
    return Grants(granted, held)


def effective_priority(demand: Demand, limits: SlotLimits, now: datetime) -> int:
    """The base priority, plus one for each full aging period waited."""
    aging_us = limits.of(demand.queue).priority_aging_seconds * _SECOND_US
    return level(demand.priority, _microseconds(demand.queued_at), _microseconds(now), aging_us)


def ordinal(number: int) -> str:
    """``1st``, ``2nd``, ``3rd``, ``4th``, ``11th`` …"""
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


class _Line:
    """The waiting steps of one run with the same terms; only the first one is a candidate."""

    def __init__(self, terms: Terms, priority: int) -> None:
        self.terms = terms
        self.priority = priority
        self.entries: list[QueueEntry] = []
        self.slots = 0
        self.filed: tuple[Standing, QueueEntry] | None = None


class Ledger:
    """The steps that have slots and the steps that wait for one. After every change, the caller calls ``grant``."""

    def __init__(self) -> None:
        self._occupants: dict[str, dict[str, Occupant]] = {}
        self._everywhere = 0
        self._by_story: Counter[str] = Counter()
        self._by_queue: Counter[str] = Counter()
        self._demands: dict[Owner, tuple[Demand, _Line, QueueEntry]] = {}
        self._by_number: dict[int, Demand] = {}
        self._lines: dict[str, dict[tuple[Terms, int], _Line]] = {}
        self._candidates = QueueHeads()
        self._places: defaultdict[str, QueuePositions] = defaultdict(QueuePositions)
        self._arrivals = 0

    # Occupants.

    def has_slot(self, owner: Owner) -> bool:
        return owner.step in self._occupants.get(owner.run_uid, ())

    def occupy(self, occupant: Occupant) -> None:
        """Record that the step has a slot, even above a limit. May be called again; the last call counts."""
        owner = occupant.owner
        if self._occupants.get(owner.run_uid, {}).get(owner.step) == occupant:
            return
        self._vacate(owner)
        self._occupants.setdefault(owner.run_uid, {})[owner.step] = occupant
        self._everywhere += 1
        self._by_story[occupant.story] += 1
        self._by_queue[occupant.queue] += 1
        self._candidates.story_counts(occupant.story, self._by_story[occupant.story])
        self._slots_changed(owner.run_uid)

    def release(self, owner: Owner) -> bool:
        """Release the slot; False if there was none."""
        if not self._vacate(owner):
            return False
        self._slots_changed(owner.run_uid)
        return True

    def occupied_by(self, run_uid: str) -> list[Owner]:
        return [occupant.owner for occupant in self._occupants.get(run_uid, {}).values()]

    def running(self) -> Mapping[str, int]:
        """Slots taken, by queue."""
        return dict(self._by_queue)

    # Waiting steps.

    def add(self, demand: Demand) -> None:
        """Let the step wait; a step can wait only once."""
        owner = demand.owner
        if owner in self._demands:
            raise RuntimeError(f"step {demand.step} of {demand.run} waits for a slot already")
        limit = max(demand.story_limit, 0)
        terms = Terms(demand.queue, demand.story if limit else "", limit)
        lines = self._lines.setdefault(demand.run_uid, {})
        line = lines.get((terms, demand.priority))
        if line is None:
            line = lines[terms, demand.priority] = _Line(terms, demand.priority)
        self._arrivals += 1
        entry = QueueEntry(_microseconds(demand.queued_at), demand.order, self._arrivals)
        insort(line.entries, entry)
        self._demands[owner] = (demand, line, entry)
        self._by_number[entry.number] = demand
        self._refile(demand.run_uid, line)

    def withdraw(self, owner: Owner) -> bool:
        """Let the step wait no longer; False if it did not wait."""
        known = self._demands.pop(owner, None)
        if known is None:
            return False
        _, line, entry = known
        del line.entries[bisect_left(line.entries, entry)]
        del self._by_number[entry.number]
        self._refile(owner.run_uid, line)
        return True

    def waiting(self) -> Iterator[Demand]:
        return iter(self._by_number.values())

    # Decisions.

    def grant(self, limits: SlotLimits, now: datetime) -> Iterator[Demand]:
        """Grant every slot that may be granted; a step has its slot when its demand is yielded."""
        now_us = _microseconds(now)
        while (demand := self._next(limits, now_us)) is not None:
            self.withdraw(demand.owner)
            self.occupy(Occupant(demand.owner, demand.story, demand.queue))
            yield demand

    def why(self, owner: Owner, limits: SlotLimits, now: datetime) -> Held | None:
        """What holds the step back after ``grant``; None if it does not wait, or if nothing holds it back.

        The Story's own limit comes first, then the scarcer of the queue's limit and the global one. If a slot would go
        to higher-priority work, were it free now, that work is the reason.
        """
        known = self._demands.get(owner)
        if known is None:
            return None
        demand, line, entry = known
        now_us = _microseconds(now)
        settings = limits.of(demand.queue)
        aging_us = settings.priority_aging_seconds * _SECOND_US
        slots = line.slots + bisect_left(line.entries, entry)
        place = self._places[demand.queue].place(line.priority, slots, entry, now_us, aging_us)
        terms = line.terms
        if self._story_is_full(terms):
            running = self._by_story[terms.story]
            return Held(HeldBy.STORY, running, terms.story_limit, place, demand.queue)
        queue_free = _free(settings.concurrency, self._by_queue[demand.queue])
        free = _free(limits.everywhere, self._everywhere)
        if min(queue_free, free) > 0:
            return None
        mine = level(line.priority, entry.queued_us, now_us, aging_us)
        if free <= queue_free:
            obstacle, running, limit = HeldBy.EVERYWHERE, self._everywhere, limits.everywhere
        else:
            obstacle, running, limit = HeldBy.QUEUE, self._by_queue[demand.queue], settings.concurrency
        if self._outranked(mine, None if obstacle is HeldBy.EVERYWHERE else demand.queue, limits, now_us):
            obstacle = HeldBy.PRIORITY
        return Held(obstacle, running, limit, place, demand.queue)

    def _next(self, limits: SlotLimits, now_us: int) -> Demand | None:
        if _free(limits.everywhere, self._everywhere) <= 0:
            return None
        best: tuple[int, int, QueueEntry] | None = None
        for queue in self._candidates.queues():
            settings = limits.of(queue)
            if _free(settings.concurrency, self._by_queue[queue]) <= 0:
                continue
            aging_us = settings.priority_aging_seconds * _SECOND_US
            for standing, entry in self._candidates.oldest(queue):
                level_now = level(standing.priority, entry.queued_us, now_us, aging_us)
                rank = (-level_now, standing.slots, entry)
                if best is None or rank < best:
                    best = rank
        return None if best is None else self._by_number[best[2].number]

    def _outranked(self, mine: int, queue: str | None, limits: SlotLimits, now_us: int) -> bool:
        """Whether work of a higher level wants the same slot: in ``queue``; with None, in any queue that has room."""
        for other in self._candidates.queues() if queue is None else (queue,):
            settings = limits.of(other)
            if queue is None and _free(settings.concurrency, self._by_queue[other]) <= 0:
                continue
            aging_us = settings.priority_aging_seconds * _SECOND_US
            for standing, entry in self._candidates.oldest(other):
                if level(standing.priority, entry.queued_us, now_us, aging_us) > mine:
                    return True
        return False

    def _story_is_full(self, terms: Terms) -> bool:
        return 0 < terms.story_limit <= self._by_story[terms.story]

    # Bookkeeping.

    def _vacate(self, owner: Owner) -> bool:
        steps = self._occupants.get(owner.run_uid, {})
        occupant = steps.pop(owner.step, None)
        if occupant is None:
            return False
        if not steps:
            del self._occupants[owner.run_uid]
        self._everywhere -= 1
        for counter, name in ((self._by_story, occupant.story), (self._by_queue, occupant.queue)):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]
        self._candidates.story_counts(occupant.story, self._by_story[occupant.story])
        return True

    def _slots_changed(self, run_uid: str) -> None:
        for line in list(self._lines.get(run_uid, {}).values()):
            self._refile(run_uid, line)

    def _refile(self, run_uid: str, line: _Line) -> None:
        """Move ``line`` to the position that its first step and the slots of its run give it."""
        line.slots = len(self._occupants.get(run_uid, ()))
        places = self._places[line.terms.queue]
        places.file((run_uid, line.terms, line.priority), Filing(line.priority, line.slots, tuple(line.entries)))
        wanted = (Standing(line.priority, line.slots), line.entries[0]) if line.entries else None
        if wanted != line.filed:
            if line.filed is not None:
                self._candidates.remove(line.terms, *line.filed)
            if wanted is not None:
                self._candidates.add(line.terms, *wanted, self._by_story[line.terms.story])
            line.filed = wanted
        if not line.entries:
            lines = self._lines[run_uid]
            del lines[line.terms, line.priority]
            if not lines:
                del self._lines[run_uid]


def _microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


def _free(limit: int, running: int) -> float:
    return max(limit - running, 0) if limit > 0 else inf
