"""Stored objects when the storage version of Stories changes, and when a definition loses a field.

The commands are those of docs/upgrading.md.
"""

from __future__ import annotations

import base64
from copy import deepcopy
from typing import Any, Final

import httpx
import orjson
import pytest
import trio

from core.api.crd import custom_resource_definition
from core.api.objects import Object
from core.api.resource import CUSTOM_RESOURCE_DEFINITION, ENGRAM, STEP_RUN, STORY, STORY_RUN
from core.api.story import STORY_KIND
from core.kube.errors import InvalidError
from deployment.generate import CONVERSION_SERVICE
from tests.e2e.admission_rig import NAMES, url_of
from tests.e2e.operator_rig import FLOWS, OperatorRig, eventually, status_of
from tests.e2e.upgrading_page import command, play
from tools.control_plane.ports import held_port

DEFINITION: Final = "stories.bubustack.io"
ALPHA, BETA = "v1alpha1", "v1beta1"
SPEC: Final[Object] = {
    "steps": [
        {"name": "ask", "type": "gate", "with": {"timeout": "24h"}},
        {"name": "pause", "type": "sleep", "needs": ["ask"], "with": {"duration": "1s"}},
    ],
    "output": {"done": True},
    "pattern": "batch",
}


async def test_stored_stories_move_to_another_version_and_back_under_their_runs(rig: OperatorRig) -> None:
    for name in ("report", "kept", "probe"):  # nobody writes to "kept", which has no runs
        await rig.create(STORY, name, {"spec": SPEC})
    await _serve_both_versions(rig)
    await rig.until(STORY, "kept", lambda found: bool(status_of(found).get("conditions")))
    assert await _stored_versions(rig) == [ALPHA]
    await _start(rig, "before")

    for version, before, in_both in ((BETA, ALPHA, [ALPHA, BETA]), (ALPHA, BETA, [BETA, ALPHA])):
        await _store_as(rig, version)
        assert await _stored_version_of(rig, "kept") == before
        assert await _read(rig, ALPHA) == SPEC
        await rig.create(STORY, f"new-{version}", {"spec": SPEC})
        assert await _stored_versions(rig) == in_both
        with pytest.raises(InvalidError, match="storedVersions"):
            await _without(rig, before)

        await play(rig, command("kubectl get stories.bubustack.io"))
        for name in ("report", "kept", f"new-{version}"):
            assert await _stored_version_of(rig, name) == version
        await play(rig, command("kubectl patch crd").replace(BETA, version))
        assert await _stored_versions(rig) == [version]
        assert await _read(rig, ALPHA) == SPEC
        await _start(rig, f"under-{version}")
    for name in ("before", f"under-{BETA}", f"under-{ALPHA}"):  # runs that were under way, and their Story, go on
        approval = {"status": {"gates": {"ask": {"state": "Approved"}}}}
        await rig.client.patch(STORY_RUN, name, approval, namespace=FLOWS, subresource="status")
        await rig.ended(name, "Succeeded")


async def test_a_field_that_a_definition_lost_is_stored_until_its_object_is_written(rig: OperatorRig) -> None:
    full = await rig.client.get(CUSTOM_RESOURCE_DEFINITION, "engrams.bubustack.io")
    older = deepcopy(full["spec"]["versions"])
    del older[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["overrides"]["properties"]["warm"]
    for name in ("read", "written"):
        await rig.engram(name, engram={"overrides": {"warm": {"replicas": 2}}})
    await _define(rig, older)
    await eventually(lambda: _has_warm(rig, "read", wanted=False), lambda: "the older definition is not in force")
    assert "warm" in (await _in_etcd(rig, "engrams", "read"))["spec"]["overrides"]
    await rig.merge(ENGRAM, "written", {"metadata": {"labels": {"a": "b"}}})
    assert "warm" not in (await _in_etcd(rig, "engrams", "written"))["spec"]["overrides"]

    await _define(rig, full["spec"]["versions"])
    await eventually(lambda: _has_warm(rig, "read", wanted=True), lambda: "the newer definition is not in force")
    assert await _has_warm(rig, "written", wanted=False)


async def test_the_command_lists_steps_that_an_older_operator_would_execute_again(rig: OperatorRig) -> None:
    for executor in ("", "job", "worker", "stream"):
        for phase in ("Running", "Succeeded"):
            name = f"{phase.lower()}-{executor or 'unnamed'}"
            spec = {"storyRunRef": {"name": "gone"}, "stepId": name, **({"executor": executor} if executor else {})}
            await rig.create(STEP_RUN, name, {"spec": spec})
            status = {"status": {"phase": phase}}
            await rig.client.patch(STEP_RUN, name, status, namespace=FLOWS, subresource="status")
    listed = await play(rig, command("kubectl get stepruns"))
    assert sorted(line.split()[1] for line in listed.splitlines()) == ["running-stream", "running-worker"]


async def _start(rig: OperatorRig, run: str) -> None:
    """Start a run, and return once it waits at its gate."""
    await rig.create(STORY_RUN, run, {"spec": {"storyRef": {"name": "report"}}})
    await rig.until(STORY_RUN, run, lambda found: bool((status_of(found).get("stepStates") or {}).get("ask")))


async def _define(rig: OperatorRig, versions: list[Object]) -> None:
    await rig.client.patch(CUSTOM_RESOURCE_DEFINITION, "engrams.bubustack.io", {"spec": {"versions": versions}})


async def _has_warm(rig: OperatorRig, name: str, *, wanted: bool) -> bool:
    engram = await rig.client.get(ENGRAM, name, FLOWS)
    return ("warm" in engram["spec"]["overrides"]) is wanted


async def _serve_both_versions(rig: OperatorRig) -> None:
    """Apply the definition with both versions, which an operator process converts."""
    with held_port() as port:
        where = f"--webhook-bind-address=127.0.0.1:{port}"
    operator = await rig.start_operator("operator", where, NAMES, "--leader-elect=false")
    url = await url_of(operator)
    definition = custom_resource_definition(STORY_KIND, CONVERSION_SERVICE)
    definition["spec"]["conversion"]["webhook"]["clientConfig"] = {"url": f"{url}/convert"}
    await rig.client.apply(CUSTOM_RESOURCE_DEFINITION, definition, force=True)

    async def converts() -> bool:
        answer = await _get(rig, BETA)
        return answer.status_code == httpx.codes.OK

    await eventually(converts, operator.tail)


async def _store_as(rig: OperatorRig, version: str) -> None:
    """Change the storage version, and return once the API server uses it."""
    definition = await rig.client.get(CUSTOM_RESOURCE_DEFINITION, DEFINITION)
    versions = [{**each, "storage": each["name"] == version} for each in definition["spec"]["versions"]]
    await rig.client.patch(CUSTOM_RESOURCE_DEFINITION, DEFINITION, {"spec": {"versions": versions}})

    async def in_force() -> bool:
        """As the page says, ``storedVersions`` names the version a moment before objects are stored in it."""
        await rig.merge(STORY, "probe", {"metadata": {"annotations": {"example.com/at": str(trio.current_time())}}})
        return await _stored_version_of(rig, "probe") == version

    await eventually(in_force, lambda: "the storage version does not change")


async def _without(rig: OperatorRig, version: str) -> None:
    """Remove a version from the definition."""
    definition = await rig.client.get(CUSTOM_RESOURCE_DEFINITION, DEFINITION)
    versions = [each for each in definition["spec"]["versions"] if each["name"] != version]
    await rig.client.patch(CUSTOM_RESOURCE_DEFINITION, DEFINITION, {"spec": {"versions": versions}})


async def _stored_versions(rig: OperatorRig) -> list[str]:
    found: list[str] = status_of(await rig.client.get(CUSTOM_RESOURCE_DEFINITION, DEFINITION))["storedVersions"]
    return found


async def _read(rig: OperatorRig, version: str) -> Any:
    return (await _get(rig, version)).json()["spec"]


async def _get(rig: OperatorRig, version: str) -> httpx.Response:
    async with rig.plane.open_client(rig.plane.admin_token) as client:
        return await client.get(f"/apis/bubustack.io/{version}/namespaces/{FLOWS}/stories/report")


async def _stored_version_of(rig: OperatorRig, story: str) -> str:
    api_version: str = (await _in_etcd(rig, "stories", story))["apiVersion"]
    return api_version.removeprefix("bubustack.io/")


async def _in_etcd(rig: OperatorRig, plural: str, name: str) -> Any:
    """The object as it is stored."""
    key = base64.b64encode(f"/registry/bubustack.io/{plural}/{FLOWS}/{name}".encode()).decode()
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{rig.plane.etcd_url}/v3/kv/range", json={"key": key})
    return orjson.loads(base64.b64decode(answer.json()["kvs"][0]["value"]))
