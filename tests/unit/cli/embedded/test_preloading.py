"""A process that loads early changes nothing until it is wanted, and never outlives the command that may want it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.embedded.filelock import open_lock
from cli.embedded.folder import SERVING_LOCK, make_folder
from cli.embedded.preloading import LoadingProcess, loading

DEADLINE_SECONDS = 60.0


def ended(pid: int) -> bool:
    """Whether the process has ended; a zombie has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def wait_until_ended(pid: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not ended(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.05)


def test_a_process_that_is_not_wanted_ends_and_leaves_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"

    with loading(data) as process:
        assert process is not None
        assert process.poll() is None

    assert process.poll() is not None
    assert not data.exists()


def test_it_ends_when_the_command_is_killed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    program = (
        "import os, pathlib, sys\n"
        "from cli.embedded.preloading import LoadingProcess\n"
        "process = LoadingProcess(pathlib.Path(sys.argv[1]))\n"
        "print(process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )

    command = subprocess.run([sys.executable, "-c", program, str(data)], capture_output=True, text=True, check=False)

    wait_until_ended(int(command.stdout))
    assert not data.exists()


def test_one_that_has_died_is_not_begun(tmp_path: Path) -> None:
    process = LoadingProcess(tmp_path / "data")
    os.kill(process.pid, 9)
    wait_until_ended(process.pid)

    assert not process.begin()

    process.close()
    assert process.poll() is not None


def test_no_process_loads_for_a_cluster_that_is_up(tmp_path: Path) -> None:
    make_folder(tmp_path / "data")
    with open_lock(tmp_path / "data" / SERVING_LOCK) as lock:
        assert lock.try_exclusive()

        with loading(tmp_path / "data") as process:
            assert process is None


def test_a_process_that_cannot_be_started_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.embedded.preloading.module_command", lambda module: (str(tmp_path / "no-such-python"),))

    with loading(tmp_path / "data") as process:
        assert process is None
