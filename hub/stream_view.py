"""The step of a binding, as this hub sees it now: what its status should say.

It joins what the cluster says (``run_book``), who is connected (``attendance``) and what has passed (``run``). The last
counts of a run that has ended are kept as long as its bindings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from core.api.objects import NamespacedName
from hub.binding_status import ConsolePlace, StepTraffic, StreamState
from hub.drain import DrainWatch
from hub.nodes import LivePrimitive
from hub.rate import RateMeter
from hub.run import LiveRun
from hub.run_book import BindingStanding, RunBook
from hub.service import Hub
from hub.topology import Place

_Key: TypeAlias = tuple[NamespacedName, str]
"""Name and UID of a binding."""
_NOBODY_YET: Final = "no client serves the step yet"
_NOBODY_NOW: Final = "no client serves the step now"
_FINISHED: Final = "the step has finished"


@dataclass(slots=True)
class _Known:
    uid: str
    place: Place | None = None
    last: StepTraffic | None = None
    """The final counts of its run, if that has ended."""
    meter: RateMeter = field(default_factory=RateMeter)


class StreamView:
    """The steps of all bindings.

    Args:
        clock: monotonic seconds.
        console: where commands about a step are answered.
    """

    def __init__(
        self,
        book: RunBook,
        hub: Hub,
        clock: Callable[[], float],
        console: Callable[[NamespacedName], ConsolePlace | None] = lambda name: None,
    ) -> None:
        self._console = console
        self._book = book
        self._hub = hub
        self._clock = clock
        self._drain: DrainWatch[_Key] = DrainWatch()
        self._known: dict[NamespacedName, _Known] = {}

    def of(self, name: NamespacedName, uid: str) -> StreamState:
        """The step of this binding."""
        known = self._known.get(name)
        if known is None or known.uid != uid:
            self.forget(name)
            known = self._known[name] = _Known(uid)
        standing = self._book.standing(name)
        if standing is None or standing.place is None or standing.problem:
            return StreamState(problem=standing.problem if standing is not None else "", waits_for=_NOBODY_YET)
        place = known.place = standing.place
        who = self._hub.attendance(place)
        if standing.runs_jobs:
            who = replace(who, is_connected=True)
        waits_for = _NOBODY_YET if who.client is None else _NOBODY_NOW
        if standing.is_finished:
            waits_for = _FINISHED
        elif standing.waits_for:
            waits_for = standing.waits_for
        live = self._hub.runs.get(place.run)
        traffic = known.last
        if live is not None and place.step in live.steps:
            traffic = _traffic(live, place.step)
            traffic = replace(traffic, per_minute=known.meter.look(self._clock(), traffic.received, traffic.delivered))
        is_drained = self._is_drained((name, uid), standing, place)
        return StreamState("", waits_for, standing.runs_jobs, who, traffic, is_drained, self._console(name))

    def draining(self) -> list[NamespacedName]:
        """The bindings whose step may be drained at any moment: look at them again and again."""
        return [name for name, known in self._known.items() if self._may_drain((name, known.uid))]

    def ended(self, run: LiveRun) -> list[NamespacedName]:
        """A run has ended, and its counts are final; returns its bindings."""
        found = []
        for name, known in self._known.items():
            if known.place is not None and known.place.run == run.routes.run and known.place.step in run.steps:
                known.last = _traffic(run, known.place.step)
                found.append(name)
        return found

    def forget(self, name: NamespacedName) -> None:
        """The binding is gone."""
        known = self._known.pop(name, None)
        if known is not None:
            self._drain.forget((name, known.uid))

    def _may_drain(self, key: _Key) -> bool:
        if self._drain.is_drained(key):
            return False
        standing = self._book.standing(key[0])
        return standing is not None and standing.needs_are_finished and not standing.has_ended

    def _is_drained(self, key: _Key, standing: BindingStanding, place: Place) -> bool:
        if standing.has_ended:
            return True
        if not standing.needs_are_finished:
            return False
        live = self._hub.runs.get(place.run)
        if live is None or place.step not in live.steps:
            return self._drain.look(key, is_empty=True, linger_seconds=0.0, now=self._clock())
        step = live.steps[place.step]
        linger = step.delivery.settings.linger_seconds
        if step.intake is not None:
            step.intake.give_up_joins(lambda waiting: live.has_left(place.step, besides=waiting))
        is_empty = not live.has_left(place.step)
        return self._drain.look(key, is_empty=is_empty, linger_seconds=linger, now=self._clock())


def _traffic(run: LiveRun, name: str) -> StepTraffic:
    step = run.steps[name]
    delivery = step.delivery
    return StepTraffic(
        received=step.received,
        delivered=delivery.counts.delivered,
        waiting=delivery.waiting + delivery.in_flight,
        waiting_percent=min(100, round(delivery.fill())),
        lost=delivery.counts.missed + step.refused.total() + step.chunks.lost,
        paused_by=run.held_by(name),
        trouble=_trouble_of(run, name),
    )


def _trouble_of(run: LiveRun, name: str) -> str:
    """Why the last packet of a step, or to it, was lost: there, or in a primitive behind it, which has no binding."""
    last = run.steps[name].troubles
    said = last.last
    for primitive in _primitives_behind(run, name):
        troubles = primitive.troubles
        if troubles.noted > last.noted:
            last, said = troubles, f"{primitive.name} ({troubles.counts.total()} lost): {troubles.last}"
    return said


def _primitives_behind(run: LiveRun, name: str) -> Iterator[LivePrimitive]:
    """Those that packets of a step come to before they come to another step, each once."""
    seen: set[str] = set()
    pending = [name]
    while pending:
        for target in run.node(pending.pop()).targets:
            if isinstance(target, LivePrimitive) and target.name not in seen:
                seen.add(target.name)
                pending.append(target.name)
                yield target
