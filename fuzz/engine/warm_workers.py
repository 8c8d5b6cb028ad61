"""Plays workers that always run: the StepRun is their queue, and an attempt creates no other object.

A StepRun whose ``status.attempt`` names a worker belongs to this worker. The worker runs the step's script, as a
container would, writes the result into the StepRun, and releases the attempt: it removes ``worker``, so nothing runs
any more, and ``exitCode`` says how the attempt ended. Its writes are refused once the attempt is not its own
(``_is_its_own``). It stops when the StepRun says that the attempt is over (``is_over``), after some grace, and at once
when the StepRun is deleted. A worker that vanishes writes nothing; some time later a watcher of workers releases the
attempt in its place, without ``exitCode``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

import trio

from core.api.objects import Object, step_path
from core.engine.step.record import attempt_of, end_is_requested, is_final, phase_of, retries_of
from fuzz.engine.cluster import Cluster, Place, Write
from fuzz.engine.texts import text_of
from fuzz.engine.worker import SDK_MAY_FAIL_FROM, SDK_MAY_SUCCEED_FROM, UNSAID, Act, Script, Worker

WORKER: Final = "worker"
"""The name of the executor, and the prefix of its workers' names."""
WORKERS: Final = 2
MISSED_SECONDS: Final = 1.3
"""The time until the watcher notices that a worker has vanished."""


def worker_for(step_run_name: str, attempt: int) -> str:
    """The worker that an attempt is assigned to."""
    return f"{WORKER}-{(len(step_run_name) + attempt) % WORKERS}"


def is_over(step_run: Object, number: int) -> bool:
    """Whether the attempt is to end, or has ended, by the operator's records; no other signal is needed."""
    status = step_run.get("status") or {}
    return retries_of(status) > number or is_final(status) or end_is_requested(step_run)


@dataclass
class Function:
    """One attempt that a worker runs."""

    place: Place
    """The place of the StepRun."""
    uid: str
    number: int
    worker: str
    step: str
    told: trio.Event = field(default_factory=trio.Event)
    """Set when the attempt is to end, or is dropped."""
    gone: bool = False
    """Its StepRun is deleted, or its worker has vanished: nothing of it continues."""


@dataclass
class WarmWorkers:
    """All workers; they outlive all processes of the engine. ``containers`` has the scripts and records the results."""

    cluster: Cluster
    containers: Worker
    inputs: dict[tuple[str, int], Object] = field(default_factory=dict)
    """The resolved inputs of each attempt, by UID of its StepRun; a storage that operator and worker can both read."""
    _at_work: dict[Place, Function] = field(default_factory=dict)
    _begun: set[tuple[str, int]] = field(default_factory=set)
    """Attempts, by UID of the StepRun: a worker that replaces a vanished one does not start them again."""
    _orders: tuple[trio.MemorySendChannel[Function], trio.MemoryReceiveChannel[Function]] = field(
        default_factory=lambda: trio.open_memory_channel[Function](10_000)
    )
    _missed: tuple[trio.MemorySendChannel[Function], trio.MemoryReceiveChannel[Function]] = field(
        default_factory=lambda: trio.open_memory_channel[Function](10_000)
    )

    def see(self, write: Write) -> None:
        """Listens to the writes of the cluster."""
        if write.place[0] != "StepRun":
            return
        function = self._at_work.get(write.place)
        if function is not None and (write.new is None or write.new["metadata"]["uid"] != function.uid):
            self._drop(function)
        elif function is not None and write.new is not None and is_over(write.new, function.number):
            function.told.set()
        elif write.new is not None:
            self._take(write.place, write.new)

    def vanish(self, place: Place) -> None:
        """The worker of this StepRun dies; a new one with the same name exists when it is needed."""
        function = self._at_work.get(place)
        if function is not None:
            self._drop(function)
            self._missed[0].send_nowait(function)

    def is_at_work(self, place: Place) -> bool:
        return place in self._at_work

    def at_work(self) -> list[str]:
        """The names of the StepRuns that have a running worker."""
        return [place[2] for place in self._at_work]

    def told(self) -> list[str]:
        """The names of those whose attempt is to end."""
        return [place[2] for place, function in self._at_work.items() if function.told.is_set()]

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._miss_vanished, nursery)
            async for function in self._orders[1]:
                nursery.start_soon(self._play, function)

    def _take(self, place: Place, step_run: Object) -> None:
        attempt = attempt_of(step_run)
        if attempt is None or not attempt.worker or place in self._at_work or is_over(step_run, attempt.number):
            return
        uid = step_run["metadata"]["uid"]
        if (uid, attempt.number) in self._begun:
            return
        self._begun.add((uid, attempt.number))
        if any(pod.alive for pod in self.containers.pods.get(("Job", *place[1:]), ())):
            self.containers.overlaps.append((place[2], attempt.number))
        function = Function(place, uid, attempt.number, attempt.worker, step_path(step_run))
        self._at_work[place] = function
        self._orders[0].send_nowait(function)

    def _drop(self, function: Function) -> None:
        function.gone = True
        function.told.set()
        del self._at_work[function.place]

    async def _miss_vanished(self, nursery: trio.Nursery) -> None:
        async for function in self._missed[1]:
            nursery.start_soon(self._miss, function)

    async def _miss(self, function: Function) -> None:
        await trio.sleep(MISSED_SECONDS)
        if self._is_assigned(function):
            self._write("worker-watch", function, {"attempt": {"worker": None}})

    async def _play(self, function: Function) -> None:
        script = self.containers.script(function.step, function.number)
        ends_at = inf if script.act is Act.HANG else trio.current_time() + script.after_seconds
        with trio.move_on_at(ends_at):
            await function.told.wait()
            stops_at = trio.current_time() + script.grace_seconds
            await trio.sleep_until(min(stops_at, ends_at))  # it may end by itself before its grace is over
            if stops_at < ends_at:
                self._let_go(function, 143)
                return
        if not function.gone:
            await self._end(function, script)

    async def _end(self, function: Function, script: Script) -> None:
        """End by itself: result and release are one write, unless the release comes later."""
        code, result = self._result(function, script)
        end = "ok" if code == 0 and script.act is not Act.FAIL else "failed"
        self.containers.ran.append((function.step, function.number, end))
        unsaid = end == "ok" and script.act is Act.EXIT
        self.containers.effects.append((function.uid, function.step, UNSAID if unsaid else end))
        if script.exit_lag_seconds:
            if result:
                self._write(function.worker, function, result)
            result = {}
            await trio.sleep(script.exit_lag_seconds)
        self._let_go(function, code, result)

    def _result(self, function: Function, script: Script) -> tuple[int, Object]:
        """The exit code, and the result to write; the result is refused if the attempt is not the current one."""
        stored = self.cluster.objects.get(function.place) or {}
        status = stored.get("status") or {}
        phase = status.get("phase")
        if not self._is_its_own(function):
            return script.exit_code or 1, {}
        if script.act is Act.SUCCEED:
            if phase in SDK_MAY_SUCCEED_FROM:
                output: Any = self.inputs.get((function.uid, function.number)) if script.echo else script.output
                return script.exit_code, {"phase": "Succeeded", "exitClass": "success", "output": dict(output or {})}
            if phase != "Timeout":
                self.containers.refused.append(f"{function.step} out of {phase}")
            return 1, {}
        if script.act is Act.FAIL and phase in SDK_MAY_FAIL_FROM:
            text = script.text or text_of(function.step, function.number)
            result: Object = {"phase": "Failed", "exitCode": script.exit_code, "lastFailureMsg": text}
            return script.exit_code, result | ({"exitClass": script.exit_class} if script.exit_class else {})
        return script.exit_code, {}

    def _let_go(self, function: Function, code: int, result: Object | None = None) -> None:
        """The worker releases the attempt; the StepRun records it if it still belongs to the worker."""
        if function.gone:
            return
        del self._at_work[function.place]
        if self._is_assigned(function):
            let_go: Object = {"attempt": {"worker": None, "exitCode": code}}
            self._write(function.worker, function, {**(result or {}), **let_go})

    def _is_assigned(self, function: Function) -> bool:
        """Whether it is the same StepRun, and still names this worker with this attempt."""
        stored = self.cluster.objects.get(function.place)
        attempt = attempt_of(stored) if stored is not None and stored["metadata"]["uid"] == function.uid else None
        return attempt is not None and (attempt.number, attempt.worker) == (function.number, function.worker)

    def _is_its_own(self, function: Function) -> bool:
        """The precondition of a result: the attempt is assigned to this worker, and has not been counted as failed."""
        if not self._is_assigned(function):
            return False
        status = self.cluster.objects[function.place].get("status") or {}
        return retries_of(status) == function.number and (phase_of(status) is None or not is_final(status))

    def _write(self, actor: str, function: Function, patch: Object) -> None:
        self.cluster.force_patch(actor, function.place, "status", patch)
