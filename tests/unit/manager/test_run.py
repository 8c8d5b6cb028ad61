"""The operator's process: its reaction to a signal, and to the end of its parent."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from manager.options import ManagerOptions
from manager.run import log_tasks_on_signal, run_until_signal


@pytest.fixture
def parent_that_has_gone() -> Iterator[None]:
    """Standard input is the pipe of a process that ended without writing anything."""
    before = os.dup(0)
    reading, writing = os.pipe()
    os.close(writing)
    os.dup2(reading, 0)
    os.close(reading)
    yield
    os.dup2(before, 0)
    os.close(before)


async def test_sigusr1_logs_what_every_task_waits_for_each_time(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    nursery.start_soon(log_tasks_on_signal)
    nursery.start_soon(trio.sleep_forever, name="run team/etl")
    await wait_all_tasks_blocked()
    for _ in range(2):
        signal.raise_signal(signal.SIGUSR1)
        await wait_all_tasks_blocked()

    records = [vars(record)["bobrapet_fields"] for record in caplog.records if record.getMessage() == "task tree"]
    assert [(record["part"], record["parts"]) for record in records] == [(1, 1), (1, 1)]
    assert all("run team/etl at trio." in record["tasks"] for record in records)
    assert "manager.run.log_tasks_on_signal at manager.run:" in records[0]["tasks"]


async def test_a_large_task_tree_is_logged_in_records_that_fit_a_line_of_a_container_log(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    nursery.start_soon(log_tasks_on_signal)
    for number in range(250):
        nursery.start_soon(trio.sleep_forever, name=f"run team/etl-{number:03}")
    await wait_all_tasks_blocked()
    signal.raise_signal(signal.SIGUSR1)
    await wait_all_tasks_blocked()

    records = [vars(record)["bobrapet_fields"] for record in caplog.records if record.getMessage() == "task tree"]
    assert [(record["part"], record["parts"]) for record in records] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [len(record["tasks"].splitlines()) for record in records[:3]] == [80, 80, 80]
    assert "run team/etl-249 at" in records[3]["tasks"]


async def test_after_the_nursery_ends_the_signal_is_what_it_was_before() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log_tasks_on_signal)
        await wait_all_tasks_blocked()
        assert signal.getsignal(signal.SIGUSR1) != before
        nursery.cancel_scope.cancel()

    assert signal.getsignal(signal.SIGUSR1) == before


@pytest.mark.usefixtures("parent_that_has_gone")
async def test_a_manager_whose_parent_ends_before_it_gave_the_kubeconfig_ends_too() -> None:
    with trio.fail_after(5):
        await run_until_signal(ManagerOptions(attached=True))
