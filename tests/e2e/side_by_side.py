"""Two halves of the tests in two processes: on two cores that takes little more than the longer half.

``python -m side_by_side [OPTION_OF_PYTEST…]`` is what ``make test`` does. One half mostly waits, for servers, processes
and watches; the other computes. What the second says is printed when both have ended: the first can be followed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

WAITING: Final = ("tests/acceptance", "tests/integration", "tests/conformance")
COMPUTING: Final = ("tests/unit", "fuzz")
NOTHING_FOUND: Final = 5
"""pytest's exit code when no test was chosen."""


def run_side_by_side(followed: Sequence[str], beside: Sequence[str], options: Sequence[str]) -> int:
    """The worse of the two exit codes; ``options`` go to pytest, and may choose tests of one half only."""
    command = [sys.executable, "-m", "pytest"]
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "beside"
        with told.open("w") as output:
            first = subprocess.Popen([*command, *followed, *options])
            second = subprocess.Popen([*command, "-p", "no:cacheprovider", *beside, *options], stdout=output)
        _hand_on_signals(first, second)
        codes = [first.wait(), second.wait()]
        sys.stdout.write(f"\nBeside them: {' '.join(beside)}\n{told.read_text()}")
        sys.stdout.flush()
    found = [code for code in codes if code != NOTHING_FOUND]
    return max((abs(code) for code in found), default=NOTHING_FOUND)


def _hand_on_signals(*tests: subprocess.Popen[bytes]) -> None:
    """Ctrl-C reaches the tests by itself, as they are in the foreground too; we wait until they have cleaned up."""

    def hand_on(number: int, _: object) -> None:
        for process in tests:
            if process.poll() is None:
                os.kill(process.pid, number)

    signal.signal(signal.SIGINT, lambda number, frame: None)
    signal.signal(signal.SIGTERM, hand_on)


if __name__ == "__main__":
    sys.exit(run_side_by_side(WAITING, COMPUTING, sys.argv[1:]))
