"""The steps that wait for a worker of one pool: first come, first served. Pure; instants are arguments.

A step that is *called* is woken and has a place kept for it, for a while. Nobody overtakes those who wait: a step that
comes later takes a place only if all of them get one, too. Each operation costs the same however many wait, so that a
thousand steps may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from core.api.objects import NamespacedName


@dataclass(frozen=True, slots=True)
class AwaitedRoom:
    """Whom to wake."""

    run: NamespacedName
    step: str | None
    """Full name of the step."""
    gives_up_at: float
    """When it waits no longer, if no worker has become ready by then."""
    is_notified: bool = False
    """Whether it was woken at that instant."""
    on_ready: Callable[[], None] | None = None
    """Called instead of a wake-up: the step has no StepRun yet, and waits before it creates one."""


@dataclass(slots=True)
class WorkerLine:
    """The line of one pool."""

    _waiting: dict[NamespacedName, AwaitedRoom] = field(default_factory=dict)
    _called: dict[NamespacedName, tuple[AwaitedRoom, float]] = field(default_factory=dict)
    """With the instant until which a place is kept."""

    def __len__(self) -> int:
        """The steps that wait or are called."""
        return len(self._waiting) + len(self._called)

    def __contains__(self, step_run: NamespacedName) -> bool:
        return step_run in self._waiting or step_run in self._called

    def __iter__(self) -> Iterator[NamespacedName]:
        """The called ones first, then the others in their order."""
        yield from self._called
        yield from self._waiting

    def may_take(self, step_run: NamespacedName, free: int) -> bool:
        """Whether the step gets one of ``free`` places; it then leaves the line, whose place it may have been."""
        if (called := self._called.pop(step_run, None)) is not None:
            if free > len(self._called):
                return True
            self._waiting = {step_run: called[0], **self._waiting}
            return False
        left = free - len(self._called)
        if step_run in self._waiting:
            if left < 1 or next(iter(self._waiting)) != step_run:
                return False
            del self._waiting[step_run]
            return True
        return left > len(self._waiting)

    def join(self, step_run: NamespacedName, waiting: AwaitedRoom) -> None:
        """Wait at the end of the line; who waits already keeps place and time, and is woken as it says now."""
        if step_run not in self._called:
            known = self._waiting.get(step_run, waiting)
            self._waiting[step_run] = replace(known, on_ready=waiting.on_ready)

    def gives_up_at(self, step_run: NamespacedName) -> float:
        """When the step waits no longer; infinite if it does not wait."""
        waiting = self._waiting.get(step_run)
        return float("inf") if waiting is None else waiting.gives_up_at

    def leave(self, step_run: NamespacedName) -> None:
        """The step has ended or is gone."""
        self._waiting.pop(step_run, None)
        self._called.pop(step_run, None)

    def call(self, free: int, until: float) -> list[AwaitedRoom]:
        """The steps for which there is a place now; it is kept for them until then."""
        found: list[AwaitedRoom] = []
        while self._waiting and free > len(self._called):
            step_run = next(iter(self._waiting))
            waiting = self._waiting.pop(step_run)
            self._called[step_run] = (waiting, until)
            found.append(waiting)
        return found

    def expire(self, now: float) -> list[AwaitedRoom]:
        """Give up the places of those who have not come, and return those who now give up themselves."""
        for step_run in [each for each, (_, until) in self._called.items() if until <= now]:
            del self._called[step_run]
        late = {key: each for key, each in self._waiting.items() if each.gives_up_at <= now and not each.is_notified}
        self._waiting |= {key: replace(waiting, is_notified=True) for key, waiting in late.items()}
        return [*late.values()]

    def waiters(self) -> list[AwaitedRoom]:
        """All who wait or are called."""
        return [*(waiting for waiting, _ in self._called.values()), *self._waiting.values()]

    @property
    def next_due(self) -> float:
        """When ``expire`` has something to do; infinite: never."""
        dues = [until for _, until in self._called.values()]
        dues += [waiting.gives_up_at for waiting in self._waiting.values() if not waiting.is_notified]
        return min(dues, default=float("inf"))
