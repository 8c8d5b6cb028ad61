"""StepRuns and Jobs through the executor's port, on a server that stores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio

from core.api import keys
from core.api.conditions import is_true
from core.api.objects import Object
from core.api.phases import Reason
from core.api.resource import JOB, POD, STEP_RUN, STORY_RUN
from core.engine.errors import (
    DeniedError,
    GoneError,
    MissingReferenceError,
    NameConflictError,
    RejectedError,
    StaleError,
    UnavailableError,
)
from core.engine.executor_port import StopReason
from core.engine.ports import AttemptState, Observation
from core.engine.step.manifest import is_edited, why_not_the_work
from core.kube.errors import NotFoundError
from core.policy.settings import StorageProvider, StorageSettings
from reconcilers.adapters import step_runs as stored_step_runs
from tests.integration.adapter_world import AdapterWorld
from tests.integration.operator_cluster import NAMESPACE_NAME, eventually

HOLD = "tests.example/hold"
NOBODY = "nobody"


FAILED_CONTAINER: Object = {
    "name": "engram",
    "image": "x",
    "imageID": "",
    "restartCount": 0,
    "ready": False,
    "state": {"terminated": {"exitCode": 3, "reason": "Error"}},
}


@pytest.fixture
def there(there: AdapterWorld) -> AdapterWorld:
    """The account of containers does not exist, so a real server creates no Pods."""
    security = replace(there.settings.security, service_account_name=NOBODY)
    there.settings = replace(there.settings, security=security)
    return there


async def started(there: AdapterWorld) -> tuple[Object, Object, Object]:
    """Run, Story and StepRun, whose first attempt is started."""
    run, story = await there.definitions()
    step_run = await there.step_runs.create_step_run(run, await there.manifest(run, story))
    await there.executor.start(await there.order(run, story, step_run))
    return run, story, step_run


async def stored_job(there: AdapterWorld) -> Object:
    return await there.client.get(JOB, "one-fetch", NAMESPACE_NAME)


def version(obj: Object) -> str:
    text: str = obj["metadata"]["resourceVersion"]
    return text


# StepRuns.


async def test_a_step_run_is_created_once_and_seen_at_once(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    manifest = await there.manifest(run, story)
    created = await there.step_runs.create_step_run(run, manifest)
    seen = await there.observe(run, "one-fetch")
    again = await there.step_runs.create_step_run(run, manifest)
    assert seen.step_run is not None
    assert version(seen.step_run) == version(created)
    assert seen.state is AttemptState.ABSENT
    assert again["metadata"]["uid"] == created["metadata"]["uid"]
    assert [obj["metadata"]["name"] for obj in await there.step_runs.step_runs(run)] == ["one-fetch"]


async def test_a_step_run_whose_creation_was_not_answered_is_found_by_the_next_try(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    manifest = await there.manifest(run, story)
    there.wire.lose_answer_to = "POST"
    with pytest.raises(UnavailableError):
        await there.step_runs.create_step_run(run, manifest)
    stored = await there.step_runs.create_step_run(run, manifest)
    assert stored["spec"]["stepId"] == "fetch"
    assert len((await there.client.list(STEP_RUN, NAMESPACE_NAME)).items) == 1


async def test_a_step_run_of_somebody_else_is_not_adopted(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    manifest = await there.manifest(run, story)
    foreign = {**manifest, "metadata": {key: manifest["metadata"][key] for key in ("name", "namespace")}}
    await there.client.create(STEP_RUN, foreign)
    with pytest.raises(NameConflictError, match="does not belong to this run"):
        await there.step_runs.create_step_run(run, manifest)
    assert await there.observe(run, "one-fetch") == Observation(None)


async def test_a_step_run_of_another_step_is_not_adopted(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    manifest = await there.manifest(run, story)
    await there.client.create(STEP_RUN, {**manifest, "spec": {**manifest["spec"], "stepId": "other"}})
    with pytest.raises(NameConflictError, match="belongs to step 'other'; rename step 'fetch'"):
        await there.step_runs.create_step_run(run, manifest)


async def test_a_step_run_of_the_run_that_stands_for_other_work_is_looked_at_again(there: AdapterWorld) -> None:
    """A user who may write StepRuns can create one that looks like ours except for its input, or can change ours."""
    run, story = await there.definitions()
    manifest = await there.manifest(run, story)
    await there.client.create(STEP_RUN, {**manifest, "spec": {**manifest["spec"], "input": {"amount": 1_000_000}}})
    with pytest.raises(StaleError, match="differs from what the operator creates"):
        await there.step_runs.create_step_run(run, manifest)
    found = (await there.observe(run, "one-fetch")).step_run
    assert found is not None
    assert why_not_the_work(manifest, found) == "spec.input"
    await there.step_runs.delete_step_run(found)

    made = await there.step_runs.create_step_run(run, manifest)
    assert not is_edited(made)
    await there.client.patch(STEP_RUN, "one-fetch", {"spec": {"timeout": "9s"}}, namespace=NAMESPACE_NAME)
    with pytest.raises(StaleError):
        await there.step_runs.create_step_run(run, manifest)
    await there.client.patch(
        STEP_RUN, "one-fetch", {"spec": manifest["spec"] | {"timeout": None}}, namespace=NAMESPACE_NAME
    )
    stored = await there.client.get(STEP_RUN, "one-fetch", NAMESPACE_NAME)
    assert is_edited(stored)  # although its spec reads as before


async def test_what_a_run_of_the_same_name_left_is_not_seen(there: AdapterWorld) -> None:
    run, _, _ = await started(there)
    successor = {**run, "metadata": {**run["metadata"], "uid": "another"}}
    assert await there.observe(successor, "one-fetch") == Observation(None)
    assert await there.step_runs.step_runs(successor) == []


async def test_status_is_patched_under_the_version_it_was_decided_on(there: AdapterWorld) -> None:
    run, _, step_run = await started(there)
    patch = {"phase": "Running", "retries": 0}
    stored = await there.step_runs.patch_step_run_status(step_run, patch)
    seen = (await there.observe(run, "one-fetch")).step_run
    assert seen is not None
    assert (version(seen), seen["status"]["phase"]) == (version(stored), "Running")
    with pytest.raises(StaleError):
        await there.step_runs.patch_step_run_status(step_run, {"phase": "Failed"})
    annotated = await there.step_runs.patch_step_run_metadata(stored, {"annotations": {"a": "b"}})
    assert (annotated["metadata"]["annotations"]["a"], annotated["status"]["phase"]) == ("b", "Running")
    await there.step_runs.delete_step_run(annotated)
    with pytest.raises(GoneError):
        await there.step_runs.patch_step_run_status(annotated, {"phase": "Failed"})


async def test_a_patch_whose_answer_was_lost_cannot_be_applied_twice(there: AdapterWorld) -> None:
    _, _, step_run = await started(there)
    there.wire.lose_answer_to = "PATCH"
    with pytest.raises(UnavailableError):
        await there.step_runs.patch_step_run_status(step_run, {"phase": "Running", "retries": 1})
    with pytest.raises(StaleError):
        await there.step_runs.patch_step_run_status(step_run, {"phase": "Running", "retries": 1})


async def test_a_status_that_the_schema_forbids_is_refused(there: AdapterWorld) -> None:
    _, _, step_run = await started(there)
    with pytest.raises(RejectedError):
        await there.step_runs.patch_step_run_status(step_run, {"phase": "Dancing", "retries": 0})


async def test_a_deleted_step_run_is_gone_at_once_and_may_be_deleted_again(there: AdapterWorld) -> None:
    run, _, step_run = await started(there)
    await there.step_runs.delete_step_run(step_run)
    assert await there.observe(run, "one-fetch") == Observation(None)
    await there.step_runs.delete_step_run(step_run)


async def test_a_namesake_is_not_deleted(there: AdapterWorld) -> None:
    _, _, step_run = await started(there)
    await there.step_runs.delete_step_run({**step_run, "metadata": {**step_run["metadata"], "uid": "another"}})
    assert await there.client.get(STEP_RUN, "one-fetch", NAMESPACE_NAME)


# Attempts.


async def test_an_attempt_is_started_once_and_seen_at_once(there: AdapterWorld) -> None:
    run, story, step_run = await started(there)
    first = await stored_job(there)
    seen = await there.observe(run, "one-fetch")
    assert (seen.state, seen.attempt, seen.worker) == (AttemptState.STARTING, 0, "")
    assert seen.deadline_at is not None
    await there.executor.start(await there.order(run, story, step_run))
    again = await stored_job(there)
    assert (again["metadata"]["uid"], again["spec"]) == (first["metadata"]["uid"], first["spec"])


async def test_a_job_says_why_its_step_runs_in_no_warm_worker(there: AdapterWorld) -> None:
    run, story = await there.definitions(execution={"warm": {"replicas": 1}})
    step_run = await there.step_runs.create_step_run(run, await there.manifest(run, story))
    await there.executor.start(await there.order(run, story, step_run))
    why = "EngramTemplate http does not have worker in spec.supportedModes; add it if its image can serve"
    assert (await stored_job(there))["metadata"]["annotations"]["runs.bubustack.io/not-warm"].startswith(why)
    assert "NotWarm" in [reason for _, _, reason in there.events.emitted]


async def test_an_attempt_whose_start_was_not_answered_is_found_by_the_next_try(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    step_run = await there.step_runs.create_step_run(run, await there.manifest(run, story))
    order = await there.order(run, story, step_run)
    there.wire.lose_answer_to = "POST"
    with pytest.raises(UnavailableError):
        await there.executor.start(order)
    await there.executor.start(order)
    assert len((await there.client.list(JOB, NAMESPACE_NAME)).items) == 1


async def test_a_job_of_another_attempt_must_be_ended_first(there: AdapterWorld) -> None:
    run, story, step_run = await started(there)
    retry = await there.order(run, story, step_run, attempt=1)
    with pytest.raises(StaleError, match="of attempt 0 still exists"):
        await there.executor.start(retry)
    await there.executor.stop(step_run, StopReason.END)
    assert (await there.observe(run, "one-fetch")).state is AttemptState.ABSENT
    await there.executor.start(retry)
    assert (await there.observe(run, "one-fetch")).attempt == 1


async def test_a_job_whose_step_run_is_gone_is_collected_before_ours_takes_its_name(there: AdapterWorld) -> None:
    """The garbage collector may come much later."""
    run, story = await there.definitions()
    step_run = await there.step_runs.create_step_run(run, await there.manifest(run, story))
    pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "x"}]}}
    gone = {"apiVersion": step_run["apiVersion"], "kind": "StepRun", "name": "one-fetch", "uid": "of-one-that-is-gone"}
    left = await there.create(JOB, "one-fetch", {"template": pod}, ownerReferences=[{**gone, "controller": True}])
    order = await there.order(run, story, step_run)
    with trio.fail_after(60):
        while True:
            try:
                await there.executor.start(order)
                break
            except StaleError:  # it is being deleted
                await trio.sleep(0.05)
    job = await there.client.get(JOB, "one-fetch", NAMESPACE_NAME)
    assert job["metadata"]["uid"] != left["metadata"]["uid"]
    assert job["metadata"]["ownerReferences"][0]["uid"] == step_run["metadata"]["uid"]


async def test_a_job_of_somebody_else_is_neither_adopted_nor_ended(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    step_run = await there.step_runs.create_step_run(run, await there.manifest(run, story))
    pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "x"}]}}
    labels = {"app.kubernetes.io/name": "bobrapet", "app.kubernetes.io/component": "engram"}
    foreign = await there.create(JOB, "one-fetch", {"template": pod}, labels=labels)
    await there.known(there.world.jobs, "one-fetch")
    assert (await there.observe(run, "one-fetch")).state is AttemptState.ABSENT
    with pytest.raises(NameConflictError, match="does not belong to this step"):
        await there.executor.start(await there.order(run, story, step_run))
    await there.executor.stop(step_run, StopReason.END)
    assert (await stored_job(there))["metadata"]["uid"] == foreign["metadata"]["uid"]


async def test_ending_an_attempt_again_or_without_a_job_is_fine(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    step_run = await there.step_runs.create_step_run(run, await there.manifest(run, story))
    await there.executor.stop(step_run, StopReason.END)
    await there.executor.start(await there.order(run, story, step_run))
    await there.executor.stop(step_run, StopReason.END)
    await there.executor.stop(step_run, StopReason.END)
    with pytest.raises(NotFoundError):
        await stored_job(there)


async def test_a_job_that_the_informer_has_not_seen_is_ended_all_the_same(there: AdapterWorld) -> None:
    _, _, step_run = await started(there)
    job = await stored_job(there)
    there.world.jobs.forget(NAMESPACE_NAME, "one-fetch", job["metadata"]["uid"])
    await there.executor.stop(step_run, StopReason.END)
    with pytest.raises(NotFoundError):
        await stored_job(there)


async def test_a_job_that_waits_for_its_finalizers_lingers(there: AdapterWorld) -> None:
    run, story, step_run = await started(there)
    await there.client.patch(
        JOB, "one-fetch", {"metadata": {"finalizers": ["tests.example/hold"]}}, namespace=NAMESPACE_NAME
    )
    await there.known(there.world.jobs, "one-fetch", lambda job: job["metadata"].get("finalizers"))
    await there.executor.stop(step_run, StopReason.END)
    await there.known(there.world.jobs, "one-fetch", lambda job: job["metadata"].get("deletionTimestamp"))
    assert (await there.observe(run, "one-fetch")).state is AttemptState.LINGERING
    with pytest.raises(StaleError):
        await there.executor.start(await there.order(run, story, step_run))


async def test_a_pod_that_outlives_its_job_lingers(there: AdapterWorld) -> None:
    run, _, step_run = await started(there)
    job = await stored_job(there)
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "one-fetch", "uid": job["metadata"]["uid"]}
    labels = {"bubustack.io/steprun": "one-fetch"}
    await there.account("default")
    spec = {"containers": [{"name": "engram", "image": "x"}]}
    metadata = {"labels": labels, "ownerReferences": [{**owner, "controller": True}], "finalizers": [HOLD]}
    await there.create(POD, "p", spec, **metadata)
    await there.known(there.world.pods, "p")
    await there.executor.stop(step_run, StopReason.END)
    assert (await there.observe(run, "one-fetch")).state is AttemptState.LINGERING


async def test_inputs_that_fit_no_variable_are_refused_before_a_job_is_made(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    step_run = await there.step_runs.create_step_run(run, await there.manifest(run, story))
    with pytest.raises(RejectedError) as caught:
        await there.executor.start(await there.order(run, story, step_run, text="x" * 200_000))
    assert caught.value.reason is Reason.INPUT_TOO_LARGE
    assert (await there.client.list(JOB, NAMESPACE_NAME)).items == []


async def test_a_job_that_the_server_refuses_is_a_definite_no(there: AdapterWorld) -> None:
    two_ways = {"grpc": {"port": 1}, "exec": {"command": ["true"]}}
    run, story = await there.definitions(execution={"probes": {"liveness": two_ways}})
    step_run = await there.step_runs.create_step_run(run, await there.manifest(run, story))
    with pytest.raises(RejectedError, match="may not specify more than 1 handler type"):
        await there.executor.start(await there.order(run, story, step_run))


async def test_a_missing_secret_prevents_the_job(there: AdapterWorld) -> None:
    run, story = await there.definitions(secretSchema={"api": {"expectedKeys": ["token"]}})
    story["spec"]["steps"][0]["secrets"] = {"api": "openai"}
    step_run = await there.step_runs.create_step_run(run, await there.manifest(run, story))
    with pytest.raises(MissingReferenceError, match="Secret 'openai'"):
        await there.executor.start(await there.order(run, story, step_run))
    assert (await there.client.list(JOB, NAMESPACE_NAME)).items == []


@pytest.mark.parametrize(
    "overtaken", [{"phase": "Succeeded", "retries": 0}, {"phase": "Pending", "retries": 1}], ids=["ended", "retried"]
)
async def test_no_job_is_started_for_what_another_leader_has_brought_further(
    there: AdapterWorld, overtaken: dict[str, Any]
) -> None:
    """The watch has not reported it to this process, but a read shows it."""
    run, story, step_run = await started(there)
    await there.executor.stop(step_run, StopReason.END)
    await there.client.patch(
        STEP_RUN, "one-fetch", {"status": overtaken}, namespace=NAMESPACE_NAME, subresource="status"
    )

    with pytest.raises(StaleError, match="has ended, or is at another attempt"):
        await there.executor.start(await there.order(run, story, step_run))

    known = there.world.step_runs.get(NAMESPACE_NAME, "one-fetch")
    assert known is not None
    assert known["status"]["phase"] == overtaken["phase"]
    with pytest.raises(NotFoundError):
        await stored_job(there)


async def test_no_job_is_started_for_a_run_that_another_leader_has_ended(there: AdapterWorld) -> None:
    run, story, step_run = await started(there)
    await there.executor.stop(step_run, StopReason.END)
    name = run["metadata"]["name"]
    ended = {"status": {"phase": "Failed"}}
    await there.client.patch(STORY_RUN, name, ended, namespace=NAMESPACE_NAME, subresource="status")

    with pytest.raises(StaleError, match=f"StoryRun {NAMESPACE_NAME}/{name} has ended"):
        await there.executor.start(await there.order(run, story, step_run))


async def test_a_first_attempt_that_comes_late_is_asked_for_as_well(
    there: AdapterWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another leader may have started and ended it meanwhile, while this process did the work before a Job."""
    monkeypatch.setattr(stored_step_runs, "NEW_SECONDS", 0.05)
    run, story = await there.definitions()
    step_runs, executor = there.process()
    step_run = await step_runs.create_step_run(run, await there.manifest(run, story))
    ended = {"status": {"phase": "Timeout", "retries": 0}}
    await there.client.patch(STEP_RUN, "one-fetch", ended, namespace=NAMESPACE_NAME, subresource="status")
    await trio.sleep(0.1)

    with pytest.raises(StaleError):
        await executor.start(await there.order(run, story, step_run))
    with pytest.raises(NotFoundError):
        await stored_job(there)


async def test_of_two_leaders_the_one_that_has_created_a_step_run_starts_it(
    there: AdapterWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks nothing within that time; so nobody may have started and ended the attempt by then."""
    monkeypatch.setattr(stored_step_runs, "NEW_SECONDS", 2.0)
    run, story = await there.definitions()
    (makes, maker), (finds, finder) = there.process(), there.process()
    manifest = await there.manifest(run, story)
    step_run = await makes.create_step_run(run, manifest)
    assert (await finds.create_step_run(run, manifest))["metadata"]["uid"] == step_run["metadata"]["uid"]
    order = await there.order(run, story, step_run)

    with trio.move_on_after(0.5) as early:
        await finder.start(order)
    assert early.cancelled_caught
    with pytest.raises(NotFoundError):
        await stored_job(there)

    began_at = trio.current_time()
    await maker.start(order)
    assert trio.current_time() - began_at < 1.5
    assert await stored_job(there)
    await finder.start(order)


async def test_a_first_attempt_that_another_leader_is_known_to_have_ended_is_not_started_again(
    there: AdapterWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It saw the StepRun, started the attempt, saw it fail and removed its Job, while this process did other work."""
    monkeypatch.setattr(stored_step_runs, "NEW_SECONDS", 60.0)
    run, story = await there.definitions()
    step_runs, executor = there.process()
    step_run = await step_runs.create_step_run(run, await there.manifest(run, story))
    retried = {"status": {"phase": "Pending", "retries": 1}}
    await there.client.patch(STEP_RUN, "one-fetch", retried, namespace=NAMESPACE_NAME, subresource="status")

    async def is_known() -> bool:
        known = there.world.step_runs.get(NAMESPACE_NAME, "one-fetch")
        return known is not None and bool(known.get("status"))

    await eventually(is_known)
    with pytest.raises(StaleError):
        await executor.start(await there.order(run, story, step_run))
    with pytest.raises(NotFoundError):
        await stored_job(there)


async def test_for_a_run_that_is_to_run_again_nothing_is_started_anew(there: AdapterWorld) -> None:
    """Another leader may have ended the Job to answer the request, and this process does not know the request yet."""
    run, story, step_run = await started(there)
    await there.executor.stop(step_run, StopReason.END)
    asked = {"metadata": {"annotations": {keys.ANNOTATION_REDRIVE_TOKEN: "t"}}}
    await there.client.patch(STORY_RUN, run["metadata"]["name"], asked, namespace=NAMESPACE_NAME)

    with pytest.raises(StaleError, match="the run of one-fetch has a redrive request"):
        await there.executor.start(await there.order(run, story, step_run))
    with pytest.raises(NotFoundError):
        await stored_job(there)


@pytest.mark.parametrize("cleans_up", [False, True])
async def test_for_a_run_that_has_been_canceled_only_what_cleans_up_is_started_anew(
    there: AdapterWorld, cleans_up: bool
) -> None:
    """Another leader may have ended the Job because of the cancel, and this process does not know the cancel yet."""
    run, story, step_run = await started(there)
    await there.executor.stop(step_run, StopReason.END)
    name = run["metadata"]["name"]
    await there.client.patch(STORY_RUN, name, {"spec": {"cancelRequested": True}}, namespace=NAMESPACE_NAME)
    order = replace(await there.order(run, story, step_run), outlives_cancel=cleans_up)

    if cleans_up:
        await there.executor.start(order)
        assert (await stored_job(there))["metadata"]["name"] == "one-fetch"
        return
    with pytest.raises(StaleError, match="the run of one-fetch has been canceled"):
        await there.executor.start(order)
    with pytest.raises(NotFoundError):
        await stored_job(there)
    known = there.world.story_runs.get(NAMESPACE_NAME, name)
    assert known is not None
    assert known["spec"]["cancelRequested"] is True


async def test_the_job_of_a_later_attempt_is_not_ended_by_who_has_not_heard_of_it(there: AdapterWorld) -> None:
    run, story, step_run = await started(there)
    await there.executor.stop(step_run, StopReason.END)
    retried = await there.step_runs.patch_step_run_status(step_run, {"phase": "Pending", "retries": 1})
    await there.executor.start(await there.order(run, story, retried, attempt=1))

    with pytest.raises(StaleError):
        await there.executor.stop(step_run, StopReason.END)

    assert (await stored_job(there))["metadata"]["annotations"]["runs.bubustack.io/attempt"] == "1"


@pytest.mark.parametrize("seen", [True, False], ids=["seen", "not seen yet"])
async def test_whoever_ends_the_attempt_before_spares_the_one_that_another_leader_has_started(
    there: AdapterWorld, seen: bool
) -> None:
    run, story, step_run = await started(there)
    await there.executor.stop(step_run, StopReason.SUPERSEDED)
    assert (await stored_job(there))["metadata"]["annotations"]["runs.bubustack.io/attempt"] == "0"
    retried = await there.step_runs.patch_step_run_status(step_run, {"phase": "Pending", "retries": 1})
    await there.executor.stop(retried, StopReason.SUPERSEDED)
    await there.executor.start(await there.order(run, story, retried, attempt=1))
    job = await stored_job(there)
    if not seen:
        there.world.jobs.forget(NAMESPACE_NAME, "one-fetch", job["metadata"]["uid"])

    await there.executor.stop(retried, StopReason.SUPERSEDED)

    assert (await stored_job(there))["metadata"]["uid"] == job["metadata"]["uid"]
    assert job["metadata"]["annotations"]["runs.bubustack.io/attempt"] == "1"


@pytest.mark.parametrize("again", [False, True], ids=["gone", "replaced by a namesake"])
async def test_no_job_is_started_again_for_a_step_run_that_is_gone(there: AdapterWorld, again: bool) -> None:
    """The process does not know the end of the StepRun, but only that of its Job."""
    run, story, step_run = await started(there)
    step_run = await there.step_runs.patch_step_run_status(step_run, {"phase": "Running"})
    for resource in (JOB, STEP_RUN):
        await there.client.delete(resource, "one-fetch", NAMESPACE_NAME, propagation="Background")
        await there.known(
            there.world.jobs if resource is JOB else there.world.step_runs, "one-fetch", lambda obj: not obj
        )
    if again:
        await there.step_runs.create_step_run(run, await there.manifest(run, story))

    with pytest.raises(GoneError):
        await there.executor.start(await there.order(run, story, step_run))

    with pytest.raises(NotFoundError):
        await stored_job(there)


async def test_no_second_job_is_made_for_a_step_run_that_is_gone_before_it_was_said_to_run(there: AdapterWorld) -> None:
    run, story = await there.definitions()
    step_run = await there.step_runs.create_step_run(run, await there.manifest(run, story))
    executor = there.executor
    await executor.start(await there.order(run, story, step_run))
    for resource in (JOB, STEP_RUN):
        await there.client.delete(resource, "one-fetch", NAMESPACE_NAME, propagation="Background")

    with pytest.raises(GoneError):
        await executor.start(await there.order(run, story, step_run))

    with pytest.raises(NotFoundError):
        await stored_job(there)


@pytest.mark.parametrize("again", [False, True], ids=["gone", "replaced by a namesake"])
async def test_no_step_run_is_made_again_for_a_run_that_is_gone(there: AdapterWorld, again: bool) -> None:
    """The process does not know the end of the run, but only that of its StepRun."""
    run, story = await there.definitions()
    at_work = {**run, "status": {"stepStates": {"fetch": {"phase": "Running"}}}}
    await there.client.delete(STORY_RUN, "one", NAMESPACE_NAME)
    if again:
        await there.create(STORY_RUN, "one", run["spec"])

    with pytest.raises(GoneError):
        await there.step_runs.create_step_run(at_work, await there.manifest(run, story))

    assert (await there.client.list(STEP_RUN, NAMESPACE_NAME)).items == []


async def test_no_step_run_is_made_again_for_a_run_that_another_leader_has_begun_anew(there: AdapterWorld) -> None:
    """The only sign of the earlier StepRun is that this process has seen it."""
    run, story = await there.definitions()
    begun = {"phase": "Running", "attempts": 1, "startedAt": "2026-01-02T03:04:05Z"}
    ours = await there.client.patch(STORY_RUN, "one", {"status": begun}, namespace=NAMESPACE_NAME, subresource="status")
    again = {"status": {"attempts": 2}}
    await there.client.patch(STORY_RUN, "one", again, namespace=NAMESPACE_NAME, subresource="status")

    with pytest.raises(StaleError):
        await there.step_runs.create_step_run(ours, await there.manifest(run, story), True)

    assert (await there.client.list(STEP_RUN, NAMESPACE_NAME)).items == []


async def test_a_job_that_failed_before_its_pod_was_heard_of_is_asked_about(there: AdapterWorld) -> None:
    """Each kind has its own watch. Here the watch of Pods lags behind that of Jobs."""
    _, _, step_run = await started(there)
    await there.account(NOBODY)
    job = await stored_job(there)
    pod = await pod_of(there, job)
    ended = {"status": {"phase": "Failed", "containerStatuses": [FAILED_CONTAINER]}}
    await there.client.patch(POD, pod["metadata"]["name"], ended, namespace=NAMESPACE_NAME, subresource="status")
    if not there.access.shared:
        failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
        told = {"status": {"failed": 1, "conditions": [failed]}}
        await there.client.patch(JOB, "one-fetch", told, namespace=NAMESPACE_NAME, subresource="status")
    await there.known(there.world.jobs, "one-fetch", has_failed)

    seen = await there.blind_to_pods.observe(NAMESPACE_NAME, "one-fetch", step_run)

    assert (seen.state, seen.exit_code) == (AttemptState.FAILED, 3)


@pytest.mark.parametrize("ended", [True, False])
async def test_of_a_step_whose_end_is_recorded_only_a_container_that_still_runs_is_ended(
    there: AdapterWorld, ended: bool
) -> None:
    """This holds however late the watch of Pods is. The Job of a container that has ended keeps its logs."""
    _, _, step_run = await started(there)
    await there.account(NOBODY)
    job = await stored_job(there)
    pod = await pod_of(there, job)
    if ended:
        status = {"status": {"phase": "Failed", "containerStatuses": [FAILED_CONTAINER]}}
        await there.client.patch(POD, pod["metadata"]["name"], status, namespace=NAMESPACE_NAME, subresource="status")

    await there.blind_to_pods.stop(step_run, StopReason.RECORDED)

    left = (await there.client.list(JOB, NAMESPACE_NAME)).items
    assert [found["metadata"]["uid"] for found in left if not found["metadata"].get("deletionTimestamp")] == (
        [job["metadata"]["uid"]] if ended else []
    )


async def pod_of(there: AdapterWorld, job: Object) -> Object:
    """The Pod that the Job controller creates. Where there is no controller, it is created here."""
    if not there.access.shared:
        labels = job["spec"]["template"]["metadata"]["labels"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "one-fetch", "uid": job["metadata"]["uid"]}
        owners = [{**owner, "controller": True}]
        spec = job["spec"]["template"]["spec"]
        return await there.create(POD, "one-fetch-abcde", spec, labels=labels, ownerReferences=owners)
    with trio.fail_after(20):
        while not (found := there.world.pods.list(NAMESPACE_NAME)):
            await there.heard(there.world.pods)
    return found[0]


def has_failed(job: Object | None) -> bool:
    conditions = ((job or {}).get("status") or {}).get("conditions") or ()
    return any(is_true(conditions, word) for word in ("Failed", "FailureTarget"))


async def test_step_run_and_run_are_read_last_before_a_job_is_created_again(there: AdapterWorld) -> None:
    """Another leader may run and end the attempt while this process reads anything else."""
    run, story, step_run = await started(there)
    await there.client.delete(JOB, "one-fetch", NAMESPACE_NAME)
    there.wire.reads.clear()
    await there.executor.start(await there.order(run, story, step_run))

    assert there.wire.reads[-2:] == ["GET one-fetch", f"GET {run['metadata']['name']}"]
    assert (await stored_job(there))["metadata"]["name"] == "one-fetch"


# Containers without an SDK.


async def test_a_container_without_an_sdk_gets_no_credentials_of_the_store(there: AdapterWorld) -> None:
    """It does not need them, so it also runs in a namespace that may not use them."""
    storage = StorageSettings(StorageProvider.S3, s3_bucket="data", s3_auth_secret_name="store-access")
    there.settings = replace(there.settings, storage=storage)
    run, story = await there.definitions(container={"args": ["{{ inputs.x }}"], "result": {"from": "stdout"}})
    step_run = await there.step_runs.create_step_run(run, await there.manifest(run, story))
    order = await there.order(run, story, step_run, x="a")
    with pytest.raises(DeniedError, match="credentials"):
        await there.executor.start(replace(order, container=None))

    await there.executor.start(replace(order, container={"args": ["a"], "env": []}))

    job = await stored_job(there)
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["a"]
    assert keys.ANNOTATION_RESULT in job["metadata"]["annotations"]
    assert "POST secrets" not in there.wire.writes
