"""Isolation in tasks: the host, a process that has loaded what all steps share, and runs each of them in a thread.

It has no token: its steps ask and report over channels. A function that ignores its cancellation cannot be ended alone,
so the host ends itself. What steps print, and what they log, is told apart by a context variable, which threads that a
function starts itself do not have: their lines are those of the worker.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final

from bubu_sdk import logs, process, redaction, stores, traces
from bubu_sdk.batch import BatchRun, World
from bubu_sdk.errors import ErrorType, as_engram_error
from bubu_sdk.hosting import host_for_setup
from bubu_sdk.kube import Cluster
from bubu_sdk.signature import StepFunction
from bubu_sdk.stage import Ending
from bubu_sdk.storage import Store
from bubu_sdk.timing import utc_now
from bubu_sdk.workers import channel, clock, records
from bubu_sdk.workers.assigned import AssignedStepRun
from bubu_sdk.workers.errands import ErrandCluster
from bubu_sdk.workers.order import StepOrder, order_of_wire
from bubu_sdk.workers.outcome import AttemptOutcome
from bubu_sdk.workers.relay import OutputLines

_MESSAGE_BYTES: Final = 8192

log = logging.getLogger(logs.SDK_LOGGER)

_step: ContextVar[TaskStep | None] = ContextVar("bubu_sdk.workers.step", default=None)


class TaskOutput(io.TextIOBase):
    """Stands for stdout and stderr of the worker: lines of steps become JSON that says which step wrote them."""

    def __init__(self, descriptor: int, fields: Mapping[str, object], *, now: Callable[[], datetime] = utc_now) -> None:
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


class TaskHost:
    """The host: runs each step in a thread, as the supervisor says over the control socket (``taskhost``)."""

    def __init__(
        self,
        control: socket.socket,
        engram: StepFunction,
        output: TaskOutput,
        level: RootLevel,
        *,
        open_store: Callable[[Mapping[str, str]], Store | None] = stores.open_store,
    ) -> None:
        self.engram = engram
        self.output = output
        self.level = level
        self.open_store = open_store
        self.loaded: Any = None
        self._control = control
        self._steps: dict[int, TaskStep] = {}
        """Those under way, by the id that the supervisor gave."""

    def serve(self) -> bool:
        """Call the engram's ``setup``, then run steps until the supervisor wants no more.

        Returns:
            False: the ``setup`` has failed, and the supervisor knows why.
        """
        try:
            self.loaded = set_up(self.engram)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything; the supervisor reports it
            self._tell(b"!" + traces.of_user_code(error).encode(errors="replace")[-_MESSAGE_BYTES:])
            return False
        self._tell(b"r")
        while self._obey():
            pass
        return True

    def _obey(self) -> bool:
        """Do one order; False if there will be no more."""
        try:
            order, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return False
        match order.split():
            case [b"p"]:
                self._tell(b"p")
            case [b"s", number]:
                self._begin(int(number), socket.socket(fileno=descriptors[0]))
            case [b"t", number] if (step := self._steps.get(int(number))) is not None:
                step.terminate()
        return bool(order)

    def _begin(self, number: int, end: socket.socket) -> None:
        try:
            message = channel.receive(end)
        except OSError:
            message = None
        if message is None:
            end.close()  # the supervisor could not send it
            return
        cluster = ErrandCluster(end)
        step = self._steps[number] = TaskStep(self, order_of_wire(message), cluster)
        arguments = (number, step, end, cluster)
        threading.Thread(target=self._carry_out, args=arguments, name="bubu-attempt", daemon=True).start()

    def _carry_out(self, number: int, step: TaskStep, end: socket.socket, cluster: ErrandCluster) -> None:
        """The thread of one attempt. When it shuts the channel down, nothing of the attempt runs any more."""
        try:
            outcome, ending = step.run()
            with suppress(OSError):  # the worker ends
                cluster.report(outcome)
            if ending.hung:
                log.error("%s ignores its cancellation: the worker ends, and with it all its steps", step.name)
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            del self._steps[number]
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # it counts also for those who have inherited it
            end.close()

    def _tell(self, message: bytes) -> None:
        with suppress(OSError):  # the supervisor has ended, and the kernel ends this process
            channel.send_packet(self._control, message, channel.SEND_SECONDS)


class TaskStep:
    """One attempt."""

    def __init__(self, host: TaskHost, order: StepOrder, cluster: Cluster) -> None:
        self._order = order
        self._client: AssignedStepRun | None = None
        self._output = host.output
        environ = order.environment(os.environ)
        debug = process.wants_debug(environ)
        self._level = host.level.lowered() if debug else nullcontext()
        self.lines = OutputLines(order.log_fields, utc_now)
        self.masking = redaction.Masking()
        self.records = TaskRecords(order.log_fields, host.output, host.level, debug=debug)
        world = World(
            environ,
            lambda _: cluster,
            host.open_store,
            step_run_client=self._connected,
            setup=lambda: host.loaded,
            ends_at=None if order.ends_at is None else clock.as_monotonic(order.ends_at),
        )
        self._run = BatchRun(host.engram, world, self.records)

    @property
    def name(self) -> str:
        """That of its StepRun."""
        return self._order.attempt.step_run

    def run(self) -> tuple[AttemptOutcome, Ending]:
        """Do the work. The function may still be at work then: the ending says that it hangs."""
        token = _step.set(self)
        try:
            with self._level:
                ending = self._run.execute()
        finally:
            _step.reset(token)
        self._output.end(self)
        update = self._client.outcome if self._client is not None else None
        return AttemptOutcome(ending.exit_code, update), ending

    def terminate(self) -> None:
        """Ask the function to end, as SIGTERM does. Any thread may call it, more than once; returns at once."""
        self._run.terminate(signal.SIGTERM)

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
