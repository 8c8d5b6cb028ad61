"""All tests on a real control plane, and a part of the engine's proof. Each suite has its own control plane.

The tests mostly wait: for controllers, for tokens to expire, for watches to be given up.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from tools.control_plane.session import KUBECONFIG_VARIABLE
from tools.side_by_side import EVERY_DEATH, SPARE_TIME, Suite, run_side_by_side

CORES: Final = 2.0


def _e2e(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/e2e/test_{name}.py" for name in names)


REAL: Final = ("--control-plane=real",)
BEHIND_FAULTS: Final = 5
"""Niceness of what waits most of the time."""

PAGES: Final = _e2e("documented_pages", "write_budget", "go_sdk_line", "control_plane", "interruption")
"""They start what they need: embedded clusters, hubs, or control planes of their own."""

RELEASES: Final = _e2e("install_manifests", "installed_wheels", "release", "restore", "stored_versions", "upgrade")
"""How a release is installed, replaced by the next one, and restored."""

SUITES: Final[Sequence[Suite]] = (
    *(Suite((path,), 0.0, budget, niceness=SPARE_TIME) for path, budget in zip(EVERY_DEATH, (200, 100), strict=True)),
    Suite(_e2e("faults_between", "faults_of_managers", "faults_of_servers"), 1.0, options=REAL),
    Suite(PAGES, 0.5, options=REAL, niceness=BEHIND_FAULTS),
    Suite(("tests/integration",), 0.5, options=REAL, niceness=BEHIND_FAULTS),
    Suite(("tests/e2e",), 0.5, options=REAL, niceness=BEHIND_FAULTS),
    Suite(RELEASES, 0.5, options=REAL, niceness=BEHIND_FAULTS),
    Suite(_e2e("helm_release", "helm_templates", "cert_manager"), 0.5, options=REAL, niceness=BEHIND_FAULTS),
    Suite(("tests/conformance", *_e2e("realtime_embedded")), 0.5, options=REAL, niceness=BEHIND_FAULTS),
    Suite(
        ("tests/acceptance", *_e2e("realtime_on_server", "unreadable_status", "least_privilege")),
        0.5,
        options=REAL,
        niceness=BEHIND_FAULTS,
    ),
    Suite(
        _e2e("deliveries", "stored_data", "warm_kills", "cloud_stores", "object_store", "topics_example", "wire"),
        0.5,
        options=REAL,
        niceness=BEHIND_FAULTS,
    ),
)
"""Long suites come first. While the fault tests run, which measure when a lease ends, they come before everything else,
and two others use what they leave; afterwards there are four at a time. A part of the engine's proof, which needs no
control plane, uses what all of them leave.
"""


def run_suites(options: Sequence[str]) -> int:
    """Run the suites; returns the worst exit code.

    ``options`` go to pytest, and may choose tests of some suites only.
    """
    of_somebody_else = bool(os.environ.get(KUBECONFIG_VARIABLE))  # one cluster: one suite after the other
    return run_side_by_side(SUITES, options, cores=0.0 if of_somebody_else else CORES)
