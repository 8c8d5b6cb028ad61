"""What a worker does about each StepRun that it sees: start it, end it, or say that no process of it runs. Pure.

The watch may show an object late or again, and an old state of it after its attempt was reported. So the ledger keeps,
for each StepRun, the number of the last attempt that was dealt with, until the StepRun is gone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bubu_sdk.errors import Object
from bubu_sdk.workers import assignment
from bubu_sdk.workers.assignment import AssignedAttempt

KILLED: Final = 137
ENDED: Final = 143


@dataclass(frozen=True)
class Start:
    """Run the function."""

    attempt: AssignedAttempt
    step_run: Object


@dataclass(frozen=True)
class End:
    """The attempt is over by the record: its process must end."""

    attempt: AssignedAttempt
    at_once: bool = False
    """Without the grace of the function: nobody waits for the end before another one begins. The StepRun is gone, or
    its record says already that the process has ended, which this worker has not reported unless it is so.
    """


@dataclass(frozen=True)
class Release:
    """Report that no process of the attempt runs, with an exit code that stands for it."""

    attempt: AssignedAttempt
    step_run: Object
    exit_code: int


Step = Start | End | Release


class Ledger:
    """The attempts of one worker. Not thread-safe: one thread decides."""

    def __init__(self, worker_uid: str, concurrency: int) -> None:
        self._worker_uid = worker_uid
        self._concurrency = concurrency
        self._waiting: OrderedDict[str, Start] = OrderedDict()
        """By the uid of the StepRun, in order of assignment."""
        self._busy: dict[str, AssignedAttempt] = {}
        """Running, or being reported."""
        self._seen: dict[str, Object] = {}
        """The newest state of the StepRuns that wait or are busy."""
        self._done: dict[str, int] = {}
        """By uid, the last attempt that was dealt with."""
        self._takes_new = True
        self._holds = False
        """Whether nothing is started, because the operator may take this worker for lost."""

    def replace(self, listed: Iterable[Object], *, left_behind: bool = False) -> list[Step]:
        """All StepRuns of this worker. Those that are not there any more are gone.

        Args:
            left_behind: the attempts that are not under way here may have been, or may be elsewhere by now.
        """
        objects = list(listed)
        present = {_uid(each) for each in objects}
        steps: list[Step] = []
        for uid in {*self._waiting, *self._busy, *self._done} - present:
            steps += self._gone(uid)
        for each in objects:
            steps += self._look_at(each, is_left=left_behind)
        return steps + self._start_waiting()

    def see(self, step_run: Object) -> list[Step]:
        """A StepRun of this worker was created or changed."""
        return self._look_at(step_run) + self._start_waiting()

    def lose_sight(self, step_run: Object) -> list[Step]:
        """A StepRun was deleted, or is not this worker's any more."""
        return self._gone(_uid(step_run)) + self._start_waiting()

    def over(self, attempt: AssignedAttempt) -> list[Step]:
        """Nothing is left to do for an attempt: its end is reported, or there is nothing to report."""
        if self._busy.get(attempt.uid) != attempt:
            return []
        del self._busy[attempt.uid]
        latest = self._seen.pop(attempt.uid, None)
        steps = self._look_at(latest) if latest is not None else []
        return steps + self._start_waiting()

    def drain(self) -> list[Step]:
        """From now on, start nothing; what waits is released."""
        self._takes_new = False
        waiting, self._waiting = list(self._waiting.values()), OrderedDict()
        return [self._release(start.attempt, start.step_run, ENDED) for start in waiting]

    @property
    def holds(self) -> bool:
        return self._holds

    def hold(self) -> list[Step]:
        """The operator may take this worker for lost, and start its attempts elsewhere: none is begun here any more.

        What waits is released, and so is what is seen until ``resume``.
        """
        self._holds = True
        waiting, self._waiting = list(self._waiting.values()), OrderedDict()
        return [self._release(start.attempt, start.step_run, KILLED) for start in waiting]

    def resume(self, listed: Iterable[Object]) -> list[Step]:
        """The operator knows again that this worker lives. ``listed``: all its StepRuns, read after that.

        What was assigned until then is released, as above.
        """
        steps = self.replace(listed, left_behind=True)
        self._holds = False
        return steps

    @property
    def busy(self) -> list[AssignedAttempt]:
        """The attempts that run or are being reported."""
        return list(self._busy.values())

    def latest(self, attempt: AssignedAttempt) -> Object | None:
        """The newest state of the StepRun of a busy attempt."""
        return self._seen.get(attempt.uid)

    def _look_at(self, step_run: Object, *, is_left: bool = False) -> list[Step]:
        uid = _uid(step_run)
        attempt = assignment.assigned_to(step_run, self._worker_uid)
        busy = self._busy.get(uid)
        if busy is not None:
            self._seen[uid] = step_run
            if attempt is None or attempt.key != busy.key:
                return [End(busy)]
            if assignment.is_released(step_run, busy):
                return [End(busy, at_once=True)]
            return [End(busy)] if assignment.must_end(step_run, busy) else []
        waiting = self._waiting.get(uid)
        if waiting is not None and waiting.attempt != attempt:
            del self._waiting[uid]
        if attempt is None or assignment.is_released(step_run, attempt) or attempt.attempt <= self._done.get(uid, -1):
            return []
        if is_left or self._holds:
            return [self._release(attempt, step_run, KILLED)]
        if not self._takes_new or assignment.must_end(step_run, attempt):
            self._waiting.pop(uid, None)
            return [self._release(attempt, step_run, ENDED)]
        self._waiting[uid] = Start(attempt, step_run)
        return []

    def _release(self, attempt: AssignedAttempt, step_run: Object, exit_code: int) -> Release:
        self._take(attempt, step_run)
        return Release(attempt, step_run, exit_code)

    def _start_waiting(self) -> list[Step]:
        steps: list[Step] = []
        while self._waiting and len(self._busy) < self._concurrency:
            _, start = self._waiting.popitem(last=False)
            self._take(start.attempt, start.step_run)
            steps.append(start)
        return steps

    def _take(self, attempt: AssignedAttempt, step_run: Object) -> None:
        self._busy[attempt.uid] = attempt
        self._seen[attempt.uid] = step_run
        self._done[attempt.uid] = attempt.attempt

    def _gone(self, uid: str) -> list[Step]:
        self._waiting.pop(uid, None)
        self._seen.pop(uid, None)
        self._done.pop(uid, None)
        busy = self._busy.get(uid)
        return [] if busy is None else [End(busy, at_once=True)]


def _uid(step_run: Object) -> str:
    return str((step_run.get("metadata") or {}).get("uid"))
