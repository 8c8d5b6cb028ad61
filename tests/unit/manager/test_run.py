"""The operator's process: what ends it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import trio

from manager.options import ManagerOptions
from manager.run import run_until_signal


@pytest.fixture
def parent_that_has_gone() -> Iterator[None]:
    """Standard input is the pipe of a process that ended without a word."""
    before = os.dup(0)
    reading, writing = os.pipe()
    os.close(writing)
    os.dup2(reading, 0)
    os.close(reading)
    yield
    os.dup2(before, 0)
    os.close(before)


@pytest.mark.usefixtures("parent_that_has_gone")
async def test_a_manager_whose_parent_ends_before_it_gave_the_kubeconfig_ends_too() -> None:
    with trio.fail_after(5):
        await run_until_signal(ManagerOptions(attached=True))
