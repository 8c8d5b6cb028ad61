"""The operator under its own ServiceAccount, with the rights of the table and no others, as in every scenario."""

from __future__ import annotations

from core.api.conditions import find_condition
from core.api.keys import LABEL_RUNNER_GRANTS
from core.api.objects import Object
from core.api.resource import CLUSTER_ROLE, EVENT, ROLE, SERVICE_ACCOUNT, STORY_RUN
from deployment.permissions.install import install_permissions
from tests.integration.operator_cluster import OPERATOR, OperatorCluster, status_of, step

LIMITS = {"apiGroups": [""], "resources": ["limitranges"], "verbs": ["get"]}


async def test_a_run_asks_for_nothing_that_the_table_lacks(world: OperatorCluster) -> None:
    await world.engram("greet")
    await world.story("greet", step("greet"), step("again", "greet"))
    async with world.operator():
        await world.run("one", "greet")
        run = await world.finished("one")
        await world.client.delete(STORY_RUN, "one", "team")
        await world.gone(STORY_RUN, "one")
    assert status_of(run)["phase"] == "Succeeded"
    assert await told(world, "PermissionDenied") == []


async def told(world: OperatorCluster, reason: str) -> list[str]:
    return [event["note"] for event in (await world.client.list(EVENT, "team")).items if event["reason"] == reason]


async def test_a_template_that_asks_for_more_keeps_the_run_until_it_is_granted(world: OperatorCluster) -> None:
    await world.engram("curious", execution={"rbac": {"rules": [LIMITS]}})
    await world.story("curious", step("curious"))
    async with world.operator(may_be_refused=True) as traffic:
        await world.run("one", "curious")
        run = await world.until(STORY_RUN, "one", _is_denied)
        assert status_of(run)["phase"] == "Pending"
        assert 'Resources:["limitranges"]' in status_of(run)["message"]
        metadata = {"name": "limitranges", "labels": {LABEL_RUNNER_GRANTS: "true"}}
        await world.client.create(CLUSTER_ROLE, {"metadata": metadata, "rules": [LIMITS]})
        try:
            run = await world.finished("one", seconds=40)
        finally:
            await world.client.delete(CLUSTER_ROLE, "limitranges")
    assert status_of(run)["phase"] == "Succeeded"
    assert not _is_denied(run)
    assert set(traffic.refused) == {"POST roles"}


def _is_denied(run: Object) -> bool:
    ready = find_condition(status_of(run).get("conditions") or (), "Ready")
    return ready is not None and ready["reason"] == "PermissionDenied"


async def test_what_leads_to_further_rights_is_left_out_and_told(world: OperatorCluster) -> None:
    greedy = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["create"]}
    await world.engram("greedy", execution={"rbac": {"rules": [greedy]}})
    await world.story("greedy", step("greedy"))
    async with world.operator():
        await world.run("one", "greedy")
        assert status_of(await world.finished("one"))["phase"] == "Succeeded"
    assert (await world.client.list(ROLE, "team")).items == []
    assert await told(world, "RuleRefused") == [
        "EngramTemplate greedy spec.execution.rbac.rules[0]: containers never get permissions to grant permissions"
    ]


async def test_installing_again_changes_nothing_and_restores_what_was_taken(world: OperatorCluster) -> None:
    name = f"{OPERATOR.prefix}manager-role"
    await install_permissions(world.client, OPERATOR)
    before = await world.client.get(CLUSTER_ROLE, name)
    await install_permissions(world.client, OPERATOR)
    assert await world.client.get(CLUSTER_ROLE, name) == before
    await world.client.patch(CLUSTER_ROLE, name, {"rules": []})
    await install_permissions(world.client, OPERATOR)
    assert (await world.client.get(CLUSTER_ROLE, name))["rules"] == before["rules"]
    account = await world.client.get(SERVICE_ACCOUNT, OPERATOR.service_account, OPERATOR.namespace)
    assert account["metadata"]["name"] == "bobrapet-controller-manager"
