"""Realtime steps through the executor's port, on a server that stores. The test plays the node and the hub."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from bubu_sdk.streaming import settings as sdk
from core.api import keys
from core.api.objects import Object
from core.api.phases import Phase, Reason, StepReason
from core.api.resource import (
    CONFIG_MAP,
    DEPLOYMENT,
    ENGRAM,
    ENGRAM_TEMPLATE,
    POD,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    STEP_RUN,
    STORY,
    STORY_RUN,
    STREAM_DEPLOYMENT,
    TRANSPORT,
    TRANSPORT_BINDING,
    Resource,
)
from core.engine.errors import (
    AwaitedError,
    Definition,
    GoneError,
    HubUnknownError,
    MissingReferenceError,
    NameConflictError,
    RejectedError,
    StaleError,
    ThrottledError,
    UnavailableError,
)
from core.engine.executor_port import StopReason
from core.engine.ports import STREAM, AttemptState, Observation
from core.kube.errors import NotFoundError
from core.policy.settings import BindingLimit
from core.workloads.binding_token import is_genuine, read_identity
from core.workloads.hub_access import HubAccess
from reconcilers.adapters.stream_ends import StreamEnds
from reconcilers.adapters.stream_objects import StreamObjects
from tests.integration.adapter_world import AdapterWorld, open_adapter_world
from tests.integration.operator_cluster import NAMESPACE_NAME

STEP_RUN_NAME = "one-listen"
BINDING = "one-listen-transport"
WITH_TLS = HubAccess("bobrapet-hub.bobrapet-system.svc:9000", b"k" * 32, b"-- authority --")


class Started(NamedTuple):
    run: Object
    story: Object
    step_run: Object


async def definitions(
    there: AdapterWorld, *, engram: Object | None = None, steps: list[Object] | None = None, **story: Any
) -> tuple[Object, Object]:
    """A run of a realtime Story; its first step is ``listen``, a source."""
    await there.create(ENGRAM_TEMPLATE, "ears", {"version": "1", "image": "x", "supportedModes": ["deployment"]})
    await there.create(ENGRAM, "ears", {"templateRef": {"name": "ears"}, "mode": "deployment", **(engram or {})})
    spec = {"provider": "people", "driver": "hub", "supportedBinary": ["application/json"]}
    await there.create(TRANSPORT, "hub", spec)
    declared = {
        "pattern": "realtime",
        "transports": [{"name": "voice", "transportRef": "hub"}],
        "steps": steps or [{"name": "listen", "ref": {"name": "ears"}}],
        **story,
    }
    made = await there.create(STORY, "talk", declared)
    run = await there.create(STORY_RUN, "one", {"storyRef": {"name": "talk"}, "inputs": {"room": "7"}})
    return run, made


async def created(there: AdapterWorld, **options: Any) -> Started:
    run, story = await definitions(there, **options)
    step_run = await there.step_runs.create_step_run(run, await there.manifest(run, story))
    return Started(run, story, step_run)


async def started(there: AdapterWorld, **options: Any) -> Started:
    made = await created(there, **options)
    await there.streams.start(await order(there, made))
    return made


async def order(there: AdapterWorld, made: Started, *, attempt: int = 0) -> Any:
    first = {**made.story, "spec": {**made.story["spec"], "steps": made.story["spec"]["steps"][:1]}}
    return await there.order(made.run, first, made.step_run, attempt=attempt)


async def observed(there: AdapterWorld, made: Started) -> Observation:
    return await there.observe(made.run, STEP_RUN_NAME)


async def stored(there: AdapterWorld, kind: Resource, name: str) -> Object:
    return await there.client.get(kind, name, NAMESPACE_NAME)


async def binding(there: AdapterWorld) -> Object:
    return await stored(there, TRANSPORT_BINDING, BINDING)


def marks(obj: Object) -> Object:
    found: Object = obj["metadata"]["annotations"]
    return found


async def hub_says(there: AdapterWorld, *, ready: str = "", connected: bool = False, **stream: Any) -> None:
    """What the hub writes, and what this process then knows of it."""
    conditions = []
    if ready:
        condition = {"type": "Ready", "status": "True" if ready == "TransportReady" else "False", "reason": ready}
        conditions = [{**condition, "message": f"it is {ready}", "lastTransitionTime": "2026-01-02T03:04:05Z"}]
    status = {"conditions": conditions, "stream": {"connected": connected, **stream}}
    patched = await there.client.patch(
        TRANSPORT_BINDING, BINDING, {"status": status}, namespace=NAMESPACE_NAME, subresource="status"
    )
    await known(there, TRANSPORT_BINDING, BINDING, lambda obj: obj and is_at_least(obj, patched))


def is_at_least(obj: Object, other: Object) -> bool:
    return int(obj["metadata"]["resourceVersion"]) >= int(other["metadata"]["resourceVersion"])


async def known(there: AdapterWorld, kind: Resource, name: str, holds: Callable[[Any], Any]) -> Any:
    return await there.known(there.world.informer(kind), name, holds)


async def pod(there: AdapterWorld, made: Started, name: str = "p", **status: Any) -> Object:
    """A Pod as the Deployment's ReplicaSet creates it, with this status."""
    deployment = await stored(there, DEPLOYMENT, STEP_RUN_NAME)
    template = deployment["spec"]["template"]
    metadata = {"labels": template["metadata"]["labels"], "annotations": template["metadata"]["annotations"]}
    found = await there.create(POD, name, template["spec"], **metadata)
    return await pod_says(there, name, **status) if status else found


async def pod_says(there: AdapterWorld, name: str = "p", *, phase: str = "Running", **container: Any) -> Object:
    """The container's status."""
    base = {"name": "engram", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    status = {"phase": phase, "containerStatuses": [{**base, **container}] if container else []}
    patched = await there.client.patch(POD, name, {"status": status}, namespace=NAMESPACE_NAME, subresource="status")
    await known(there, POD, name, lambda obj: obj and is_at_least(obj, patched))
    return patched


RUNNING: Object = {"state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}}}


def ended(code: int, *, times: int = 1, **more: Any) -> Object:
    """The status of a container that has ended so often, and waits to be started again."""
    how = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", **more}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}}
    return {"state": waiting, "lastState": {"terminated": how}, "restartCount": times - 1}


async def pod_is_gone(there: AdapterWorld, name: str = "p") -> None:
    await there.client.delete(POD, name, NAMESPACE_NAME, grace_period_seconds=0)
    await known(there, POD, name, lambda obj: obj is None)


# The start.


@pytest.fixture
async def there() -> AsyncIterator[AdapterWorld]:
    """The engine's ports on an embedded API server: real controllers would make Pods beside those of the tests."""
    async with open_adapter_world(None) as opened:
        yield opened


async def test_a_start_creates_everything_and_the_workload_last(there: AdapterWorld) -> None:
    made = await created(there)
    there.wire.writes.clear()
    await there.streams.start(await order(there, made))
    assert there.wire.writes == [
        "POST serviceaccounts",
        "POST rolebindings",
        "POST transportbindings",
        "POST secrets",
        "POST services",
        "POST deployments",
    ]
    assert made.step_run["spec"]["executor"] == STREAM
    for kind, name in ((TRANSPORT_BINDING, BINDING), (SERVICE, STEP_RUN_NAME), (DEPLOYMENT, STEP_RUN_NAME)):
        [owner] = (await stored(there, kind, name))["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == (made.step_run["metadata"]["uid"], True)
    seen = await observed(there, made)
    assert (seen.state, seen.attempt, seen.deadline_at) == (AttemptState.STARTING, 0, None)


async def test_the_container_can_prove_which_step_it_is(there: AdapterWorld) -> None:
    made = await started(there)
    deployment = await stored(there, DEPLOYMENT, STEP_RUN_NAME)
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    [reference] = [each for each in container["env"] if each["name"] == "BUBU_TRANSPORT_BINDING"]
    secret = await stored(there, SECRET, reference["valueFrom"]["secretKeyRef"]["name"])
    environ = {"BUBU_TRANSPORT_BINDING": base64.b64decode(secret["data"]["binding"]).decode()}
    identity = read_identity(sdk.load(environ).binding)
    uid = (await binding(there))["metadata"]["uid"]
    assert (identity.binding, identity.generation) == (BINDING, 1)
    assert there.hub is not None
    assert is_genuine(identity, uid, [there.hub.key])
    assert made.run["spec"]["inputs"] == {"room": "7"}
    [data] = [each["value"] for each in container["env"] if each["name"] == "BUBU_STEP_CONFIG"]
    assert data == "{}"


async def test_a_start_again_changes_nothing(there: AdapterWorld) -> None:
    made = await started(there)
    before = await stored(there, DEPLOYMENT, STEP_RUN_NAME)
    await there.streams.start(await order(there, made))
    again = await stored(there, DEPLOYMENT, STEP_RUN_NAME)
    assert again["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert len((await there.client.list(SECRET, NAMESPACE_NAME)).items) == 1


@pytest.mark.parametrize("target", ["transportbindings", "secrets", "services", "deployments"])
async def test_a_start_whose_answer_was_lost_is_found_by_the_next_try(there: AdapterWorld, target: str) -> None:
    made = await created(there)
    asked = await order(there, made)
    there.wire.lose_answer_to = f"POST {target}"
    with pytest.raises(UnavailableError):
        await there.streams.start(asked)
    await there.streams.start(asked)
    assert there.wire.lose_answer_to == ""
    assert (await observed(there, made)).state is AttemptState.STARTING
    assert len((await there.client.list(SECRET, NAMESPACE_NAME)).items) == 1


async def test_without_a_way_to_the_hub_nothing_is_created_and_a_person_reads_why(there: AdapterWorld) -> None:
    made = await created(there)
    there.hub = None
    with pytest.raises(HubUnknownError, match="bobrapet-hub-key"):
        await there.streams.start(await order(there, made))
    assert (await observed(there, made)).state is AttemptState.ABSENT


async def test_a_stateful_set_has_its_service(there: AdapterWorld) -> None:
    made = await started(there, engram={"mode": "statefulset"})
    found = await stored(there, STATEFUL_SET, STEP_RUN_NAME)
    service = await stored(there, SERVICE, found["spec"]["serviceName"])
    assert service["spec"]["clusterIP"] == "None"
    assert (await observed(there, made)).state is AttemptState.STARTING
    await there.streams.stop(made.step_run, StopReason.END)
    assert (await observed(there, made)).state is AttemptState.ABSENT


async def test_objects_of_somebody_else_are_neither_adopted_nor_removed(there: AdapterWorld) -> None:
    made = await created(there)
    await there.create(SERVICE, STEP_RUN_NAME, {"ports": [{"port": 80}], "selector": {"a": "b"}})
    with pytest.raises(NameConflictError, match="Service team/one-listen exists and does not belong to this step"):
        await there.streams.start(await order(there, made))
    with pytest.raises(NotFoundError):
        await stored(there, DEPLOYMENT, STEP_RUN_NAME)
    await there.streams.stop(made.step_run, StopReason.END)
    assert (await stored(there, SERVICE, STEP_RUN_NAME))["spec"]["selector"] == {"a": "b"}


async def test_what_an_earlier_step_run_has_left_is_collected_first(there: AdapterWorld) -> None:
    made = await created(there)
    gone = {"apiVersion": made.step_run["apiVersion"], "kind": "StepRun", "name": STEP_RUN_NAME, "uid": "gone"}
    labels = {"app.kubernetes.io/name": "x"}
    spec = {"ports": [{"port": 80}], "selector": labels}
    await there.create(SERVICE, STEP_RUN_NAME, spec, ownerReferences=[{**gone, "controller": True}])
    with pytest.raises(StaleError, match="of a deleted StepRun still exists"):
        await there.streams.start(await order(there, made))
    await there.streams.start(await order(there, made))
    [owner] = (await stored(there, SERVICE, STEP_RUN_NAME))["metadata"]["ownerReferences"]
    assert owner["uid"] == made.step_run["metadata"]["uid"]


async def test_no_workload_is_started_for_a_step_that_another_leader_has_ended(there: AdapterWorld) -> None:
    made = await created(there)
    asked = await order(there, made)
    patch = {"status": {"phase": "Failed", "retries": 0}}
    await there.client.patch(STEP_RUN, STEP_RUN_NAME, patch, namespace=NAMESPACE_NAME, subresource="status")
    with pytest.raises(StaleError):
        await there.streams.start(asked)
    await there.client.delete(STEP_RUN, STEP_RUN_NAME, NAMESPACE_NAME)
    with pytest.raises((GoneError, UnavailableError)):
        await there.streams.start(asked)
    with pytest.raises(NotFoundError):
        await stored(there, DEPLOYMENT, STEP_RUN_NAME)


async def test_settings_that_no_process_accepts_are_refused_before_the_workload(there: AdapterWorld) -> None:
    large = [{"name": "voice", "transportRef": "hub", "settings": {"note": "x" * 140_000}}]
    made = await created(there, transports=large)
    with pytest.raises(RejectedError) as caught:
        await there.streams.start(await order(there, made))
    assert caught.value.reason is Reason.INPUT_TOO_LARGE
    with pytest.raises(NotFoundError):
        await stored(there, DEPLOYMENT, STEP_RUN_NAME)


async def test_a_tls_secret_of_the_engram_must_exist_and_the_default_one_need_not(there: AdapterWorld) -> None:
    made = await created(there, engram={"transport": {"tls": {"secretRef": {"name": "mine"}}}})
    with pytest.raises(MissingReferenceError, match="TLS Secret 'mine' does not exist"):
        await there.streams.start(await order(there, made))
    await there.create(SECRET, "mine", {})
    await there.streams.start(await order(there, made))
    volumes = (await stored(there, DEPLOYMENT, STEP_RUN_NAME))["spec"]["template"]["spec"]["volumes"]
    assert {"name": "engram-tls", "secret": {"secretName": "mine", "defaultMode": 420}} in volumes


# The authority of the hub.


async def test_a_namespace_gets_the_authority_and_its_successor(there: AdapterWorld) -> None:
    there.hub = WITH_TLS
    await started(there)
    first = await stored(there, CONFIG_MAP, "bobrapet-hub-trust")
    assert first["data"] == {"ca.crt": "-- authority --"}
    there.hub = HubAccess(WITH_TLS.endpoint, WITH_TLS.key, b"-- authority --\n-- successor --")
    await there.look_again()
    assert (await stored(there, CONFIG_MAP, "bobrapet-hub-trust"))["data"] == {
        "ca.crt": "-- authority --\n-- successor --"
    }


async def test_a_config_map_of_somebody_else_stays_as_it_is(there: AdapterWorld) -> None:
    there.hub = WITH_TLS
    made = await created(there)
    manifest = {"metadata": {"name": "bobrapet-hub-trust", "namespace": NAMESPACE_NAME}, "data": {"a": "b"}}
    await there.client.create(CONFIG_MAP, manifest)
    with pytest.raises(NameConflictError, match="was not created by the operator"):
        await there.streams.start(await order(there, made))
    assert (await stored(there, CONFIG_MAP, "bobrapet-hub-trust"))["data"] == {"a": "b"}


# While it is alive.


async def test_the_step_shows_what_the_hub_says(there: AdapterWorld) -> None:
    made = await started(there)
    await pod(there, made, **RUNNING)
    seen = await observed(there, made)
    assert seen.state is AttemptState.RUNNING
    assert seen.live is not None
    assert (seen.live.phase, seen.live.reason) == (Phase.PAUSED, Reason.AWAITING_TRANSPORT)
    await hub_says(there, ready="TransportReady", connected=True)
    live = (await observed(there, made)).live
    assert live is not None
    assert (live.phase, live.reason, live.is_connected) == (Phase.RUNNING, Reason.TRANSPORT_READY, True)
    await hub_says(there, ready="AwaitingTransport", disconnectedAt="2026-01-02T03:05:05Z")
    live = (await observed(there, made)).live
    assert live is not None
    assert (live.phase, live.is_connected, live.disconnected_since is not None) == (Phase.PAUSED, False, True)
    await hub_says(there, ready="InvalidConfiguration")
    live = (await observed(there, made)).live
    assert live is not None
    assert (live.phase, live.reason, live.message) == (
        Phase.BLOCKED,
        Reason.INVALID_CONFIGURATION,
        "it is InvalidConfiguration",
    )


async def test_a_container_that_cannot_start_says_why(there: AdapterWorld) -> None:
    made = await started(there)
    seen = await observed(there, made)
    assert (seen.reason, seen.waiting_since is not None) == (StepReason.NO_POD, True)
    await pod(
        there, made, phase="Pending", state={"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    )
    seen = await observed(there, made)
    assert (seen.state, seen.reason, seen.message) == (AttemptState.STARTING, "ImagePullBackOff", "no such image")


async def test_a_container_that_fails_again_and_again_fails_the_attempt(there: AdapterWorld) -> None:
    made = await started(there)
    await pod(there, made, **ended(3, times=5))
    seen = await observed(there, made)
    assert (seen.state, seen.reason) == (AttemptState.STARTING, "CrashLoopBackOff")
    await pod_says(there, **ended(3, times=6))
    seen = await observed(there, made)
    assert (seen.state, seen.exit_code, seen.attempt) == (AttemptState.FAILED, 3, 0)
    await pod_says(there, restartCount=6, **RUNNING)
    assert (await observed(there, made)).state is AttemptState.RUNNING


async def test_a_stream_that_has_lived_long_may_fail_now_and_then(there: AdapterWorld) -> None:
    made = await started(there)
    await pod(there, made, **ended(3, times=9, finishedAt="2099-01-01T00:00:00Z"))
    assert (await observed(there, made)).state is AttemptState.STARTING


async def test_pods_of_another_generation_or_of_nobody_do_not_count(there: AdapterWorld) -> None:
    made = await started(there)
    await pod(there, made, **ended(0))
    await there.client.patch(
        POD, "p", {"metadata": {"annotations": {keys.ANNOTATION_CONNECTOR_GENERATION: "7"}}}, namespace=NAMESPACE_NAME
    )
    await known(there, POD, "p", lambda obj: marks(obj)[keys.ANNOTATION_CONNECTOR_GENERATION] == "7")
    await there.look_again()
    assert keys.ANNOTATION_STREAM_FINISHED not in marks(await binding(there))
    assert (await observed(there, made)).state is AttemptState.STARTING


async def test_a_deleted_binding_ends_the_attempt(there: AdapterWorld) -> None:
    made = await started(there)
    await pod(there, made, **RUNNING)
    await there.client.delete(TRANSPORT_BINDING, BINDING, NAMESPACE_NAME)
    await known(there, TRANSPORT_BINDING, BINDING, lambda obj: obj is None)
    seen = await observed(there, made)
    assert (seen.state, seen.reason, seen.exit_code) == (AttemptState.FAILED, "TransportBindingGone", None)


# The ends.


async def test_a_source_that_exits_is_finished_at_once_and_succeeds_when_all_is_delivered(there: AdapterWorld) -> None:
    made = await started(there)
    await pod(there, made, **RUNNING)
    await hub_says(there, ready="TransportReady", connected=True)
    await there.look_again()
    assert (await observed(there, made)).state is AttemptState.RUNNING
    await pod_says(there, **ended(0))
    there.wire.writes.clear()
    await there.look_again()
    assert there.wire.writes == [f"PATCH {BINDING}", f"DELETE {STEP_RUN_NAME}"]
    assert marks(await binding(there))[keys.ANNOTATION_STREAM_FINISHED] == "true"
    seen = await observed(there, made)
    assert seen.state is AttemptState.RUNNING
    assert seen.live is not None
    assert seen.live.is_connected is False
    await hub_says(there, drained=True)
    seen = await observed(there, made)
    assert (seen.state, seen.attempt, seen.exit_code, seen.has_result) == (AttemptState.SUCCEEDED, 0, 0, False)


async def test_a_source_that_connects_again_may_if_it_has_not_ended(there: AdapterWorld) -> None:
    made = await started(there)
    await pod(there, made, **RUNNING)
    await hub_says(there, generation=1, returning="2026-01-02T03:04:05Z")
    await there.look_again()
    assert marks(await binding(there))["transport.bubustack.io/may-return"] == "2026-01-02T03:04:05Z"
    await hub_says(there, generation=1, connected=True)
    there.wire.writes.clear()
    await there.look_again()
    assert there.wire.writes == []


async def test_a_source_that_has_ended_and_was_started_again_is_finished_although_no_event_has_said_so(
    there: AdapterWorld,
) -> None:
    made = await started(there)
    await pod(there, made, **RUNNING)
    await hub_says(there, generation=1, returning="2026-01-02T03:04:05Z")
    objects = StreamObjects(there.client, there.world)
    before = objects.look(made.step_run)
    await pod_says(there, **RUNNING, lastState=ended(0)["lastState"], restartCount=1)
    await StreamEnds(objects).advance(before)
    found = marks(await binding(there))
    assert found["transport.bubustack.io/finished"] == "true"
    assert "transport.bubustack.io/may-return" not in found


async def test_a_worker_that_was_told_to_go_has_not_finished(there: AdapterWorld) -> None:
    """Kubernetes moves a Pod to another node; its program ends with 0 on SIGTERM."""
    made = await started(there)
    await pod(there, made, **RUNNING)
    await there.client.patch(POD, "p", {"metadata": {"finalizers": ["tests.example/hold"]}}, namespace=NAMESPACE_NAME)
    await there.client.delete(POD, "p", NAMESPACE_NAME)
    await pod_says(there, state={"terminated": {"exitCode": 0, "reason": "Completed"}})
    await there.look_again()
    assert keys.ANNOTATION_STREAM_FINISHED not in marks(await binding(there))
    await there.client.patch(POD, "p", {"metadata": {"finalizers": None}}, namespace=NAMESPACE_NAME)


async def test_a_step_that_has_got_everything_is_ended_and_then_finished(there: AdapterWorld) -> None:
    made = await started(there)
    await pod(there, made, **RUNNING)
    await hub_says(there, ready="TransportReady", connected=True, drained=True)
    await there.look_again()
    assert marks(await binding(there))[keys.ANNOTATION_STREAM_ENDING] == "drained"
    assert keys.ANNOTATION_STREAM_FINISHED not in marks(await binding(there))  # it may still send a last sum
    assert (await observed(there, made)).state is AttemptState.RUNNING
    await pod_is_gone(there)
    await there.look_again()
    assert marks(await binding(there))[keys.ANNOTATION_STREAM_FINISHED] == "true"
    assert (await observed(there, made)).state is AttemptState.SUCCEEDED


async def asked_to_end(there: AdapterWorld, made: Started) -> Started:
    patch = {"annotations": {keys.ANNOTATION_CANCEL_REQUESTED: "true"}}
    return made._replace(step_run=await there.step_runs.patch_step_run_metadata(made.step_run, patch))


async def test_a_canceled_source_goes_at_once(there: AdapterWorld) -> None:
    made = await started(there)
    await pod(there, made, **RUNNING)
    made = await asked_to_end(there, made)
    await there.streams.stop(made.step_run, StopReason.DRAIN)
    with pytest.raises(NotFoundError):
        await stored(there, DEPLOYMENT, STEP_RUN_NAME)
    assert (await observed(there, made)).state is AttemptState.LINGERING
    await pod_is_gone(there)
    await there.streams.stop(made.step_run, StopReason.DRAIN)
    assert marks(await binding(there))[keys.ANNOTATION_STREAM_FINISHED] == "true"
    assert (await observed(there, made)).state is AttemptState.ABSENT  # the engine records that it was canceled


NEEDS = [
    {"name": "listen", "ref": {"name": "ears"}, "needs": ["source"]},
    {"name": "source", "ref": {"name": "ears"}},
]


async def started_jobs(there: AdapterWorld) -> Started:
    """The step ``listen``, whose Engram runs as a Job, has begun."""
    run, story = await definitions(there, engram={"mode": "job"}, steps=NEEDS)
    first = {**story, "spec": {**story["spec"], "steps": NEEDS[:1]}}
    step_run = await there.step_runs.create_step_run(run, await there.manifest(run, first))
    made = Started(run, story, step_run)
    await there.streams.start(await there.order(run, first, step_run, attempt=0))
    return made


async def test_a_step_whose_engram_runs_as_a_job_has_a_binding_and_nothing_else(there: AdapterWorld) -> None:
    there.wire.writes.clear()
    made = await started_jobs(there)
    assert marks(await binding(there))[keys.ANNOTATION_STREAM_JOBS] == "true"
    for kind in (DEPLOYMENT, STATEFUL_SET, SERVICE, SECRET):
        assert (await there.client.list(kind, NAMESPACE_NAME)).items == []
    seen = await observed(there, made)
    assert (seen.state, seen.live.phase if seen.live else None) == (AttemptState.RUNNING, Phase.PAUSED)
    await hub_says(there, ready="TransportReady", connected=True)
    seen = await observed(there, made)
    assert (seen.state, seen.live.phase if seen.live else None) == (AttemptState.RUNNING, Phase.RUNNING)

    await hub_says(there, ready="TransportReady", connected=True, drained=True)
    await there.streams.stop(made.step_run, StopReason.IF_DONE)
    assert marks(await binding(there))[keys.ANNOTATION_STREAM_FINISHED] == "true"
    await known(there, TRANSPORT_BINDING, BINDING, lambda obj: keys.ANNOTATION_STREAM_FINISHED in marks(obj))
    assert (await observed(there, made)).state is AttemptState.SUCCEEDED


async def test_the_end_of_its_time_ends_a_step_that_starts_jobs(there: AdapterWorld) -> None:
    made = await started_jobs(there)
    await there.streams.stop(made.step_run, StopReason.END)
    await there.streams.stop(made.step_run, StopReason.END)
    assert (await observed(there, made)).state is AttemptState.ABSENT
    found = marks(await binding(there))
    assert found[keys.ANNOTATION_STREAM_ENDING] == "canceled"
    assert found[keys.ANNOTATION_STREAM_FINISHED] == "true"


async def test_a_canceled_step_goes_when_it_has_got_everything_or_when_its_time_is_over(there: AdapterWorld) -> None:
    run, story = await definitions(there, steps=NEEDS)
    first = {**story, "spec": {**story["spec"], "steps": NEEDS[:1]}}
    step_run = await there.step_runs.create_step_run(run, await there.manifest(run, first))
    made = Started(run, story, step_run)
    [declared, _] = story["spec"]["steps"]
    bound = await there.binder.bind(run, story, declared)
    asked = (await order(there, made)).__class__(
        run, story, declared, step_run, bound, 0, {}, {"inputs": {}, "steps": {}}, None
    )
    await there.streams.start(asked)
    assert marks(await binding(there))[keys.ANNOTATION_UPSTREAM_STEPS] == "source"
    await pod(there, made, **RUNNING)
    made = await asked_to_end(there, made)
    await there.streams.stop(made.step_run, StopReason.DRAIN)
    assert (await observed(there, made)).state is AttemptState.RUNNING
    await hub_says(there, drained=True)
    await there.streams.stop(made.step_run, StopReason.DRAIN)
    assert (await observed(there, made)).state is AttemptState.LINGERING
    assert marks(await binding(there))[keys.ANNOTATION_STREAM_ENDING] == "canceled"


async def test_the_end_of_its_time_ends_the_attempt_whatever_the_hub_says(there: AdapterWorld) -> None:
    made = await started(there)
    await there.streams.stop(made.step_run, StopReason.END)
    await there.streams.stop(made.step_run, StopReason.END)
    assert (await observed(there, made)).state is AttemptState.ABSENT
    assert await binding(there)  # it stays until the StepRun goes


async def test_a_workload_that_the_informers_have_not_seen_is_ended_all_the_same(there: AdapterWorld) -> None:
    made = await started(there)
    deployment = await stored(there, DEPLOYMENT, STEP_RUN_NAME)
    there.world.informer(STREAM_DEPLOYMENT).forget(NAMESPACE_NAME, STEP_RUN_NAME, deployment["metadata"]["uid"])
    await there.streams.stop(made.step_run, StopReason.END)
    with pytest.raises(NotFoundError):
        await stored(there, DEPLOYMENT, STEP_RUN_NAME)


async def test_the_recorded_end_finishes_the_binding_and_removes_what_is_left(there: AdapterWorld) -> None:
    made = await started(there)
    conditions = [
        {"type": kind, "status": status, "reason": "x", "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z"}
        for kind, status in (("Ready", "False"), ("Progressing", "False"), ("Degraded", "True"))
    ]
    patch = {"phase": "Failed", "retries": 0, "conditions": conditions}
    await there.step_runs.patch_step_run_status(made.step_run, patch)
    await there.look_again()
    with pytest.raises(NotFoundError):
        await stored(there, DEPLOYMENT, STEP_RUN_NAME)
    assert marks(await binding(there))[keys.ANNOTATION_STREAM_FINISHED] == "true"


# Retries.


async def test_a_retry_waits_for_the_pods_and_fences_the_earlier_generation(there: AdapterWorld) -> None:
    made = await started(there)
    await pod(there, made, **ended(137, times=6))
    step_run = await there.step_runs.patch_step_run_status(made.step_run, {"retries": 1})
    made = made._replace(step_run=step_run)
    seen = await observed(there, made)
    assert seen.attempt == 0  # an earlier one: the engine ends it
    await there.streams.stop(made.step_run, StopReason.SUPERSEDED)
    assert (await observed(there, made)).state is AttemptState.LINGERING
    with pytest.raises(StaleError, match="still alive"):
        await there.streams.start(await order(there, made, attempt=1))
    await pod_is_gone(there)
    assert (await observed(there, made)).state is AttemptState.ABSENT
    await there.streams.start(await order(there, made, attempt=1))
    assert marks(await binding(there))[keys.ANNOTATION_CONNECTOR_GENERATION] == "2"
    assert (await observed(there, made)).attempt == 1
    assert len((await there.client.list(SECRET, NAMESPACE_NAME)).items) == 2


async def test_a_leader_that_is_behind_does_not_start_an_earlier_attempt_again(there: AdapterWorld) -> None:
    made = await started(there)
    behind = await order(there, made)
    step_run = await there.step_runs.patch_step_run_status(made.step_run, {"retries": 1})
    await there.streams.stop(step_run, StopReason.SUPERSEDED)
    await there.streams.start(await order(there, made._replace(step_run=step_run), attempt=1))
    with pytest.raises(StaleError):
        await there.streams.start(behind)
    with pytest.raises(StaleError):
        await there.streams.stop(made.step_run, StopReason.END)
    assert (await stored(there, DEPLOYMENT, STEP_RUN_NAME))["metadata"]["annotations"][keys.ANNOTATION_ATTEMPT] == "1"


async def test_a_leader_that_is_behind_does_not_start_a_finished_stream_again(there: AdapterWorld) -> None:
    """It does not know the end of the worker, and finds no workload."""
    made = await started(there)
    behind = await order(there, made)
    await pod(there, made, **ended(0))
    await there.look_again()
    assert marks(await binding(there))[keys.ANNOTATION_STREAM_FINISHED] == "true"
    with pytest.raises(StaleError, match="has finished"):
        await there.streams.start(behind)
    with pytest.raises(NotFoundError):
        await stored(there, DEPLOYMENT, STEP_RUN_NAME)


# The binding of the engine.


async def test_a_transport_that_is_missing_is_awaited(there: AdapterWorld) -> None:
    run, story = await definitions(there, transports=[{"name": "voice", "transportRef": "later"}])
    with pytest.raises(AwaitedError, match="Transport 'later' of step 'listen' does not exist") as caught:
        await there.binder.bind(run, story, story["spec"]["steps"][0])
    assert caught.value.reason is StepReason.TRANSPORT_NOT_FOUND
    assert caught.value.definitions == {Definition("Transport", "", "later"), Definition("Engram", "team", "ears")}
    spec = {"provider": "people", "driver": "hub", "supportedBinary": ["a/b"]}
    await there.create(TRANSPORT, "later", spec)
    assert (await there.binder.bind(run, story, story["spec"]["steps"][0])).executor == STREAM


async def test_a_step_keeps_nothing_for_whom_no_stream_runs(there: AdapterWorld) -> None:
    """Also for a StepRun of that name that is gone: its Pods may still run."""
    made = await started(there)
    assert (await there.streams.observe(NAMESPACE_NAME, STEP_RUN_NAME, None)).state is AttemptState.LINGERING
    await there.streams.stop(made.step_run, StopReason.END)
    assert (await there.streams.observe(NAMESPACE_NAME, STEP_RUN_NAME, None)).state is AttemptState.ABSENT


async def test_only_so_many_bindings_are_created_and_changed_at_once(there: AdapterWorld) -> None:
    there.settings = replace(there.settings, story_run_bindings=BindingLimit(1, timedelta(hours=1)))
    made = await created(there)
    _, executor = there.stream_process()
    first = await order(there, made)
    await executor.start(first)
    await executor.start(first)  # the binding is there, so nothing is written

    retried = {"retries": 1, "phase": "Pending"}
    stored_run = await there.client.patch(
        STEP_RUN, STEP_RUN_NAME, {"status": retried}, namespace=NAMESPACE_NAME, subresource="status"
    )
    there.world.step_runs.remember(stored_run)
    await executor.stop(stored_run, StopReason.SUPERSEDED)
    await there.known(there.world.informer(STREAM_DEPLOYMENT), STEP_RUN_NAME, lambda obj: obj is None)
    second = await order(there, made._replace(step_run=stored_run), attempt=1)
    with pytest.raises(ThrottledError, match="at most 1 TransportBindings") as waits:
        await executor.start(second)
    assert waits.value.retry_after_seconds is not None
    assert marks(await binding(there))[keys.ANNOTATION_CONNECTOR_GENERATION] == "1"

    there.settings = replace(there.settings, story_run_bindings=BindingLimit(0, timedelta(hours=1)))
    await executor.start(second)
    assert marks(await binding(there))[keys.ANNOTATION_CONNECTOR_GENERATION] == "2"
    await executor.stop(stored_run, StopReason.END)  # an end is never throttled
