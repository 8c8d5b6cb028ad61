"""Processes for work that can be neither interrupted nor bounded: killed when over a limit, replaced, counted.

A process answers one question at a time and is kept for the next one while ``keep_warm`` runs; without ``keep_warm``,
each question has its own process. In both cases the caller of ``ask`` waits for the answer: no work continues after
``ask`` has returned, and no process outlives ``keep_warm``. When a process is killed or crashes, only its current
question fails.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import trio

from bobrapet.launch import ROOT
from core.evaluation import worker
from core.telemetry import catalogue, metrics

MEMORY_BYTES: Final = 1 << 30
WORKER_SECONDS: Final = 10.0
MAX_PROCESSES: Final = 2
PATIENCE: Final = 3.0
EXPRESSIONS: Final = str(Path(worker.__file__).resolve())
"""The program that answers questions about expressions and schemas."""

_START_SECONDS: Final = 60.0
_QUESTIONS_PER_PROCESS: Final = 1_000  # after so many, its memory is fragmented
_START: Final = (
    "import os, runpy, sys; sys.path[:] = sys.argv[1].split(os.pathsep); del sys.argv[:2]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
"""Libraries are found where this process finds them; ``-I`` alone would leave out those of ``pip install --user``."""
_STARVED: Final = 0.5
"""A question that got less than this share of its processor time is not to blame for being late."""
_USED: Final = slice(11, 13)
"""In ``/proc/PID/stat``, counted after the name: the time in the program and in the system."""
_MAX_ANSWER_BYTES: Final = 1 << 24
_READ_BYTES: Final = 1 << 16


class OverLimitError(Exception):
    """The question needs more than its limit allows: *user*.

    ``limit`` is ``time``, ``memory``, ``busy`` or ``crash``; ``allowed`` is in seconds or bytes. After ``busy`` and
    ``crash`` the same question may have an answer: the machine had no processor for it, or no process.
    """

    def __init__(self, limit: str, allowed: float, how: str) -> None:
        super().__init__(how)
        self.limit = limit
        self.allowed = allowed


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """The limits of the processes.

    Attributes:
        seconds: processor time of one question.
        patience: the factor by which wall time may exceed it: on a busy machine the process yields to others.
        memory_bytes: address space of one process.
        processes: how many may work at the same time; further questions wait.
    """

    seconds: float = WORKER_SECONDS
    memory_bytes: int = MEMORY_BYTES
    processes: int = MAX_PROCESSES
    patience: float = PATIENCE


def _nothing(_: Any) -> None:
    """For programs that never ask the parent for data."""


class WorkerPool:
    """Answers questions in separate processes."""

    def __init__(self, limits: Callable[[], WorkerLimits] = WorkerLimits, program: str = EXPRESSIONS) -> None:
        """
        Args:
            limits: called before each question, so that a change takes effect from the next one.
            program: path of the program of the processes; it must call ``worker.serve``.
        """
        self._limits = limits
        self._program = program
        self._room = trio.CapacityLimiter(limits().processes)
        self._idle: list[_Worker] = []
        self._keepers = 0

    @property
    def processes(self) -> int:
        """How many may work at the same time; further questions wait, first come, first served."""
        return self._limits().processes

    async def keep_warm(self) -> None:
        """Keep processes for the next question, until cancelled; then end them all."""
        self._keepers += 1
        try:
            await trio.sleep_forever()
        finally:
            self._keepers -= 1
            if not self._keepers:
                await self._end_all()

    async def ask(self, question: Mapping[str, Any], look_up: Callable[[Any], Any] = _nothing) -> Any:
        """The answer to a question of ``worker``; ``look_up`` returns the data that the program requests meanwhile.

        Raises:
            OverLimitError: it took too long, or its process ended because of it.
            Cancellation: the process is ended and nothing remains.
        """
        limits = self._limits()
        self._room.total_tokens = limits.processes
        request = orjson.dumps({**question, "cpu_seconds": math.ceil(limits.seconds)})
        async with self._room:
            kept = await self._kept(limits)
            if kept is not None:
                try:
                    return await self._ask(kept, request, limits, look_up)
                except _EndedError:
                    if (code := await kept.end()) == -signal.SIGXCPU:
                        raise _why_ended(limits, code) from None
                    # Otherwise it may have ended before the question, e.g. for lack of memory on the machine: try a new
                    # process.
            try:
                process = await _Worker.start(self._program, limits.memory_bytes)
            except (_EndedError, trio.TooSlowError):
                raise _over(limits, "crash", "cannot run: no process can be started") from None
            try:
                return await self._ask(process, request, limits, look_up)
            except _EndedError:
                raise _why_ended(limits, await process.end()) from None

    async def _kept(self, limits: WorkerLimits) -> _Worker | None:
        """A process that already runs; those that were started under another limit are ended."""
        while self._idle:
            process = self._idle.pop()
            if process.memory_bytes == limits.memory_bytes:
                return process
            await process.end()
        return None

    async def _ask(self, process: _Worker, request: bytes, limits: WorkerLimits, look_up: Callable[[Any], Any]) -> Any:
        reusable, before = False, process.cpu_seconds()
        try:
            with trio.fail_after(limits.seconds * limits.patience):
                answer = await process.ask(request, look_up)
            reusable = not (isinstance(answer, dict) and "limit" in answer)
        except trio.TooSlowError:
            raise _why_late(limits, process.cpu_seconds() - before) from None
        finally:
            if reusable and self._keepers and process.answered < _QUESTIONS_PER_PROCESS:
                self._idle.append(process)
            else:
                await process.end()
        if not reusable:
            raise _over(limits, "memory", "needs more memory than allowed")
        return answer

    async def _end_all(self) -> None:
        while self._idle:
            await self._idle.pop().end()


def _why_late(limits: WorkerLimits, used_seconds: float) -> OverLimitError:
    """``used_seconds``: the processor time of the question until it was given up.

    With patience, it has had more time on the clock than it may use, so it counts as costly in any case.
    """
    if limits.patience <= 1 and used_seconds < limits.seconds * _STARVED:
        allowed = limits.seconds * limits.patience
        return _over(limits, "busy", f"could not be finished within {allowed:g} s, because the machine is too busy")
    return _over(limits, "time", f"takes longer than {limits.seconds:g} s")


def _why_ended(limits: WorkerLimits, code: int) -> OverLimitError:
    if code == -signal.SIGXCPU:
        return _over(limits, "time", f"takes longer than {limits.seconds:g} s")
    if code in (-signal.SIGABRT, -signal.SIGKILL):
        return _over(limits, "memory", "needs more memory than allowed")
    return _over(limits, "crash", "ended the process that evaluated it")


def _over(limits: WorkerLimits, limit: str, how: str) -> OverLimitError:
    metrics.count(catalogue.EVALUATION_WORKERS_ENDED, limit=limit)
    allowed = {"time": limits.seconds, "memory": limits.memory_bytes}.get(limit, 0)
    return OverLimitError(limit, allowed, how)


class _EndedError(Exception):
    """The process ended before it answered."""


class _Worker:
    def __init__(self, process: trio.Process, memory_bytes: int) -> None:
        self._process = process
        self.memory_bytes = memory_bytes
        self.answered = 0

    @classmethod
    async def start(cls, program: str, memory_bytes: int) -> _Worker:
        metrics.count(catalogue.EVALUATION_WORKERS_STARTED)
        places = os.pathsep.join(place for place in sys.path if place)
        command = [sys.executable, "-I", "-c", _START, places, program, str(memory_bytes), str(ROOT)]
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}
        )
        started = cls(process, memory_bytes)
        try:
            with trio.fail_after(_START_SECONDS):
                await started._receive(worker.LENGTH.size)
        except BaseException:
            await started.end()
            raise
        return started

    async def ask(self, request: bytes, look_up: Callable[[Any], Any]) -> Any:
        """Send one question, answer its requests for data, and wait for the answer.

        Raises:
            _EndedError: the process ended first.
        """
        answer = await self._exchange(request)
        while isinstance(answer, dict) and "look_up" in answer:
            answer = await self._exchange(orjson.dumps(look_up(answer["look_up"])))
        self.answered += 1
        return answer

    async def _exchange(self, frame: bytes) -> Any:
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send_all(worker.LENGTH.pack(len(frame)) + frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _EndedError from error
        (length,) = worker.LENGTH.unpack(await self._receive(worker.LENGTH.size))
        if length > _MAX_ANSWER_BYTES:
            raise _EndedError
        return orjson.loads(await self._receive(length))

    def cpu_seconds(self) -> float:
        """The processor time that it has used; infinite where the system does not say so."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
            return sum(map(int, fields[_USED])) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError):
            return math.inf

    async def end(self) -> int:
        """Kill it if it still runs, wait until it has ended, and return its exit code."""
        with trio.CancelScope(shield=True):  # killing is too quick to cancel, and must not be left half done
            if self._process.poll() is None:
                self._process.kill()
            code = await self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    await stream.aclose()
        return code

    async def _receive(self, length: int) -> bytes:
        assert self._process.stdout is not None
        received = bytearray()
        while len(received) < length:
            part = await self._process.stdout.receive_some(min(length - len(received), _READ_BYTES))
            if not part:
                raise _EndedError
            received += part
        return bytes(received)
