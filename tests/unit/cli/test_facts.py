"""Fetching what is known about a run, as a user who may read all of it and as a user who may not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from cli.embedded.folder import EmbeddedCluster
from cli.facts import read_facts
from cli.runs import run_manifest, start_run, story_of
from cli.session import Session
from core.api.objects import Object
from core.api.resource import (
    CONTROLLER_REVISION,
    EVENT,
    JOB,
    POD,
    ROLE,
    ROLE_BINDING,
    STEP_RUN,
    STORY,
)
from tests.unit.cli.stored_objects import a_run, make, owned
from views.why.cause import CauseKind
from views.why.explanation import explain


async def a_step_at_work(session: Session, run: Object, step: str) -> None:
    """Create a StepRun, its Job, and a Pod that no node has taken."""
    name = f"release-1-{step}"
    labels = {"bubustack.io/storyrun": "release-1", "bubustack.io/steprun": name}
    metadata = {"name": name, "labels": labels, "ownerReferences": owned(run)}
    spec = {"storyRunRef": {"name": "release-1"}, "stepId": step}
    await make(session, STEP_RUN, {"metadata": metadata, "spec": spec}, phase="Running")
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "engram", "image": "w"}]}}
    await make(session, JOB, {"metadata": {"name": name, "labels": labels}, "spec": {"template": template}})
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node is there"}
    await make(
        session,
        POD,
        {"metadata": {"name": f"{name}-x", "labels": labels}, "spec": template["spec"]},
        conditions=[scheduled],
        phase="Pending",
    )


async def test_a_step_at_work_is_known_with_its_job_and_pod(session: Session) -> None:
    await make(
        session, STORY, {"metadata": {"name": "release"}, "spec": {"steps": [{"name": "a", "ref": {"name": "w"}}]}}
    )
    run = await a_run(session, phase="Running", stepStates={"a": {"phase": "Running"}})
    await a_step_at_work(session, run, "a")

    facts = await read_facts(session, run)

    assert (list(facts.step_runs), list(facts.jobs), list(facts.pods)) == (["a"], ["release-1-a"], ["release-1-a"])
    (cause,) = explain(facts, "", session.command_in).causes
    assert (cause.kind, facts.unseen) == (CauseKind.NODE, ())


async def test_on_the_embedded_cluster_it_is_known_what_the_container_of_a_timeout_had_used(
    session: Session, tmp_path: Path
) -> None:
    run = await a_run(session, phase="Failed", stepStates={"a": {"phase": "Timeout"}})
    metadata = {"name": "release-1-a", "labels": {"bubustack.io/storyrun": "release-1"}, "ownerReferences": owned(run)}
    spec = {"storyRunRef": {"name": "release-1"}, "stepId": "a"}
    await make(session, STEP_RUN, {"metadata": metadata, "spec": spec}, phase="Timeout")
    for pod, used in (("release-1-a-x7k2p", "it had used 3.2 s"), ("release-1-ab-x7k2p", "another one")):
        about = {"kind": "Pod", "namespace": "default", "name": pod}
        event = {
            "metadata": {"name": f"{pod}.1"},
            "eventTime": "2026-01-01T12:00:00.000000Z",
            "type": "Normal",
            "reason": "ProcessorUse",
            "action": "Killing",
            "note": used,
            "regarding": about,
            "reportingController": "localcluster",
            "reportingInstance": "node",
        }
        await make(session, EVENT, event)
    embedded = EmbeddedCluster(tmp_path, "http://cluster", tmp_path / "kubeconfig", 1, "http://metrics")

    assert (await read_facts(replace(session, embedded=embedded), run)).processor == {
        "release-1-a": "it had used 3.2 s"
    }
    assert (await read_facts(session, run)).processor == {}


async def test_child_runs_are_known_by_who_owns_them_and_not_by_their_label(session: Session) -> None:
    run = await a_run(session, phase="Running", stepStates={"sub": {"phase": "Running"}})
    for name, owner in (("release-1-sub", owned(run)), ("stranger", [])):
        manifest = run_manifest("deploy", "default", {}, name=name)
        manifest["metadata"] |= {
            "labels": {"bubustack.io/parent-storyrun": "release-1"},
            "annotations": {"runs.bubustack.io/step-path": "sub"},
            "ownerReferences": owner,
        }
        await start_run(session, manifest)

    facts = await read_facts(session, run)

    assert {step: child.name for step, child in facts.children.items()} == {"sub": "release-1-sub"}


async def test_a_run_shows_the_story_it_began_with(session: Session) -> None:
    old = {"metadata": {"name": "release"}, "spec": {"steps": [{"name": "old", "type": "gate"}]}}
    new = {"metadata": {"name": "release"}, "spec": {"steps": [{"name": "new", "type": "gate"}]}}
    await make(session, STORY, new)
    await make(session, CONTROLLER_REVISION, {"metadata": {"name": "release-abc"}, "revision": 1, "data": old})
    run = await a_run(session, phase="Running")

    async def first_step(**status: Any) -> str:
        story = await story_of(session, {**run, "status": status})
        assert story is not None
        return str(story["spec"]["steps"][0]["name"])

    assert await first_step(storyRevision="release-abc") == "old"
    assert await first_step(storyRevision="release-gone") == "new"
    assert await first_step() == "new"


async def test_who_may_not_see_pods_is_told_so_and_gets_the_rest(session: Session, server: Any) -> None:
    run = await a_run(session, phase="Running", stepStates={"a": {"phase": "Running"}})
    await a_step_at_work(session, run, "a")
    groups = ["runs.bubustack.io", "bubustack.io", "batch"]
    rule = {"apiGroups": groups, "resources": ["*"], "verbs": ["get", "list", "watch"]}
    await make(session, ROLE, {"metadata": {"name": "few"}, "rules": [rule]})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "few"}
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}]
    await make(session, ROLE_BINDING, {"metadata": {"name": "few"}, "roleRef": role, "subjects": subjects})

    async with server.session_as("jane") as jane:
        facts = await read_facts(jane, run)

    assert facts.unseen == ("Pods",)
    assert list(facts.jobs) == ["release-1-a"]
    (cause,) = explain(facts, "", session.command_in).causes
    assert cause.step == "a"


async def test_a_job_that_gets_no_pod_is_explained_by_its_last_warning(session: Session) -> None:
    run = await a_run(session, phase="Running", stepStates={"a": {"phase": "Running"}})
    await a_step_at_work(session, run, "a")
    await session.client.delete(POD, "release-1-a-x", "default", grace_period_seconds=0)
    for number, (kind, note) in enumerate((("Pod", "another thing"), ("Job", "pods is forbidden: exceeded quota"))):
        await make(
            session,
            EVENT,
            {
                "metadata": {"name": f"e{number}"},
                "eventTime": "2026-01-02T12:00:00.000000Z",
                "reportingController": "job-controller",
                "reportingInstance": "here",
                "action": "Create",
                "reason": "FailedCreate",
                "type": "Warning",
                "regarding": {"kind": kind, "name": "release-1-a", "namespace": "default"},
                "note": note,
            },
        )

    facts = await read_facts(session, run)

    (cause,) = explain(facts, "", session.command_in).causes
    assert (cause.kind, cause.text) == (CauseKind.JOB, "has a Job but no Pod: pods is forbidden: exceeded quota")


async def test_a_pod_that_is_silent_is_explained_by_its_last_warning(session: Session) -> None:
    run = await a_run(session, phase="Running", stepStates={"a": {"phase": "Running"}})
    await a_step_at_work(session, run, "a")
    taken = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-02T12:00:00Z"}
    status = {"status": {"conditions": [taken]}}
    await session.client.patch(POD, "release-1-a-x", status, namespace="default", subresource="status")
    event = {
        "metadata": {"name": "e"},
        "eventTime": "2026-01-02T12:00:00.000000Z",
        "reportingController": "kubelet",
        "reportingInstance": "here",
        "action": "Mount",
        "reason": "FailedMount",
        "type": "Warning",
        "regarding": {"kind": "Pod", "name": "release-1-a-x", "namespace": "default"},
        "note": 'configmap "settings" not found',
    }
    await make(session, EVENT, event)

    facts = await read_facts(session, run)

    assert facts.warnings == {"release-1-a": 'configmap "settings" not found'}
    (cause,) = explain(facts, "", session.command_in).causes
    assert (cause.kind, cause.text) == (
        CauseKind.CONTAINER,
        'cannot create its container: configmap "settings" not found',
    )
