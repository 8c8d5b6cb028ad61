"""Waiting for a run whose API server refuses or loses requests meanwhile. (cli/watching.py)"""

from __future__ import annotations

import pytest
import trio

from cli import watching
from cli.exit_code import ExitCode
from cli.live_runs import awaited_live_run
from cli.runs import run_manifest
from cli.session import Session
from cli.verbs.trigger import wait_for_answer
from cli.watching import Watched, stay, wait_for
from core.api.objects import Object
from core.api.phases import LiveReason
from core.api.resource import POD, STEP_RUN, STORY, STORY_RUN, STORY_TRIGGER, Resource
from core.kube.client import KubeClient
from core.kube.retry import CallRetries
from tests.unit.cli.conftest import Refusing, of


async def a_run(client: KubeClient) -> Object:
    steps = [{"name": "one", "ref": {"name": "worker"}}]
    story = {"apiVersion": STORY.api_version, "kind": STORY.kind, "metadata": {"name": "story"}}
    await client.create(STORY, {**story, "spec": {"steps": steps}}, namespace="default")
    return await client.create(STORY_RUN, run_manifest("story", "default", {}, name="mine"), namespace="default")


async def end(client: KubeClient, phase: str, *, after: float = 0.0) -> None:
    await trio.sleep(after)
    status = {"phase": phase, "finishedAt": "2026-01-01T10:00:00Z"}
    await client.patch(STORY_RUN, "mine", {"status": status}, namespace="default", subresource="status")


@pytest.mark.parametrize("resource", [STORY, STORY_RUN, STEP_RUN, POD], ids=lambda resource: resource.plural)
async def test_a_read_that_is_refused_does_not_end_the_wait(
    client: KubeClient, refusing: Refusing, resource: Resource
) -> None:
    run = await a_run(client)
    name = "story" if resource is STORY else ""
    async with refusing(of(resource, name)) as session, trio.open_nursery() as nursery:
        nursery.start_soon(end, client, "Succeeded")
        code = await wait_for(session, [run], timeout=60)

    assert code is ExitCode.DONE


@pytest.mark.parametrize("resource", [STORY_RUN, STEP_RUN, POD], ids=lambda resource: resource.plural)
async def test_logs_that_cannot_be_read_do_not_end_the_wait(
    client: KubeClient, refusing: Refusing, resource: Resource
) -> None:
    run = await a_run(client)
    name = "mine" if resource is STORY_RUN else ""
    async with refusing(of(resource, name)) as session, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: end(client, "Succeeded", after=1.0))
        code = await stay(Watched(session), run, show=False, logs=True, timeout=60)

    assert code is ExitCode.DONE


async def test_a_run_keeps_its_exit_code_if_nothing_more_can_be_told_about_it(
    client: KubeClient, refusing: Refusing, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watching, "REPORT_PATIENCE", CallRetries(attempts=3, base_seconds=0.01))
    run = await a_run(client)
    await end(client, "Failed")
    async with refusing(of(STORY_RUN, "mine"), times=10**9) as session:
        code = await stay(Watched(session), run, show=False, timeout=60)

    assert code is ExitCode.RUN_FAILED
    assert "mine Failed; the details of mine cannot be read" in capsys.readouterr().err


async def test_a_cancel_that_is_refused_is_asked_for_again(client: KubeClient, refusing: Refusing) -> None:
    run = await a_run(client)
    watched = Watched()

    async def interrupted(session: Session) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await stay(watched, run, show=False, cancel_on_interrupt=True)

    async with refusing(lambda request: request.method == "PATCH") as session, trio.open_nursery() as nursery:
        watched.begin(session, run)
        nursery.start_soon(interrupted, session)
        while not (await client.get(STORY_RUN, "mine", "default"))["spec"].get("cancelRequested"):  # noqa: ASYNC110
            await trio.sleep(0.05)
        await end(client, "Canceled")

    assert watched.canceled


async def test_the_answer_of_a_trigger_is_waited_for_although_reads_are_refused(
    client: KubeClient, refusing: Refusing
) -> None:
    spec = {"storyRef": {"name": "story"}, "deliveryIdentity": {"mode": "key", "key": "k", "submissionId": "s"}}
    manifest = {"apiVersion": STORY_TRIGGER.api_version, "kind": STORY_TRIGGER.kind, "metadata": {"name": "hook"}}
    trigger = await client.create(STORY_TRIGGER, {**manifest, "spec": spec}, namespace="default")
    decided = {"status": {"decision": "Created", "observedGeneration": trigger["metadata"]["generation"]}}
    await client.patch(STORY_TRIGGER, "hook", decided, namespace="default", subresource="status")
    async with refusing(of(STORY_TRIGGER)) as session:
        found = await wait_for_answer(session, trigger, timeout=60)

    assert found["status"]["decision"] == "Created"


async def test_a_run_that_the_operator_keeps_is_waited_for_although_reads_are_refused(
    client: KubeClient, refusing: Refusing
) -> None:
    run = await a_run(client)
    generation = (await client.get(STORY, "story", "default"))["metadata"]["generation"]
    condition = {"type": "LiveRun", "status": "True", "reason": LiveReason.RUNNING, "observedGeneration": generation}
    condition |= {"message": "", "lastTransitionTime": "2026-01-01T10:00:00Z"}
    status = {"status": {"liveRun": "mine", "conditions": [condition]}}
    await client.patch(STORY, "story", status, namespace="default", subresource="status")
    async with refusing(of(STORY, "story")) as session:
        found = await awaited_live_run(session, "story", "default", seconds=60)

    assert found["metadata"]["uid"] == run["metadata"]["uid"]
