"""All tests on a real control plane: those of the API server beside the others, each on a control plane of its own.

They mostly wait: for controllers, for tokens to expire, for watches to be given up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from side_by_side import run_side_by_side

FOLLOWED: Final = ("tests/e2e", "tests/acceptance", "tests/integration")
BESIDE: Final = ("tests/conformance",)


def run_suites(options: Sequence[str]) -> int:
    """The worse of the two exit codes; ``options`` go to pytest, and may choose tests of one of them only."""
    return run_side_by_side(FOLLOWED, BESIDE, ["--control-plane=real", *options])
