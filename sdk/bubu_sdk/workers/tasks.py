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
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from bubu_sdk import instant, logs, stores
from bubu_sdk.batch import BatchRun, World
from bubu_sdk.errors import ErrorType, as_engram_error
from bubu_sdk.hosting import host_for_setup
from bubu_sdk.kube import Cluster
from bubu_sdk.signature import StepFunction
from bubu_sdk.storage import Store
from bubu_sdk.workers.assigned import AssignedStepRun
from bubu_sdk.workers.order import StepOrder
from bubu_sdk.workers.outcome import AttemptOutcome
from bubu_sdk.workers.relay import OutputLines

_step: ContextVar[TaskStep | None] = ContextVar("bubu_sdk.workers.step", default=None)


class TaskOutput(io.TextIOBase):
    """Stands for stdout and stderr of the worker: lines of steps become JSON that says which step wrote them."""

    def __init__(self, descriptor: int, *, now: Callable[[], datetime] = instant.utc_now) -> None:
        self._descriptor = descriptor
        self._now = now
        self._lock = threading.Lock()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str) -> int:
        step = _step.get()
        content = text.encode(errors="replace")
        with self._lock:
            self._put(content if step is None else step.lines.feed(content))
        return len(text)

    def put(self, lines: bytes) -> None:
        """Write whole lines as they are."""
        with self._lock:
            self._put(lines)

    def _put(self, lines: bytes) -> None:
        left = memoryview(lines)
        with suppress(OSError):  # nobody reads the log any more, which is no reason to end steps
            while left:
                left = left[os.write(self._descriptor, left) :]


class TaskRecords(logs.JsonLines):
    """The records of one step, or of the worker, beside what is printed."""

    def __init__(self, fields: Mapping[str, object], output: TaskOutput) -> None:
        super().__init__(fields)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; that of another step goes to the handler of this step."""
        step = _step.get()
        if step is not None and step.records is not self:
            step.records.emit(record)
        else:
            super().emit(record)

    def _write(self, line: str) -> None:
        self._output.put(line.encode(errors="replace"))


class TaskIsolation:
    """Each step in a thread of this process."""

    def __init__(
        self,
        engram: StepFunction,
        connect: Callable[[Mapping[str, str]], Cluster],
        output: TaskOutput,
        *,
        open_store: Callable[[Mapping[str, str]], Store | None] = stores.open_store,
    ) -> None:
        self.engram = engram
        self.connect = connect
        self.output = output
        self.open_store = open_store
        self.loaded: Any = None

    def prepare(self, lost: Callable[[str], None]) -> None:
        """Call the engram's ``setup`` here."""
        del lost  # threads are always there
        self.loaded = set_up(self.engram)

    def start(self, order: StepOrder) -> TaskStep:
        return TaskStep(self, order)

    def close(self) -> None:
        """Nothing is left to end: the process ends."""


class TaskStep:
    """One attempt. ``wait`` does the work, in the thread that calls it."""

    def __init__(self, isolation: TaskIsolation, order: StepOrder) -> None:
        self._order = order
        self._client: AssignedStepRun | None = None
        self._output = isolation.output
        self.lines = OutputLines(order.log_fields, instant.utc_now)
        self.records = TaskRecords(order.log_fields, isolation.output)
        world = World(
            order.environment(os.environ),
            isolation.connect,
            isolation.open_store,
            step_run_client=self._connected,
            setup=lambda: isolation.loaded,
            ends_at=order.ends_at,
        )
        self._run = BatchRun(isolation.engram, world, self.records)

    def wait(self) -> AttemptOutcome:
        token = _step.set(self)
        try:
            ending = self._run.execute()
        finally:
            _step.reset(token)
        self._output.put(self.lines.end())
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
