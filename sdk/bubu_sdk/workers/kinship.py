"""What Linux does for processes and their descendants: none of them outlives the one that is responsible for it.

A *subreaper* inherits the orphans among its descendants, also those that left their session. The zygote and each of its
children are subreapers, so what a step leaves behind stays below the process of the step, and after its end below the
zygote, which kills it.

None of this asks the process of a step: what it says of itself, or of what it has started, is believed by nobody.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_SET_PARENT_DEATH_SIGNAL: Final = 1
_SET_DUMPABLE: Final = 4
_SET_CHILD_SUBREAPER: Final = 36
_FIRST_PAUSE_SECONDS: Final = 0.0002
_MAX_PAUSE_SECONDS: Final = 0.05
_PARENT_FIELD: Final = 1
"""In ``/proc/PID/stat``, counted after the name in parentheses: state, parent, …"""


def die_with_parent(parent: int) -> None:
    """From now on, the kernel kills this process when its parent, the process ``parent``, ends."""
    _control(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel knew
        os._exit(128 + signal.SIGKILL)


def survive_parent() -> None:
    """The opposite of ``die_with_parent``."""
    _control(_SET_PARENT_DEATH_SIGNAL, 0)


def keep_private() -> None:
    """Keep other processes of this user from reading the memory of this process and of its forks, from tracing them and
    from taking their descriptors. A program that one of them executes is not protected.
    """
    _control(_SET_DUMPABLE, 0)


def adopt_orphans() -> None:
    """Become a subreaper."""
    _control(_SET_CHILD_SUBREAPER, 1)


def has_children() -> bool:
    """Whether this process has a child, alive or not yet waited for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def end_children(seconds: float) -> bool:
    """Kill and reap all children, and the orphans that become children by that; False if some are left in the end.

    A process that waits for a device ends only after that, and one of another user cannot be killed.
    """
    until = time.monotonic() + seconds
    while doomed := kill_children():
        if not reap(doomed, until - time.monotonic()):
            return False
    return True


def kill_children(spared: Collection[int] = ()) -> list[int]:
    """Kill all children except the ``spared`` ones; returns those that were not reaped yet."""
    doomed = [pid for pid in children() if pid not in spared] if has_children() else []
    for pid in doomed:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return doomed


def reap(pids: Collection[int], seconds: float) -> bool:
    """Reap children as they end; False if some of them have not ended by then."""
    until, pause = time.monotonic() + seconds, _FIRST_PAUSE_SECONDS
    while pids := [pid for pid in pids if not _is_reaped(pid)]:
        if time.monotonic() >= until:
            return False
        time.sleep(pause)
        pause = min(pause * 2, _MAX_PAUSE_SECONDS)
    return True


def _is_reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def exit_code_of(wait_status: int) -> int:
    """The exit code as a shell counts it: 128 + n for signal n."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


def children() -> list[int]:
    """The pids of the children, alive or not yet waited for."""
    # The file of a thread may miss children of which one is reaped meanwhile: so this thread alone may reap.
    threads = Path("/proc/self/task")
    with suppress(OSError):  # without CONFIG_PROC_CHILDREN; or a thread has just ended
        if str(os.getpid()) == Path("/proc/self").readlink().name:
            found = [(each / "children").read_text().split() for each in threads.iterdir()]
            return [int(pid) for pids in found for pid in pids]
    return list(_searched_children())


def _searched_children() -> Iterator[int]:
    """The same. ``/proc`` may be that of another PID namespace, with other numbers for them."""
    own = str(Path("/proc/self").readlink())
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, StopIteration):
            if (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[_PARENT_FIELD] == own:
                lines = (folder / "status").read_text(errors="replace").splitlines()
                yield int(next(line.split()[-1] for line in lines if line.startswith("NSpid:")))


def _control(option: int, value: int) -> None:
    if sys.platform == "linux":
        _library().prctl(option, value, 0, 0, 0)


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None)
