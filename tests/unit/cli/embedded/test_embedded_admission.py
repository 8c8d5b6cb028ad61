"""Admission of the embedded cluster: an API server in this process that asks as the one of ``bobrapet up`` does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import pytest
import trio

from certs.inject import VALIDATING
from cli.embedded import admission
from cli.embedded.admission import local_webhooks
from core.api.objects import Object
from core.api.resource import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    CUSTOM_RESOURCE_DEFINITION,
    ENGRAM,
    ENGRAM_TEMPLATE,
    JOB,
    NAMESPACE,
    STEP_RUN,
    STORY,
    STORY_RUN,
    Resource,
)
from core.kube.client import KubeClient, open_client
from core.kube.config import ClusterConfig, Impersonation
from core.kube.credentials import bearer_token
from core.kube.errors import InternalServerError, InvalidError
from deployment.crds import install_crds
from deployment.permissions.names import CONFIG_NAME, DEFAULT_INSTALLATION, OPERATOR_NAMESPACE
from localcluster.server.cluster import open_api_server
from localcluster.transport import ASGIStreamingTransport

AsUser = Callable[..., AbstractAsyncContextManager[KubeClient]]

V1BETA1 = replace(STORY, version="v1beta1")
STEP: Object = {"name": "nap", "type": "sleep", "with": {"duration": "1s"}}


@asynccontextmanager
async def cluster() -> AsyncIterator[tuple[KubeClient, AsUser]]:
    """A client of the administrator, and a function that opens one of another user."""
    async with trio.open_nursery() as nursery, open_api_server(local_webhooks=local_webhooks()) as server:
        transport = ASGIStreamingTransport(server.app, nursery)
        config = ClusterConfig("http://cluster", bearer_token(server.admin_token))

        def as_user(name: str, *groups: str) -> AbstractAsyncContextManager[KubeClient]:
            return open_client(replace(config, impersonation=Impersonation(name, groups)), transport=transport)

        async with open_client(config, transport=transport) as client:
            await install_crds(client, converted=True)
            await client.create(NAMESPACE, {"metadata": {"name": OPERATOR_NAMESPACE}})
            yield client, as_user
        nursery.cancel_scope.cancel()


def an(resource: Resource, name: str, spec: Object) -> Object:
    """An object of that kind, in namespace ``default``."""
    metadata = {"name": name, **({"namespace": "default"} if resource.namespaced else {})}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}


def story(*steps: Object, version: Resource = STORY) -> Object:
    return an(version, "s", {"steps": [*steps]})


def causes(refused: pytest.ExceptionInfo[InvalidError]) -> list[str]:
    return [f"{cause.field}: {cause.message}" for cause in refused.value.causes]


def nap(duration: str) -> Object:
    """A step in v1beta1."""
    return {"name": "nap", "sleep": {"duration": duration}}


async def test_what_lint_refuses_is_refused_with_all_errors() -> None:
    async with cluster() as (client, _):
        with pytest.raises(InvalidError) as refused:
            await client.create(
                STORY,
                story(
                    {**STEP, "name": "a", "needs": ["b"]},
                    {**STEP, "name": "b", "needs": ["a", "nope"], "if": "{{ inputs.x | uper }}"},
                ),
            )
        assert (await client.list(STORY)).items == []

    found = causes(refused)
    assert any("dependency cycle" in each for each in found)
    assert any("no step 'nope'" in each for each in found)
    assert any("no function uper" in each for each in found)


async def test_a_story_is_written_and_read_in_both_versions() -> None:
    async with cluster() as (client, _):
        await client.create(V1BETA1, story(nap("1s"), version=V1BETA1))
        stored = await client.get(STORY, "s", "default")
        shown = await client.get(V1BETA1, "s", "default")
        with pytest.raises(InvalidError) as refused:
            await client.replace(
                V1BETA1, {**shown, "spec": {"steps": [{"name": "nap", "sleep": {"duration": "soon"}}]}}
            )

    assert stored["spec"]["steps"] == [STEP]
    assert shown["spec"]["steps"] == [nap("1s")]
    assert "duration" in causes(refused)[0]


async def test_a_reference_is_looked_up_in_the_store_at_once() -> None:
    async with cluster() as (client, _):
        with pytest.raises(InvalidError) as refused:
            await client.create(ENGRAM, an(ENGRAM, "worker", {"templateRef": {"name": "shell"}}))
        spec = {"version": "1.0.0", "supportedModes": ["job"], "image": "shell"}
        await client.create(ENGRAM_TEMPLATE, an(ENGRAM_TEMPLATE, "shell", spec))
        await client.create(ENGRAM, an(ENGRAM, "worker", {"templateRef": {"name": "shell"}}))

    assert [cause.reason for cause in refused.value.causes] == ["FieldValueNotFound"]


async def test_only_the_operator_creates_steps() -> None:
    step = an(STEP_RUN, "r-a", {"storyRunRef": {"name": "r"}, "stepId": "a", "engramRef": {"name": "worker"}})
    everything: Object = {
        "metadata": {"name": "eve"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve"}],
    }
    async with cluster() as (client, as_user):
        await client.create(CLUSTER_ROLE_BINDING, everything)
        async with as_user("eve") as eve:
            with pytest.raises(InvalidError) as refused:
                await eve.create(STEP_RUN, step)
        async with as_user(DEFAULT_INSTALLATION.user, "system:masters") as operator:
            stored = await operator.create(STEP_RUN, step)

    assert any("only the operator" in each for each in causes(refused)), causes(refused)
    assert stored["spec"]["stepId"] == "a"


async def test_policies_are_in_force_for_whatever_version_is_written() -> None:
    role: Object = {
        "metadata": {"name": "author"},
        "rules": [{"apiGroups": ["bubustack.io", "batch"], "resources": ["*"], "verbs": ["*"]}],
    }
    binding: Object = {
        "metadata": {"name": "author"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "author"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve"}],
    }
    step = {"name": "a", "ref": {"name": "worker"}, "secrets": {"api": "theirs"}}
    job = an(
        JOB, "r-a", {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "i"}]}}}
    )
    owner = {"apiVersion": STEP_RUN.api_version, "kind": "StepRun", "name": "r-a", "uid": "u", "controller": True}
    job["metadata"]["ownerReferences"] = [owner]
    told = []
    async with cluster() as (client, as_user):
        await client.create(CLUSTER_ROLE, role)
        await client.create(CLUSTER_ROLE_BINDING, binding)
        async with as_user("eve") as eve:
            for resource, obj in ((STORY, story(step)), (V1BETA1, story(step, version=V1BETA1)), (JOB, job)):
                with pytest.raises(InvalidError) as refused:
                    await eve.create(resource, obj)
                told.append(str(refused.value))

    assert all("names Secret theirs, which you may not read" in each for each in told[:2]), told
    assert "only the operator creates the workloads of steps" in told[2]


async def test_the_settings_are_those_of_the_config_map() -> None:
    settings: Object = {
        "metadata": {"name": CONFIG_NAME, "namespace": OPERATOR_NAMESPACE},
        "data": {"storyrun.max-inline-inputs-size": "64"},
    }
    run = an(STORY_RUN, "r", {"storyRef": {"name": "s"}, "inputs": {"text": "x" * 500}})
    async with cluster() as (client, _):
        await client.create(STORY, story(STEP))
        await client.create(STORY_RUN, run, dry_run=True)
        await client.create(
            CONFIG_MAP, {"metadata": {"name": CONFIG_NAME, "namespace": OPERATOR_NAMESPACE}, **settings}
        )
        with pytest.raises(InvalidError) as refused:
            await client.create(STORY_RUN, run, dry_run=True)

    assert "spec.inputs" in causes(refused)[0]


async def test_a_broken_rule_is_an_error_of_the_server_and_not_an_approval(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(admission, "_reviewer", broken)
    async with cluster() as (client, _):
        with pytest.raises(InternalServerError, match="failed calling webhook"):
            await client.create(STORY, story(STEP))


async def test_the_cluster_stores_no_registration() -> None:
    """So an older version, which does not answer, can open the same data."""
    async with cluster() as (client, _):
        assert (await client.list(VALIDATING)).items == []
        definition = await client.get(CUSTOM_RESOURCE_DEFINITION, "stories.bubustack.io")
        assert [version["name"] for version in definition["spec"]["versions"]] == ["v1alpha1", "v1beta1"]
