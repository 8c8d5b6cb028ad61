"""StoryTriggers with an operator: each is answered once, and its run is started at most once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from bubu_contract.submission import input_hash, trigger_name
from certs.inject import VALIDATING
from core.api.objects import Object
from core.api.resource import (
    EVENT,
    IMPULSE,
    NAMESPACE,
    REFERENCE_GRANT,
    STORY,
    STORY_RUN,
    STORY_TRIGGER,
    SUBJECT_ACCESS_REVIEW,
)
from core.kube.errors import AlreadyExistsError
from core.policy.settings import CrossNamespacePolicy, OperatorSettings, TriggerSettings
from core.workloads.trigger import request_of
from reconcilers import storytrigger
from reconcilers.controllers import CONTROLLERS
from reconcilers.registration import ControllerRegistration
from tests.integration.clean_slate import ensure_namespace
from tests.integration.operator_cluster import NAMESPACE_NAME, OPERATOR, OperatorCluster, status_of
from tests.integration.webhookserver import open_webhook_server

SHARED = "lending"
AT_ONCE: Object = {"name": "nothing", "type": "condition"}
GRANTS = OperatorSettings(cross_namespace_policy=CrossNamespacePolicy.GRANT)


def trigger(identity: str = "sub-1", *, key: bool = False, inputs: Object | None = None, **spec: Any) -> Object:
    """A request of the Story ``report``; ``spec`` adds to its spec."""
    delivery: Object = {"submissionId": identity}
    if key:
        delivery |= {"mode": "token", "key": identity, "inputHash": input_hash(inputs)}
    spec = {"storyRef": {"name": "report"}, "deliveryIdentity": delivery, "inputs": inputs or {}, **spec}
    name = trigger_name(spec["storyRef"].get("namespace") or NAMESPACE_NAME, spec["storyRef"]["name"], identity)
    kind = {"apiVersion": STORY_TRIGGER.api_version, "kind": STORY_TRIGGER.kind}
    return {**kind, "metadata": {"name": name, "namespace": NAMESPACE_NAME}, "spec": spec}


async def ask(world: OperatorCluster, obj: Object) -> str:
    await world.client.create(STORY_TRIGGER, obj)
    return str(obj["metadata"]["name"])


async def decided(world: OperatorCluster, name: str, decision: str, reason: str) -> Object:
    """Wait until the StoryTrigger has this decision; returns it."""
    found = await world.until(STORY_TRIGGER, name, lambda obj: status_of(obj).get("decision") == decision)
    assert status_of(found)["reason"] == reason, status_of(found)
    return found


async def runs(world: OperatorCluster) -> list[Object]:
    return (await world.client.list(STORY_RUN, NAMESPACE_NAME)).items


async def run_of(world: OperatorCluster, answered: Object) -> Object:
    """The run in the answer, which must exist."""
    reference = status_of(answered)["storyRunRef"]
    run = await world.client.get(STORY_RUN, reference["name"], reference["namespace"])
    assert run["metadata"]["uid"] == reference["uid"]
    return run


@pytest.mark.parametrize("key", [False, True])
async def test_a_request_starts_its_run(world: OperatorCluster, key: bool) -> None:
    await world.story("report", AT_ONCE, output={"said": "{{ inputs.city }}"})
    async with world.operator() as traffic:
        name = await ask(world, trigger("Order 42", key=key, inputs={"city": "Bern"}))
        answered = await decided(world, name, "Created", "StoryRunCreated")
        run = await run_of(world, answered)
        ended = await world.finished(run["metadata"]["name"])
    assert status_of(ended)["output"] == {"said": "Bern"}
    assert run["spec"]["storyRef"] == {"name": "report"}
    assert run["metadata"]["name"] == request_of(answered).run_name
    assert traffic.writes["POST storyruns"] == 1
    assert traffic.writes["PATCH storytriggers/status"] == 1


async def test_equal_requests_share_a_run_and_others_are_in_conflict(world: OperatorCluster) -> None:
    """The first request is deleted each time, so that its name is free. Its run stays."""
    await world.story("report", AT_ONCE, version="1")
    await world.create(IMPULSE, "hook", {"storyRef": {"name": "report"}, "templateRef": {"name": "hooks"}})
    async with world.operator():
        first = await decided(world, await ask(world, trigger("k", key=True)), "Created", "StoryRunCreated")
        run = await run_of(world, first)
        for obj, decision, reason in (
            (trigger("k", key=True), "Reused", "StoryRunReused"),
            (trigger("k", key=True, inputs={"a": 1}), "Rejected", "StoryRunConflict"),
            (trigger("k", key=True, storyRef={"name": "report", "version": "1"}), "Rejected", "StoryRunConflict"),
            (trigger("k", key=True, impulseRef={"name": "hook"}), "Rejected", "StoryRunConflict"),
        ):
            await world.client.delete(STORY_TRIGGER, obj["metadata"]["name"], NAMESPACE_NAME)
            name = await ask(world, obj)
            answered = await decided(world, name, decision, reason)
            if decision == "Reused":
                assert (await run_of(world, answered))["metadata"]["uid"] == run["metadata"]["uid"]
            else:
                assert "storyRunRef" not in status_of(answered)

        async def is_reported() -> bool:
            events = (await world.client.list(EVENT, NAMESPACE_NAME)).items
            found = [event for event in events if event["regarding"]["kind"] == STORY_TRIGGER.kind]
            assert {event["type"] for event in found} <= {"Warning"}
            assert {event["reportingController"] for event in found} <= {"storytrigger-controller"}
            return len(found) == 3

        await world.eventually(is_reported)
    assert len(await runs(world)) == 1


async def test_two_clients_with_one_identity_get_one_run(world: OperatorCluster) -> None:
    await world.story("report", AT_ONCE)
    refused: list[AlreadyExistsError] = []

    async def submit() -> None:
        try:
            await ask(world, trigger("order-42", key=True))
        except AlreadyExistsError as error:
            refused.append(error)

    async with world.operator():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(submit)
            nursery.start_soon(submit)
        await decided(world, trigger("order-42", key=True)["metadata"]["name"], "Created", "StoryRunCreated")
    assert len(refused) == 1
    assert len(await runs(world)) == 1


async def test_an_answer_about_an_older_generation_is_given_again(world: OperatorCluster) -> None:
    await world.story("report", AT_ONCE)
    async with world.operator():
        name = await ask(world, trigger())
        first = await decided(world, name, "Created", "StoryRunCreated")
        older = {"status": {"observedGeneration": 0}}
        await world.client.patch(STORY_TRIGGER, name, older, namespace=NAMESPACE_NAME, subresource="status")
        again = await world.until(STORY_TRIGGER, name, lambda obj: status_of(obj)["observedGeneration"] == 1)
    assert status_of(again)["storyRunRef"] == status_of(first)["storyRunRef"]
    assert status_of(again)["acceptedAt"] == status_of(first)["acceptedAt"]


# What is waited for.


async def test_a_story_that_comes_later_is_waited_for_without_further_writes(world: OperatorCluster) -> None:
    async with world.operator() as traffic:
        name = await ask(world, trigger(storyRef={"name": "report", "version": "2"}))
        await decided(world, name, "Pending", "StoryNotFound")
        assert traffic.writes["PATCH storytriggers/status"] == 1
        await world.story("report", AT_ONCE, version="1")
        await world.until(STORY_TRIGGER, name, lambda obj: status_of(obj).get("reason") == "StoryVersionMismatch")
        await world.client.patch(STORY, "report", {"spec": {"version": "2"}}, namespace=NAMESPACE_NAME)
        await decided(world, name, "Created", "StoryRunCreated")
        assert traffic.writes["PATCH storytriggers/status"] == 3


async def test_a_request_that_has_waited_too_long_is_rejected(world: OperatorCluster) -> None:
    settings = OperatorSettings(triggers=TriggerSettings(pending_timeout=timedelta(milliseconds=1)))
    async with world.operator(settings):
        name = await ask(world, trigger())
        await decided(world, name, "Rejected", "StoryNotFound")


async def test_the_policy_for_other_namespaces_decides(world: OperatorCluster) -> None:
    await shared_story(world)
    foreign = {"name": "report", "namespace": SHARED}
    async with world.operator():
        denied = await ask(world, trigger("denied", storyRef=foreign))
        await decided(world, denied, "Rejected", "ValidationFailed")
    async with world.operator(OperatorSettings(cross_namespace_policy=CrossNamespacePolicy.ALLOW)):
        allowed = await ask(world, trigger("allowed", storyRef=foreign))
        answered = await decided(world, allowed, "Created", "StoryRunCreated")
        assert (await run_of(world, answered))["metadata"]["namespace"] == NAMESPACE_NAME
    async with world.operator(GRANTS):
        granted = await ask(world, trigger("granted", storyRef=foreign))
        await decided(world, granted, "Pending", "ReferenceNotGranted")
        await grant(world, "StoryTrigger", "StoryRun")
        await decided(world, granted, "Created", "StoryRunCreated")


async def shared_story(world: OperatorCluster) -> None:
    if world.access.shared:
        await ensure_namespace(world.client, SHARED)
    else:
        await world.client.create(NAMESPACE, {"metadata": {"name": SHARED}})
    with suppress(AlreadyExistsError):  # a real cluster keeps the namespace
        await world.create(STORY, "report", {"pattern": "batch", "steps": [AT_ONCE]}, namespace=SHARED)


async def grant(world: OperatorCluster, *kinds: str) -> None:
    source = [{"group": "runs.bubustack.io", "kind": kind, "namespace": NAMESPACE_NAME} for kind in kinds]
    spec = {"from": source, "to": [{"group": "bubustack.io", "kind": "Story"}]}
    await world.create(REFERENCE_GRANT, "g", spec, namespace=SHARED)


async def test_an_impulse_that_comes_later_is_waited_for(world: OperatorCluster) -> None:
    await world.story("report", AT_ONCE)
    async with world.operator():
        name = await ask(world, trigger(impulseRef={"name": "hook"}))
        await decided(world, name, "Pending", "ImpulseNotFound")
        await world.create(IMPULSE, "hook", {"storyRef": {"name": "report"}, "templateRef": {"name": "hooks"}})
        answered = await decided(world, name, "Created", "StoryRunCreated")
        assert (await run_of(world, answered))["spec"]["impulseRef"] == {"name": "hook"}


async def test_a_run_that_is_being_deleted_is_replaced_when_it_is_gone(world: OperatorCluster) -> None:
    await world.story("report", AT_ONCE)
    obj = trigger("order-42", key=True)
    hold = "tests.example/hold"
    leaving = await world.run(request_of(obj).run_name, "report", finalizers=[hold])
    await world.client.delete(STORY_RUN, leaving["metadata"]["name"], NAMESPACE_NAME)
    async with world.operator():
        name = await ask(world, obj)
        await decided(world, name, "Pending", "StoryRunTerminating")
        patch: Object = {"metadata": {"finalizers": None}}
        await world.client.patch(STORY_RUN, leaving["metadata"]["name"], patch, namespace=NAMESPACE_NAME)
        answered = await decided(world, name, "Created", "StoryRunCreated")
    assert (await run_of(world, answered))["metadata"]["uid"] != leaving["metadata"]["uid"]


# What nothing can mend.


async def test_what_admission_would_refuse_is_rejected_where_there_is_none(world: OperatorCluster) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    await world.story("report", AT_ONCE, inputsSchema=schema)
    wrong_name = trigger("name")
    wrong_name["metadata"]["name"] = "mine"
    async with world.operator():
        for obj, reason, word in (
            (trigger("size", inputs={"text": "x" * 2000}), "ValidationFailed", "storyrun.max-inline-inputs-size"),
            (trigger("schema", inputs={"city": 7}), "ValidationFailed", "inputsSchema"),
            (trigger(deliveryIdentity={"submissionId": "sub-1", "inputHash": "0" * 64}), "InputHashMismatch", "hash"),
            (trigger(deliveryIdentity={"submissionId": "sub-2"}), "ValidationFailed", "metadata.name"),
            (wrong_name, "ValidationFailed", "metadata.name"),
        ):
            name = await ask(world, obj)
            answered = await decided(world, name, "Rejected", reason)
            assert word in status_of(answered)["message"]
            await world.client.delete(STORY_TRIGGER, name, NAMESPACE_NAME)
    assert await runs(world) == []


async def test_inputs_that_are_references_may_name_large_data(world: OperatorCluster) -> None:
    await world.story("report", AT_ONCE)
    inputs = {"rows": {"$bubuStorageRef": "inputs/team/rows.json"}}
    async with world.operator():
        name = await ask(world, trigger("order-42", key=True, inputs=inputs))
        answered = await decided(world, name, "Created", "StoryRunCreated")
        assert (await run_of(world, answered))["spec"]["inputs"] == inputs


async def test_a_run_that_admission_refuses_ends_as_a_rejection(world: OperatorCluster, tmp_path: Path) -> None:
    await world.story("report", AT_ONCE)

    async def refuse(_: Object) -> Object:
        return {"allowed": False, "status": {"message": "not on a Friday " + "x" * 3000, "code": 403}}

    async with open_webhook_server(tmp_path) as webhook, world.operator(may_be_refused=True):
        webhook.handlers["/runs"] = refuse
        rule = {
            "operations": ["CREATE"],
            "apiGroups": [STORY_RUN.group],
            "apiVersions": ["*"],
            "resources": [STORY_RUN.plural],
        }
        hook = {
            "name": "fridays.example.com",
            "clientConfig": webhook.client_config("/runs"),
            "rules": [rule],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        kind = {"apiVersion": VALIDATING.api_version, "kind": VALIDATING.kind}
        await world.client.create(VALIDATING, {**kind, "metadata": {"name": "fridays"}, "webhooks": [hook]})
        try:
            await world.eventually(lambda: _is_refused(world))
            name = await ask(world, trigger())
            answered = await decided(world, name, "Rejected", "ValidationFailed")
        finally:
            await world.client.delete(VALIDATING, "fridays")
    assert "not on a Friday" in status_of(answered)["message"]
    assert len(status_of(answered)["message"]) == 2048


async def _is_refused(world: OperatorCluster) -> bool:
    """Whether the API server asks the webhook; a real one does so a moment after it was configured."""
    kind = {"apiVersion": STORY_RUN.api_version, "kind": STORY_RUN.kind}
    metadata = {"name": "probe", "namespace": NAMESPACE_NAME}
    manifest = {**kind, "metadata": metadata, "spec": {"storyRef": {"name": "report"}}}
    try:
        await world.client.create(STORY_RUN, manifest, dry_run=True)
    except Exception as error:
        return "Friday" in str(error)
    return False


# Operators that die.


def without_an_answer() -> Sequence[ControllerRegistration]:
    """Controllers of an operator that can start runs, but cannot store the answer."""
    row = storytrigger.CONTROLLER
    lame = replace(row, permissions=tuple(each for each in row.permissions if not each.subresource))
    return [lame if each is row else each for each in CONTROLLERS]


async def until_it_cannot_answer(world: OperatorCluster) -> None:
    """A real API server takes notice a moment later that a role has lost a rule."""
    wanted = {"verb": "patch", "group": STORY_TRIGGER.group, "resource": STORY_TRIGGER.plural, "subresource": "status"}
    review = {"spec": {"user": OPERATOR.user, "resourceAttributes": wanted}}

    async def refused() -> bool:
        return not (await world.client.create(SUBJECT_ACCESS_REVIEW, review))["status"]["allowed"]

    await world.eventually(refused)


@pytest.mark.parametrize("key", [False, True])
async def test_an_operator_that_dies_between_run_and_answer_is_continued(world: OperatorCluster, key: bool) -> None:
    """The Story is gone when the next operator begins, and still the run counts."""
    await world.story("report", AT_ONCE)
    async with world.operator(may_be_refused=True, controllers=without_an_answer()):
        await until_it_cannot_answer(world)
        name = await ask(world, trigger("order-42", key=key, inputs={"a": 1}))
        run_name = request_of(trigger("order-42", key=key)).run_name
        run = await world.finished(run_name)
    await world.client.delete(STORY, "report", NAMESPACE_NAME)
    assert status_of(await world.client.get(STORY_TRIGGER, name, NAMESPACE_NAME)) == {}
    async with world.operator():
        answered = await decided(world, name, "Created", "StoryRunCreated")
    assert (await run_of(world, answered))["metadata"]["uid"] == run["metadata"]["uid"]
    assert len(await runs(world)) == 1


async def test_a_run_stays_until_its_request_is_answered(world: OperatorCluster) -> None:
    """Its Story has it removed at its end. Without it, the next operator would start it once more."""
    at_once = {"execution": {"job": {"storyRunRetentionSeconds": -1}}}
    await world.story("report", AT_ONCE, policy=at_once)
    run_name = request_of(trigger()).run_name
    async with world.operator(may_be_refused=True, controllers=without_an_answer()) as traffic:
        await until_it_cannot_answer(world)
        name = await ask(world, trigger())
        run = await world.finished(run_name)
        await world.run("another", "report")
        await world.gone(STORY_RUN, "another")
        assert traffic.writes["DELETE storyruns"] == 1
    async with world.operator():
        answered = await decided(world, name, "Created", "StoryRunCreated")
        await world.gone(STORY_RUN, run_name)
    assert status_of(answered)["storyRunRef"]["uid"] == run["metadata"]["uid"]


# Retention.


def kept_for(seconds: int) -> OperatorSettings:
    return OperatorSettings(triggers=TriggerSettings(retention_seconds=seconds))


async def test_an_answered_request_stays_as_long_as_its_run_and_can_then_be_submitted_again(
    world: OperatorCluster,
) -> None:
    job = {"storyRunRetentionSeconds": 1, "ttlSecondsAfterFinished": 0}
    await world.story("report", AT_ONCE, policy={"execution": {"job": job}})
    async with world.operator(kept_for(1)) as traffic:
        rejected = await ask(world, trigger("bad", inputs={"text": "x" * 2000}))
        name = await ask(world, trigger("order-42", key=True))
        first = await decided(world, name, "Created", "StoryRunCreated")
        await world.gone(STORY_TRIGGER, rejected)
        await world.gone(STORY_TRIGGER, name)
        assert request_of(first).run_name not in await world.names(STORY_RUN)
        await ask(world, trigger("order-42", key=True))
        again = await decided(world, name, "Created", "StoryRunCreated")
        assert status_of(again)["storyRunRef"]["uid"] != status_of(first)["storyRunRef"]["uid"]
        deleted = [request for request in traffic.requests if request.startswith("DELETE story")]
    assert deleted.index("DELETE storyruns") < len(deleted) - 1 - deleted[::-1].index("DELETE storytriggers")


async def test_a_submission_whose_run_was_deleted_by_hand_finds_the_answer(world: OperatorCluster) -> None:
    await world.story("report", AT_ONCE)
    async with world.operator() as traffic:
        name = await ask(world, trigger())
        answered = await decided(world, name, "Created", "StoryRunCreated")
        run = status_of(answered)["storyRunRef"]["name"]
        await world.finished(run)
        await world.client.delete(STORY_RUN, run, NAMESPACE_NAME)
        await world.gone(STORY_RUN, run)
        with pytest.raises(AlreadyExistsError):
            await ask(world, trigger())
        assert status_of(await world.client.get(STORY_TRIGGER, name, NAMESPACE_NAME)) == status_of(answered)
        assert traffic.writes["POST storyruns"] == 1
