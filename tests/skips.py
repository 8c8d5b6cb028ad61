"""Which tests may be skipped where ``CI`` is ``true``. A test that vanishes for another reason fails the run there.

At the end, each run lists its skips: how many tests, the reason, and why it is accepted. Elsewhere nothing fails: a
laptop may lack programs.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

import pytest

ACCEPTED: Final = (
    (r"needs a real control plane: --control-plane real", "make e2e plays it on one"),
    (r"not modelled: .*", "the other servers are asked; tests/conformance/model_gaps.py has the list"),
    (r"no (fish|zsh) on PATH", "bash is always tested; the scripts of the others are checked as texts"),
    (r"only root renews lists of packages", "others have no right to; the failure is tested as every user"),
    (r"this machine has no .*", "BOBRAPET_E2E_WITHOUT_PYTHONS=1 accepts it: else the test fails in CI"),
)
"""Pattern of the whole reason, and why the skip is accepted. No row is for a program that CI can install."""


def is_binding() -> bool:
    return os.environ.get("CI") == "true"


def why_accepted(reason: str) -> str | None:
    """None: a test that is skipped for this reason is missing."""
    return next((why for pattern, why in ACCEPTED if re.fullmatch(pattern, reason, re.DOTALL)), None)


class SkipLedger:
    """The skips of a run; a plugin of pytest."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()

    @property
    def fails(self) -> bool:
        return is_binding() and any(why_accepted(reason) is None for reason in self.reasons)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._note(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.fails and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.reasons:
            terminalreporter.section("tests that were skipped, and why that is accepted")
            for line in self._lines():
                terminalreporter.write_line(line)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        told = report.longrepr
        text = told[2] if isinstance(told, tuple) else str(told)
        self.reasons[text.removeprefix("Skipped: ")] += 1

    def _lines(self) -> Iterator[str]:
        for reason, count in sorted(self.reasons.items()):
            why = why_accepted(reason)
            missing = "NOT ACCEPTED in CI: install what is missing, or add a reason to tests/skips.py"
            yield f"{count} × {reason}: {why or missing}"
