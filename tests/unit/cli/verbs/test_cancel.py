"""Selecting and canceling runs, on an API server in this process, without an operator."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from cli.options import CommonOptions
from cli.problem import CommandError, UsageError
from cli.runs import run_manifest, start_run
from cli.selection import RunSelection, select_runs
from cli.session import Session
from cli.verbs.cancel import cancel_runs
from core.api import keys
from core.api.phases import Phase
from core.api.resource import EVENT, STORY, STORY_RUN
from core.engine.clock import system_now

WithOptions = Callable[[Session, CommonOptions], Session]


async def a_run(session: Session, name: str, story: str = "story", **status: str) -> None:
    await start_run(session, run_manifest(story, "default", {}, name=name))
    if status:
        await session.client.patch(STORY_RUN, name, {"status": status}, namespace="default", subresource="status")


async def asked_to_end(session: Session) -> set[str]:
    runs = (await session.client.list(STORY_RUN, "default")).items
    return {run["metadata"]["name"] for run in runs if run["spec"].get("cancelRequested")}


async def test_runs_are_selected_by_story_phase_and_age(session: Session) -> None:
    await a_run(session, "fresh")
    await a_run(session, "going", phase="Running")
    await a_run(session, "other", "another", phase="Running")

    async def names(**conditions: Any) -> list[str]:
        found = await select_runs(session, RunSelection(**conditions), system_now())
        return sorted(run["metadata"]["name"] for run in found)

    assert await names() == ["fresh", "going", "other"]
    assert await names(story="story") == ["fresh", "going"]
    assert await names(phase=Phase.RUNNING) == ["going", "other"]
    assert await names(phase=Phase.PENDING) == ["fresh"]
    assert await names(older=timedelta(hours=1)) == []
    assert await names(since=timedelta(hours=1), story="another") == ["other"]


async def test_a_story_that_is_not_there_is_an_error_unless_runs_of_it_are_left(session: Session) -> None:
    await a_run(session, "going", "deleted")
    await session.client.create(
        STORY,
        {
            "apiVersion": STORY.api_version,
            "kind": "Story",
            "metadata": {"name": "fresh"},
            "spec": {"steps": [{"name": "one", "ref": {"name": "worker"}}]},
        },
        namespace="default",
    )

    assert await select_runs(session, RunSelection("fresh"), system_now()) == []
    assert len(await select_runs(session, RunSelection("deleted"), system_now())) == 1
    with pytest.raises(CommandError, match="no Story 'fersh' in namespace default") as refusal:
        await select_runs(session, RunSelection("fersh"), system_now())
    assert refusal.value.remedy == "did you mean 'fresh'?"


def test_a_phase_is_recognised_in_any_case_and_a_wrong_one_is_wrong_usage() -> None:
    assert RunSelection.of_flags("", "failed", "", "", "").phase is Phase.FAILED
    with pytest.raises(UsageError, match="no phase 'faild'") as refusal:
        RunSelection.of_flags("", "faild", "", "", "")
    assert refusal.value.remedy == "did you mean Failed?"


async def test_a_reason_stays_on_the_run_and_in_an_event(session: Session) -> None:
    await a_run(session, "going", phase="Running")

    await cancel_runs(session, ["going"], reason="wrong city", dry_run=False, wait_seconds=None)

    run = await session.client.get(STORY_RUN, "going", "default")
    events = (await session.client.list(EVENT, "default")).items
    assert run["metadata"]["annotations"][keys.ANNOTATION_CANCEL_REASON] == "wrong city"
    assert [(event["reason"], event["note"], event["regarding"]["name"]) for event in events] == [
        ("CancelRequested", "wrong city", "going")
    ]


async def test_several_runs_are_listed_and_need_a_yes(
    session: Session, with_options: WithOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    await a_run(session, "one", phase="Running")
    await a_run(session, "two", phase="Running")
    await a_run(session, "over", phase="Failed", finishedAt="2026-01-01T00:00:00Z")
    every = RunSelection(story="story")

    with pytest.raises(CommandError, match="nothing was canceled"):
        await cancel_runs(session, every, reason="", dry_run=False, wait_seconds=None)
    assert sorted(capsys.readouterr().err.split()) == ["one", "two"]
    assert await asked_to_end(session) == set()

    await cancel_runs(session, every, reason="", dry_run=True, wait_seconds=None)
    assert await asked_to_end(session) == set()

    sure = with_options(session, CommonOptions(yes=True))
    await cancel_runs(sure, every, reason="", dry_run=False, wait_seconds=None)
    assert await asked_to_end(session) == {"one", "two"}


async def test_a_run_that_has_ended_is_told_of_and_left(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    await a_run(session, "over", phase="Failed", finishedAt="2026-01-01T00:00:00Z")

    await cancel_runs(session, ["over"], reason="late", dry_run=False, wait_seconds=None)

    assert capsys.readouterr().err == "over has ended already: Failed\n"
    assert await asked_to_end(session) == set()
