"""Which containers work for a step: found by the Pod of the token, its Job, and its StepRun, as far as known."""

from __future__ import annotations

import pytest

from core.api.keys import ANNOTATION_ATTEMPT, ANNOTATION_STEP_RUN_UID
from core.api.objects import Object
from core.workloads.stream_workload import StreamMode, workload_name
from webhooks.caller import Caller
from webhooks.cluster_view import InMemoryView
from webhooks.validate.container import ServedStep, works_for

LONG = "a" * 58
ACCOUNT = "system:serviceaccount:team:r-engram-runner"


def owned(kind: str, name: str, uid: str, owner: tuple[str, str, str] | None) -> Object:
    metadata: Object = {"name": name, "namespace": "team", "uid": uid}
    if owner is not None:
        metadata["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "uid": owner[2], "controller": True}]
    group = {"Pod": "v1", "Job": "batch/v1", "Deployment": "apps/v1", "StatefulSet": "apps/v1"}[kind]
    return {"apiVersion": group, "kind": kind, "metadata": metadata}


POD = owned("Pod", "r-a-x7k2p", "p1", ("Job", "r-a", "j1"))
JOB = owned("Job", "r-a", "j1", ("StepRun", "r-a", "s1"))


def allowed(
    *known: Object,
    pod: str = "r-a-x7k2p",
    uid: str = "p1",
    step: str = "r-a",
    step_uid: str = "s1",
    user: str = ACCOUNT,
    is_stream: bool | None = None,
    attempt: int | None = None,
) -> bool:
    caller = Caller(user, pod=pod, pod_uid=uid)
    return works_for(caller, ServedStep("team", step, step_uid, is_stream, attempt), InMemoryView(known))


def test_the_pod_of_the_steps_job_works_for_the_step() -> None:
    assert allowed(POD, JOB)
    assert not allowed(POD, JOB, step="r-b", step_uid="s2")


def test_a_pod_that_is_not_seen_yet_is_taken_at_its_name() -> None:
    assert allowed()
    assert allowed(JOB)
    assert not allowed(step="r-b")


def test_of_two_steps_whose_names_are_cut_alike_only_the_own_one_is_written() -> None:
    pod = owned("Pod", f"{LONG}x7k2p", "p1", ("Job", f"{LONG}-s", "j1"))

    assert allowed(pod, pod=f"{LONG}x7k2p", step=f"{LONG}-s")
    assert not allowed(pod, pod=f"{LONG}x7k2p", step=f"{LONG}-t")


def test_a_pod_of_somebody_elses_job_does_not_work_for_the_step() -> None:
    foreign = owned("Job", "r-a", "j1", ("StepRun", "r-a", "s0"))
    orphan = owned("Job", "r-a", "j1", None)

    assert not allowed(POD, foreign)
    assert not allowed(POD, orphan)


def test_a_pod_that_no_job_has_made_works_for_no_step() -> None:
    assert not allowed(owned("Pod", "r-a-x7k2p", "p1", None))
    assert not allowed(owned("Pod", "r-a-x7k2p", "p1", ("ReplicaSet", "r-a", "j1")))
    assert not allowed(owned("Pod", "r-a-x7k2p", "p1", ("DaemonSet", "r-a", "j1")))


def test_a_pod_without_marks_and_another_of_the_same_name_are_taken_at_their_name() -> None:
    assert allowed(POD, owned("Job", "r-a", "j2", ("StepRun", "r-a", "s1")))
    assert allowed(owned("Pod", "r-a-x7k2p", "p0", None))


def test_the_pod_of_an_earlier_attempt_does_not_work_for_the_current_one() -> None:
    job = {**JOB, "metadata": {**JOB["metadata"], "annotations": {ANNOTATION_ATTEMPT: "1"}}}

    assert allowed(POD, job, attempt=1)
    assert not allowed(POD, job, attempt=2)
    assert not allowed(POD, job, attempt=0, step_uid="")
    assert allowed(POD, job)
    assert allowed(POD, attempt=2)  # its Job is not seen yet: the name decides


def test_a_pod_names_the_attempt_and_step_run_that_it_works_for() -> None:
    """Its own Job is gone: that of the next attempt has its name."""
    marks = {ANNOTATION_ATTEMPT: "0", ANNOTATION_STEP_RUN_UID: "s1"}
    pod = {**POD, "metadata": {**POD["metadata"], "annotations": marks}}
    replaced = owned("Job", "r-a", "j2", ("StepRun", "r-a", "s1"))

    assert allowed(pod, replaced, attempt=0)
    assert not allowed(pod, replaced, attempt=1)
    assert not allowed(pod, attempt=1)
    assert not allowed(pod, step_uid="s2")
    assert allowed(pod, step_uid="", attempt=None)


@pytest.mark.parametrize("user", ["ann", "system:serviceaccount:other:r-engram-runner", "system:serviceaccount:team"])
def test_users_of_other_namespaces_work_for_no_step(user: str) -> None:
    assert not allowed(POD, JOB, user=user)


def test_a_token_without_a_pod_works_for_no_step() -> None:
    assert not allowed(POD, JOB, pod="", uid="")


HASHED = "r-a-7d9b8c6f5"
"""The ReplicaSet of the Deployment of a realtime step."""


def streaming(name: str, kind: str, owner: str, step_uid: str = "s1") -> Object:
    """A Pod with the annotation that its template gives to it."""
    pod = owned("Pod", name, "p1", (kind, owner, "w1"))
    pod["metadata"]["annotations"] = {ANNOTATION_STEP_RUN_UID: step_uid}
    return pod


OF_DEPLOYMENT = streaming(f"{HASHED}-x7k2p", "ReplicaSet", HASHED)
OF_STATEFUL_SET = streaming("r-a-0", "StatefulSet", "r-a")


@pytest.mark.parametrize("pod", [OF_DEPLOYMENT, OF_STATEFUL_SET], ids=["deployment", "statefulset"])
@pytest.mark.parametrize("is_stream", [True, None])
def test_the_pod_of_a_realtime_steps_workload_works_for_the_step(pod: Object, is_stream: bool | None) -> None:
    name = pod["metadata"]["name"]
    workloads = [owned(kind, "r-a", "w1", ("StepRun", "r-a", "s1")) for kind in ("Deployment", "StatefulSet")]

    assert allowed(pod, *workloads, pod=name, is_stream=is_stream)
    assert allowed(pod, pod=name, is_stream=is_stream)  # its workload is not seen yet
    assert allowed(pod=name, is_stream=is_stream)  # nor the Pod itself
    assert not allowed(pod, *workloads, pod=name, step="r-b", step_uid="s2", is_stream=is_stream)
    assert not allowed(pod, *workloads, pod=name, is_stream=False)


def test_the_pod_of_an_earlier_step_run_of_the_name_does_not_work_for_the_new_one() -> None:
    earlier = owned("Deployment", "r-a", "w1", ("StepRun", "r-a", "s0"))
    old, new = (streaming(f"{HASHED}-x7k2p", "ReplicaSet", HASHED, uid) for uid in ("s0", "s1"))

    assert not allowed(old, earlier, pod=f"{HASHED}-x7k2p", is_stream=True)
    assert allowed(new, earlier, pod=f"{HASHED}-x7k2p", is_stream=True)  # the new Deployment is not seen yet
    assert not allowed(owned("Pod", "r-a-0", "p1", ("StatefulSet", "r-a", "w1")), pod="r-a-0", is_stream=True)


@pytest.mark.parametrize("maker", [None, ("StepRun", "r-b", "s2"), ("Impulse", "r-a", "s1")])
def test_a_pod_of_somebody_elses_workload_does_not_work_for_the_step(maker: tuple[str, str, str] | None) -> None:
    assert not allowed(OF_STATEFUL_SET, owned("StatefulSet", "r-a", "w1", maker), pod="r-a-0", is_stream=True)
    assert not allowed(OF_DEPLOYMENT, owned("Deployment", "r-a", "w1", maker), pod=f"{HASHED}-x7k2p", is_stream=True)


def test_a_step_whose_name_begins_like_that_of_a_realtime_step_does_not_work_for_it() -> None:
    of_job = owned("Pod", f"{HASHED}-x7k2p", "p1", ("Job", HASHED, "j1"))
    longer = streaming(f"{HASHED}-7d9b8c6f5-x7k2p", "ReplicaSet", f"{HASHED}-7d9b8c6f5")

    assert not allowed(of_job, pod=f"{HASHED}-x7k2p", is_stream=True)
    assert not allowed(longer, pod=f"{HASHED}-7d9b8c6f5-x7k2p", is_stream=True)
    assert not allowed(pod="r-a-b-x7k2p", is_stream=True)
    assert not allowed(pod="r-a-x7k2p", is_stream=True)
    assert not allowed(pod="r-a-0", is_stream=False)


def test_a_stateful_set_with_a_name_that_was_cut_is_found() -> None:
    step = "r-" + "a" * 60
    name = workload_name(step, StreamMode.STATEFUL_SET)
    pod = streaming(f"{name}-0", "StatefulSet", name)
    theirs = owned("StatefulSet", name, "w1", ("StepRun", "r-b", "s2"))

    assert allowed(pod, pod=f"{name}-0", step=step, is_stream=True)
    assert allowed(pod=f"{name}-0", step=step, is_stream=True)
    assert not allowed(pod, theirs, pod=f"{name}-0", step=step, is_stream=True)
