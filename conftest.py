"""What all test runs share, whichever folders they choose."""

from __future__ import annotations

import gc
import os
from typing import Final

import pytest

from tests.skips import SkipLedger
from tests.time_limit import limit_tests

_TERMINAL: Final[pytest.StashKey[int]] = pytest.StashKey()
"""What file descriptor 2 was before pytest captured it."""


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TERMINAL] = os.dup(2)
    config.pluginmanager.register(SkipLedger(), "skips")


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[_TERMINAL])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Before pytest-trio gives the tests its own runner."""
    limit_tests(config, items, config.stash[_TERMINAL])


def pytest_collection_finish(session: pytest.Session) -> None:
    """Modules and collected tests live as long as the session: spare the garbage collector another look at them.

    It also looks less often: with its own thresholds it takes 6 % of the time of the engine's proof, with these 4 %.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 50)
