"""Logs of attempts whose Pods have gone. (cli/stored_logs.py, cli/step_logs.py)"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.problem import CommandError
from cli.runs import run_manifest, start_run
from cli.session import Session
from cli.step_logs import LogWish, print_logs
from core.api.objects import Object
from core.api.resource import STEP_RUN
from tests.unit.cli.stored_cluster import StoredCluster, stored_cluster

FOLDER = "default/logs/report-1/load/report-1-load"


def record(text: str, second: int, **more: Any) -> str:
    return json.dumps({"time": f"2026-01-01T12:00:{second:02d}Z", "level": "info", "msg": text, **more}) + "\n"


def ended(attempt: int | None, second: int) -> str:
    return record("step ended", second, logger="bubu_sdk", **({} if attempt is None else {"attempt": attempt}))


async def a_step(session: Session, **status: Any) -> Object:
    """A run of one step, which has no Pod any more."""
    run = await start_run(session, run_manifest("report", "default", {}, name="report-1"))
    kind = {"apiVersion": STEP_RUN.api_version, "kind": STEP_RUN.kind}
    owner = {
        "apiVersion": run["apiVersion"],
        "kind": run["kind"],
        "name": "report-1",
        "uid": run["metadata"]["uid"],
        "controller": True,
    }
    metadata = {
        "name": "report-1-load",
        "labels": {"bubustack.io/storyrun": "report-1"},
        "ownerReferences": [owner],
    }
    spec = {"stepId": "load", "storyRunRef": {"name": "report-1"}, "engramRef": {"name": "http"}}
    await session.client.create(STEP_RUN, {**kind, "metadata": metadata, "spec": spec}, namespace="default")
    await session.client.patch(
        STEP_RUN, "report-1-load", {"status": {"retries": 0, **status}}, namespace="default", subresource="status"
    )
    return run


async def printed(
    session: Session, run: Object, capsys: pytest.CaptureFixture[str], wish: LogWish | None = None
) -> list[str]:
    await print_logs(session, run, wish or LogWish())
    return [line.partition(" {")[0] + " " + json.loads(line[line.index("{") :])["msg"] for line in _out(capsys)]


def _out(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


async def three_attempts(session: Session, folder: Path) -> tuple[StoredCluster, Object]:
    """Three attempts, of which the second one was killed before it stored its log."""
    cluster = await stored_cluster(session, folder)
    run = await a_step(cluster.session, phase="Succeeded", retries=2)
    cluster.put(f"{FOLDER}/1767268800000000000.log", (record("one", 1) + ended(1, 2)).encode())
    cluster.put(f"{FOLDER}/1767268900000000000.log", (record("three", 21) + ended(3, 22)).encode())
    return cluster, run


async def test_without_pods_the_stored_logs_of_all_attempts_are_shown(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster, run = await three_attempts(session, tmp_path)

    assert await printed(cluster.session, run, capsys) == [
        "load[1] one",
        "load[1] step ended",
        "load[3] three",
        "load[3] step ended",
    ]


async def test_one_attempt_can_be_chosen_and_narrowed(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster, run = await three_attempts(session, tmp_path)

    assert await printed(cluster.session, run, capsys, LogWish(attempt=1, tail=1)) == ["load[1] step ended"]
    assert await printed(cluster.session, run, capsys, LogWish(failed=True)) == ["load[1] one", "load[1] step ended"]
    assert await printed(cluster.session, run, capsys, LogWish(since_seconds=1)) == []
    with pytest.raises(CommandError, match=r"no logs of load\[2\]: the Pod is deleted, and nothing is stored"):
        await print_logs(cluster.session, run, LogWish(previous=True))
    with pytest.raises(CommandError, match="no log of attempt 4 of any step: it has had fewer"):
        await print_logs(cluster.session, run, LogWish(attempt=4))


async def test_logs_that_do_not_say_their_attempt_are_counted_from_the_last_one(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = await stored_cluster(session, tmp_path)
    run = await a_step(cluster.session, phase="Failed", retries=2)
    cluster.put(f"{FOLDER}/1767268800000000000.log", record("two", 1).encode())
    cluster.put(f"{FOLDER}/1767268900000000000.log", record("three", 21).encode())

    assert await printed(cluster.session, run, capsys) == ["load[2] two", "load[3] three"]


async def test_without_a_store_the_message_says_so(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    run = await a_step(session, phase="Failed", retries=1)

    with pytest.raises(CommandError, match=r"no logs of load\[1\], load\[2\]: .* the operator has no object store"):
        await print_logs(session, run, LogWish(steps=("load",)))
    await print_logs(session, run, LogWish())
    assert "no logs of load[1], load[2]: the Pod is deleted" in capsys.readouterr().err


async def test_a_step_whose_first_attempt_still_runs_has_lost_nothing(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    run = await a_step(session, phase="Running")

    await print_logs(session, run, LogWish())
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")
    with pytest.raises(CommandError, match="no logs of load: no Pod has started yet"):
        await print_logs(session, run, LogWish(steps=("load",)))
