"""Who decided on a gate of a run, and when. This is kept for users of kubectl and hinders nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bubu_contract.instants import parse_instant
from core.engine.clock import system_now
from tests.integration.admission_stand import AdmissionStand, open_admission, open_cluster_with_admission, registered
from tests.integration.kubectl_binary import KUBECTL, needs_kubectl
from tools.control_plane.session import SessionCluster

pytestmark = [pytest.mark.kubectl, needs_kubectl]

OBJECTS: list[dict[str, Any]] = [
    {
        "apiVersion": "bubustack.io/v1alpha1",
        "kind": "Story",
        "metadata": {"name": "release"},
        "spec": {"steps": [{"name": name, "type": "gate"} for name in ("ask", "again")]},
    },
    {
        "apiVersion": "runs.bubustack.io/v1alpha1",
        "kind": "StoryRun",
        "metadata": {"name": "release-1"},
        "spec": {"storyRef": {"name": "release"}},
    },
]


async def decide(stand: AdmissionStand, user: str, gate: str, decision: dict[str, Any], *flags: str) -> str:
    patch = json.dumps({"status": {"gates": {gate: decision}}})
    arguments = ("patch", "storyrun", "release-1", "--subresource=status", "--type=merge", "-p", patch, "-o=json")
    return await stand.kubectl(*arguments, f"--as={user}", "--as-group=system:authenticated", *flags, check=False)


async def stored(stand: AdmissionStand) -> Any:
    run = json.loads(await stand.kubectl("get", "storyrun", "release-1", "-o=json"))
    return run.get("status", {}).get("gates", {})


async def test_a_decision_by_kubectl_is_signed_and_stays_signed(tmp_path: Path, real: SessionCluster | None) -> None:
    began = system_now().replace(microsecond=0)
    async with open_admission(tmp_path, real, str(KUBECTL)) as stand:
        await stand.build(OBJECTS)
        tried = json.loads(await decide(stand, "ann", "ask", {"state": "Approved"}, "--dry-run=server"))
        assert tried["status"]["gates"]["ask"]["updatedBy"] == "ann"
        assert await stored(stand) == {}

        unread = await decide(stand, "ann", "ask", {"state": "Approved", "data": {"a.b": "c"}})
        assert "status.gates.ask.data: templates cannot read the key 'a.b'" in unread
        assert await stored(stand) == {}

        await decide(stand, "ann", "ask", {"state": "Approved", "data": {"ticket": "OPS-17"}})
        made = (await stored(stand))["ask"]
        assert (made["state"], made["updatedBy"], made["data"]) == ("Approved", "ann", {"ticket": "OPS-17"})
        assert began <= parse_instant(made["updatedAt"]) <= system_now()

        refused = await decide(stand, "bob", "ask", {"updatedBy": "bob"})
        assert "status.gates.ask: is already Approved; a decision cannot be changed" in refused
        refused = await decide(stand, "bob", "ask", {"data": {"ticket": "OPS-18"}})
        assert "status.gates.ask: is already Approved; a decision cannot be changed" in refused
        await decide(stand, "bob", "ask", {"state": "Approved", "message": "fine"})
        assert (await stored(stand))["ask"] == {**made, "message": "fine"}

        await decide(stand, "robot", "again", {"state": "Rejected", "updatedBy": "jane"})
        again = (await stored(stand))["again"]
        assert (again["updatedBy"], again["message"]) == ("robot", "Rejected on behalf of jane")
        await stand.remove(OBJECTS)


async def test_a_decision_is_kept_as_it_is_while_nobody_answers(tmp_path: Path, real: SessionCluster | None) -> None:
    async with (
        open_cluster_with_admission(tmp_path, real, str(KUBECTL)) as stand,
        registered(stand.client, "https://127.0.0.1:9"),
    ):
        await stand.build(OBJECTS)
        await decide(stand, "ann", "ask", {"state": "Approved"})

        assert await stored(stand) == {"ask": {"state": "Approved"}}
        await stand.remove(OBJECTS)
