"""Ctrl-C while tests run on a real control plane: when the tests end, everything that they started has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.e2e.test_control_plane import alive
from tests.integration.nodecluster import parent_of, until
from tools.control_plane.session import KUBECONFIG_VARIABLE

ROOT = Path(__file__).parents[2]
PROGRAMS = (b"/etcd", b"/kube-apiserver", b"/kube-controller-manager", b"control_plane\0up", b"node.launcher.zygote")
LONG_TEST = "tests/integration/test_operator_runs.py::test_a_job_that_may_try_again_by_itself_is_one_attempt"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_nothing_is_left_when_the_tests_are_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    options = ["-q", "--control-plane=real", f"--basetemp={tmp_path / 'tests'}", "-p", "no:cacheprovider"]
    environment = {name: value for name, value in os.environ.items() if name != KUBECONFIG_VARIABLE}
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, LONG_TEST],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as tests:
        found: dict[int, bytes] = {}

        async def at_work() -> bool:
            found.update(descendants(tests.pid))
            return all(any(program in command for command in found.values()) for program in PROGRAMS)

        try:
            trio.run(partial(until, at_work, seconds=90))
            os.killpg(tests.pid, number)  # as a terminal does: to the whole group

            async def ended() -> bool:
                return tests.poll() is not None

            trio.run(partial(until, ended, seconds=60))
        finally:
            tests.kill()

    async def none_lives() -> bool:
        return not any(map(alive, found))

    trio.run(partial(until, none_lives, seconds=10))


def descendants(pid: int) -> Iterator[tuple[int, bytes]]:
    """Descendants of ``pid``, with their command lines."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                child = int(entry.name)
                if parent_of(child) == pid:
                    yield child, (entry / "cmdline").read_bytes()
                    yield from descendants(child)
            except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                continue
