"""All tests on a real control plane, and a part of the engine's proof. Each suite has its own control plane.

The tests mostly wait: for controllers, for tokens to expire, for watches to be given up.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from tests.e2e.control_plane.session import KUBECONFIG_VARIABLE
from tests.e2e.side_by_side import EVERY_DEATH, Suite, run_side_by_side

CORES: Final = 2.0


def _e2e(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/e2e/test_{name}.py" for name in names)


REAL: Final = ("--control-plane=real",)

SUITES: Final[Sequence[Suite]] = (
    *(Suite((path,), 0.0, budget, in_spare_time=True) for path, budget in zip(EVERY_DEATH, (200, 100), strict=True)),
    Suite(_e2e("faults_between", "faults_of_managers", "faults_of_servers"), 1.2, options=REAL),
    Suite(("tests/integration",), 0.7, options=REAL),
    Suite(("tests/conformance",), 0.4, options=REAL),
    Suite(("tests/e2e",), 0.8, options=REAL),
    Suite(
        _e2e("deliveries", "stored_data", "cloud_stores", "object_store", "topics_example", "wire"), 0.7, options=REAL
    ),
    Suite(("tests/acceptance",), 0.4, options=REAL),
    Suite(_e2e("realtime_on_server", "unreadable_status", "least_privilege"), 0.8, options=REAL),
)
"""A suite's own control plane uses the part of a core that is free while the tests wait. The fault tests get more than
they use, because they measure when a lease ends. What they all leave is used by a part of the engine's proof, which
needs no control plane.
"""


def run_suites(options: Sequence[str]) -> int:
    """Run the suites; returns the worst exit code.

    ``options`` go to pytest, and may choose tests of some suites only.
    """
    of_somebody_else = bool(os.environ.get(KUBECONFIG_VARIABLE))  # one cluster: one suite after the other
    return run_side_by_side(SUITES, options, cores=0.0 if of_somebody_else else CORES)
