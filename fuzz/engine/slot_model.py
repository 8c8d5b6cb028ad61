"""Short constructors for demands and limits, and an independent, simple rule for which demands may start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import trio

from core.api.objects import NamespacedName
from core.engine.clock import WallClock
from core.engine.slots.queueing import Demand, Occupant, Owner, SlotLimits
from core.policy.settings import QueueSettings

EPOCH = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


def clock() -> WallClock:
    """A wall clock that follows Trio's clock."""
    return WallClock(lambda: at(trio.current_time()))


async def never() -> bool:
    """Another owner never starts a step that waits for a slot."""
    await trio.lowlevel.checkpoint()
    return False


def demand(
    name: str = "one/a",
    *,
    story: str = "report",
    story_limit: int = 0,
    queue: str = "default",
    priority: int = 0,
    queued: float = 0,
    order: int = 0,
) -> Demand:
    """``name`` is run and step; the UID of run ``one`` is ``uid-one``."""
    run, _, step = name.partition("/")
    return Demand(
        NamespacedName("team", run),
        f"uid-{run}",
        step,
        f"team/{story}",
        story_limit,
        queue,
        priority,
        at(queued),
        order,
    )


def occupant(name: str = "one/a", *, story: str = "report", queue: str = "default") -> Occupant:
    run, _, step = name.partition("/")
    return Occupant(Owner(f"uid-{run}", step), f"team/{story}", queue)


def names(demands: Sequence[Demand]) -> list[str]:
    return [f"{one.run.name}/{one.step}" for one in demands]


def limits(everywhere: int = 0, **queues: int | tuple[int, int]) -> SlotLimits:
    """The limits by queue: a concurrency, or a pair of concurrency and aging in seconds; the default aging is 0."""
    pairs = {name: value if isinstance(value, tuple) else (value, 0) for name, value in queues.items()}
    return SlotLimits(
        everywhere,
        {
            name: QueueSettings(concurrency=concurrency, priority_aging_seconds=aging)
            for name, (concurrency, aging) in pairs.items()
        },
    )


def in_order(
    occupants: Sequence[Occupant], waiting: Sequence[Demand], limits: SlotLimits, now: datetime
) -> list[Demand]:
    """Ordered by effective priority, slots of the run, time of queueing, position in the Story, arrival."""
    slots = Counter(one.owner.run_uid for one in occupants)
    left, ordered = list(enumerate(waiting)), []
    while left:

        def rank(item: tuple[int, Demand]) -> tuple[int, int, datetime, int, int]:
            number, one = item
            aging = limits.of(one.queue).priority_aging_seconds
            waited = max((now - one.queued_at) / timedelta(seconds=1), 0)
            aged = int(waited // aging) if aging > 0 else 0
            return (-(one.priority + aged), slots[one.run_uid], one.queued_at, one.order, number)

        best = min(left, key=rank)
        left.remove(best)
        slots[best[1].run_uid] += 1
        ordered.append(best[1])
    return ordered


def fits(occupants: Sequence[Occupant], one: Demand, limits: SlotLimits) -> bool:
    story = sum(other.story == one.story for other in occupants)
    queue = sum(other.queue == one.queue for other in occupants)
    bounds = (one.story_limit, story), (limits.of(one.queue).concurrency, queue), (limits.everywhere, len(occupants))
    return all(limit <= 0 or running < limit for limit, running in bounds)


def plainly_granted(
    occupants: Sequence[Occupant], waiting: Sequence[Demand], limits: SlotLimits, now: datetime
) -> list[Demand]:
    """Grants one after the other: each time the first in order that fits."""
    occupants, left = list(occupants), list(waiting)
    granted: list[Demand] = []
    while True:
        fitting = [one for one in left if fits(occupants, one, limits)]
        if not fitting:
            return granted
        best = in_order(occupants, fitting, limits, now)[0]
        left.remove(best)
        granted.append(best)
        occupants.append(Occupant(best.owner, best.story, best.queue))
