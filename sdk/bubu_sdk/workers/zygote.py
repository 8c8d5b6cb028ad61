"""The zygote: a process that has imported the program, and forks a child for each step.

It has one thread and runs no step itself, so a fork copies a state that no other thread is changing. It does what the
supervisor says over a socket, and kills everything below it when the supervisor has ended.

    supervisor → zygote   f ID           fork; with two descriptors: the child's channel, and its output
                          s ID SIGNAL    signal this child; SIGKILL: with all processes of its session
                          p              answer this
    zygote → supervisor   r              ready
                          p              the answer
                          e ID CODE      this child has ended, and all that it had started
                          u              what a step has started cannot be ended
                          ! TEXT         the engram's ``setup`` failed; the zygote ends

A child has no descriptor of this socket: only the zygote, which has waited for a process, says that the process has
ended.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NoReturn

from bubu_sdk import traces
from bubu_sdk.workers import channel, kinship

_MESSAGE_BYTES: Final = 8192
_FORK_FAILED: Final = 128
_MASKED: Final = (signal.SIGTERM, signal.SIGINT)
_CRASHED: Final = 70
_UNDEAD_SECONDS: Final = 10.0
"""After this time, a killed process is one that cannot be killed."""
_LOOK_SECONDS: Final = 0.1
"""How often processes that are being killed are looked at."""
_FAREWELL_SECONDS: Final = 3.0

Child = Callable[[socket.socket, int], int]
"""Lives the life of one child, given its channel and the descriptor for its output; returns its exit code."""


@dataclass(frozen=True)
class _Ended:
    """The process of a step has ended; what it has started may not have yet."""

    number: int
    exit_code: int
    undead_at: float


class ZygoteProcess:
    """The process. ``run`` never returns."""

    def __init__(self, control: socket.socket, child: Child) -> None:
        self._control = control
        self._child = child
        self._children: dict[int, int] = {}
        """Pids, by the id that the supervisor gave."""
        self._ending: list[_Ended] = []
        self._kept: set[int] = set()
        """The children that ``load`` has started, for all steps."""
        self._left: set[int] = set()
        """The children that steps have left behind, as far as they are known."""
        self._wakeup = -1
        self._wakeup_end = -1

    def run(self, load: Callable[[], None], supervisor: int) -> NoReturn:
        """Call ``load``, then serve until the supervisor has ended.

        Args:
            load: the program's ``setup``, and what the children need.
            supervisor: its pid.
        """
        kinship.die_with_parent(supervisor)  # load may take minutes, in which nobody reads the socket
        os.setpgid(0, 0)
        try:
            load()
        except BaseException as error:  # noqa: BLE001 - user code may raise anything; the supervisor reports it
            sys.stdout.flush()
            sys.stderr.flush()
            self._control.send(b"!" + traces.of_user_code(error).encode(errors="replace")[-_MESSAGE_BYTES:])
            os._exit(1)
        kinship.adopt_orphans()
        signal.pthread_sigmask(signal.SIG_BLOCK, _MASKED)
        self._wakeup, self._wakeup_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wakeup_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._kept = set(kinship.children())
        gc.collect()
        gc.freeze()
        kinship.survive_parent()
        if os.getppid() == supervisor:
            self._control.send(b"r")
            self._serve()
        self._end()

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll(_LOOK_SECONDS * 1000 if self._ending else None):
                if descriptor == self._wakeup:
                    with suppress(BlockingIOError):
                        os.read(self._wakeup, _MESSAGE_BYTES)
                    self._reap()
                elif not self._obey():
                    return
            if self._ending:
                self._end_leftovers()

    def _obey(self) -> bool:
        """Do one order; False if there will be no more."""
        try:
            order, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE_BYTES, 2, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return False
        if not order:
            return False
        words = order.decode().split()
        if words[0] == "p":
            self._tell(b"p")
        elif words[0] == "f":
            self._fork(int(words[1]), socket.socket(fileno=descriptors[0]), descriptors[1])
        else:
            self._signal(int(words[1]), int(words[2]))
        return True

    def _fork(self, number: int, end: socket.socket, output: int) -> None:
        zygote = os.getpid()
        try:
            pid = os.fork()
            if pid == 0:
                self._live(zygote, end, output)
            self._children[number] = pid
        except OSError as error:
            sys.stderr.write(f"cannot fork a process for a step: {error}\n")
            self._ending.append(_Ended(number, _FORK_FAILED, time.monotonic() + _UNDEAD_SECONDS))
        end.close()
        os.close(output)

    def _live(self, zygote: int, end: socket.socket, output: int) -> NoReturn:
        """The child: never comes back to the loop of the zygote."""
        code = _CRASHED
        try:
            os.setsid()
            kinship.die_with_parent(zygote)
            kinship.adopt_orphans()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in (self._wakeup, self._wakeup_end):
                os.close(descriptor)
            self._control.close()
            code = self._child(end, output)
        except BaseException as error:  # noqa: BLE001 - nothing may unwind into the code of the zygote
            with suppress(Exception):
                sys.stderr.write(traces.of_user_code(error))
                sys.stderr.flush()
        os._exit(code)

    def _signal(self, number: int, signal_number: int) -> None:
        pid = self._children.get(number)
        if pid is None:
            return  # it has ended: its pid may be that of another process
        with suppress(ProcessLookupError, PermissionError):
            if signal_number == signal.SIGKILL:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal_number)
            os.kill(pid, signal_number)

    def _reap(self) -> None:
        ended = list(self._waited_for())
        if not ended:
            return
        before, self._left = self._left, self._leftovers()
        if self._left <= before:  # those of these steps would be children only since their end
            ended = [each for each in ended if not self._release(each)]
        self._ending += ended

    def _waited_for(self) -> Iterator[_Ended]:
        by_pid = {pid: number for number, pid in self._children.items()}
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0] != 0:
                pid, wait_status = found
                if (number := by_pid.get(pid)) is not None:
                    del self._children[number]
                    yield _Ended(number, kinship.exit_code_of(wait_status), time.monotonic() + _UNDEAD_SECONDS)
                self._kept.discard(pid)
                self._left.discard(pid)

    def _leftovers(self) -> set[int]:
        return set(kinship.children()) - self._kept - set(self._children.values())

    def _end_leftovers(self) -> None:
        """Kill what ended steps have left behind; when nothing of it is there any more, they are over."""
        self._left = set(kinship.kill_children(spared={*self._kept, *self._children.values()}))
        if not self._left:
            self._ending = [each for each in self._ending if not self._release(each)]
        elif time.monotonic() >= self._ending[0].undead_at:
            self._tell(b"u")

    def _release(self, ended: _Ended) -> bool:
        """Say that the step is over; False if the supervisor does not read it now."""
        return self._tell(f"e {ended.number} {ended.exit_code}".encode())

    def _tell(self, message: bytes) -> bool:
        """Tell the supervisor; False if it does not read now."""
        try:
            channel.send_packet(self._control, message, 0)
        except TimeoutError:
            return False
        except OSError:
            pass  # it has ended
        return True

    def _end(self) -> NoReturn:
        for number in list(self._children):
            self._signal(number, signal.SIGKILL)
        kinship.end_children(_FAREWELL_SECONDS)
        os._exit(0)
