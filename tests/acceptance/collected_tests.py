"""Which tests pytest finds in some files, and where they can run: asked of pytest itself, in this process."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance.acceptance_stand import Scenario

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Collected:
    """One test, with all its parameters."""

    runs_on_servers: bool
    """Whether ``--control-plane`` says which API server it runs on (``tests/conftest.py``)."""
    scenario: Scenario | None


class _Collector:
    def __init__(self) -> None:
        self.found: dict[str, Collected] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            on_servers = "control_plane" in getattr(item, "fixturenames", ())
            scenario = getattr(getattr(item, "function", None), "scenario", None)
            self.found[item.nodeid.partition("[")[0]] = Collected(on_servers, scenario)


def collect(files: Collection[str]) -> Mapping[str, Collected]:
    """The tests in these files, which are named from the root of the project, by their path without parameters."""
    collector = _Collector()
    quiet = ("-q", "--capture=no", "-p", "no:cacheprovider")
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
        code = pytest.main(
            ["--collect-only", *quiet, f"--rootdir={ROOT}", *(str(ROOT / file) for file in sorted(files))],
            plugins=[collector],
        )
    assert code == pytest.ExitCode.OK, said.getvalue()
    return collector.found
