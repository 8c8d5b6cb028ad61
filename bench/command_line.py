"""Measures how fast the command answers: help and completion, each in a new process."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from bench.report import MILLISECONDS, Row, Value

REPEATS = 10


def measure() -> list[Row]:
    complete = {"_BOBRAPET_COMPLETE": "complete_bash", "COMP_WORDS": "bobrapet su", "COMP_CWORD": "1"}
    return [
        Row("`bobrapet --help`, median", _within_target(["--help"], {})),
        Row("`bobrapet run --help`, median", _within_target(["run", "--help"], {})),
        Row("completion of a verb, median", _within_target([], complete)),
    ]


def _within_target(arguments: list[str], environment: dict[str, str]) -> Value:
    return Value(_median(arguments, environment), MILLISECONDS, at_most=0.3)


def _median(arguments: list[str], environment: dict[str, str]) -> float:
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "cli", *arguments],
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
