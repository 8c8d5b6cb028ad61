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
from core.api.resource import STEP_RUN, STORY_RUN
from tests.unit.cli.stored_cluster import StoredCluster, stored_cluster

FOLDER = "default/logs/report-1/load/report-1-load"


def record(text: str, second: int, **more: Any) -> str:
    return json.dumps({"time": f"2026-01-01T12:00:{second:02d}Z", "level": "info", "msg": text, **more}) + "\n"


def ended(attempt: int | None, second: int) -> str:
    return record("step ended", second, logger="bubu_sdk", **({} if attempt is None else {"attempt": attempt}))


async def a_step(session: Session, executor: str = "job", **status: Any) -> Object:
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
    spec = {"stepId": "load", "storyRunRef": {"name": "report-1"}, "engramRef": {"name": "http"}, "executor": executor}
    await session.client.create(STEP_RUN, {**kind, "metadata": metadata, "spec": spec}, namespace="default")
    await session.client.patch(
        STEP_RUN, "report-1-load", {"status": {"retries": 0, **status}}, namespace="default", subresource="status"
    )
    return run


async def put_run(session: Session, **status: Any) -> Object:
    await session.client.patch(STORY_RUN, "report-1", {"status": status}, namespace="default", subresource="status")
    return await session.client.get(STORY_RUN, "report-1", "default")


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
    why = r"no logs of load\[2\]: its Pod is deleted; nothing of it is in the object store"
    with pytest.raises(CommandError, match=why):
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
    said = capsys.readouterr().err
    assert "no logs of load[1], load[2]: its Pod is deleted; the operator has no object store" in said
    assert "hint: with an object store (controller.storage.provider)" in said


AT = "2026-01-02T03:04:05Z"
ERROR = {"version": "v1", "type": "timeout", "message": "timed out after 9s"}
TIMED_OUT = {"phase": "Timeout", "error": {**ERROR, "details": {"timeout": "9s", "timeoutFrom": "Story step"}}}
DELETED = "deleted its Job, and with it the Pod and its log"
IN_STORE = "nothing of it is in the object store: the SDK stores the records of a program that ends by itself"


@pytest.mark.parametrize(
    ("executor", "status", "why"),
    [
        (
            "job",
            TIMED_OUT,
            f"the step timed out at {AT}, and the operator {DELETED}; {IN_STORE}",
        ),
        ("worker", TIMED_OUT, f"the step timed out at {AT}, and the operator ended the attempt; {IN_STORE}"),
        ("job", {"phase": "Timeout"}, f"its Pod is deleted; {IN_STORE}"),
        (
            "stream",
            {"phase": "Succeeded"},
            f"the Pods of a realtime step are deleted when it ends, as this one did at {AT}; their logs are not stored",
        ),
    ],
    ids=["of a Job", "of a warm worker", "ended by itself", "of a stream"],
)
async def test_what_became_of_a_log_is_said_as_it_is(
    session: Session,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    executor: str,
    status: dict[str, Any],
    why: str,
) -> None:
    """A store that is there is not missing, and Pods that have started did so."""
    cluster = await stored_cluster(session, tmp_path)
    run = await a_step(cluster.session, executor, finishedAt=AT, **status)

    for follow in (False, True):
        await put_run(cluster.session, finishedAt=AT)
        with pytest.raises(CommandError) as caught:
            await print_logs(cluster.session, run, LogWish(steps=("load",), follow=follow))
        assert f"no logs of load[1]: {why}" in str(caught.value)
        assert caught.value.remedy.startswith("read it while a program runs, with: bobrapet logs report-1 --follow")
    await print_logs(cluster.session, run, LogWish())
    assert f"no logs of load[1]: {why}" in capsys.readouterr().err


async def test_a_step_that_never_had_a_program_says_so(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    await a_step(session, phase="Timeout", error={**ERROR, "details": {"obstacle": "Unschedulable"}})
    states = {"load": {"phase": "Timeout", "message": ERROR["message"]}}
    run = await put_run(session, stepStates=states, phase="Failed", finishedAt=AT)

    why = "no logs of load: it has ended Timeout, and no program of it has run: timed out after 9s"
    with pytest.raises(CommandError, match=why) as caught:
        await print_logs(session, run, LogWish(steps=("load",)))
    assert caught.value.remedy == "see more with: bobrapet why report-1"
    await print_logs(session, run, LogWish())
    assert why in capsys.readouterr().err


async def test_logs_of_one_attempt_name_the_others(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster, run = await three_attempts(session, tmp_path)

    await print_logs(cluster.session, run, LogWish())
    assert (
        "load: attempts 1, 3 of 3; the first other: bobrapet logs report-1/load --attempt=2" in capsys.readouterr().err
    )
    await print_logs(cluster.session, run, LogWish(attempt=1))
    assert capsys.readouterr().err == ""


async def test_a_step_whose_first_attempt_still_runs_has_lost_nothing(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    run = await a_step(session, phase="Running")

    await print_logs(session, run, LogWish())
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")
    with pytest.raises(CommandError, match="no logs of load: no Pod has started yet"):
        await print_logs(session, run, LogWish(steps=("load",)))
