"""Plays workers that always run: the StepRun is their queue, and an attempt creates no other object.

A worker hears of the StepRuns that have its name, a moment after they were written. It carries out what is assigned to
it, at most ``ROOM`` attempts at once and in the order of their assignment, as a container would. Result and exit are
one write, refused once the attempt is not its own (``_is_its_own``). It ends an attempt when the StepRun says that it
is over (``is_over``), after some grace, and kills it when the StepRun is gone. A moment after the deadline of the
assignment it ends the attempt by itself, whatever the operator does or does not, and reports a timeout.

A worker may vanish for good, and another one takes its place; or lose contact, end its attempts by itself, and come
back. Either way it writes nothing, and each process of the operator notices it some time later. The connection of its
watch may break in silence: it then reports and renews its Lease, and hears of what was written some time later.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final, Protocol

import trio

from bubu_contract.instants import format_instant
from core.api import keys
from core.api.objects import Object, step_path
from core.engine.ports import WORKER
from core.engine.step.assignment import assignment_of
from core.engine.step.record import is_final, phase_of, retries_of
from core.engine.step.worker_observation import exit_of, is_over
from fuzz.engine.cluster import Cluster, Place, Write
from fuzz.engine.texts import text_of
from fuzz.engine.worker import SDK_MAY_FAIL_FROM, SDK_MAY_SUCCEED_FROM, UNSAID, Act, Script, Worker

POOL: Final = "warm-pool"
WORKERS: Final = 2
ROOM: Final = 2
HEARD_SECONDS: Final = 0.02
"""The time until a worker hears of a write."""
FENCE_SECONDS: Final = 0.8
"""The time until a worker without contact ends what it carries out."""
KILLED_SECONDS: Final = 0.3
"""The time until a killed attempt has ended."""
DEAF_SECONDS: Final = 0.6
"""The longest time until a worker in contact notices that its watch is broken."""
HEARS_WITHIN_SECONDS: Final = DEAF_SECONDS + HEARD_SECONDS + KILLED_SECONDS + 0.05
"""By then, a worker in contact has killed an attempt whose StepRun is gone."""
MISSED_SECONDS: Final = 1.3
"""The time until a process of the operator notices that a worker is missing."""
REPLACED_SECONDS: Final = 0.6
"""The time until another worker has the place of one that has vanished."""
OVERTIME_SECONDS: Final = 2.0
"""The time after its deadline in which only the operator ends an attempt."""
INPUTS: Final = "BUBU_TRIGGER_DATA"
MAY_SUCCEED_FROM: Final = (*SDK_MAY_SUCCEED_FROM, "Pending")
"""Workers may report from the phase of a retry, too."""
ENDED_CODE: Final = 143
KILLED_CODE: Final = 137
TIMEOUT_CODE: Final = 124


class Watcher(Protocol):
    """What a process of the operator is told of the workers."""

    def miss(self, uid: str) -> None:
        """Nothing runs any more in this worker."""

    def find(self, uid: str) -> None:
        """A worker is ready: a new one, or one that was missing."""


@dataclass(eq=False)
class WarmAttempt:
    """One attempt that a worker carries out, or that waits for its turn there."""

    place: Place
    """The place of the StepRun."""
    uid: str
    number: int
    step: str
    inputs: str
    overdue_at: float = inf
    """When the worker ends it by itself."""
    has_begun: bool = False
    told: trio.Event = field(default_factory=trio.Event)
    """Set when the attempt is to end, or is killed."""
    gone: bool = False
    """It was killed: nothing of it continues, and nothing is reported."""


@dataclass(eq=False)
class WarmWorker:
    name: str
    uid: str
    since: float
    attempts: list[WarmAttempt] = field(default_factory=list)
    """In the order of their assignment."""
    away_since: float | None = None
    """Since when it has no contact; ``has_vanished``: for ever."""
    deaf_until: float = -inf
    """When it notices that its watch is broken."""
    has_vanished: bool = False
    changed: trio.Event = field(default_factory=trio.Event)
    """Set when it has contact again or kills an attempt, and then replaced."""
    begun: set[tuple[str, int]] = field(default_factory=set)
    """UID of the StepRun and number of each attempt that it has carried out or begun to."""

    @property
    def in_contact(self) -> bool:
        return self.away_since is None

    def tell_change(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


@dataclass
class WarmWorkers:
    """All workers; they outlive all processes of the engine. ``containers`` has the scripts and records the results."""

    cluster: Cluster
    containers: Worker
    nursery: trio.Nursery | None = None
    workers: list[WarmWorker] = field(default_factory=list)
    """Also those that have vanished."""
    watchers: list[Watcher] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    """UIDs of the workers that were ever without contact."""
    overdue: list[tuple[str, int]] = field(default_factory=list)
    """Name of the StepRun and number of each attempt that a worker has ended by itself after its deadline."""
    _heard: tuple[trio.MemorySendChannel[tuple[float, Write]], trio.MemoryReceiveChannel[tuple[float, Write]]] = field(
        default_factory=lambda: trio.open_memory_channel[tuple[float, Write]](100_000)
    )

    def __post_init__(self) -> None:
        for _ in range(WORKERS):
            self._add_worker()

    def see(self, write: Write) -> None:
        """Listens to the writes of the cluster."""
        if write.place[0] == "StepRun" and keys.LABEL_WORKER in (write.object["metadata"].get("labels") or {}):
            self._heard[0].send_nowait((trio.current_time() + HEARD_SECONDS, write))

    def introduce(self, watcher: Watcher) -> None:
        """A process of the operator has started; it takes its time to notice who is missing."""
        self.watchers.append(watcher)
        for worker in self.workers:
            if not worker.in_contact:
                self._soon(self._miss, worker, [watcher])

    def vanish(self, place: Place) -> None:
        """The worker of this StepRun dies, with everything that it carries out; it may have let go of this one."""
        worker = self._worker_of(place, released=True)
        if worker is not None:
            worker.has_vanished = True
            self._lose_contact(worker)
            self._kill_all(worker)
            self._soon(self._replace)

    def cut_off(self, place: Place, seconds: float) -> None:
        """The worker of this StepRun can neither hear nor report for a while."""
        worker = self._worker_of(place)
        if worker is not None and worker.in_contact:
            self._lose_contact(worker)
            self._soon(self._come_back, worker, seconds)

    def deafen(self, place: Place, seconds: float) -> None:
        """The watch of the worker of this StepRun breaks, and it notices that later, by itself."""
        worker = self._worker_of(place)
        if worker is not None and worker.in_contact and seconds <= DEAF_SECONDS:
            worker.deaf_until = trio.current_time() + seconds

    def in_contact(self, uid: str) -> bool:
        """Whether the worker renews its Lease."""
        return any(worker.uid == uid and worker.in_contact for worker in self.workers)

    def later(self, at: float, call: Callable[[Object], None], step_run: Object) -> None:
        """Call a process of the operator at that time."""

        async def wait() -> None:
            await trio.sleep_until(at)
            call(step_run)

        self._soon(wait)

    def is_at_work(self, place: Place) -> bool:
        return any(attempt.place == place and attempt.has_begun for attempt in self._attempts())

    def at_work(self) -> list[str]:
        """The names of the StepRuns for which a worker runs."""
        return [attempt.place[2] for attempt in self._attempts() if attempt.has_begun]

    def told(self) -> list[str]:
        """The names of those whose attempt is to end."""
        return [attempt.place[2] for attempt in self._attempts() if attempt.told.is_set()]

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            async for at, write in self._heard[1]:
                await trio.sleep_until(at)
                self._hear(write.place, write.old, write.new)

    # What a worker hears.

    def _hear(self, place: Place, old: Object | None, new: Object | None) -> None:
        for worker in self.workers:
            if worker.in_contact and worker.name in (_worker_name(old), _worker_name(new)):
                if trio.current_time() < worker.deaf_until:
                    self._soon(self._hear_late, worker, place)
                else:
                    self._look(worker, place, new if _worker_name(new) == worker.name else None)

    async def _hear_late(self, worker: WarmWorker, place: Place) -> None:
        """Another watch shows what became of the StepRun."""
        await trio.sleep_until(worker.deaf_until)
        if worker.in_contact:
            step_run = self.cluster.objects.get(place)
            self._look(worker, place, step_run if _worker_name(step_run) == worker.name else None)

    def _look(self, worker: WarmWorker, place: Place, step_run: Object | None) -> None:
        """A worker looks at one StepRun that has its name; None: it has not any more."""
        assignment = assignment_of(step_run) if step_run is not None else None
        uid = step_run["metadata"]["uid"] if step_run is not None else ""
        for attempt in [one for one in worker.attempts if one.place == place]:
            if attempt.uid != uid:
                self._kill(worker, attempt)
            elif step_run is not None and is_over(step_run, attempt.number):
                attempt.told.set()
                if not attempt.has_begun:
                    self._let_go(worker, attempt, ENDED_CODE)
        if step_run is None or assignment is None or assignment.worker_uid != worker.uid:
            return
        if (uid, assignment.attempt) in worker.begun or exit_of(step_run, assignment) is not None:
            return
        inputs = assignment.environment.get(INPUTS, "{}")
        attempt = WarmAttempt(place, uid, assignment.attempt, step_path(step_run), inputs)
        if assignment.deadline_at is not None:
            left = (assignment.deadline_at - self.cluster.now()).total_seconds()
            attempt.overdue_at = trio.current_time() + left + OVERTIME_SECONDS
        worker.begun.add((uid, assignment.attempt))
        worker.attempts.append(attempt)
        if is_over(step_run, assignment.attempt):
            self._let_go(worker, attempt, ENDED_CODE)
        self._begin_next(worker)

    def _begin_next(self, worker: WarmWorker) -> None:
        for attempt in worker.attempts[:ROOM]:
            if not attempt.has_begun and worker.in_contact:
                pods = self.containers.pods.get(("Job", *attempt.place[1:]), ())
                if self.is_at_work(attempt.place) or any(pod.alive for pod in pods):
                    self.containers.overlaps.append((attempt.place[2], attempt.number))
                attempt.has_begun = True
                self._soon(self._play, worker, attempt)

    # What becomes of workers.

    def _add_worker(self) -> None:
        number = len(self.workers)
        since = trio.current_time() if number >= WORKERS else 0.0
        self.workers.append(WarmWorker(f"{WORKER}-{number}", f"pod-uid-{number}", since))

    def _lose_contact(self, worker: WarmWorker) -> None:
        worker.away_since = trio.current_time()
        self.missing.add(worker.uid)
        self._soon(self._miss, worker, [*self.watchers])

    async def _miss(self, worker: WarmWorker, watchers: list[Watcher]) -> None:
        since = worker.away_since
        await trio.sleep(MISSED_SECONDS)
        if worker.away_since == since:
            for watcher in watchers:
                watcher.miss(worker.uid)

    async def _replace(self) -> None:
        await trio.sleep(REPLACED_SECONDS)
        self._add_worker()
        for watcher in self.watchers:
            watcher.find(self.workers[-1].uid)

    async def _come_back(self, worker: WarmWorker, seconds: float) -> None:
        """After a short time it goes on; after a longer one it has ended everything, and begins nothing of what was
        assigned to it before: a process of the operator may still believe that it is lost.
        """
        await trio.sleep(min(seconds, FENCE_SECONDS))
        if seconds >= FENCE_SECONDS:
            self._kill_all(worker)
            # What it has killed has ended before it says so.
            await trio.sleep(max(seconds - FENCE_SECONDS, KILLED_SECONDS + HEARD_SECONDS))
        if worker.has_vanished:
            return
        for place, step_run in list(self.cluster.objects.items()) if seconds >= FENCE_SECONDS else ():
            if place[0] == "StepRun" and _worker_name(step_run) == worker.name:
                self._release_unbegun(worker, place, step_run)
        worker.away_since = None
        for place, step_run in list(self.cluster.objects.items()):
            if place[0] == "StepRun" and _worker_name(step_run) == worker.name:
                self._look(worker, place, step_run)
        for attempt in [one for one in worker.attempts if one.place not in self.cluster.objects]:
            self._kill(worker, attempt)
        worker.tell_change()
        for watcher in self.watchers:
            watcher.find(worker.uid)
        self._begin_next(worker)

    def _release_unbegun(self, worker: WarmWorker, place: Place, step_run: Object) -> None:
        assignment = assignment_of(step_run)
        if assignment is not None and exit_of(step_run, assignment) is None:
            worker.begun.add((step_run["metadata"]["uid"], assignment.attempt))
            uid, number = step_run["metadata"]["uid"], assignment.attempt
            self._let_go(worker, WarmAttempt(place, uid, number, step_path(step_run), ""), KILLED_CODE)

    def _kill_all(self, worker: WarmWorker) -> None:
        for attempt in list(worker.attempts):
            self._kill(worker, attempt)

    def _kill(self, worker: WarmWorker, attempt: WarmAttempt) -> None:
        """It reports nothing more. Its process takes some time to end, unless the worker has vanished with it."""
        if attempt.gone:
            return
        attempt.gone = True
        attempt.told.set()
        worker.tell_change()
        if attempt.has_begun and not worker.has_vanished:
            self._soon(self._die, worker, attempt)
        else:
            self._remove(worker, attempt)

    async def _die(self, worker: WarmWorker, attempt: WarmAttempt) -> None:
        await trio.sleep(KILLED_SECONDS)
        self._remove(worker, attempt)

    def _remove(self, worker: WarmWorker, attempt: WarmAttempt) -> None:
        if attempt in worker.attempts:
            worker.attempts.remove(attempt)
        self._begin_next(worker)

    # What a worker does.

    async def _play(self, worker: WarmWorker, attempt: WarmAttempt) -> None:
        script = self.containers.script(attempt.step, attempt.number)
        ends_at = inf if script.act is Act.HANG else trio.current_time() + script.after_seconds
        with trio.move_on_at(ends_at):
            with trio.move_on_at(attempt.overdue_at) as overdue:
                await attempt.told.wait()
            stops_at = trio.current_time() + script.grace_seconds
            if not attempt.gone:
                await trio.sleep_until(min(stops_at, ends_at))  # it may end by itself before its grace is over
            if stops_at < ends_at:
                await self._contact(worker, attempt)
                if overdue.cancelled_caught:
                    self._time_out(worker, attempt)
                else:
                    self._let_go(worker, attempt, ENDED_CODE)
                return
        await self._contact(worker, attempt)
        if not attempt.gone:
            await self._end(worker, attempt, script)

    async def _contact(self, worker: WarmWorker, attempt: WarmAttempt) -> None:
        """Return when the worker can report, or the attempt was killed."""
        while not (worker.in_contact or attempt.gone):
            await worker.changed.wait()

    async def _end(self, worker: WarmWorker, attempt: WarmAttempt, script: Script) -> None:
        """End by itself: result and release are one write, unless the release comes later."""
        code, result = self._result(worker, attempt, script)
        end = "ok" if code == 0 and script.act is not Act.FAIL else "failed"
        self.containers.ran.append((attempt.step, attempt.number, end))
        unsaid = end == "ok" and script.act is Act.EXIT
        self.containers.effects.append((attempt.uid, attempt.step, UNSAID if unsaid else end))
        if script.exit_lag_seconds:
            if result:
                self._write(worker, attempt, result)
            result = {}
            await trio.sleep(script.exit_lag_seconds)
            await self._contact(worker, attempt)
        self._let_go(worker, attempt, code, result)

    def _time_out(self, worker: WarmWorker, attempt: WarmAttempt) -> None:
        """Report that the attempt has taken too long, unless somebody has recorded its end."""
        self.overdue.append((attempt.place[2], attempt.number))
        result: Object = {"phase": "Timeout", "exitCode": TIMEOUT_CODE, "exitClass": "retry"}
        result["lastFailureMsg"] = "the step did not finish within its timeout"  # in the words of the operator
        self._let_go(worker, attempt, TIMEOUT_CODE, result if self._is_its_own(worker, attempt) else {})

    def _result(self, worker: WarmWorker, attempt: WarmAttempt, script: Script) -> tuple[int, Object]:
        """The exit code, and the result to write; the result is refused if the attempt is not the current one."""
        stored = self.cluster.objects.get(attempt.place) or {}
        phase = (stored.get("status") or {}).get("phase")
        if not self._is_its_own(worker, attempt):
            return script.exit_code or 1, {}
        if script.act is Act.SUCCEED:
            if phase in MAY_SUCCEED_FROM:
                output: Any = json.loads(attempt.inputs) if script.echo else script.output
                return script.exit_code, {"phase": "Succeeded", "exitClass": "success", "output": dict(output or {})}
            if phase != "Timeout":
                self.containers.refused.append(f"{attempt.step} out of {phase}")
            return 1, {}
        if script.act is Act.FAIL and phase in SDK_MAY_FAIL_FROM:
            text = script.text or text_of(attempt.step, attempt.number)
            result: Object = {"phase": "Failed", "exitCode": script.exit_code, "lastFailureMsg": text}
            return script.exit_code, result | ({"exitClass": script.exit_class} if script.exit_class else {})
        return script.exit_code, {}

    def _let_go(self, worker: WarmWorker, attempt: WarmAttempt, code: int, result: Object | None = None) -> None:
        """The process of the attempt has ended; the StepRun records it if it is still assigned."""
        if attempt.gone:
            return
        if self._is_assigned(worker, attempt):
            at = format_instant(self.cluster.now())
            let_go: Object = {"workerExit": {"attempt": attempt.number, "exitCode": code, "finishedAt": at}}
            self._write(worker, attempt, {**(result or {}), **let_go})
        self._remove(worker, attempt)

    def _is_assigned(self, worker: WarmWorker, attempt: WarmAttempt) -> bool:
        """Whether it is the same StepRun, and still gives this attempt to this worker."""
        stored = self.cluster.objects.get(attempt.place)
        if stored is None or stored["metadata"]["uid"] != attempt.uid:
            return False
        found = assignment_of(stored)
        return found is not None and (found.attempt, found.worker_uid) == (attempt.number, worker.uid)

    def _is_its_own(self, worker: WarmWorker, attempt: WarmAttempt) -> bool:
        """The precondition of a result: the attempt is assigned to this worker, and has not been counted as failed."""
        if not self._is_assigned(worker, attempt):
            return False
        status = self.cluster.objects[attempt.place].get("status") or {}
        return retries_of(status) == attempt.number and (phase_of(status) is None or not is_final(status))

    def _write(self, worker: WarmWorker, attempt: WarmAttempt, patch: Object) -> None:
        if "retries" not in (self.cluster.objects[attempt.place].get("status") or {}):
            patch = {"retries": 0, **patch}
        self.cluster.force_patch(worker.name, attempt.place, "status", patch)

    def _attempts(self) -> list[WarmAttempt]:
        return [attempt for worker in self.workers for attempt in worker.attempts]

    def _worker_of(self, place: Place, *, released: bool = False) -> WarmWorker | None:
        """The worker to which its attempt is assigned. ``released``: also if the process of the attempt has ended."""
        stored = self.cluster.objects.get(place)
        assignment = assignment_of(stored) if stored is not None else None
        if stored is None or assignment is None or (exit_of(stored, assignment) is not None and not released):
            return None
        found = (one for one in self.workers if one.uid == assignment.worker_uid and not one.has_vanished)
        return next(found, None)

    def _soon(self, task: Callable[..., Any], *args: Any) -> None:
        assert self.nursery is not None, "the workers run"
        self.nursery.start_soon(task, *args)


def _worker_name(step_run: Object | None) -> str:
    return str(((step_run or {}).get("metadata", {}).get("labels") or {}).get(keys.LABEL_WORKER) or "")
