"""Work ends with its result, or with the signal that canceled it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import trio
import trio.testing

from cli.exit_code import ExitCode
from cli.interruption import InterruptedBySignalError, run_async
from cli.options import CommonOptions


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)]
)
def test_a_signal_cancels_the_work_and_names_its_code(number: signal.Signals, code: ExitCode) -> None:
    cleaned: list[bool] = []

    async def work() -> None:
        try:
            await trio.testing.wait_all_tasks_blocked()  # the signal handler is in place
            os.kill(os.getpid(), number)
            await trio.sleep_forever()
        finally:
            cleaned.append(True)

    with pytest.raises(InterruptedBySignalError) as interruption:
        run_async(CommonOptions(), work)

    assert interruption.value.code is code
    assert cleaned == [True]


def test_work_that_ends_gives_its_result() -> None:
    async def work() -> int:
        await trio.lowlevel.checkpoint()
        return 7

    assert run_async(CommonOptions(), work) == 7


def test_nothing_that_talks_to_a_cluster_is_loaded() -> None:
    program = "import sys, cli.interruption; print([name for name in ('httpx', 'kubernetes') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
