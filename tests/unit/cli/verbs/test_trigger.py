"""Requests by StoryTriggers, on an API server in this process; the test decides in place of the operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from bubu_contract.submission import input_hash, trigger_name
from cli.exit_code import ExitCode
from cli.options import CommonOptions
from cli.problem import CommandError, UsageError
from cli.runs import run_manifest
from cli.session import Session
from cli.verbs.trigger import RequestIdentity, identity_of, submit, trigger_manifest, wait_for_answer
from cli.verbs.triggers import TriggerSelection, select_triggers, shown
from cli.verbs.why import explanation_of
from core.api.objects import Object
from core.api.resource import STORY_RUN, STORY_TRIGGER
from core.engine.clock import system_now
from core.kube.errors import ForbiddenError
from core.policy.settings import CrossNamespacePolicy
from core.workloads.keyed_request import Decision
from core.workloads.trigger import final_refusal, request_of
from tests.unit.cli.conftest import Server
from views.why.cause import CauseKind


async def ask(session: Session, key: str = "", *, submission_id: str = "sub-1", **inputs: Any) -> tuple[Object, bool]:
    identity = RequestIdentity(submission_id, key)
    return await submit(session, trigger_manifest("report", "default", inputs, identity))


async def decide(session: Session, trigger: Object, decision: str, reason: str, **status: Any) -> Object:
    """Store an answer, as the operator does."""
    content = {"decision": decision, "reason": reason, "message": f"because of {reason}", "observedGeneration": 1}
    name = trigger["metadata"]["name"]
    patch = {"status": {"acceptedAt": "2025-01-02T03:04:05Z", **content, **status}}
    return await session.client.patch(STORY_TRIGGER, name, patch, namespace="default", subresource="status")


async def run_for(session: Session, trigger: Object) -> Object:
    """The run of a request, which the operator has created."""
    manifest = run_manifest("report", "default", {}, name=request_of(trigger).run_name)
    run = await session.client.create(STORY_RUN, manifest, namespace="default")
    place = {field: run["metadata"][field] for field in ("name", "namespace", "uid")}
    await decide(session, trigger, "Created", "StoryRunCreated", storyRunRef=place)
    return run


# Identity.


def test_a_key_is_its_own_submission_id_unless_it_is_too_long_for_one() -> None:
    assert identity_of(" order-42 ", None) == RequestIdentity("order-42", "order-42")
    assert identity_of("k", "s") == RequestIdentity("s", "k")
    long = identity_of("x" * 256, None)
    assert (long.key, len(long.submission_id)) == ("x" * 256, 64)


def test_without_a_key_the_submission_id_is_given_or_random() -> None:
    assert identity_of(None, " s ") == RequestIdentity("s")
    assert identity_of(None, None) != identity_of(None, None)


@pytest.mark.parametrize(("key", "submission_id"), [(" ", None), ("x" * 257, None), (None, ""), ("k", "x" * 254)])
def test_a_blank_or_long_identity_is_wrong_usage(key: str | None, submission_id: str | None) -> None:
    with pytest.raises(UsageError, match="must have 1 to"):
        identity_of(key, submission_id)


@pytest.mark.parametrize("key", ["", "Order 42"])
def test_the_operator_accepts_the_request(key: str) -> None:
    inputs = {"city": "Bern", "days": 2}
    manifest = trigger_manifest("report", "default", inputs, RequestIdentity("sub-1", key))
    assert manifest["metadata"]["name"] == trigger_name("default", "report", key or "sub-1")
    assert manifest["spec"]["deliveryIdentity"].get("inputHash") == (input_hash(inputs) if key else None)
    assert final_refusal(manifest, request_of(manifest), CrossNamespacePolicy.DENY, 1024) is None


# Submission.


async def test_the_same_request_again_meets_the_same_object(session: Session) -> None:
    first, is_new = await ask(session, "order-42", city="Bern", days=2)
    again, is_new_again = await ask(session, "order-42", days=2.0, city="Bern", submission_id="another")
    assert (is_new, is_new_again) == (True, False)
    assert again["metadata"]["uid"] == first["metadata"]["uid"]


async def test_another_request_of_the_same_identity_is_rejected(session: Session) -> None:
    await ask(session, "order-42", city="Bern")
    with pytest.raises(CommandError, match="but other inputs") as refusal:
        await ask(session, "order-42", city="Basel")
    assert refusal.value.code is ExitCode.REJECTED


# Waiting.


async def test_the_answer_is_waited_for_with_what_it_waits_for(
    session: Session, nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    trigger, _ = await ask(session)

    async def operator() -> None:
        for reason in ("StoryNotFound", "StoryNotFound", "StoryVersionMismatch"):
            await trio.sleep(0.05)
            await decide(session, trigger, "Pending", reason)
        await trio.sleep(0.05)
        await run_for(session, trigger)

    nursery.start_soon(operator)
    with trio.fail_after(5):
        answered = await wait_for_answer(session, trigger)
    assert answered["status"]["decision"] == Decision.CREATED
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "waits (StoryNotFound): because of StoryNotFound",
        "waits (StoryVersionMismatch): because of StoryVersionMismatch",
    ]


async def test_the_wait_has_a_deadline(session: Session) -> None:
    trigger, _ = await ask(session)
    with pytest.raises(CommandError, match=r"is undecided after 0\.1 s") as refusal:
        await wait_for_answer(session, trigger, timeout=0.1)
    assert refusal.value.code is ExitCode.WAIT_TIMED_OUT
    assert refusal.value.remedy == f"look at it with: bobrapet why trigger/{trigger['metadata']['name']}"


async def test_a_request_that_is_deleted_is_not_waited_for(session: Session, nursery: trio.Nursery) -> None:
    trigger, _ = await ask(session)

    async def somebody() -> None:
        await trio.sleep(0.05)
        await session.client.delete(STORY_TRIGGER, trigger["metadata"]["name"], "default")

    nursery.start_soon(somebody)
    with trio.fail_after(5), pytest.raises(ExceptionGroup) as refusal:
        await wait_for_answer(session, trigger)
    assert refusal.group_contains(CommandError, match="was deleted before it was decided")


async def test_a_user_who_may_not_watch_hears_it_at_once(session: Session, server: Server) -> None:
    trigger, _ = await ask(session)
    async with server.session_as("nobody") as theirs:
        with trio.fail_after(5), pytest.raises(ForbiddenError):
            await wait_for_answer(theirs, trigger)


# The list.


async def test_the_list_has_decision_run_and_reason(
    session: Session, with_options: Callable[[Session, CommonOptions], Session]
) -> None:
    created, _ = await ask(session, "order-42")
    run = await run_for(session, created)
    rejected, _ = await ask(session, submission_id="bad")
    await decide(session, rejected, "Rejected", "ValidationFailed")
    undecided, _ = await ask(session, submission_id="new")

    found = await select_triggers(session, TriggerSelection())
    rows = {line.split()[0]: line.split() for line in shown(session, found, system_now()).splitlines()}
    wide = shown(with_options(session, CommonOptions(output="wide")), found, system_now())

    assert rows["NAME"] == ["NAME", "STORY", "DECISION", "RUN", "REASON", "AGE"]
    assert rows[created["metadata"]["name"]][1:-1] == ["report", "Created", run["metadata"]["name"], "StoryRunCreated"]
    assert rows[rejected["metadata"]["name"]][1:-1] == ["report", "Rejected", "ValidationFailed"]
    assert rows[undecided["metadata"]["name"]][1:-1] == ["report", "Pending"]
    assert "order-42" in wide
    assert "because of ValidationFailed" in wide


async def test_the_list_can_be_limited(session: Session) -> None:
    first, _ = await ask(session, submission_id="one")
    second, _ = await ask(session, submission_id="two")
    await decide(session, second, "Rejected", "ValidationFailed")

    async def names(*flags: str) -> list[str]:
        found = await select_triggers(session, TriggerSelection.of_flags(*flags))
        return [trigger["metadata"]["name"] for trigger in found]

    assert await names("", "rejected", "") == [second["metadata"]["name"]]
    assert await names("", "pending", "") == [first["metadata"]["name"]]
    assert await names("another", "", "") == []
    assert len(await names("report", "", "")) == 2
    with pytest.raises(UsageError, match="no decision 'Rejectd'") as refusal:
        TriggerSelection.of_flags("", "Rejectd", "")
    assert refusal.value.remedy == "did you mean Rejected?"
    with pytest.raises(UsageError, match="--selector"):
        await names("", "", "a in (")


# Why.


async def test_why_explains_a_trigger_and_then_its_run(session: Session) -> None:
    trigger, _ = await ask(session)
    subject = f"trigger/{trigger['metadata']['name']}"
    await decide(session, trigger, "Pending", "StoryNotFound")
    waiting = await explanation_of(session, subject)
    run = await run_for(session, trigger)
    started = await explanation_of(session, subject)
    await session.client.delete(STORY_RUN, run["metadata"]["name"], "default")
    removed = await explanation_of(session, subject)

    assert (waiting.run, waiting.trigger, [cause.kind for cause in waiting.causes]) == (
        "",
        trigger["metadata"]["name"],
        [CauseKind.STORY],
    )
    assert (started.run, started.trigger) == (run["metadata"]["name"], trigger["metadata"]["name"])
    assert [cause.kind for cause in started.causes] == [CauseKind.OPERATOR]
    assert (removed.run, removed.causes) == ("", ())
    assert run["metadata"]["name"] in removed.summary


async def test_a_run_may_be_called_trigger(session: Session) -> None:
    manifest = run_manifest("report", "default", {}, name="trigger")
    await session.client.create(STORY_RUN, manifest, namespace="default")
    assert (await explanation_of(session, "trigger")).run == "trigger"


async def test_a_trigger_that_does_not_exist_is_named(session: Session) -> None:
    for name in ("nobody", "No Name"):
        with pytest.raises(CommandError, match=f"no StoryTrigger '{name}'"):
            await explanation_of(session, f"trigger/{name}")
