"""Isolation in tasks: the function runs in a thread of the worker, which has loaded what all steps share.

A function that ignores its cancellation cannot be ended alone: its outcome is ``hung``, and the supervisor ends the
whole worker. What steps print, and what they log, is told apart by a context variable, which threads that a function
starts itself do not have: their lines are those of the worker.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from bubu_sdk import instant, logs, process, redaction, stores
from bubu_sdk.batch import BatchRun, World
from bubu_sdk.errors import ErrorType, as_engram_error
from bubu_sdk.hosting import host_for_setup
from bubu_sdk.kube import Cluster
from bubu_sdk.signature import StepFunction
from bubu_sdk.storage import Store
from bubu_sdk.workers import clock, records
from bubu_sdk.workers.assigned import AssignedStepRun
from bubu_sdk.workers.order import StepOrder
from bubu_sdk.workers.outcome import AttemptOutcome
from bubu_sdk.workers.relay import OutputLines

_step: ContextVar[TaskStep | None] = ContextVar("bubu_sdk.workers.step", default=None)


class TaskOutput(io.TextIOBase):
    """Stands for stdout and stderr of the worker: lines of steps become JSON that says which step wrote them."""

    def __init__(
        self, descriptor: int, fields: Mapping[str, object], *, now: Callable[[], datetime] = instant.utc_now
    ) -> None:
        """``fields``: of lines that no step has written."""
        self._descriptor = descriptor
        self._lines = OutputLines(fields, now)
        self._masking = redaction.Masking()
        self._lock = threading.Lock()
        self.buffer = _TaskBytes(self)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str) -> int:
        self.write_bytes(text.encode(errors="replace"))
        return len(text)

    def write_bytes(self, content: bytes) -> None:
        """Write a part of what is printed."""
        step = _step.get()
        with self._lock:
            lines, masking = (self._lines, self._masking) if step is None else (step.lines, step.masking)
            self._put(lines.feed(masking.feed(content)))

    def end(self, step: TaskStep | None = None) -> None:
        """Write the line that a step, or the worker, has begun."""
        lines, masking = (self._lines, self._masking) if step is None else (step.lines, step.masking)
        with self._lock:
            self._put(lines.feed(masking.end()) + lines.end())

    def put(self, lines: bytes) -> None:
        """Write whole lines as they are."""
        with self._lock:
            self._put(lines)

    def _put(self, lines: bytes) -> None:
        with suppress(OSError):  # nobody reads the log any more, which is no reason to end steps
            records.write_all(self._descriptor, lines)


class _TaskBytes(io.RawIOBase):
    """``sys.stdout.buffer``, for programs that print bytes."""

    def __init__(self, output: TaskOutput) -> None:
        self._output = output

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._output.write_bytes(given := bytes(memoryview(content)))
        return len(given)


class RootLevel:
    """The level of the root logger, which all steps share: DEBUG while one of them wants it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps = 0
        """Those that want DEBUG."""
        self._before = logging.NOTSET

    @contextmanager
    def lowered(self) -> Iterator[None]:
        """While entered, loggers make records of the level DEBUG."""
        root = logging.getLogger()
        with self._lock:
            if self._steps == 0:
                self._before = root.level
                root.setLevel(logging.DEBUG)
            self._steps += 1
        try:
            yield
        finally:
            with self._lock:
                self._steps -= 1
                if self._steps == 0:
                    root.setLevel(self._before)

    def is_lower_for(self, record: logging.LogRecord) -> bool:
        """Whether the record would not have been made without a step that wants DEBUG."""
        if self._steps == 0 or record.levelno >= self._before:
            return False
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None and logger.parent is not None:
            if logger.level:
                return False  # the program itself has set it
            logger = logger.parent
        return True


class TaskRecords(logs.JsonLines):
    """The records of one step, or of the worker, beside what is printed."""

    def __init__(
        self, fields: Mapping[str, object], output: TaskOutput, level: RootLevel, *, debug: bool = False
    ) -> None:
        super().__init__(fields)
        self._output = output
        self._root_level = level
        self._debug = debug

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; that of another step goes to the handler of this step, which may not want it."""
        step = _step.get()
        if step is not None and step.records is not self:
            step.records.emit(record)
        elif self._debug or not self._root_level.is_lower_for(record):
            super().emit(record)

    def _write(self, line: str) -> None:
        self._output.put(line.encode(errors="replace"))


class TaskIsolation:
    """Each step in a thread of this process."""

    can_kill = False

    def __init__(
        self,
        engram: StepFunction,
        connect: Callable[[Mapping[str, str]], Cluster],
        output: TaskOutput,
        level: RootLevel,
        *,
        open_store: Callable[[Mapping[str, str]], Store | None] = stores.open_store,
    ) -> None:
        self.engram = engram
        self.connect = connect
        self.output = output
        self.level = level
        self.open_store = open_store
        self.loaded: Any = None

    def prepare(self, lost: Callable[[str], None]) -> None:
        """Call the engram's ``setup`` here."""
        del lost  # threads are always there
        self.loaded = set_up(self.engram)

    def start(self, order: StepOrder) -> TaskStep:
        return TaskStep(self, order)

    def problem(self) -> str | None:
        """None that it could notice: a thread that cannot be ended is the whole worker's."""
        return None

    def close(self) -> None:
        """Nothing is left to end: the process ends."""


class TaskStep:
    """One attempt. ``wait`` does the work, in the thread that calls it."""

    def __init__(self, isolation: TaskIsolation, order: StepOrder) -> None:
        self._order = order
        self._client: AssignedStepRun | None = None
        self._output = isolation.output
        environ = order.environment(os.environ)
        debug = process.wants_debug(environ)
        self._level = isolation.level.lowered() if debug else nullcontext()
        self.lines = OutputLines(order.log_fields, instant.utc_now)
        self.masking = redaction.Masking()
        self.records = TaskRecords(order.log_fields, isolation.output, isolation.level, debug=debug)
        world = World(
            environ,
            isolation.connect,
            isolation.open_store,
            step_run_client=self._connected,
            setup=lambda: isolation.loaded,
            ends_at=None if order.ends_at is None else clock.as_monotonic(order.ends_at),
        )
        self._run = BatchRun(isolation.engram, world, self.records)

    def wait(self) -> AttemptOutcome:
        token = _step.set(self)
        try:
            with self._level:
                ending = self._run.execute()
        finally:
            _step.reset(token)
        self._output.end(self)
        update = self._client.outcome if self._client is not None else None
        return AttemptOutcome(ending.exit_code, update, hung=ending.hung)

    def terminate(self) -> None:
        self._run.terminate(signal.SIGTERM)

    def kill(self) -> None:
        """Nothing else than ``terminate``: a thread cannot be killed, so the grace of the run decides."""
        self.terminate()

    def discard(self) -> None:
        """Nothing is left."""

    def _connected(self, *arguments: Any, **options: Any) -> AssignedStepRun:
        order = self._order
        self._client = AssignedStepRun(*arguments, attempt=order.attempt, step_run=order.step_run, **options)
        return self._client


def set_up(engram: StepFunction) -> Any:
    """What the engram's ``setup`` returns; ``None`` without one.

    Raises:
        EngramError: it failed.
    """
    if engram.setup is None:
        return None
    try:
        return host_for_setup(engram.setup, engram.backend).run(engram.setup)
    except Exception as error:
        raise as_engram_error(error, ErrorType.INITIALIZATION) from error
