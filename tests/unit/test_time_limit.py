"""A test that hangs fails in time, and its output says where it hangs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 2.0

HANGING = """
import contextlib
import time

import pytest
import trio


@pytest.fixture
async def neighbour():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever, name="a neighbour")
        yield
        nursery.cancel_scope.cancel()


async def test_waits(neighbour):
    await trio.sleep_forever()


async def test_is_shielded():
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


def test_blocks():
    time.sleep(60)


async def test_blocks_the_loop():
    time.sleep(60)


async def test_sleeps_in_a_time_of_its_own(autojump_clock):
    await trio.sleep(10_000)


async def test_ends(neighbour):
    await trio.sleep(0.01)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tests that hang, with the settings of this repository and a shorter limit."""
    (tmp_path / "test_hanging.py").write_text(HANGING)
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (tmp_path / "pytest.ini").write_text(
        f"[pytest]\ntrio_mode = true\npythonpath = {ROOT} {ROOT / 'sdk'}\n"
        f"faulthandler_timeout = {LIMIT_SECONDS}\nfaulthandler_exit_on_timeout = true\n"
    )
    return tmp_path


def play(folder: Path, test: str) -> tuple[int, str]:
    """The exit code of pytest and its output."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"test_hanging.py::{test}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_wait_is_cancelled_and_shown_with_its_neighbours(folder: Path) -> None:
    code, output = play(folder, "test_waits")

    assert code == pytest.ExitCode.TESTS_FAILED
    assert "test_hanging.py::test_waits: not ended after 1.8 s" in output
    assert "    a neighbour at " in output
    assert "TimeLimitError: cancelled after 1.8 s" in output
    assert "<test 'test_waits'> at test_hanging:" in output


@pytest.mark.parametrize("test", ["test_is_shielded", "test_blocks", "test_blocks_the_loop"])
def test_what_cannot_be_cancelled_ends_with_the_process(folder: Path, test: str) -> None:
    code, output = play(folder, test)

    assert code == 1
    assert "Timeout (0:00:02)!" in output
    assert ("not ended after 1.8 s" in output) == (test == "test_is_shielded")


@pytest.mark.parametrize("test", ["test_ends", "test_sleeps_in_a_time_of_its_own"])
def test_what_ends_is_left_alone(folder: Path, test: str) -> None:
    code, output = play(folder, test)

    assert code == pytest.ExitCode.OK, output
