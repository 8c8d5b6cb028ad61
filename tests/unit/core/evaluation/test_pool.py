"""Processes for expensive questions: reused, limited, ended, counted, and never left behind."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from core.evaluation.pool import OverLimitError, WorkerLimits, WorkerPool, _why_late, _Worker
from core.telemetry import catalogue, metrics

_ENDLESS = {
    "kind": "cel",
    "text": "inputs.s.contains(inputs.t)",
    "data": {"inputs": {"s": "a" * 2_000_000, "t": "a" * 1_000_000 + "b"}},
}
_HUNGRY: dict[str, Any] = {
    "kind": "cel",
    "text": "cel.bind(a, inputs.s + inputs.s, cel.bind(b, a + a, cel.bind(c, b + b, cel.bind(d, c + c, size(d) > 0))))",
    "data": {"inputs": {"s": "s" * 8_000_000}},
}
_SOUND = {"kind": "cel", "text": "inputs.n == 1", "data": {"inputs": {"n": 1}}}


def _children() -> set[int]:
    """Child processes of ours that run a worker."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_bytes()
            except OSError:  # it has ended meanwhile
                continue
            if parent == os.getpid() and b"evaluation/worker.py" in command:
                found.add(int(entry.name))
    return found


async def _warm(nursery: trio.Nursery, **options: Any) -> WorkerPool:
    pool = WorkerPool(lambda: WorkerLimits(**options))
    nursery.start_soon(pool.keep_warm)
    await trio.testing.wait_all_tasks_blocked()
    return pool


async def test_a_process_is_kept_for_the_next_question(nursery: trio.Nursery) -> None:
    pool = await _warm(nursery)
    assert (await pool.ask(_SOUND))["value"] is True
    first = _children()
    assert (await pool.ask(_SOUND))["value"] is True
    assert _children() == first
    assert len(first) == 1


def _program(folder: Path, prepare: str) -> str:
    program = folder / "program.py"
    program.write_text(
        "import sys, time\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from core.evaluation import worker\n"
        f"sys.exit(worker.serve({prepare}, 1))\n"
    )
    return str(program)


async def test_nothing_outlives_the_keeper() -> None:
    async with trio.open_nursery() as nursery:
        pool = await _warm(nursery)
        await pool.ask(_SOUND)
        assert _children()
        nursery.cancel_scope.cancel()
    assert not _children()


async def test_without_a_keeper_each_question_has_its_own_process() -> None:
    assert (await WorkerPool().ask(_SOUND))["value"] is True
    assert not _children()


async def test_a_question_over_its_time_is_ended_counted_and_the_next_one_answered(nursery: trio.Nursery) -> None:
    with metrics.recording() as recorder:
        pool = await _warm(nursery, seconds=1)
        with pytest.raises(OverLimitError, match="longer than 1 s") as caught:
            await pool.ask(_ENDLESS)
        assert caught.value.limit == "time"
        assert (await pool.ask(_SOUND))["value"] is True
        sample = recorder.registry.get_sample_value
        assert sample("bobrapet_evaluation_workers_ended_total", {"limit": "time"}) == 1
        assert sample("bobrapet_evaluation_workers_started_total") == 2


async def test_what_a_kept_process_took_too_long_for_is_not_asked_again(nursery: trio.Nursery) -> None:
    with metrics.recording() as recorder:
        pool = await _warm(nursery, seconds=1)
        await pool.ask(_SOUND)
        with pytest.raises(OverLimitError, match="longer than 1 s"):
            await pool.ask(_ENDLESS)
        assert recorder.registry.get_sample_value("bobrapet_evaluation_workers_started_total") == 1


async def test_who_has_to_wait_for_a_processor_has_more_time_on_the_clock(tmp_path: Path) -> None:
    program = _program(tmp_path, "lambda ask: lambda question: time.sleep(0.5)")
    patient = WorkerPool(lambda: WorkerLimits(seconds=0.2, patience=100.0), program)
    hasty = WorkerPool(lambda: WorkerLimits(seconds=0.2, patience=1.0), program)

    assert await patient.ask({}) is None
    with pytest.raises(OverLimitError, match=r"within 0\.2 s, because the machine is too busy") as caught:
        await hasty.ask({})
    assert caught.value.limit == "busy"
    assert not _children()


@pytest.mark.parametrize(("used", "limit"), [(0.0, "busy"), (0.9, "busy"), (1.1, "time"), (math.nan, "time")])
def test_a_question_is_to_blame_if_it_had_its_processor_or_more_time(used: float, limit: str) -> None:
    assert _why_late(WorkerLimits(seconds=2, patience=1.0), used).limit == limit
    assert _why_late(WorkerLimits(seconds=2), used).limit == "time"


async def test_a_process_says_how_much_it_has_used(tmp_path: Path) -> None:
    program = _program(tmp_path, "lambda ask: lambda question: any(0 for _ in iter(int, 1))")
    process = await _Worker.start(program, 1 << 30)
    try:
        before = process.cpu_seconds()
        with trio.move_on_after(0.1):
            await process.ask(b'{"cpu_seconds": 60}', lambda _: None)
        with trio.fail_after(30):
            while process.cpu_seconds() <= before:  # noqa: ASYNC110 - the kernel wakes nobody
                await trio.sleep(0.05)
    finally:
        await process.end()
    assert math.isnan(process.cpu_seconds() - process.cpu_seconds())


async def test_a_question_over_its_memory_is_ended_and_the_next_one_answered(nursery: trio.Nursery) -> None:
    pool = await _warm(nursery, memory_bytes=256 << 20)
    with pytest.raises(OverLimitError, match="more memory") as caught:
        await pool.ask(_HUNGRY)
    assert caught.value.limit == "memory"
    assert (await pool.ask(_SOUND))["value"] is True


async def test_a_process_that_somebody_ended_is_replaced(nursery: trio.Nursery) -> None:
    pool = await _warm(nursery)
    await pool.ask(_SOUND)
    (process,) = _children()
    os.kill(process, signal.SIGKILL)
    assert (await pool.ask(_SOUND))["value"] is True


async def test_changed_limits_count_from_the_next_question(nursery: trio.Nursery) -> None:
    current = WorkerLimits()
    pool = WorkerPool(lambda: current)
    nursery.start_soon(pool.keep_warm)
    await pool.ask(_SOUND)
    first = _children()
    current = WorkerLimits(processes=5)
    await pool.ask(_SOUND)
    assert _children() == first  # the same process is used again
    current = WorkerLimits(memory_bytes=256 << 20)
    with pytest.raises(OverLimitError, match="more memory"):
        await pool.ask(_HUNGRY)
    assert not _children() & first
    current = WorkerLimits(seconds=1)
    with pytest.raises(OverLimitError, match="longer than 1 s"):
        await pool.ask(_ENDLESS)


async def test_more_processes_are_allowed_while_others_wait(nursery: trio.Nursery) -> None:
    current = WorkerLimits(processes=1)
    pool = WorkerPool(lambda: current)
    nursery.start_soon(pool.keep_warm)
    async with trio.open_nursery() as inner:
        inner.start_soon(pool.ask, _ENDLESS)
        await trio.testing.wait_all_tasks_blocked()
        current = WorkerLimits(processes=2)
        with trio.fail_after(30):
            assert (await pool.ask(_SOUND))["value"] is True
        inner.cancel_scope.cancel()


async def test_a_cancelled_question_leaves_no_process() -> None:
    with trio.move_on_after(0.3) as scope:
        await WorkerPool(lambda: WorkerLimits(seconds=60)).ask(_ENDLESS)
    assert scope.cancelled_caught
    assert not _children()


async def test_no_more_processes_than_allowed_work_at_a_time(nursery: trio.Nursery) -> None:
    pool = await _warm(nursery, processes=2)
    async with trio.open_nursery() as inner:
        for _ in range(6):
            inner.start_soon(pool.ask, _SOUND)
    assert len(_children()) <= 2


async def test_a_worker_reads_no_file_and_no_network() -> None:
    for reference in ("file:///etc/passwd", "http://127.0.0.1:1/x"):
        question = {"kind": "schema", "schema": {"$ref": reference}, "document": {}, "max_problems": 5}
        answer = await WorkerPool().ask(question)
        assert "outside the schema" in answer["error"]


async def test_both_ways_of_evaluating_conclude_the_same() -> None:
    question = {"kind": "cel", "text": "inputs.a > 'x'", "data": {"inputs": {"a": 1}}}
    assert (await WorkerPool().ask(question))["blame"] == {
        "offset": 9,
        "message": "> does not take an integer and a string",
        "fault": "arg-type",
        "remedy": "convert one, as in int(x), double(x) or string(x)",
        "missing": "",
        "within": "",
        "limit": "",
    }


def test_the_series_are_in_the_catalogue() -> None:
    assert {catalogue.EVALUATION_WORKERS_STARTED, catalogue.EVALUATION_WORKERS_ENDED} <= set(catalogue.CATALOGUE)


async def test_another_program_may_ask_back_while_it_works(tmp_path: Path) -> None:
    program = _program(tmp_path, "lambda ask: lambda question: sum(ask(name) for name in question['names'])")
    asked: list[str] = []

    def look_up(name: str) -> int:
        asked.append(name)
        return len(name)

    assert await WorkerPool(program=program).ask({"names": ["a", "bcd"]}, look_up) == 4
    assert asked == ["a", "bcd"]


async def test_a_process_finds_libraries_where_this_process_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "library_of_this_test.py").write_text("ANSWER = 42\n")
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "import library_of_this_test\n"
        "from core.evaluation.worker import serve\n"
        "sys.exit(serve(lambda ask: lambda request: {'value': library_of_this_test.ANSWER}))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    assert await WorkerPool(program=str(program)).ask({}) == {"value": 42}
