"""Isolation in processes: the supervisor's side of the zygote and of its children."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from bubu_sdk.errors import EngramError, ErrorType
from bubu_sdk.kube import Cluster
from bubu_sdk.workers import channel, errands, kinship, records
from bubu_sdk.workers.assignment import AssignedAttempt
from bubu_sdk.workers.order import StepOrder, order_to_wire
from bubu_sdk.workers.outcome import AttemptOutcome
from bubu_sdk.workers.relay import OutputRelay
from bubu_sdk.workers.zygote import Child, ZygoteProcess

_MESSAGE_BYTES: Final = 16384
_SWEEP_SECONDS: Final = 10.0
"""The time to kill what a killed zygote has left behind."""
_CLOSE_SECONDS: Final = 5.0
_KILLED: Final = 128 + signal.SIGKILL


class ProcessIsolation:
    """Each step in a process of its own, forked by a zygote. Children are kept ready, so that no step waits for a fork.

    ``begin`` must be called before this process has another thread.
    """

    can_kill = True

    def __init__(self, relay: OutputRelay, *, ready: int, namespace: str, connect: Callable[[], Cluster]) -> None:
        """``connect``: called after ``begin``, so that the zygote and its children know no credentials."""
        self._relay = relay
        self._namespace = namespace
        self._connect = connect
        self._cluster: Cluster | None = None
        self._ready = ready
        self._numbers = itertools.count(1)
        self._spare: list[_ChildProcess] = []
        self._alive: dict[int, _ChildProcess] = {}
        self._lock = threading.Lock()
        self._zygote = 0
        self._control: socket.socket | None = None
        self._forking = 0
        """Children on their way into ``_spare``; several threads refill."""
        self._pings: channel.Pings | None = None
        self._problem: str | None = None
        self._is_closing = False
        self._is_prepared = False

    def begin(self, load: Callable[[], Child]) -> None:
        """Fork the zygote, which calls ``load`` and keeps the child function that it returns."""
        supervisor = os.getpid()
        ours, theirs = channel.pair()
        self._zygote = os.fork()
        if self._zygote == 0:
            try:
                ours.close()
                loaded: list[Child] = []
                zygote = ZygoteProcess(theirs, lambda end, output: loaded[0](end, output))
                zygote.run(lambda: loaded.append(load()), supervisor)
            finally:
                os._exit(1)
        theirs.close()
        self._control, self._pings = ours, channel.Pings(ours)
        kinship.adopt_orphans()  # those of a zygote that was killed

    def prepare(self, lost: Callable[[str], None]) -> None:
        """Wait until the program is set up, then fork the first children."""
        assert self._control is not None, "begin() comes first"
        answer = self._control.recv(_MESSAGE_BYTES)
        if answer != b"r":
            self._reap()
            reason = answer[1:].decode() or "the process that was to load it has ended"
            raise EngramError(f"the setup of the engram failed: {reason}", type=ErrorType.INITIALIZATION)
        self._cluster = self._connect()
        self._is_prepared = True
        threading.Thread(target=self._watch, args=(lost,), name="bubu-zygote", daemon=True).start()
        self._refill()

    def start(self, order: StepOrder) -> _ChildProcess:
        """Give the order to a child that is ready."""
        folder = None
        with suppress(OSError):  # no folder that can be written to: the step gets that of the worker
            folder = tempfile.mkdtemp(prefix="step-")
        order = replace(order, folder=folder, mark=records.new_mark())
        try:
            child = self._begun_spare(order)
            if child is None:
                child = self._fork()
                try:
                    child.begin(order)
                except OSError:
                    child.close()  # so that a process that has a part of its order ends
                    raise
        except OSError:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        with self._lock:
            is_empty = not self._spare
        if is_empty:
            self._refill()  # else it waits for the end of a step: a fork now would take time from this one
        return child

    def problem(self) -> str | None:
        """Whether the zygote cannot end steps, or does not answer any more."""
        if self._problem is None and self._is_prepared and self._pings is not None and self._pings.are_in_vain():
            self._problem = "the zygote, which starts and ends the processes of steps, does not answer"
        return self._problem

    def close(self) -> None:
        """End the zygote, which ends its children first."""
        self._is_closing = True
        assert self._control is not None
        if not self._is_prepared:  # it may be busy with the setup for minutes
            with suppress(ProcessLookupError):
                os.kill(self._zygote, signal.SIGKILL)
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._reap()

    def signal(self, number: int, signal_number: int) -> None:
        """Signal a child, unless it has ended."""
        self._tell(f"s {number} {signal_number}".encode())

    def run_errand(self, sent: bytes, attempt: AssignedAttempt) -> bytes:
        """The answer to what the process of an attempt asks of the API server."""
        assert self._cluster is not None, "prepare() comes first"
        return errands.answer_to(sent, attempt, self._namespace, self._cluster)

    def forget(self, number: int) -> None:
        """A child has ended."""
        with self._lock:
            self._alive.pop(number, None)

    def replenish(self) -> None:
        """A step is over, so there is time to fork for the next ones."""
        self._refill()

    def _begun_spare(self, order: StepOrder) -> _ChildProcess | None:
        while True:
            with self._lock:
                if not self._spare:
                    return None
                child = self._spare.pop(0)
            try:
                child.begin(order)
            except OSError:
                child.close()  # it was killed while it waited
            else:
                return child

    def _refill(self) -> None:
        with suppress(OSError):  # the next start tries it again, and reports it
            while True:
                with self._lock:
                    if self._is_closing or len(self._spare) + self._forking >= self._ready:
                        return
                    self._forking += 1
                try:
                    child = self._fork()
                    with self._lock:
                        self._spare.append(child)
                finally:
                    with self._lock:
                        self._forking -= 1

    def _fork(self) -> _ChildProcess:
        assert self._control is not None
        number = next(self._numbers)
        ours, theirs = channel.pair()
        reading, writing = os.pipe2(os.O_CLOEXEC)
        child = _ChildProcess(number, ours, reading, self, self._relay)
        with self._lock:
            self._alive[number] = child
        try:
            order = f"f {number}".encode()
            channel.send_packet(self._control, order, channel.SEND_SECONDS, [theirs.fileno(), writing])
        except OSError:
            self.forget(number)
            ours.close()
            os.close(reading)
            raise
        finally:
            theirs.close()
            os.close(writing)
        return child

    def _watch(self, lost: Callable[[str], None]) -> None:
        """Notice the end of the zygote. The kernel ends its children; those they have left behind are ended here."""
        assert self._control is not None
        assert self._pings is not None
        with suppress(OSError):
            while packet := self._control.recv(_MESSAGE_BYTES):
                self._pings.answered()
                match packet.split():
                    case [b"u"]:
                        self._problem = "what a step has started cannot be killed"
                    case [b"e", ended, exit_code]:
                        self._end(int(ended), int(exit_code))
        if self._is_closing:
            return
        if not kinship.end_children(_SWEEP_SECONDS):
            self._problem = "the zygote was killed, and what its steps have started cannot be"
            return
        with self._lock:
            alive = list(self._alive)
        for number in alive:
            self._end(number, _KILLED)
        lost("the zygote, which forks the processes of steps, was killed")

    def _end(self, number: int, exit_code: int) -> None:
        with self._lock:
            child = self._alive.pop(number, None)
        if child is not None:
            child.end(exit_code)

    def _tell(self, message: bytes) -> None:
        """Tell the zygote, unless it has ended, or has not read what it was told for long."""
        assert self._control is not None
        with suppress(OSError):
            channel.send_packet(self._control, message, 0)

    def _reap(self) -> None:
        if not kinship.reap([self._zygote], _CLOSE_SECONDS):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self._zygote, signal.SIGKILL)
            kinship.reap([self._zygote], 1.0)


class _ChildProcess:
    """A child, ready or with an order."""

    def __init__(
        self, number: int, end: socket.socket, output: int, isolation: ProcessIsolation, relay: OutputRelay
    ) -> None:
        self._number = number
        self._end = end
        self._output = output
        self._isolation = isolation
        self._relay = relay
        self._folder: str | None = None
        self._attempt: AssignedAttempt | None = None
        self._is_followed = False
        self._exit_code = _KILLED
        self._ended = threading.Event()

    def begin(self, order: StepOrder) -> None:
        """Give it the order.

        Raises:
            OSError: it has ended.
        """
        channel.send(self._end, order_to_wire(order))
        self._folder, self._attempt = order.folder, order.attempt
        self._relay.follow(self._output, order.log_fields, order.mark)
        self._is_followed = True

    def wait(self) -> AttemptOutcome:
        """What the process said of itself. That it has ended, only the zygote says."""
        outcome = errands.report_over(self._end, self._answer)
        self._ended.wait()
        return outcome or AttemptOutcome(self._exit_code)

    def _answer(self, sent: bytes) -> bytes:
        assert self._attempt is not None, "begin() comes first"
        return self._isolation.run_errand(sent, self._attempt)

    def end(self, exit_code: int) -> None:
        """It has ended, with everything that it had started: what it has sent before can still be received."""
        self._exit_code = exit_code
        self._ended.set()
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_RD)

    def terminate(self) -> None:
        self._isolation.signal(self._number, signal.SIGTERM)

    def kill(self) -> None:
        self._isolation.signal(self._number, signal.SIGKILL)

    def close(self) -> None:
        """It has ended: close its descriptors."""
        self._isolation.forget(self._number)
        self._end.close()
        if self._is_followed:
            self._relay.finish(self._output)
        else:
            os.close(self._output)

    def discard(self) -> None:
        self.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._isolation.replenish()
