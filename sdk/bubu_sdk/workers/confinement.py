"""What Linux keeps from the process of a step although it has the user of its worker: Landlock, which needs no rights.

The token of a Pod is a file that its user may read, and so would every process of a step. Since Linux 5.13 a process
can give up such a file for itself and for all that it starts, and since 6.12 it can give up to signal others. A process
that has done so traces none that has not. Source: ``Documentation/userspace-api/landlock.rst`` of the kernel.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""The same numbers on all architectures."""
_SET_NO_NEW_PRIVILEGES: Final = 38
_READ_FILE: Final = 1 << 2
_SCOPE_SIGNAL: Final = 1 << 1
_PATH_BENEATH: Final = 1


def hide(folder: Path) -> bool:
    """From now on, neither this process nor one that it starts reads a file in ``folder``; False if Linux cannot do it.

    Landlock names what is allowed: all that is beside ``folder`` and the folders that it is in. A file that somebody
    creates later directly in one of these, as ``/run``, cannot be read either.
    """
    try:
        _hide(folder)
    except OSError:  # an older kernel, or one that is started without Landlock, or a seccomp profile that forbids it
        return False
    return True


def _hide(folder: Path) -> None:
    ruleset = _call(_CREATE_RULESET, struct.pack("=Q", _READ_FILE), 8, 0)
    try:
        for neighbour in _neighbours(folder.resolve()):
            with suppress(OSError):  # it is gone, or is closed to this user anyway
                descriptor = os.open(neighbour, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", _READ_FILE, descriptor), 0)
                finally:
                    os.close(descriptor)
        _restrict(ruleset)
    finally:
        os.close(ruleset)


def separate() -> bool:
    """From now on, this process and those that it starts signal and trace only each other.

    False if Linux cannot do it.
    """
    try:
        ruleset = _call(_CREATE_RULESET, struct.pack("=QQQ", 0, 0, _SCOPE_SIGNAL), 24, 0)
        try:
            _restrict(ruleset)
        finally:
            os.close(ruleset)
    except OSError:
        return False
    return True


def _neighbours(folder: Path) -> Iterator[str]:
    """What is in the folders above ``folder``; links are left out, because what they lead to is elsewhere."""
    inside = folder
    for above in folder.parents:
        with suppress(OSError), os.scandir(above) as entries:
            yield from (each.path for each in entries if each.name != inside.name and not each.is_symlink())
        inside = above


def _restrict(ruleset: int) -> None:
    if _library().prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    _call(_RESTRICT_SELF, ruleset, 0)


def _call(number: int, *arguments: object) -> int:
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    found: int = _library().syscall(ctypes.c_long(number), *given)
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library
