"""All tests on a real control plane: those of the API server beside the others, each on a control plane of its own.

They mostly wait: for controllers, for tokens to expire, for watches to be given up. What the second says is printed
when both have ended, so that the first can be followed.
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

FOLLOWED: Final = ("tests/e2e", "tests/acceptance", "tests/integration")
BESIDE: Final = ("tests/conformance",)
NOTHING_FOUND: Final = 5
"""pytest's exit code when no test was chosen."""


def run_suites(options: Sequence[str]) -> int:
    """The worse of the two exit codes; ``options`` go to pytest, and may choose tests of one of them only."""
    command = [sys.executable, "-m", "pytest", "--control-plane=real"]
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "beside"
        with told.open("w") as output:
            first = subprocess.Popen([*command, *FOLLOWED, *options])
            second = subprocess.Popen([*command, "-p", "no:cacheprovider", *BESIDE, *options], stdout=output)
        _hand_on_signals(first, second)
        codes = [first.wait(), second.wait()]
        sys.stdout.write(f"\nBeside them: {' '.join(BESIDE)}\n{told.read_text()}")
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
