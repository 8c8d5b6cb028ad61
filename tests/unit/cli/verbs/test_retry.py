"""Requesting a redrive, on an API server in this process, without an operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio

from cli.exit_code import ExitCode
from cli.options import CommonOptions, DryRun
from cli.problem import CommandError, UsageError
from cli.runs import run_manifest, start_run
from cli.session import Session
from cli.verbs.retry import ask_for, confirm, description_of, prepare, until_begun
from core.api import keys
from core.api.objects import Object
from core.api.resource import EFFECT_CLAIM, STEP_RUN, STORY, STORY_RUN, Resource
from core.engine.redrive.request import FullRedrive, RedriveFrom, pending_redrive

WithOptions = Callable[[Session, CommonOptions], Session]


async def a_story(session: Session, send_needs: Sequence[str] = ("fetch",)) -> None:
    steps = [
        {"name": "fetch", "ref": {"name": "w"}},
        {"name": "send", "ref": {"name": "w"}, "needs": list(send_needs)},
    ]
    story = {"apiVersion": STORY.api_version, "kind": "Story", "metadata": {"name": "report"}, "spec": {"steps": steps}}
    await session.client.create(STORY, story, namespace="default")


async def a_run(session: Session, **status: Any) -> Object:
    await start_run(session, run_manifest("report", "default", {}, name="report-1"))
    await session.client.patch(STORY_RUN, "report-1", {"status": status}, namespace="default", subresource="status")
    return await stored(session)


async def stored(session: Session) -> Object:
    return await session.client.get(STORY_RUN, "report-1", "default")


def document(kind: Resource, metadata: Object, spec: Object) -> Object:
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}


ENDED = "2026-01-01T00:00:00Z"
FAILED = {
    "phase": "Failed",
    "stepStates": {"fetch": {"phase": "Succeeded"}, "send": {"phase": "Failed"}},
}


async def test_a_request_is_one_that_the_engine_reads(session: Session) -> None:
    await a_story(session)
    run = await a_run(session, **FAILED)

    first = await ask_for(session, run, "")
    of_everything = pending_redrive(await stored(session))
    await session.client.patch(
        STORY_RUN, "report-1", {"metadata": {"annotations": {first.observed: first.value}}}, namespace="default"
    )
    second = await ask_for(session, await stored(session), "send")
    of_a_step = pending_redrive(await stored(session))

    assert of_everything == FullRedrive(first.value)
    assert of_a_step == RedriveFrom("send", second.value.partition(":")[2])
    assert first.value not in second.value


async def test_a_dry_run_asks_for_nothing(session: Session) -> None:
    await a_story(session)
    run = await a_run(session, **FAILED)

    await ask_for(session, run, "send", dry_run=DryRun.SERVER)

    assert pending_redrive(await stored(session)) is None


async def test_the_failed_step_is_looked_up_and_what_follows_is_told(session: Session) -> None:
    await a_story(session)
    run = await a_run(session, **FAILED)

    step, rerun = await prepare(session, run, "", True)

    assert step == "send"
    assert description_of(rerun) == "runs again:\n  send  requested\nis kept: fetch"


async def test_where_no_step_has_failed_the_flag_is_to_be_left_out(session: Session) -> None:
    await a_story(session)
    run = await a_run(session, stepStates={name: {"phase": "Succeeded"} for name in ("fetch", "send")})

    with pytest.raises(CommandError, match="no step of report-1 has failed") as refusal:
        await prepare(session, run, "", True)

    assert refusal.value.remedy == "leave out --failed to run all of report-1 again"


async def test_of_steps_that_failed_independently_one_is_to_be_chosen(session: Session) -> None:
    await a_story(session, send_needs=())
    run = await a_run(session, stepStates={name: {"phase": "Failed"} for name in ("fetch", "send")})

    with pytest.raises(UsageError, match="failed independently: fetch, send") as refusal:
        await prepare(session, run, "", True)

    assert refusal.value.remedy.startswith("choose one with --from fetch")


async def test_what_was_done_in_the_world_already_is_told(session: Session) -> None:
    """Only for a step that runs again, and only effects that were completed. Steps that are kept are not mentioned."""
    await a_story(session)
    run = await a_run(session, **FAILED)
    owner = {"apiVersion": STORY_RUN.api_version, "kind": "StoryRun", "name": "report-1", "uid": run["metadata"]["uid"]}
    for step in ("fetch", "send"):
        metadata = {
            "name": f"report-1-{step}",
            "labels": {keys.LABEL_STORY_RUN: "report-1"},
            "ownerReferences": [{**owner, "controller": True}],
        }
        spec: Object = {"storyRunRef": {"name": "report-1"}, "stepId": step, "engramRef": {"name": "w"}}
        await session.client.create(STEP_RUN, document(STEP_RUN, metadata, spec), namespace="default")
        for key, status in (("mail-1", "completed"), ("mail-2", "released")):
            spec = {"stepRunRef": {"name": f"report-1-{step}"}, "effectKey": key, "completionStatus": status}
            claim = document(EFFECT_CLAIM, {"name": f"{step}-{key}"}, spec)
            await session.client.create(EFFECT_CLAIM, claim, namespace="default")

    _, of_a_step = await prepare(session, run, "send", False)
    _, of_all = await prepare(session, run, "", False)

    assert of_a_step.effects == (("send", "mail-1"),)
    assert of_all.effects == (("fetch", "mail-1"), ("send", "mail-1"))
    effects = "these effects have happened already, and a retry does not undo them:\n  send: mail-1\nis kept: fetch"
    assert effects in description_of(of_a_step)


async def test_a_canceled_run_is_not_run_again(session: Session) -> None:
    await a_story(session)
    run = await a_run(session, phase="Finished")
    run["spec"]["cancelRequested"] = True

    with pytest.raises(CommandError, match="report-1 was canceled") as refusal:
        await prepare(session, run, "", False)

    assert refusal.value.remedy.endswith("bobrapet resubmit report-1")


async def test_without_its_story_a_run_is_not_run_again(session: Session) -> None:
    run = await a_run(session, **FAILED)

    with pytest.raises(CommandError, match="Story 'report' of run report-1 does not exist"):
        await prepare(session, run, "", False)


async def test_a_run_that_goes_on_needs_a_yes(session: Session, with_options: WithOptions) -> None:
    run = await a_run(session, phase="Running")

    with pytest.raises(CommandError, match="is still running; nothing was changed"):
        await confirm(session, run)
    await confirm(with_options(session, CommonOptions(yes=True)), run)
    await confirm(session, {**run, "status": {"phase": "Failed"}})


async def test_it_waits_until_the_operator_has_begun(session: Session) -> None:
    await a_story(session)
    run = await a_run(session, **FAILED)
    request = await ask_for(session, run, "send")

    async def operator() -> None:
        await trio.sleep(0.2)
        answered = {keys.ANNOTATION_REDRIVE_FROM_STEP_OBSERVED: request.value}
        await session.client.patch(STORY_RUN, "report-1", {"metadata": {"annotations": answered}}, namespace="default")

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(operator)
            await until_begun(session, run, request, None)


async def test_an_operator_that_does_not_begin_is_waited_for_no_longer_than_asked(session: Session) -> None:
    await a_story(session)
    run = await a_run(session, **FAILED)
    request = await ask_for(session, run, "send")

    with pytest.raises(CommandError, match="has not started report-1 again") as refusal:
        await until_begun(session, run, request, 0.3)

    assert refusal.value.code is ExitCode.WAIT_TIMED_OUT


async def test_the_run_of_a_packet_has_one_step_and_its_stream_gets_no_second_output(session: Session) -> None:
    steps = [
        {"name": "ear", "ref": {"name": "w"}, "needs": []},
        {"name": "job", "ref": {"name": "w"}, "needs": ["ear"], "runtime": {"n": "{{ packet.n }}"}},
        {"name": "page", "ref": {"name": "w"}, "needs": ["job"]},
    ]
    story = document(STORY, {"name": "report"}, {"pattern": "realtime", "steps": steps})
    await session.client.create(STORY, story, namespace="default")
    run = await a_run(session, phase="Failed", finishedAt=ENDED, stepStates={"job": {"phase": "Failed"}})
    run["metadata"]["annotations"] = {keys.ANNOTATION_PACKET_STEP: "job"}

    step, rerun = await prepare(session, run, "", True)

    assert step == "job"
    text = description_of(rerun)
    assert text.startswith("runs again:\n  job  requested\n")
    assert "page" not in text
    assert "its stream does not get the output: the packet was lost when the run ended" in text
    run["status"] = {"phase": "Running", "stepStates": {"job": {"phase": "Running"}}}
    assert "stream" not in description_of((await prepare(session, run, "", False))[1])
