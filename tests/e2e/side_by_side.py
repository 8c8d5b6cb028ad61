"""Suites of tests in processes of their own, two at a time: on two cores that takes little more than half as long.

``python -m side_by_side [OPTION_OF_PYTEST…]`` is what ``make test`` does. A lane that is free takes the next suite.
Each suite's output is printed whole when it has ended, so that none is torn apart by another. What a suite draws at
random does not depend on what another has imported, nor on the order of a set, which is fixed.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import STDOUT
from typing import IO, Final, TypeAlias

import trio

Suite: TypeAlias = tuple[str, ...]

ROOT: Final = Path(__file__).parents[2]


def suites() -> Sequence[Suite]:
    """What computes comes first, a lane for a core; then what mostly waits."""
    command_line = sorted(ROOT.glob("tests/integration/test_command_line_*.py"))
    return (
        ("fuzz/engine",),
        ("fuzz/engine/test_engine_every_await.py",),
        ("tests/unit/core",),
        ("tests/unit",),
        ("fuzz",),
        ("tests/integration",),
        tuple(str(path.relative_to(ROOT)) for path in command_line),
        ("tests/acceptance",),
        ("tests/conformance",),
    )


LANES: Final = 2
HASH_SEED: Final = "0"
"""Of all processes: what failed once fails again."""
NOTHING_FOUND: Final = 5
"""pytest's exit code when no test was chosen."""
INTERRUPTED: Final = 130


@dataclass
class _Progress:
    options: Sequence[str]
    waiting: list[tuple[Suite, Sequence[str]]]
    """Suites, and what each leaves to others."""
    codes: list[int] = field(default_factory=list)
    running: set[trio.Process] = field(default_factory=set)
    interrupted: bool = False


def run_side_by_side(suites: Sequence[Suite], options: Sequence[str], lanes: int = LANES) -> int:
    """The worst of the exit codes; ``options`` go to pytest, and may choose tests of some suites only.

    What is inside a folder and is a suite of its own is left out of that folder's.
    """
    return trio.run(partial(_run, _Progress(options, _without_each_other(suites)), lanes))


def _without_each_other(suites: Sequence[Suite]) -> list[tuple[Suite, Sequence[str]]]:
    named = [folder for suite in suites for folder in suite]
    return [
        (suite, [other for other in named if any(other.startswith(f"{folder}/") for folder in suite)])
        for suite in suites
    ]


async def _run(progress: _Progress, lanes: int) -> int:
    started = time.monotonic()
    async with trio.open_nursery() as outer:
        await outer.start(_hand_on_signals, progress)
        async with trio.open_nursery() as nursery:
            for _ in range(lanes):
                nursery.start_soon(_lane, progress)
        outer.cancel_scope.cancel()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    _say(f"All suites: {time.monotonic() - started:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of CPU")
    if progress.interrupted:
        return INTERRUPTED
    found = [code for code in progress.codes if code != NOTHING_FOUND]
    return max((abs(code) for code in found), default=NOTHING_FOUND)


async def _lane(progress: _Progress) -> None:
    while progress.waiting and not progress.interrupted:
        suite, others = progress.waiting.pop(0)
        with tempfile.TemporaryFile() as output:
            await _play(progress, suite, others, output)


async def _play(progress: _Progress, suite: Suite, others: Sequence[str], output: IO[bytes]) -> None:
    name, started = suite[0] if len(suite) == 1 else f"{suite[0]} … {suite[-1]}", time.monotonic()
    _say(f"{name}: begins")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *suite]
    left_out = [f"--ignore={folder}" for folder in others]
    process = await trio.lowlevel.open_process(
        [*command, *left_out, *progress.options],
        stdout=output,
        stderr=STDOUT,
        env=os.environ | {"PYTHONHASHSEED": HASH_SEED},
    )
    progress.running.add(process)
    code = await process.wait()
    progress.running.discard(process)
    progress.codes.append(code)
    output.seek(0)
    sys.stdout.write(output.read().decode(errors="replace"))
    _say(f"{name}: exit code {code} after {time.monotonic() - started:.0f} s")


async def _hand_on_signals(progress: _Progress, task_status: trio.TaskStatus[None]) -> None:
    """Ctrl-C reaches the tests by itself, as they are in the foreground too; we wait until they have cleaned up."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            progress.interrupted = True
            if number == signal.SIGTERM:
                for process in progress.running:
                    process.send_signal(number)


def _say(text: str) -> None:
    print(f"### {text}", flush=True)


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(run_side_by_side(suites(), sys.argv[1:]))
