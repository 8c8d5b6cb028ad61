"""A pytest plugin that measures the CPU time of each test, in this process and in the processes that it started.

``python -m pytest -p tests.e2e.cpu_time --cpu-times=FILE …`` writes the times to FILE. Wall time means little on a
machine that others use, too. A fixture that several tests share is counted for the test that used it first, and its
end for the last. A child process counts once it has ended and was waited for. Processes that a test leaves running,
such as a cluster that a command starts in the background, do not count.

Machines differ, and so does one machine when it is busy. A probe, a fixed piece of work, is timed every few seconds
between two tests: ``speed`` compares it with the machine on which the budgets were measured.
"""

from __future__ import annotations

import json
import resource
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import pytest

REFERENCE_PROBE_SECONDS: Final = 0.0062
"""What the probe takes on the machine where the budgets were measured."""
_PROBE_EVERY_SECONDS: Final = 3.0
"""In CPU time. The probes take one or two thousandths of it."""


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
    own, ended = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


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

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        before = cpu_seconds()
        if before - self.probed_at > _PROBE_EVERY_SECONDS:
            self.probes.append(probe())
            before = self.probed_at = cpu_seconds()
        try:
            return (yield)
        finally:
            self.tests[item.nodeid] = self.tests.get(item.nodeid, 0.0) + cpu_seconds() - before

    def pytest_unconfigure(self) -> None:
        speed = REFERENCE_PROBE_SECONDS / statistics.median(self.probes)
        self.file.write_text(json.dumps(asdict(Times(cpu_seconds(), speed, self.tests))))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cpu-times", metavar="FILE", help="leave the CPU seconds of each test in FILE, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    if file := config.getoption("cpu_times"):
        config.pluginmanager.register(_Clock(Path(file)), "cpu times")
