"""What all test runs share, whichever folders they choose."""

from __future__ import annotations

import gc

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    """Modules and collected tests live as long as the session: spare the garbage collector another look at them."""
    gc.collect()
    gc.freeze()
