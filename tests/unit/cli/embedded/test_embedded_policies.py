"""The admission policies of the embedded cluster: the cases of a real API server, on the server of this process.

Only policies are registered, no webhooks, so each refusal is one of a policy.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
import trio

from cli.embedded import admission
from core.api.objects import Object
from core.kube.client import open_client
from core.kube.config import ClusterConfig
from core.kube.credentials import bearer_token
from deployment.crds import install_crds
from deployment.files import policies
from deployment.permissions.names import DEFAULT_INSTALLATION
from localcluster.server.cluster import open_api_server
from localcluster.server.webhookcall import LocalWebhooks
from localcluster.transport import ASGIStreamingTransport
from tests.e2e import policy_evaluation
from tests.e2e import test_admission_policy as real
from tests.e2e import test_admission_reads as reads

Play = Callable[[httpx.AsyncClient], Awaitable[None]]


async def nobody(store: object, path: str, raw: bytes) -> bytes:
    raise AssertionError(f"no webhook is registered, but {path} is called")


@asynccontextmanager
async def server(*objects: Object) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the administrator; ``objects`` are applied first."""
    hooks = LocalWebhooks(("nowhere", "nobody"), nobody, admission.policies_in_force())
    async with trio.open_nursery() as nursery, open_api_server(local_webhooks=hooks) as found:
        transport = ASGIStreamingTransport(found.app, nursery)
        config = ClusterConfig("http://cluster", bearer_token(found.admin_token))
        async with open_client(config, transport=transport) as client:
            await install_crds(client)
        headers = {"authorization": f"Bearer {found.admin_token}"}
        async with httpx.AsyncClient(base_url="http://cluster", headers=headers, transport=transport) as client:
            for obj in objects:
                await applied(client, obj)
            yield client
        nursery.cancel_scope.cancel()


async def applied(client: httpx.AsyncClient, obj: Object) -> None:
    plurals = {"Namespace": "namespaces", "ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings"}
    group = "api/v1" if obj["apiVersion"] == "v1" else f"apis/{obj['apiVersion']}"
    namespace = obj["metadata"].get("namespace")
    place = f"namespaces/{namespace}/" if namespace else ""
    answer = await client.post(f"/{group}/{place}{plurals.get(obj['kind'], 'configmaps')}", json=obj)
    assert answer.status_code == 201, answer.text


async def every_third_case(client: httpx.AsyncClient) -> None:
    await real.play_cases(client, step=3)


PLAYS = (
    every_third_case,
    real.test_a_refusal_names_the_field_and_is_no_matter_of_rights,
    real.test_nobody_makes_marks_or_changes_what_the_operator_acts_on,
    real.test_effects_are_claimed_and_completed_by_the_containers_of_the_step_alone,
    real.test_the_token_that_is_mounted_into_a_pod_says_for_which_step_it_speaks,
    real.test_of_a_status_containers_write_what_sdks_write,
    real.test_a_decision_is_neither_older_than_its_run_nor_given_another_time,
)


@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.__name__.removeprefix("test_"))
async def test_the_embedded_server_answers_as_a_real_one(play: Play) -> None:
    async with server(*real.people(), *real.namespaces(), real.settings("deny")) as client:
        await play(client)


@asynccontextmanager
async def readers() -> AsyncIterator[httpx.AsyncClient]:
    """A server on which mallory may read nothing, nora some Secrets, and olga everything."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": reads.NAMESPACE}}
    async with server(namespace, *reads.people()) as client:
        yield client


async def test_nobody_names_what_he_may_not_read() -> None:
    async with readers() as client:
        for place in reads.SECRETS_BY_NAME:
            await reads.test_nobody_names_a_secret_that_he_may_not_read(client, place)
        for obj, said in reads.OTHERS_BY_NAME:
            await reads.test_nor_anything_else_that_containers_would_use_for_him(client, obj, said)
        await reads.test_as_many_names_as_somebody_may_read_by_name_and_no_more(client)
        await reads.test_what_names_nothing_needs_no_right(client)
        await reads.test_what_is_odd_is_no_way_around(client)


@pytest.mark.parametrize(("steps", "branches"), reads.LARGE)
async def test_large_stories_need_pieces(steps: int, branches: int) -> None:
    async with readers() as client:
        await reads.test_large_stories_are_within_what_a_policy_may_cost(client, steps, branches)


def test_every_policy_is_in_force_except_those_that_admission_replaces() -> None:
    known = [DEFAULT_INSTALLATION.prefix + policy.name for policy in policies()]
    left = [DEFAULT_INSTALLATION.prefix + name for name in admission.LEFT_TO_ADMISSION]
    in_force = [each["metadata"]["name"] for each in admission.policies_in_force()]

    assert set(left) < set(known)
    assert in_force == [name for name in known if name not in left for _ in ("policy", "binding")]
    assert set(admission.LEFT_TO_ADMISSION) == policy_evaluation.TOO_DEEP
