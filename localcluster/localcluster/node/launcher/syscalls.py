"""The few system calls for which Python 3.11 has no function. Linux only: elsewhere each raises ``OSError`` (ENOSYS).

Errors are ``OSError`` with errno; they name the call and the path.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_SLAVE = 1 << 19
MS_RELATIME = 1 << 21
MNT_DETACH = 2

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PIVOT_ROOT_NUMBERS = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "i686": 217, "armv7l": 218, "ppc64le": 203}
_STATVFS_TO_MOUNT = {2: MS_NOSUID, 4: MS_NODEV, 8: MS_NOEXEC, 1024: MS_NOATIME, 2048: MS_NODIRATIME, 4096: MS_RELATIME}

AVAILABLE = sys.platform == "linux"
_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    _call("unshare", flags)


def mount(source: str | None, target: str, filesystem: str | None, flags: int, options: str = "") -> None:
    _call("mount", _path(source), _path(target), _path(filesystem), ctypes.c_ulong(flags), _path(options), about=target)


def bind(source: str, target: str) -> None:
    """Make ``source``, with everything mounted below it, also appear at ``target``."""
    mount(source, target, None, MS_BIND | MS_REC)


def make_read_only(target: str) -> None:
    """Make the mount at ``target`` read-only, and keep the flags that a user namespace may not remove."""
    current = os.statvfs(target).f_flag
    kept = sum(flag for bit, flag in _STATVFS_TO_MOUNT.items() if current & bit)
    mount(None, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def change_root(new_root: str) -> None:
    """Make the mount ``new_root`` the root of this mount namespace, and detach the old root."""
    os.chdir(new_root)
    number = _PIVOT_ROOT_NUMBERS.get(os.uname().machine)
    if number is None:
        os.chroot(".")
    else:
        # The old root is stacked under the new one and detached; so it needs no directory of its own.
        _call("syscall", ctypes.c_long(number), b".", b".", about="pivot_root")
        _call("umount2", b".", MNT_DETACH, about="old root")
    os.chdir("/")


def die_with_parent(signal_number: int) -> None:
    """Let the kernel send ``signal_number`` to this process when the thread that started it ends."""
    _call("prctl", _PR_SET_PDEATHSIG, ctypes.c_ulong(signal_number), 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent has ended."""
    _call("prctl", _PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)


def forbid_new_privileges() -> None:
    _call("prctl", _PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0)


def _path(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def _call(name: str, *arguments: object, about: str = "") -> None:
    if not AVAILABLE:
        raise OSError(errno.ENOSYS, f"{name}: only on Linux")
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name} {about}: {os.strerror(code)}".replace(" :", ":"))
