"""Runs suites of tests in separate processes, side by side: on two cores that takes little more than half as long.

``make test`` runs ``python -m tools.side_by_side [OPTION_OF_PYTEST…]``. A suite begins once there is room for it.
The output of each suite is printed as a whole when it has ended, so that outputs do not mix. The random choices of a
suite do not depend on the imports of another suite, nor on the order of a set, which is fixed.

At the end a table says where the time went. A suite that took more CPU than its budget fails the run if ``CI`` is
``true``, or with the option ``--budgets``. Otherwise it is only named.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import STDOUT
from typing import Final, TypeAlias

import trio

from tools import cpu_time, time_table

Paths: TypeAlias = tuple[str, ...]
"""Folders and files of a suite."""

ROOT: Final = Path(__file__).parents[1]


@dataclass(frozen=True)
class Suite:
    """What one process runs, and how much of a core it uses."""

    paths: Paths
    cores: float = 1.0
    budget: float | None = None
    """CPU seconds that it may take where ``cpu_time.REFERENCE_PROBE_SECONDS`` was measured. None: no limit."""
    options: tuple[str, ...] = ()
    """Options of pytest for this suite only."""
    niceness: int = 0
    """Of its processes. With 19 it takes only the CPU that others leave: for tests that only compute, beside others."""

    @property
    def name(self) -> str:
        return self.paths[0] if len(self.paths) == 1 else f"{self.paths[0]} … {self.paths[-1]}"

    def fits(self, running: Collection[Suite], cores: float) -> bool:
        """Whether there is room. A suite always fits alone, so that none waits for ever."""
        return not running or self.cores + sum(suite.cores for suite in running) <= cores


SPARE_TIME: Final = 19
"""Niceness of what only computes."""
EVERY_DEATH: Final[Paths] = ("fuzz/engine/test_engine_every_await.py", "fuzz/engine/test_engine_clients.py")
"""The proof that a death at any moment changes nothing. It runs with ``make e2e``, in the time for which that waits."""


def suites() -> Sequence[Suite]:
    """The suites. Long ones come first; those that mostly wait for processes and clusters leave room for others, and
    time for a suite that only computes.

    The third number is the budget: the time on the reference machine, and 1.4 times that. On a busy day a suite takes
    half more, and no run may fail because the machine is slow.
    """
    return (
        Suite(("fuzz/engine",), 0.0, 390, tuple(f"--ignore={path}" for path in EVERY_DEATH), niceness=SPARE_TIME),
        Suite(_integration("node_*", "launch_*", "full_disk", "*_example"), 0.4, 170),
        Suite(("tests/integration",), 0.4, 300),
        Suite(_integration("operator_[a-l]*", "controllers_*", "apiserver_*", "kubectl_*"), 0.4, 225),
        Suite(_integration("admission_*", "certs_*", "conversion_*", "embedded_admission*", "wheels"), 0.4, 180),
        Suite(_integration("hub_*", "embedded_hub", "operator_streams"), 0.4, 145),
        Suite(_integration("command_line_*"), 0.6, 300),
        Suite(("tests/unit", "localcluster"), 0.8, 360),
        Suite(("tests/unit/core",), 0.8, 300),
        Suite(("tests/unit/cli", "tests/unit/hub", "tests/unit/sdk"), 0.8, 270),
        Suite(("fuzz",), 0.8, 210),
        Suite(("tests/acceptance",), 0.4, 56),
        Suite(("tests/conformance",), 0.6, 75),
    )


def _integration(*names: str) -> Paths:
    """The integration tests whose file names match these, without ``test_`` and ``.py``."""
    found = {path for name in names for path in ROOT.glob(f"tests/integration/test_{name}.py")}
    return tuple(str(path.relative_to(ROOT)) for path in sorted(found))


CORES: Final = 3.2
"""More than there are: what waits most of the time leaves room that is not to stay empty."""
HASH_SEED: Final = "0"
"""For all processes, so that a failure can be repeated."""
NOTHING_FOUND: Final = 5
"""pytest's exit code when no test was chosen. A suite that ends with it fails the run, unless options choose tests."""
CHOOSING: Final = ("-k", "-m", "--deselect", "--last-failed", "--lf")
"""How options of pytest begin that leave out tests."""
INTERRUPTED: Final = 130
OVER_BUDGET: Final = 1
BUDGETS_OPTION: Final = "--budgets"


@dataclass
class _Progress:
    options: Sequence[str]
    cores: float
    waiting: list[Suite]
    left_out: Mapping[Suite, Sequence[str]]
    """For each suite, the paths that other suites run."""
    budgets: bool
    """Whether a suite that exceeded its budget fails the run."""
    codes: list[int] = field(default_factory=list)
    spent: list[time_table.Spent] = field(default_factory=list)
    running: dict[Suite, trio.Process | None] = field(default_factory=dict)
    ended: trio.Event = field(default_factory=trio.Event)
    interrupted: bool = False

    def next(self) -> Suite | None:
        """The first suite for which there is room. None: another suite has to end first."""
        found = next((suite for suite in self.waiting if suite.fits(self.running, self.cores)), None)
        if found is not None:
            self.waiting.remove(found)
        return found


def run_side_by_side(suites: Sequence[Suite], options: Sequence[str], cores: float = CORES) -> int:
    """Run the suites; returns the worst exit code. ``options`` go to pytest, and may choose tests of some suites only.

    A suite of a folder leaves out paths inside the folder that are suites themselves. ``--budgets`` among the options,
    or ``CI=true`` in the environment, makes budgets binding.
    """
    budgets = BUDGETS_OPTION in options or os.environ.get("CI") == "true"
    given = [option for option in options if option != BUDGETS_OPTION]
    return trio.run(_run, _Progress(given, cores, [*suites], _without_each_other(suites), budgets))


def _without_each_other(suites: Sequence[Suite]) -> dict[Suite, Sequence[str]]:
    named = [path for suite in suites for path in suite.paths]
    return {
        suite: [other for other in named if any(other.startswith(f"{path}/") for path in suite.paths)]
        for suite in suites
    }


async def _run(progress: _Progress) -> int:
    started = time.monotonic()
    async with trio.open_nursery() as outer:
        await outer.start(_hand_on_signals, progress)
        async with trio.open_nursery() as nursery:
            while progress.waiting and not progress.interrupted:
                if (suite := progress.next()) is None:
                    await progress.ended.wait()
                else:
                    progress.running[suite] = None
                    nursery.start_soon(_play, progress, suite)
        outer.cancel_scope.cancel()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    _say("Where the time went", *time_table.table(progress.spent))
    _say(f"All suites: {time.monotonic() - started:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of CPU")
    if progress.interrupted:
        return INTERRUPTED
    chooses = any(option.startswith(CHOOSING) for option in progress.options)
    found = [code for code in progress.codes if not (chooses and code == NOTHING_FOUND)]
    if complaints := time_table.complaints(progress.spent):
        _say("Over budget" if progress.budgets else "Over budget, which fails the run in CI", *complaints)
        found += [OVER_BUDGET] if progress.budgets else []
    return max((abs(code) for code in found), default=NOTHING_FOUND)


async def _play(progress: _Progress, suite: Suite) -> None:
    started = time.monotonic()
    _say(f"{suite.name}: begins")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *suite.paths]
    left_out = [f"--ignore={path}" for path in progress.left_out[suite]]
    priority = ["nice", "-n", str(suite.niceness)] if suite.niceness else []
    importable = os.pathsep.join(path for path in (str(ROOT), os.environ.get("PYTHONPATH")) if path)
    with tempfile.TemporaryFile() as output, tempfile.NamedTemporaryFile() as times:
        measured = ["-p", "tools.cpu_time", f"--cpu-times={times.name}"]
        process = await trio.lowlevel.open_process(
            [*priority, *command, *left_out, *measured, *suite.options, *progress.options],
            stdout=output,
            stderr=STDOUT,
            env=os.environ | {"PYTHONHASHSEED": HASH_SEED, "PYTHONPATH": importable},
        )
        progress.running[suite] = process
        code = await process.wait()
        output.seek(0)
        sys.stdout.write(output.read().decode(errors="replace"))
        used = cpu_time.read(Path(times.name))
    wall = time.monotonic() - started
    progress.codes.append(code)
    if used is not None:
        progress.spent.append(time_table.Spent(suite.name, wall, used, suite.budget))
    _say(f"{suite.name}: exit code {code} after {wall:.0f} s")
    del progress.running[suite]
    progress.ended.set()
    progress.ended = trio.Event()


async def _hand_on_signals(progress: _Progress, task_status: trio.TaskStatus[None]) -> None:
    """Pass SIGTERM on to the tests, and wait until they have cleaned up.

    Ctrl-C reaches the tests directly, because they are in the foreground, too.
    """
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            progress.interrupted = True
            if number == signal.SIGTERM:
                for process in progress.running.values():
                    if process is not None:
                        process.send_signal(number)


def _say(*lines: str) -> None:
    print("\n".join(f"### {line}" for line in lines), flush=True)


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(run_side_by_side(suites(), sys.argv[1:]))
