"""The zygote: a process that has imported the program, and forks a child for each step.

It has one thread and runs no step itself, so a fork copies a state that no other thread is changing. It does what the
supervisor says over a socket, and kills everything below it when the supervisor has ended.

    supervisor → zygote   f ID           fork; with two descriptors: the child's channel, and its output
                          s ID SIGNAL    signal this child; SIGKILL: with all processes of its session
                          p              answer this
    zygote → supervisor   r              ready
                          p              the answer
                          u              what a step has started cannot be ended
                          ! TEXT         the engram's ``setup`` failed; the zygote ends
    zygote → channel      Exited         the child of this channel has ended, and all that it had started
"""

from __future__ import annotations

import gc
import mmap
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
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
class _Born:
    pid: int
    channel: socket.socket


@dataclass(frozen=True)
class _Ended:
    """The process of a step has ended; what it has started may not have yet."""

    born: _Born
    exit_code: int
    undead_at: float


class ZygoteProcess:
    """The process. ``run`` never returns."""

    def __init__(self, control: socket.socket, child: Child) -> None:
        self._control = control
        self._child = child
        self._children: dict[int, _Born] = {}
        """By the id that the supervisor gave."""
        self._ending: list[_Ended] = []
        self._tidy = mmap.mmap(-1, mmap.PAGESIZE)
        """A byte for each child, which it sets at its end if nothing that it started is left. Shared with them."""
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
        zygote, place = os.getpid(), number % len(self._tidy)
        self._tidy[place] = 0
        try:
            pid = os.fork()
        except OSError as error:
            sys.stderr.write(f"cannot fork a process for a step: {error}\n")
            with suppress(OSError):
                channel.send_exit(end, _FORK_FAILED)
            end.close()
            os.close(output)
            return
        if pid == 0:
            self._live(zygote, place, end, output)
        os.close(output)
        self._children[number] = _Born(pid, end)

    def _live(self, zygote: int, place: int, end: socket.socket, output: int) -> NoReturn:
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
            for other in (*self._children.values(), *(ended.born for ended in self._ending)):
                other.channel.close()
            code = self._child(end, output)
            self._tidy[place] = not kinship.has_children()
        except BaseException as error:  # noqa: BLE001 - nothing may unwind into the code of the zygote
            with suppress(Exception):
                sys.stderr.write(traces.of_user_code(error))
                sys.stderr.flush()
        os._exit(code)

    def _signal(self, number: int, signal_number: int) -> None:
        born = self._children.get(number)
        if born is None:
            return  # it has ended: its pid may be that of another process
        with suppress(ProcessLookupError, PermissionError):
            if signal_number == signal.SIGKILL:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(born.pid, signal_number)
            os.kill(born.pid, signal_number)

    def _reap(self) -> None:
        by_pid = {born.pid: number for number, born in self._children.items()}
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = by_pid.get(pid)
            if number is None:
                continue  # an orphan of a step
            born = self._children.pop(number)
            ended = _Ended(born, kinship.exit_code_of(wait_status), time.monotonic() + _UNDEAD_SECONDS)
            if self._tidy[number % len(self._tidy)] and self._release(ended):
                continue
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            self._ending.append(ended)

    def _end_leftovers(self) -> None:
        """Kill what ended steps have left behind; when nothing of it is there any more, they are over."""
        if not kinship.kill_children(spared={each.pid for each in self._children.values()}):
            self._ending = [each for each in self._ending if not self._release(each)]
        elif time.monotonic() >= self._ending[0].undead_at:
            self._tell(b"u")

    def _release(self, ended: _Ended) -> bool:
        """Say that the step is over; False if the supervisor does not read it now."""
        with suppress(OSError):
            try:
                channel.send_exit(ended.born.channel, ended.exit_code)
            except TimeoutError:
                return False
        ended.born.channel.close()
        return True

    def _tell(self, message: bytes) -> None:
        with suppress(OSError):  # the supervisor has ended, or does not read
            channel.send_packet(self._control, message, 0)

    def _end(self) -> NoReturn:
        for number in list(self._children):
            self._signal(number, signal.SIGKILL)
        kinship.end_children(_FAREWELL_SECONDS)
        os._exit(0)
