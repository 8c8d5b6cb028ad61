"""The shared account of a Story's containers on a real API server: operator, roles and policies as they are shipped.

Two runs of one Story have containers at work under one account. Each reports its own step with the token that its Pod
has, and no other: the Pod decides. A person who may patch statuses is refused. Runs after the first one send no request
about identity. The audit log shows that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import httpx
import pytest
import trio

from core.api import keys
from core.api.objects import Object
from core.api.resource import CLUSTER_ROLE, POD, ROLE, ROLE_BINDING, SECRET, SERVICE_ACCOUNT, STEP_RUN
from core.workloads.story_runner import RUNNER_BASE_ROLE
from deployment.permissions.roles import DEFAULT_INSTALLATION
from tests.e2e.operator_rig import FLOWS, OperatorRig, eventually, open_operator_rig, status_of, step

MERGE: Final = {"content-type": "application/merge-patch+json"}
STEPS: Final = ("first-a", "first-b", "second-a", "second-b")
IDENTITY: Final = {"serviceaccounts", "roles", "rolebindings"}


async def test_containers_of_one_account_report_their_own_steps_and_nobody_reports_for_them(rig: OperatorRig) -> None:
    """One test for all, because creating a cluster takes longer than all of this."""
    await rig.apply("manifests/policies/status.yaml")
    await rig.start_operator("operator", "--leader-elect=false")
    flag = rig.directory / "released"
    await rig.engram("nap", f"until test -e {flag}; do sleep 0.1; done")
    await rig.story("shared", step("a", "nap"), step("b", "nap"))
    await rig.run("first", "shared")
    for name in ("first-a", "first-b"):
        await at_work(rig, name)
    asked = len(about_identity(rig))
    await rig.run("second", "shared")
    for name in ("second-a", "second-b"):
        await at_work(rig, name)
    assert asked > 0
    assert len(about_identity(rig)) == asked  # the second run neither reads nor writes accounts and roles

    account = await rig.account_of("shared")
    binding = await rig.client.get(ROLE_BINDING, account, FLOWS)
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (CLUSTER_ROLE.kind, RUNNER_BASE_ROLE)
    assert (await rig.client.list(ROLE, FLOWS)).items == []
    assert len((await rig.client.list(SERVICE_ACCOUNT, FLOWS)).items) == 2  # and the one that each namespace has

    pods = {name: await pod_of(rig, name) for name in STEPS}
    assert {pod["spec"]["serviceAccountName"] for pod in pods.values()} == {account}
    tokens = {name: await rig.plane.token_of(account, FLOWS, pod=pods[name]["metadata"]["name"]) for name in STEPS}
    unbound = await rig.plane.token_of(account, FLOWS)
    async with rig.plane.open_client() as client:
        await eventually(lambda: is_refused(client, unbound), lambda: "the policy is not in force")
        codes = {(writer, name): await report(client, tokens[writer], name) for writer in STEPS for name in STEPS}
        assert {pair for pair, code in codes.items() if code == 200} == {(name, name) for name in STEPS}
        assert set(codes.values()) == {200, 422}
        assert {await report(client, unbound, name) for name in STEPS} == {422}

    await let_ann_patch_statuses(rig)
    with pytest.raises(AssertionError, match="only the operator and the containers of the step's attempt"):
        await kubectl_as(rig, "ann", "patch", "stepruns", "first-a", "--subresource=status", "--type=merge", PATCH)
    for name in STEPS:
        assert status_of(await rig.client.get(STEP_RUN, name, FLOWS))["phase"] == "Running"

    flag.touch()
    for run in ("first", "second"):
        await rig.ended(run, "Succeeded")


async def test_a_go_container_reports_under_the_policy_unchanged(
    tmp_path: Path, pytestconfig: pytest.Config, go_programs: Path, mounts: None
) -> None:
    if pytestconfig.getoption("control_plane") != "real":
        pytest.skip("needs a real control plane: --control-plane real")
    async with open_operator_rig(tmp_path, isolate=True) as rig:
        await rig.apply("manifests/policies/status.yaml")
        await rig.start_operator("operator", "--leader-elect=false")
        await rig.create(SECRET, "keys", {"stringData": {"token": "s3cr3t"}})
        schema = {"api": {"mountType": "file", "expectedKeys": ["token"]}}
        await rig.engram("greeter", secretSchema=schema, engram={"secrets": {"api": "keys"}})
        rig.add_images({"test/greeter": {"command": [str(go_programs / "greeter")]}})
        await rig.story("greetings", {**step("greet", "greeter"), "with": {"name": "{{ inputs.who }}"}})
        await rig.run("before", "greetings", inputs={"who": "nobody"})
        await rig.ended("before", "Succeeded")
        account = await rig.account_of("greetings")
        async with rig.plane.open_client() as client:
            unbound = await rig.plane.token_of(account, FLOWS)

            async def is_in_force() -> bool:
                return await report(client, unbound, "before-greet") == 422

            await eventually(is_in_force, lambda: "the server does not know the policy yet")
        await rig.run("one", "greetings", inputs={"who": "world"})
        await rig.ended("one", "Succeeded")
        output = status_of(await rig.client.get(STEP_RUN, "one-greet", FLOWS))["output"]
    assert (output["greeting"], output["account"]) == ("hello world", account)


PATCH: Final = '--patch={"status":{"phase":"Failed"}}'


async def at_work(rig: OperatorRig, name: str) -> None:
    await rig.until(STEP_RUN, name, lambda obj: status_of(obj).get("phase") == "Running")


async def pod_of(rig: OperatorRig, name: str) -> Object:
    [pod] = (await rig.client.list(POD, FLOWS, label_selector=f"{keys.LABEL_JOB_NAME}={name}")).items
    return pod


def about_identity(rig: OperatorRig) -> list[Object]:
    """The operator's requests about accounts and roles, without its lists and watches, which are few."""
    user = DEFAULT_INSTALLATION.user
    return [
        event
        for event in rig.audit_events()
        if event["user"]["username"] == user
        and (event.get("objectRef") or {}).get("resource") in IDENTITY
        and event["verb"] not in ("list", "watch")
    ]


async def report(client: httpx.AsyncClient, token: str, name: str) -> int:
    """How the server answers a container that reports for a step; nothing is stored."""
    body = {"status": {"phase": "Succeeded", "output": {"a": 1}}}
    headers = {**MERGE, "authorization": f"Bearer {token}"}
    path = STEP_RUN.path(FLOWS, name, "status")
    return (await client.patch(path, json=body, headers=headers, params={"dryRun": "All"})).status_code


async def is_refused(client: httpx.AsyncClient, token: str) -> bool:
    return await report(client, token, STEPS[0]) == 422


async def let_ann_patch_statuses(rig: OperatorRig) -> None:
    """By RBAC alone, ann could report for every step."""
    rules = [{"apiGroups": ["runs.bubustack.io"], "resources": ["stepruns", "stepruns/status"], "verbs": ["*"]}]
    await rig.create(CLUSTER_ROLE, "patches-statuses", {"rules": rules})
    reference = {"apiGroup": CLUSTER_ROLE.group, "kind": CLUSTER_ROLE.kind, "name": "patches-statuses"}
    user = {"apiGroup": CLUSTER_ROLE.group, "kind": "User", "name": "ann"}
    await rig.create(ROLE_BINDING, "ann", {"roleRef": reference, "subjects": [user]})


async def kubectl_as(rig: OperatorRig, user: str, *arguments: str) -> None:
    """
    Raises:
        AssertionError: the command failed; its words.
    """
    command = [str(rig.plane.binaries.kubectl), f"--kubeconfig={rig.plane.kubeconfig}", f"--namespace={FLOWS}"]
    done = await trio.run_process([*command, f"--as={user}", *arguments], capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
