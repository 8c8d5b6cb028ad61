"""A pytest plugin that measures the CPU time of each test, in this process and in the processes that it started.

``python -m pytest -p tools.cpu_time --cpu-times=FILE …`` writes the times to FILE. Wall time means little on a
machine that others use, too. A fixture that several tests share is counted for the test that used it first, and its
end for the last. What a process of the session does, such as a control plane, counts for the test that runs at that
moment: on Linux, where ``/proc`` shows what running processes have used. Elsewhere a process counts once it has ended
and was waited for. A process that leaves its parent, such as a cluster in the background, does not count.

Machines differ, and so does one machine when it is busy. A probe, a fixed piece of work, is timed every few seconds
between two tests: ``speed`` compares it with the machine on which the budgets were measured.
"""

from __future__ import annotations

import json
import math
import os
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import pytest

REFERENCE_PROBE_SECONDS: Final = 0.0062
"""What the probe takes on the machine where the budgets were measured."""
_PROBE_EVERY_SECONDS: Final = 3.0
"""In CPU time. The probes take one or two thousandths of it."""
_LOOK_EVERY_SECONDS: Final = 0.5
"""How often the processes of the machine are listed, between two tests. This takes two or three milliseconds."""
_PROC: Final = Path("/proc")


@dataclass
class Times:
    """CPU seconds of one pytest process; ``tests`` by the name of the test."""

    total: float = 0.0
    """Includes the start of the process, the imports, and the collection of the tests."""
    speed: float = 1.0
    """How many times as fast this machine was as the one on which the budgets were measured."""
    tests: Mapping[str, float] = field(default_factory=dict)

    @property
    def reference(self) -> float:
        """What the total would be on the machine where the budgets were measured; at most the total.

        This corrects for a slow machine. A fast machine gives no penalty: the probe fits into the caches and gains more
        from the speed than tests do.
        """
        return self.total * min(1.0, self.speed)


def read(file: Path) -> Times | None:
    """The times in a file. None if the process ended before it could write them."""
    text = file.read_text() if file.exists() else ""
    return Times(**json.loads(text)) if text else None


def cpu_seconds() -> float:
    """CPU time used so far, user and system, by this process and by its children that have ended."""
    return _own_seconds() + _ended_seconds()


def _own_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _ended_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _RunningProcesses:
    """What the descendants of this process that have not ended have used, as far as they are known."""

    def __init__(self) -> None:
        self._known = 0.0
        self._looked_at = -math.inf
        self._ended = 0.0

    def seconds(self) -> float:
        """Looks at most every half second, and whenever a child has ended: its time is then no longer one of these."""
        ended, now = _ended_seconds(), time.monotonic()
        if ended != self._ended or now - self._looked_at > _LOOK_EVERY_SECONDS:
            self._ended, self._looked_at, self._known = ended, now, running_seconds(os.getpid())
        return self._known


def running_seconds(parent: int) -> float:
    """CPU seconds of the running descendants of a process, and of their children that have ended.

    0 where there is no ``/proc``.
    """
    used: dict[int, int] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for folder in _PROC.iterdir() if _PROC.is_dir() else ():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            used[int(folder.name)] = sum(map(int, fields[11:15]))
            children[int(fields[1])].append(int(folder.name))
    below = list(children[parent])
    for pid in below:  # grows while it is read
        below += children[pid]
    return sum(used[pid] for pid in below) / os.sysconf("SC_CLK_TCK")


def probe() -> float:
    """CPU seconds for a piece of work like that of most tests: dictionaries, strings, JSON."""
    began = time.thread_time()
    kept: dict[str, dict[int, object]] = {}
    for number in range(6_000):
        key = f"key {number % 97}"
        kept[key] = {**kept.get(key, {}), number % 7: [number, key]}
        if len(kept[key]) > 5:
            kept[key] = {}
    json.dumps({key: list(values.values()) for key, values in kept.items()})
    return time.thread_time() - began


class _Clock:
    """Collects the times of one session."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.tests: dict[str, float] = {}
        self.probes = [probe()]
        self.probed_at = cpu_seconds()
        self.running = _RunningProcesses()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        if cpu_seconds() - self.probed_at > _PROBE_EVERY_SECONDS:
            self.probes.append(probe())
            self.probed_at = cpu_seconds()
        before = self._used()
        try:
            return (yield)
        finally:
            self.tests[item.nodeid] = self.tests.get(item.nodeid, 0.0) + self._used() - before

    def _used(self) -> float:
        running = self.running.seconds()  # first: looking takes time, too
        return cpu_seconds() + running

    def pytest_unconfigure(self) -> None:
        speed = REFERENCE_PROBE_SECONDS / statistics.median(self.probes)
        self.file.write_text(json.dumps(asdict(Times(cpu_seconds() + running_seconds(os.getpid()), speed, self.tests))))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cpu-times", metavar="FILE", help="leave the CPU seconds of each test in FILE, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    if file := config.getoption("cpu_times"):
        config.pluginmanager.register(_Clock(Path(file)), "cpu times")
