"""Prints the number of executions at the end of a test run."""

from __future__ import annotations

import pytest

from fuzz.engine import cases


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if cases.executions:
        terminalreporter.write_line(f"engine: {cases.executions} executions")
