"""Fetching what decides about a step's Job, as a user who may read all of it and as a user who may not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli.embedded.folder import EmbeddedCluster
from cli.problem import CommandError, UsageError
from cli.session import Session
from cli.verbs.explain import step_explanation_of
from core.api.objects import Object
from core.api.resource import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    ENGRAM,
    ENGRAM_TEMPLATE,
    JOB,
    ROLE,
    ROLE_BINDING,
    STEP_RUN,
    STORY,
    Resource,
)
from core.kube.errors import ForbiddenError
from tests.unit.cli.stored_objects import a_run, make, owned
from views.errors import ViewError
from views.explain.facts import ExplainedValue, StepExplanation

NAMESPACE = Resource("", "v1", "namespaces", "Namespace", scope=ENGRAM_TEMPLATE.scope)
CLUSTER_ROLE = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", scope=ENGRAM_TEMPLATE.scope)
CLUSTER_BINDING = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", scope=ENGRAM_TEMPLATE.scope
)
STEPS: list[Object] = [
    {"name": "train", "ref": {"name": "worker"}, "execution": {"debug": True}},
    {"name": "approve", "type": "gate"},
    {"name": "fan", "type": "parallel", "with": {"steps": [{"name": "left", "ref": {"name": "worker"}}]}},
]


async def definitions(session: Session) -> Object:
    """A Story, its Engram and template, the operator's ConfigMap, and a run that has begun."""
    template = {"version": "v1", "supportedModes": ["job"], "image": "registry.example/worker:1"}
    await session.client.create(ENGRAM_TEMPLATE, _typed(ENGRAM_TEMPLATE, "worker", spec=template))
    await make(session, ENGRAM, {"metadata": {"name": "worker"}, "spec": {"templateRef": {"name": "worker"}}})
    await make(session, STORY, {"metadata": {"name": "release"}, "spec": {"steps": STEPS}})
    await session.client.create(NAMESPACE, _typed(NAMESPACE, "bobrapet-system"))
    config = _typed(CONFIG_MAP, "bobrapet-operator-config", data={"job.backoff-limit": "2"})
    await session.client.create(CONFIG_MAP, config, namespace="bobrapet-system")
    return await a_run(session, phase="Running")


def _typed(resource: Resource, name: str, **fields: Any) -> Object:
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, **fields}


def value_of(explanation: StepExplanation, setting: str) -> ExplainedValue:
    return next(value for value in explanation.values if value.setting == setting)


async def test_a_step_is_explained_from_the_objects_of_the_cluster(session: Session) -> None:
    await definitions(session)

    explanation = await step_explanation_of(session, "release-1/train")
    branch = await step_explanation_of(session, "release-1/left")

    backoff = value_of(explanation, "job.backoffLimit")
    assert (backoff.value, backoff.source) == (2, "operator setting job.backoff-limit")
    assert value_of(explanation, "debug").source == "Story step"
    assert (explanation.engram, explanation.unseen) == ("default/worker", ())
    assert (branch.step, value_of(branch, "debug").value) == ("fan/left", False)


async def test_on_the_embedded_cluster_an_explanation_says_that_limits_are_not_enforced(
    session: Session, tmp_path: Path
) -> None:
    await definitions(session)
    embedded = EmbeddedCluster(tmp_path, "http://cluster", tmp_path / "kubeconfig", 1, "http://metrics")

    there = await step_explanation_of(replace(session, embedded=embedded), "release-1/train")
    elsewhere = await step_explanation_of(session, "release-1/train")

    limits = "resources.cpuLimit and resources.memoryLimit"
    note = f"{limits} are not enforced by the embedded cluster: a container may use more there"
    assert there.notes == (*elsewhere.notes, note)
    assert note not in elsewhere.notes


async def test_the_story_is_the_one_that_the_run_began_with(session: Session) -> None:
    await definitions(session)
    kept = {"metadata": {"name": "release"}, "spec": {"steps": [{"name": "old", "ref": {"name": "worker"}}]}}
    await make(session, CONTROLLER_REVISION, {"metadata": {"name": "release-abc"}, "revision": 1, "data": kept})
    await a_run(session, name="release-2", storyRevision="release-abc")

    assert (await step_explanation_of(session, "release-2/old")).step == "old"
    with pytest.raises(ViewError, match="has no step 'train'"):
        await step_explanation_of(session, "release-2/train")


async def test_a_job_of_somebody_else_is_not_the_steps(session: Session) -> None:
    run = await definitions(session)
    spec = {"storyRunRef": {"name": "release-1"}, "stepId": "train"}
    labels = {"bubustack.io/storyrun": "release-1"}
    metadata = {"name": "release-1-train", "labels": labels, "ownerReferences": owned(run)}
    step_run = await make(session, STEP_RUN, {"metadata": metadata, "spec": spec})
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "engram", "image": "w"}]}}
    job: Object = {"metadata": {"name": "release-1-train"}, "spec": {"template": template}}
    await make(session, JOB, job)

    assert (await step_explanation_of(session, "release-1/train")).job == ""

    await session.client.delete(JOB, "release-1-train", "default")
    await make(session, JOB, {**job, "metadata": {**job["metadata"], "ownerReferences": owned(step_run, "StepRun")}})
    explanation = await step_explanation_of(session, "release-1/train")
    assert explanation.job == "release-1-train"
    assert value_of(explanation, "image").in_job == "w"


async def test_what_the_user_may_not_read_is_named_and_unknown(session: Session, server: Any) -> None:
    await definitions(session)
    await _may_read(session, "jane", "storyruns", "stories", "engrams", templates=True)
    await _may_read(session, "joe", "storyruns", "stories", templates=False)

    async with server.session_as("jane") as jane:
        explanation = await step_explanation_of(jane, "release-1/train")
    async with server.session_as("joe") as joe:
        with pytest.raises(ForbiddenError, match="engrams"):
            await step_explanation_of(joe, "release-1/train")

    assert explanation.unseen == ("StepRuns", "the operator's ConfigMap", "Jobs")
    assert value_of(explanation, "job.backoffLimit").value is None
    assert value_of(explanation, "image").value == "registry.example/worker:1"


async def _may_read(session: Session, user: str, *plurals: str, templates: bool) -> None:
    rule = {"apiGroups": ["runs.bubustack.io", "bubustack.io"], "resources": list(plurals), "verbs": ["get", "list"]}
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user}
    await make(session, ROLE, {"metadata": {"name": user}, "rules": [rule]})
    await make(session, ROLE_BINDING, {"metadata": {"name": user}, "roleRef": role, "subjects": subjects})
    if templates:
        rule = {"apiGroups": ["catalog.bubustack.io"], "resources": ["engramtemplates"], "verbs": ["get"]}
        await session.client.create(CLUSTER_ROLE, _typed(CLUSTER_ROLE, user, rules=[rule]))
        binding = {"roleRef": {**role, "kind": "ClusterRole"}, "subjects": subjects}
        await session.client.create(CLUSTER_BINDING, _typed(CLUSTER_BINDING, user, **binding))


@pytest.mark.parametrize(
    ("subject", "error", "text"),
    [
        ("release-1", UsageError, "does not name a step of a run"),
        ("release-1/", UsageError, "does not name a step of a run"),
        ("/train", UsageError, "does not name a step of a run"),
        ("nobody/train", CommandError, "no StoryRun 'nobody'"),
        ("release-1/approve", ViewError, "is of type gate, which has no Job"),
        ("release-1/trian", ViewError, "has no step 'trian'"),
    ],
)
async def test_wrong_input_is_refused_with_a_remedy(
    session: Session, subject: str, error: type[CommandError | ViewError], text: str
) -> None:
    await definitions(session)
    with pytest.raises(error, match=text) as caught:
        await step_explanation_of(session, subject)
    assert getattr(caught.value, "remedy", "")


async def test_without_its_story_a_run_has_no_steps(session: Session) -> None:
    await definitions(session)
    await session.client.delete(STORY, "release", "default")
    with pytest.raises(CommandError, match="the Story of run release-1 does not exist any more"):
        await step_explanation_of(session, "release-1/train")
