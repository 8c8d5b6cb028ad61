"""Which containers work for a step: found by the Pod of the token, its Job, and its StepRun, as far as known."""

from __future__ import annotations

import pytest

from core.api.objects import Object
from webhooks.caller import Caller
from webhooks.cluster_view import InMemoryView
from webhooks.validate.container import works_for

LONG = "a" * 58
ACCOUNT = "system:serviceaccount:team:r-engram-runner"


def owned(kind: str, name: str, uid: str, owner: tuple[str, str, str] | None) -> Object:
    metadata: Object = {"name": name, "namespace": "team", "uid": uid}
    if owner is not None:
        metadata["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "uid": owner[2], "controller": True}]
    group = {"Pod": "v1", "Job": "batch/v1"}[kind]
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
) -> bool:
    caller = Caller(user, pod=pod, pod_uid=uid)
    return works_for(caller, "team", step, step_uid, InMemoryView(known))


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


def test_a_pod_of_an_earlier_attempt_and_another_of_the_same_name_are_taken_at_their_name() -> None:
    assert allowed(POD, owned("Job", "r-a", "j2", ("StepRun", "r-a", "s1")))
    assert allowed(owned("Pod", "r-a-x7k2p", "p0", None))


@pytest.mark.parametrize("user", ["ann", "system:serviceaccount:other:r-engram-runner", "system:serviceaccount:team"])
def test_users_of_other_namespaces_work_for_no_step(user: str) -> None:
    assert not allowed(POD, JOB, user=user)


def test_a_token_without_a_pod_works_for_no_step() -> None:
    assert not allowed(POD, JOB, pod="", uid="")
