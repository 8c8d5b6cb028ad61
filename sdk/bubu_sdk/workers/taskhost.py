"""Isolation in tasks: the supervisor's side of the host, the process in which the steps are threads.

The program runs in the host alone. The supervisor is an interpreter without it, and has what the host has not: the
token of the Pod, the Lease, the records of the steps. Both know each attempt by a channel of its own, over which its
step asks and reports (``errands``), and the host does what the supervisor says over a socket:

    supervisor → host     s ID           run a step; with its channel, where the order follows
                          t ID           ask it to end
                          p              answer this
    host → supervisor     r              ready
                          p              the answer
                          ! TEXT         the engram's ``setup`` failed; the host ends

A step has ended when the host has shut its channel down after the report, or when the host has ended.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn

from bubu_sdk.errors import EngramError, ErrorType
from bubu_sdk.kube import Cluster
from bubu_sdk.workers import channel, errands, kinship
from bubu_sdk.workers.order import StepOrder, order_to_wire
from bubu_sdk.workers.outcome import AttemptOutcome

HOST_VARIABLE: Final = "BUBU_WORKER_HOST"
"""The process that has this variable is a host; it has the number of its control socket."""
TRACE_SIGNAL: Final = signal.SIGQUIT
"""A host that gets it writes where its threads are."""
_MESSAGE_BYTES: Final = 16384
_MAX_ANSWERS: Final = 64
"""So many are read at a look: a host may send what it likes."""
_CANNOT_EXECUTE: Final = 127
_SWEEP_SECONDS: Final = 10.0
"""The time to kill what steps have left behind."""
_FAREWELL_SECONDS: Final = 11.0
"""The time for the exit handlers of the program, which end themselves after 10 s, as in a Job."""
_TRACE_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 5.0
_KILLED: Final = 128 + signal.SIGKILL


class TaskIsolation:
    """Each step in a thread of the host. If one of them must be killed, the host is, and so are the others."""

    can_kill = False

    def __init__(self, command: list[str], *, namespace: str, connect: Callable[[], Cluster]) -> None:
        """``command``: starts the program, with the path of the interpreter first."""
        self._command = command
        self._namespace = namespace
        self._connect = connect
        self._cluster: Cluster | None = None
        self._control, self._theirs = channel.pair()
        self._pings = channel.Pings(self._control)
        self._host = 0
        self._has_ended = False
        self._lost: Callable[[str], None] = lambda _: None
        self._numbers = itertools.count(1)
        self._alive: dict[int, _Task] = {}
        self._lock = threading.Lock()
        self._watcher = threading.Thread(target=self._watch, name="bubu-host", daemon=True)
        self._problem: str | None = None
        self._is_closing = False
        self._is_prepared = False

    def begin(self, confine: Callable[[], None]) -> None:
        """Start the host, before this process has another thread; ``confine`` takes rights from the new process."""
        kinship.adopt_orphans()  # those of the host
        supervisor = os.getpid()
        self._host = os.fork()
        if self._host == 0:
            self._execute(confine, supervisor)
        self._theirs.close()
        self._watcher.start()

    def _execute(self, confine: Callable[[], None], supervisor: int) -> NoReturn:
        """Become the host. The kernel keeps what is confined, and the death with the parent, for the new program."""
        try:
            kinship.die_with_parent(supervisor)
            os.setpgid(0, 0)
            confine()
            number = self._theirs.fileno()
            os.set_inheritable(number, True)
            environment = {**os.environ, HOST_VARIABLE: str(number)}
            os.execve(self._command[0], self._command, environment)  # noqa: S606 - a shell would need quotes
        except OSError as error:
            sys.stderr.write(f"the program cannot be started again: {error}\n")
            sys.stderr.flush()
        finally:
            os._exit(_CANNOT_EXECUTE)

    def prepare(self, lost: Callable[[str], None]) -> None:
        """Wait until the program is imported and set up."""
        self._lost = lost
        answer = self._control.recv(_MESSAGE_BYTES)
        if answer != b"r":
            self.close()
            reason = answer[1:].decode(errors="replace") or "the process that was to load it has ended"
            raise EngramError(f"the setup of the engram failed: {reason}", type=ErrorType.INITIALIZATION)
        self._cluster = self._connect()
        self._is_prepared = True

    def start(self, order: StepOrder) -> _Task:
        """Give the order to the host."""
        number = next(self._numbers)
        ours, theirs = channel.pair()
        task = _Task(number, ours, order, self)
        with self._lock:
            self._alive[number] = task
        try:
            with theirs:
                order_of = f"s {number}".encode()
                channel.send_packet(self._control, order_of, channel.SEND_SECONDS, [theirs.fileno()])
            channel.send(ours, order_to_wire(order))
        except OSError:
            task.discard()
            raise
        return task

    def problem(self) -> str | None:
        """Whether the host does not answer any more: it is stopped, or a step keeps the lock of its interpreter."""
        if self._problem is None and self._is_prepared:
            with suppress(OSError):
                for _ in range(_MAX_ANSWERS):
                    if not self._control.recv(_MESSAGE_BYTES, socket.MSG_DONTWAIT):
                        break
                    self._pings.answered()
            if self._pings.are_in_vain():
                self._problem = "the process of its steps does not answer"
        return self._problem

    def close(self) -> None:
        """End the host with all that is below it. If no step is under way, the program's exit handlers are called."""
        self._is_closing = True
        with self._lock:
            is_idle = self._is_prepared and not self._alive and self._problem is None
        if is_idle:
            with suppress(OSError):
                self._control.shutdown(socket.SHUT_RDWR)
            self._watcher.join(_FAREWELL_SECONDS)
        elif self._problem is not None:
            self._signal(TRACE_SIGNAL)
            self._watcher.join(_TRACE_SECONDS)
        self.kill()
        self._watcher.join(_CLOSE_SECONDS)

    def kill(self) -> None:
        """Kill the host, and with it all steps. Any thread may call it, more than once; returns at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with self._lock:
            if not self._has_ended:
                os.kill(self._host, number)

    def terminate(self, number: int) -> None:
        """Ask a step to end, unless the host has ended, or has not read what it was told for long."""
        with suppress(OSError):
            channel.send_packet(self._control, f"t {number}".encode(), 0)

    def run_errand(self, sent: bytes, order: StepOrder) -> bytes:
        """The answer to what a step asks of the API server."""
        assert self._cluster is not None, "prepare() comes first"
        return errands.answer_to(sent, order.attempt, self._namespace, self._cluster)

    def forget(self, number: int) -> None:
        """A step has ended."""
        with self._lock:
            self._alive.pop(number, None)

    def _watch(self) -> None:
        """Reap the orphans of steps, until the host itself has ended; then end what it has left behind."""
        exit_code = self._reaped_host()
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)  # what a step has forked may still have the other end
        if not kinship.end_children(_SWEEP_SECONDS):
            self._problem = "the process of the steps has ended, and what they have started cannot be ended"
            return
        with self._lock:
            alive = list(self._alive.values())
        for task in alive:
            task.end()
        if not self._is_closing:
            self._lost(f"the process of its steps has ended with exit code {exit_code}")

    def _reaped_host(self) -> int:
        while True:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            assert found is not None, "without WNOHANG there is a child"
            with self._lock:  # nobody signals a pid that may be that of another process
                self._has_ended = found.si_pid == self._host
                wait_status = os.waitpid(found.si_pid, 0)[1]
            if self._has_ended:
                return kinship.exit_code_of(wait_status)


class _Task:
    """One attempt in the host."""

    def __init__(self, number: int, end: socket.socket, order: StepOrder, host: TaskIsolation) -> None:
        self._number = number
        self._end = end
        self._order = order
        self._host = host
        self._ended = threading.Event()

    def wait(self) -> AttemptOutcome:
        """What the step says of itself. After its report it may say nothing more, and when it is over, its host does.

        A host that gives up the channel without a report may still run the step, so it is killed.
        """
        outcome = errands.report_over(self._end, lambda sent: self._host.run_errand(sent, self._order))
        if outcome is None:
            self._host.kill()
            self._ended.wait()
            return AttemptOutcome(_KILLED)
        with suppress(OSError):
            while self._end.recv(channel.PACKET_BYTES):
                pass
        return outcome

    def end(self) -> None:
        """The host has ended: what the step has sent before can still be received."""
        self._ended.set()
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_RD)

    def terminate(self) -> None:
        self._host.terminate(self._number)

    def kill(self) -> None:
        self._host.kill()

    def discard(self) -> None:
        self._host.forget(self._number)
        self._end.close()
