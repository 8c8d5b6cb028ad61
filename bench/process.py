"""Reads what processes use from ``/proc``: CPU seconds and resident memory; also their arguments and children."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import trio

IDLE_DEADLINE_SECONDS = 300.0


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes so far, without the time of children that have ended."""
    return sum(int(field) for pid in pids for field in _stat(pid)[11:13]) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_resident_bytes(pid: int) -> int:
    """The peak since the process began its program; ``getrusage`` also counts the parent's memory before that."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def command_line(pid: int) -> bytes:
    """The arguments, each followed by a zero byte; empty for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def descendants(pid: int) -> Iterator[int]:
    """The children of ``pid`` and their descendants at this moment."""
    stats = {int(path.name): _stat(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdigit()}
    found = [pid]
    while found:
        parent = found.pop()
        children = [child for child, stat in stats.items() if stat and int(stat[1]) == parent]
        yield from children
        found += children


def _stat(pid: int) -> list[str]:
    """The fields from the state on; empty for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


async def until_idle(pid: int) -> None:
    """Wait until a process has used less than a hundredth of a core for a while."""
    with trio.fail_after(IDLE_DEADLINE_SECONDS):
        while True:
            before = cpu_seconds([pid])
            await trio.sleep(3)
            if cpu_seconds([pid]) - before < 0.03:
                return
