"""All tests on a real control plane. Each suite has its own control plane.

The tests mostly wait: for controllers, for tokens to expire, for watches to be given up.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from tests.e2e.control_plane.session import KUBECONFIG_VARIABLE
from tests.e2e.side_by_side import Suite, run_side_by_side

CORES: Final = 2.0
SUITES: Final[Sequence[Suite]] = (
    Suite(tuple(f"tests/e2e/test_faults_{of}.py" for of in ("between", "of_managers", "of_servers")), 1.2),
    Suite(("tests/integration",), 0.7),
    Suite(("tests/conformance",), 0.4),
    Suite(("tests/acceptance",), 0.4),
    Suite(("tests/e2e",)),
    Suite(("tests/e2e/test_unreadable_status.py", "tests/e2e/test_least_privilege.py")),
)
"""A suite's own control plane uses the part of a core that is free while the tests wait. The fault tests get more than
they use, because they measure when a lease ends.
"""


def run_suites(options: Sequence[str]) -> int:
    """Run the suites; returns the worst exit code.

    ``options`` go to pytest, and may choose tests of some suites only.
    """
    of_somebody_else = bool(os.environ.get(KUBECONFIG_VARIABLE))  # one cluster: one suite after the other
    return run_side_by_side(SUITES, ["--control-plane=real", *options], cores=0.0 if of_somebody_else else CORES)
