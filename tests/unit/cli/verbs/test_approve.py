"""Deciding on gates, and the list of waiting gates, on an API server in this process, without an operator."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cli.exit_code import ExitCode
from cli.options import CommonOptions, DryRun
from cli.problem import CommandError, UsageError
from cli.runs import run_manifest, start_run
from cli.session import Session
from cli.verbs.approve import decide, no_data, parse_data
from cli.verbs.gates import open_gates, shown
from core.api.objects import Object
from core.api.resource import CLUSTER_ROLE, ROLE, ROLE_BINDING, STORY, STORY_RUN
from core.engine.clock import system_now
from core.kube.client import KubeClient
from core.kube.errors import InvalidError
from deployment.permissions.people import GATE_APPROVER, people_roles

RBAC = "rbac.authorization.k8s.io"

WithOptions = Callable[[Session, CommonOptions], Session]

STATES = {"approve": {"phase": "Paused", "message": "Waiting for approval", "startedAt": "2026-01-02T00:00:00Z"}}


async def a_run(session: Session, name: str = "release-1", namespace: str = "default", **status: Any) -> None:
    await start_run(session, run_manifest("release", namespace, {}, name=name))
    if status:
        await session.client.patch(STORY_RUN, name, {"status": status}, namespace=namespace, subresource="status")


async def a_story(session: Session) -> None:
    branches = [{"name": "legal", "type": "gate"}]
    steps = [
        {"name": "approve", "type": "gate"},
        {"name": "fan", "type": "parallel", "with": {"steps": branches}},
    ]
    story = {
        "apiVersion": STORY.api_version,
        "kind": "Story",
        "metadata": {"name": "release"},
        "spec": {"steps": steps},
    }
    await session.client.create(STORY, story, namespace="default")


async def gates(session: Session, name: str = "release-1") -> Object:
    run = await session.client.get(STORY_RUN, name, "default")
    return (run.get("status") or {}).get("gates") or {}


async def approve(session: Session, gate: str, *, state: str = "Approved", reason: str = "", **more: Any) -> None:
    await decide(session, "release-1", gate, state, reason=reason, **{"dry_run": DryRun.NONE, **more})


async def test_a_decision_says_who_made_it_when_and_why(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    await a_story(session)
    await a_run(session, phase="Running", stepStates=STATES)

    await approve(session, "approve", reason="looks good")

    decision = (await gates(session))["approve"]
    assert decision.pop("updatedAt").startswith("20")
    assert decision == {"state": "Approved", "message": "looks good", "updatedBy": "kubernetes-admin"}
    assert capsys.readouterr().out == "gate approve of release-1 Approved\n"


async def test_a_gate_that_is_not_reached_can_be_decided_by_its_last_part(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    await a_story(session)
    await a_run(session, phase="Running")

    await approve(session, "legal", state="Rejected")

    assert (await gates(session))["fan/legal"]["state"] == "Rejected"
    told = "gate fan/legal of release-1 Rejected; the run has not reached it yet, and will fail there\n"
    assert capsys.readouterr().out == told


async def test_data_are_stored_as_texts_and_named_when_they_are_given(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    await a_story(session)
    await a_run(session, phase="Running", stepStates=STATES)
    data = parse_data(["ticket=OPS-17", "count=3", "empty=", "url=a=b"])

    await approve(session, "approve", data=data, dry_run=DryRun.CLIENT)
    await approve(session, "approve", data=data)
    await approve(session, "approve", data=data)
    await approve(session, "approve")
    with pytest.raises(CommandError) as refusal:
        await approve(session, "approve", data={"ticket": "OPS-18"})

    assert (await gates(session))["approve"]["data"] == {"ticket": "OPS-17", "count": "3", "empty": "", "url": "a=b"}
    told = capsys.readouterr()
    assert told.out == "gate approve of release-1 Approved with ticket, count, empty, url\n"
    assert told.err.startswith("would set gate approve of release-1 to Approved with ticket, count, empty, url\n")
    assert "already, and not with this --data" in str(refusal.value)


@pytest.mark.parametrize(("given", "stored"), [({"a": "2"}, {"a": "2"}), ({}, None)])
async def test_data_that_somebody_left_without_deciding_are_not_approved_unseen(
    session: Session, given: dict[str, str], stored: dict[str, str] | None
) -> None:
    await a_story(session)
    pending = {"state": "Pending", "data": {"a": "1", "b": "1"}}
    await a_run(session, phase="Running", stepStates=STATES, gates={"approve": pending})

    await approve(session, "approve", data=given)

    assert (await gates(session))["approve"].get("data") == stored


@pytest.mark.parametrize("data", [{f"k{number}": "" for number in range(33)}, {"k": "x" * 1025}])
async def test_the_api_server_keeps_data_within_bounds(session: Session, data: dict[str, str]) -> None:
    await a_story(session)
    await a_run(session, phase="Running", stepStates=STATES)

    with pytest.raises(InvalidError, match=r"status\.gates\.approve\.data"):
        await approve(session, "approve", data=data)
    assert await gates(session) == {}


def test_nothing_is_given_with_a_rejection() -> None:
    assert no_data([]) == {}
    with pytest.raises(UsageError, match="--data is an option of approve only"):
        no_data(["a=b"])


def test_everything_wrong_with_data_is_told_at_once() -> None:
    long = "x" * 1025
    many = [f"k{number}=" for number in range(32)]
    with pytest.raises(UsageError) as refusal:
        parse_data(["bare", "a.b=1", "=1", "k1=", f"long={long}", "bad=\udcff", *many])

    assert str(refusal.value).splitlines() == [
        "--data 'bare' must be key=text",
        "--data 'a.b': templates cannot read this key",
        "--data '': templates cannot read this key",
        "--data 'long': has 1025 characters, the maximum is 1024",
        "--data 'bad': is not UTF-8 text",
        "--data 'k1': must be given only once",
        "--data: has 36 keys, the maximum is 32",
    ]
    assert refusal.value.remedy.startswith("write for example --data ticket=OPS-17; keys are ")
    assert refusal.value.code is ExitCode.WRONG_USAGE


async def test_the_same_decision_again_is_success_and_another_one_is_refused(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    await a_story(session)
    made = {"state": "Rejected", "updatedBy": "jane", "updatedAt": "2026-01-02T03:04:05Z", "message": "too early"}
    await a_run(session, phase="Running", stepStates=STATES, gates={"approve": made})

    await approve(session, "approve", state="Rejected")
    with pytest.raises(CommandError) as refusal:
        await approve(session, "approve")

    told = "was Rejected by jane at 2026-01-02T03:04:05Z: too early"
    assert capsys.readouterr().err == f"gate approve of release-1 {told} already\n"
    assert str(refusal.value) == f"gate approve of release-1 {told}"
    assert refusal.value.code is ExitCode.COMMAND_FAILED
    assert refusal.value.remedy.endswith("bobrapet resubmit release-1")
    assert (await gates(session))["approve"] == made


async def test_a_decision_made_in_between_is_not_overwritten(session: Session) -> None:
    """Another user decides after the command has read the run."""
    await a_story(session)
    await a_run(session, phase="Running", stepStates=STATES)
    client = session.client

    class Slow(KubeClient):
        async def create(self, *arguments: Any, **more: Any) -> Object:
            decision = {"status": {"gates": {"approve": {"state": "Rejected", "updatedBy": "jane"}}}}
            await client.patch(STORY_RUN, "release-1", decision, namespace="default", subresource="status")
            return await client.create(*arguments, **more)

    meanwhile = Session(Slow(client._transport), session.config, session.options, session.console)
    with pytest.raises(CommandError, match="was Rejected by jane"):
        await approve(meanwhile, "approve")

    assert (await gates(session))["approve"]["state"] == "Rejected"


@pytest.mark.parametrize("sees_stories", [True, False])
async def test_the_role_for_approvers_is_enough_to_approve(session: Session, server: Any, sees_stories: bool) -> None:
    """Without the right to read Stories, the command knows only gates at which the run waits."""
    await a_story(session)
    await a_run(session, phase="Running", stepStates=STATES)
    role = next(each for each in people_roles() if each["metadata"]["name"].endswith(GATE_APPROVER))
    if not sees_stories:
        role["rules"] = [rule for rule in role["rules"] if rule["resources"] != ["stories"]]
    await session.client.create(CLUSTER_ROLE, role)
    binding = {
        "metadata": {"name": "jane"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role["metadata"]["name"]},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": "jane"}],
    }
    await session.client.create(ROLE_BINDING, binding, namespace="default")

    async with server.session_as("jane") as jane:
        await approve(jane, "approve")
        if sees_stories:
            await approve(jane, "legal")
        else:
            with pytest.raises(CommandError, match="you may not read its Story, which may have one"):
                await approve(jane, "legal")

    assert (await gates(session))["approve"]["updatedBy"] == "jane"


async def test_who_may_not_decide_is_told_which_role_it_takes(session: Session, server: Any) -> None:
    await a_story(session)
    await a_run(session, phase="Running", stepStates=STATES)
    rule = {"apiGroups": ["runs.bubustack.io", "bubustack.io"], "resources": ["*"], "verbs": ["get", "list"]}
    role = {"metadata": {"name": "viewer"}, "rules": [rule]}
    binding = {
        "metadata": {"name": "viewer"},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "viewer"},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": "eve"}],
    }
    await session.client.create(ROLE, role, namespace="default")
    await session.client.create(ROLE_BINDING, binding, namespace="default")

    async with server.session_as("eve") as eve:
        with pytest.raises(CommandError, match="cannot patch resource") as refusal:
            await approve(eve, "approve")

    assert refusal.value.remedy == "ask for a binding of ClusterRole bobrapet-gate-approver-role in default"
    assert await gates(session) == {}


async def test_a_run_that_has_ended_takes_no_decision(session: Session) -> None:
    await a_story(session)
    await a_run(session, phase="Failed", message="step fetch failed")

    with pytest.raises(CommandError, match="release-1 has ended, Failed: step fetch failed") as refusal:
        await approve(session, "approve")

    assert "bobrapet retry release-1" in refusal.value.remedy
    assert await gates(session) == {}


async def test_a_gate_that_waits_no_longer_takes_no_decision(session: Session) -> None:
    await a_story(session)
    await a_run(session, phase="Running", stepStates={"approve": {"phase": "Timeout", "message": "nobody came"}})

    with pytest.raises(CommandError, match="no longer waits; it is Timeout: nobody came"):
        await approve(session, "approve")


async def test_a_dry_run_decides_nothing(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    await a_story(session)
    await a_run(session, phase="Running", stepStates=STATES)

    await approve(session, "approve", dry_run=DryRun.CLIENT)
    await approve(session, "approve", dry_run=DryRun.SERVER)

    said = capsys.readouterr()
    assert said.err == "would set gate approve of release-1 to Approved\n"
    assert said.out == "gate approve of release-1 Approved (dry run)\n"
    assert await gates(session) == {}


async def test_without_a_gate_the_one_that_waits_is_meant(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    await a_story(session)
    await a_run(session, phase="Running", stepStates=STATES)

    await approve(session, "")

    assert capsys.readouterr().out == "gate approve of release-1 Approved\n"


async def test_without_a_gate_several_are_named(session: Session) -> None:
    await a_story(session)
    await a_run(session, phase="Running")

    with pytest.raises(UsageError, match="name the gate of release-1 to approve: approve, fan/legal") as refusal:
        await approve(session, "")

    assert refusal.value.remedy == "for example: bobrapet approve release-1 approve"


async def test_the_inbox_holds_what_waits_the_longest_wait_first(session: Session, with_options: WithOptions) -> None:
    await a_story(session)
    earlier = {"approve": {**STATES["approve"], "startedAt": "2026-01-01T00:00:00Z"}}
    branch = {"fan/legal": {**STATES["approve"], "startedAt": "2026-01-03T00:00:00Z"}}
    await a_run(session, "release-1", phase="Running", stepStates={**STATES, **branch})
    await a_run(session, "release-2", phase="Running", stepStates=earlier)
    await a_run(session, "over", phase="Failed", stepStates=STATES)
    await a_run(session, "fresh")

    found = await open_gates(session)

    assert [(gate.run, gate.name) for gate in found] == [
        ("release-2", "approve"),
        ("release-1", "approve"),
        ("release-1", "fan/legal"),
    ]
    names = with_options(session, CommonOptions(output="name"))
    wide = with_options(session, CommonOptions(output="wide"))
    documents = with_options(session, CommonOptions(output="json"))
    now = system_now()
    assert shown(names, found, now).splitlines() == ["release-2/approve", "release-1/approve", "release-1/fan/legal"]
    header, first, *_ = shown(wide, found, now).splitlines()
    assert header.split() == ["NAMESPACE", "RUN", "GATE", "SINCE", "UNTIL", "STORY", "APPROVE"]
    assert first.endswith("never   release   bobrapet approve release-2 approve")
    assert json.loads(shown(documents, found, now))["items"][2]["reject"] == "bobrapet reject release-1 fan/legal"


async def test_a_list_over_all_namespaces_says_where_to_decide(session: Session, with_options: WithOptions) -> None:
    everywhere = with_options(session, CommonOptions(all_namespaces=True, output="wide"))
    await a_run(session, phase="Running", stepStates=STATES)

    (gate,) = await open_gates(everywhere)

    assert shown(everywhere, [gate], system_now()).endswith("bobrapet approve release-1 approve")
    assert everywhere.command_in("team", "approve", "x", "y") == "bobrapet approve x y --namespace team"
