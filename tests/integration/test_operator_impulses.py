"""Impulses with a whole operator, and listeners that really run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import trio

from bubu_contract.instants import format_instant
from bubu_contract.submission import trigger_name
from core.api.conditions import find_condition
from core.api.objects import Object, is_controlled_by
from core.api.resource import (
    DEPLOYMENT,
    EVENT,
    IMPULSE,
    IMPULSE_TEMPLATE,
    POD,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    STORY,
    STORY_TRIGGER,
)
from core.engine.clock import system_now
from core.policy.settings import CrossNamespacePolicy, OperatorSettings
from reconcilers.definition import COUNT_DELAY
from tests.integration.operator_cluster import NAMESPACE_NAME, OperatorCluster, status_of, step

WORKLOAD = "hook-impulse"
RUNNER = "hook-impulse-runner"
PORTS: Object = {"execution": {"service": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}}
LISTENING = "exec sleep 600"


def ready(impulse: Object) -> Object:
    return dict(find_condition(status_of(impulse).get("conditions") or (), "Ready") or {})


def is_up(impulse: Object) -> bool:
    return ready(impulse).get("status") == "True"


def has_reason(reason: str) -> Callable[[Object], bool]:
    return lambda impulse: ready(impulse).get("reason") == reason


def says(text: str) -> Callable[[Object], bool]:
    return lambda impulse: text in ready(impulse).get("message", "")


async def change(world: OperatorCluster, **patch: Any) -> None:
    await world.client.patch(IMPULSE, "hook", patch, namespace=NAMESPACE_NAME)


async def a_story(world: OperatorCluster) -> None:
    await world.story("report", step("a", "nobody"))


async def writes(world: OperatorCluster, path: Path, wanted: str) -> None:
    """Wait until the listener has written that line."""

    async def written() -> bool:
        return wanted in lines_of(path)

    await world.eventually(written)


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


async def test_a_listener_runs_with_its_environment_and_access_and_then_nothing_is_written(
    world: OperatorCluster, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    script = (
        f'echo "$BUBU_IMPULSE_NAME $BUBU_TARGET_STORY_NAMESPACE $BUBU_STEP_CONFIG $api_token" >> {seen}; {LISTENING}'
    )
    await a_story(world)
    await world.create(SECRET, "keys", {"token": "s3cr3t"})
    schema = {"api": {"expectedKeys": ["token"]}}
    given = {"with": {"text": "$(HOME) $$"}}
    await world.impulse("hook", script, template={**PORTS, "secretSchema": schema}, secrets={"api": "keys"}, **given)
    async with world.operator() as traffic:
        up = await world.until(IMPULSE, "hook", is_up)
        await writes(world, seen, 'hook team {"text":"$(HOME) $$"} s3cr3t')
        story = await world.until(STORY, "report", lambda obj: status_of(obj).get("usageCount") == 1)
        await world.until(IMPULSE_TEMPLATE, "hook", lambda obj: status_of(obj).get("usageCount") == 1)
        await trio.sleep(COUNT_DELAY.total_seconds())
        sent = len(traffic.requests)
        await trio.sleep(0.5)
        assert traffic.requests[sent:] == []
    assert (status_of(up)["phase"], ready(up)["reason"]) == ("Running", "DeploymentReady")
    assert (status_of(up)["replicas"], status_of(up)["readyReplicas"]) == (1, 1)
    assert status_of(story)["usageCount"] == 1
    for resource, name in (
        (DEPLOYMENT, WORKLOAD),
        (SERVICE, WORKLOAD),
        (SERVICE_ACCOUNT, RUNNER),
        (ROLE, RUNNER),
        (ROLE_BINDING, RUNNER),
    ):
        stored = await world.client.get(resource, name, NAMESPACE_NAME)
        assert is_controlled_by(stored, up["metadata"]["uid"]), resource.kind
    assert "s3cr3t" not in str(up)

    async with world.operator() as traffic:
        await world.until(IMPULSE, "hook", is_up)
        await trio.sleep(0.5)
        assert [write for write in traffic.writes if "stories" not in write] == []


async def test_a_listener_gets_the_rights_on_itself_that_it_asks_for(world: OperatorCluster) -> None:
    itself = {"apiGroups": [IMPULSE.group], "resourceNames": ["hook"]}
    reads = {**itself, "resources": ["impulses"], "verbs": ["get", "list", "patch", "watch"]}
    writes = {**itself, "resources": ["impulses/status"], "verbs": ["get", "patch"]}
    await a_story(world)
    await world.impulse("hook", LISTENING, execution={"rbac": {"rules": [reads, writes]}})
    async with world.operator():
        await world.until(IMPULSE, "hook", is_up)
        role = await world.client.get(ROLE, RUNNER, NAMESPACE_NAME)
    granted = [{**rule, "verbs": sorted(rule["verbs"])} for rule in role["rules"]]
    assert reads in granted
    assert writes in granted


async def test_everything_goes_with_the_impulse(world: OperatorCluster) -> None:
    await a_story(world)
    await world.impulse("hook", LISTENING, template=PORTS)
    async with world.operator():
        await world.until(IMPULSE, "hook", is_up)
        await world.client.delete(IMPULSE, "hook", NAMESPACE_NAME)
        for resource in (DEPLOYMENT, SERVICE, ROLE, ROLE_BINDING, POD):
            await world.none_left(resource)


async def test_a_change_of_impulse_or_template_is_rolled_out(world: OperatorCluster, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    await a_story(world)
    await world.impulse("hook", f'echo "one $BUBU_STEP_CONFIG" >> {seen}; {LISTENING}')
    async with world.operator():
        await world.until(IMPULSE, "hook", is_up)
        await change(world, spec={"with": {"n": 1}})
        await writes(world, seen, 'one {"n":1}')
        image = world.image("next", f'echo "two $BUBU_STEP_CONFIG" >> {seen}; {LISTENING}')
        await world.client.patch(IMPULSE_TEMPLATE, "hook", {"spec": {"image": image}})
        await writes(world, seen, 'two {"n":1}')
        await world.until(DEPLOYMENT, WORKLOAD, lambda obj: status_of(obj).get("replicas") == 1)
        await world.until(IMPULSE, "hook", is_up)


async def test_a_listener_that_crashes_says_so_and_is_up_again_when_it_is_mended(world: OperatorCluster) -> None:
    await a_story(world)
    await world.impulse("hook", f'test "$BUBU_DEBUG" = true || exit 3; {LISTENING}')
    async with world.operator():
        down = await world.until(IMPULSE, "hook", says("exit code 3"))
        assert (status_of(down)["phase"], ready(down)["reason"]) == ("Pending", "Reconciling")
        await change(world, spec={"execution": {"debug": True}})
        await world.until(IMPULSE, "hook", is_up)


async def test_an_image_that_cannot_be_pulled_is_named(world: OperatorCluster) -> None:
    await a_story(world)
    await world.impulse("hook", LISTENING, template={"image": "test/nobody-has-this"})
    async with world.operator():
        await world.until(IMPULSE, "hook", says("cannot pull its image test/nobody-has-this"))


async def test_an_impulse_waits_for_its_template_its_story_and_a_grant(world: OperatorCluster) -> None:
    await world.create(
        IMPULSE, "hook", {"templateRef": {"name": "hook"}, "storyRef": {"name": "report", "namespace": "elsewhere"}}
    )
    policy = OperatorSettings(cross_namespace_policy=CrossNamespacePolicy.DENY)
    async with world.operator(lambda: policy):
        blocked = await world.until(IMPULSE, "hook", has_reason("TemplateNotFound"))
        assert status_of(blocked)["phase"] == "Blocked"
        template = {"version": "1", "image": world.image("hook", LISTENING), "supportedModes": ["deployment"]}
        await world.create(IMPULSE_TEMPLATE, "hook", template, namespaced=False)
        failed = await world.until(IMPULSE, "hook", has_reason("StoryReferenceInvalid"))
        assert status_of(failed)["phase"] == "Failed"
        await change(world, spec={"storyRef": {"namespace": None}})
        await world.until(IMPULSE, "hook", has_reason("StoryNotFound"))
        await a_story(world)
        await world.until(IMPULSE, "hook", is_up)

    async def told() -> bool:
        notes = [event["reason"] for event in (await world.client.list(EVENT, NAMESPACE_NAME)).items]
        return all(notes.count(reason) <= 1 for reason in ("TemplateNotFound", "StoryNotFound"))

    await world.eventually(told)


async def test_another_mode_ends_the_old_workload_before_the_new_one(world: OperatorCluster, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    await a_story(world)
    await world.impulse(
        "hook", f"echo start >> {pids}; trap 'echo end >> {pids}; exit 0' TERM; sleep 600 & wait", template=PORTS
    )
    async with world.operator():
        await world.until(IMPULSE, "hook", is_up)
        await change(world, spec={"workload": {"mode": "statefulset"}})
        await world.gone(DEPLOYMENT, WORKLOAD)
        made = await world.until(STATEFUL_SET, WORKLOAD, lambda obj: True)
        service = await world.until(SERVICE, WORKLOAD, lambda obj: obj["spec"].get("clusterIP") == "None")
        assert made["spec"]["serviceName"] == service["metadata"]["name"]
        assert lines_of(pids)[:2] == ["start", "end"]
        await change(world, spec={"workload": {"mode": "deployment"}})
        await world.gone(STATEFUL_SET, WORKLOAD)
        await world.until(IMPULSE, "hook", is_up)


async def test_a_suspended_listener_has_no_pods_and_comes_back(world: OperatorCluster) -> None:
    await a_story(world)
    await world.impulse("hook", LISTENING)
    async with world.operator():
        await world.until(IMPULSE, "hook", is_up)
        await change(world, metadata={"annotations": {"bubustack.io/suspend": "true"}})
        await world.until(IMPULSE, "hook", lambda obj: status_of(obj).get("phase") == "Paused")
        await world.none_left(POD)
        await change(world, metadata={"annotations": {"bubustack.io/suspend": None}})
        await world.until(IMPULSE, "hook", is_up)


async def test_a_deployment_of_somebody_else_is_not_touched(world: OperatorCluster) -> None:
    await a_story(world)
    labels = {"app": "theirs"}
    pod = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "c", "image": world.image("x", LISTENING)}]},
    }
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod}
    theirs = await world.create(DEPLOYMENT, WORKLOAD, spec)
    await world.impulse("hook", LISTENING)
    async with world.operator():
        failed = await world.until(IMPULSE, "hook", has_reason("NameConflict"))
        assert f"Deployment team/{WORKLOAD}" in ready(failed)["message"]
        stored = await world.client.get(DEPLOYMENT, WORKLOAD, NAMESPACE_NAME)
        assert stored["spec"] == theirs["spec"]
        assert "ownerReferences" not in stored["metadata"]
        await world.client.delete(DEPLOYMENT, WORKLOAD, NAMESPACE_NAME)
        await world.until(IMPULSE, "hook", is_up)


async def test_triggers_are_counted_and_stay_counted_when_they_are_gone(world: OperatorCluster) -> None:
    await world.story("report", {"name": "nothing", "type": "condition"})
    await world.impulse("hook", LISTENING)
    for name, decision in (("a", "Created"), ("b", "Reused"), ("c", "Rejected")):
        await a_trigger(world, name, name)
        at = format_instant(system_now() - timedelta(minutes=1))
        decided = {"decision": decision, "acceptedAt": at, "completedAt": at, "observedGeneration": 1}
        await world.client.patch(
            STORY_TRIGGER, name, {"status": decided}, namespace=NAMESPACE_NAME, subresource="status"
        )
    async with world.operator():
        await world.until(IMPULSE, "hook", has_counted(3, 2, 1))
        for name in "abc":
            await world.client.delete(STORY_TRIGGER, name, NAMESPACE_NAME)
        await world.client.patch(
            IMPULSE, "hook", {"status": {"triggersReceived": 9}}, namespace=NAMESPACE_NAME, subresource="status"
        )
        await world.until(IMPULSE, "hook", has_counted(3, 2, 1))
        await a_trigger(world, trigger_name(NAMESPACE_NAME, "report", "d"), "d")
        await a_trigger(world, "not-the-name-of-its-identity", "e")
        await world.until(IMPULSE, "hook", has_counted(5, 3, 2))


async def a_trigger(world: OperatorCluster, name: str, identity: str) -> None:
    spec = {
        "storyRef": {"name": "report"},
        "impulseRef": {"name": "hook"},
        "deliveryIdentity": {"submissionId": identity},
    }
    await world.create(STORY_TRIGGER, name, spec)


def has_counted(*numbers: int) -> Callable[[Object], bool]:
    """Received, launched, failed."""
    fields = ("triggersReceived", "storiesLaunched", "failedTriggers")
    return lambda impulse: tuple(status_of(impulse).get(field) for field in fields) == numbers
