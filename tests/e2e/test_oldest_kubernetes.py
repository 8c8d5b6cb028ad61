"""The oldest API server that the pages promise: what the operator needs of it. All other tests run on the newest.

Its etcd, controllers and kubectl are those of the newest. It takes about a minute on a busy machine.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from cli.console import Console
from cli.options import CommonOptions
from cli.selection import RunSelection, select_runs
from cli.session import Session
from cli.verbs.gates import open_gates
from core.api.objects import Object
from core.api.phases import Phase
from core.api.resource import STEP_RUN, STORY, TRANSPORT
from core.engine.clock import system_now
from core.kube.client import open_client
from core.kube.config import Impersonation
from core.kube.errors import InvalidError
from tests.e2e import test_admission_policy as policy_cases
from tests.e2e.admission_rig import NAMES, WRONG, ask_admission
from tests.e2e.operator_rig import FLOWS, OperatorRig, eventually, open_operator_rig, status_of, step
from tests.e2e.test_doctor import examined, has_started, healths
from tools.control_plane.binaries import ASSETS_VARIABLES, OLDEST_VERSION, ensure_binaries
from tools.control_plane.ports import held_port
from views.doctor.diagnosis import Health

POLICIES = "manifests/policies"
AUTHOR = "ann@example.com"
STREAM: Object = {"spec": {"provider": "people", "driver": "hub", "supportedBinary": ["application/json"]}}
FORGED: Object = {"status": {"output": {"forged": True}}}


@pytest.fixture
async def oldest(tmp_path: Path, pytestconfig: pytest.Config) -> AsyncIterator[OperatorRig]:
    if pytestconfig.getoption("control_plane") != "real":
        pytest.skip("needs a real control plane: --control-plane real")
    if ensure_binaries(OLDEST_VERSION).version != OLDEST_VERSION:
        pytest.skip(f"{' or '.join(ASSETS_VARIABLES)} names programs of another version")
    async with open_operator_rig(tmp_path, version=OLDEST_VERSION) as rig:
        found = await rig.client.request("GET", "/version")
        assert found.json()["gitVersion"] == f"v{OLDEST_VERSION}"
        yield rig


async def apply(rig: OperatorRig, *objects: Object) -> None:
    file = rig.directory / "objects.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    await rig.apply(str(file))


async def test_the_policies_decide_as_on_the_newest(oldest: OperatorRig) -> None:
    await apply(oldest, *policy_cases.people(), *policy_cases.namespaces(), policy_cases.settings("deny"))
    await oldest.apply(POLICIES)
    headers = {"authorization": f"Bearer {oldest.plane.admin_token}"}
    async with httpx.AsyncClient(
        base_url=oldest.plane.url,
        headers=headers,
        verify=oldest.plane.access.tls_context(),
        timeout=30,
        trust_env=False,
    ) as server:
        await policy_cases.play_cases(server, step=9)


async def test_a_run_succeeds_and_what_is_wrong_or_forged_is_refused(oldest: OperatorRig) -> None:
    await apply(oldest, *policy_cases.people())
    await oldest.apply(POLICIES)
    with held_port() as port:
        where = f"--webhook-bind-address=127.0.0.1:{port}"
    operator = await oldest.start_operator("operator", where, NAMES)
    await eventually(lambda: has_started(operator), operator.tail)
    await ask_admission(oldest, operator)

    with pytest.raises(InvalidError) as refused:
        await oldest.create(STORY, "wrong", WRONG)
    assert [cause.field for cause in refused.value.causes] == ["spec.steps[0].with.duration"]
    await oldest.create(TRANSPORT, "wires", STREAM)

    await oldest.engram("work")
    await oldest.story("chain", step("a", "work"), step("b", "work", needs=["a"]))
    await oldest.run("one", "chain")
    await oldest.ended("one", "Succeeded")
    steps = (await oldest.client.list(STEP_RUN, FLOWS)).items
    assert [status_of(each)["phase"] for each in steps] == ["Succeeded", "Succeeded"]

    person = replace(oldest.client.config, impersonation=Impersonation(user=AUTHOR))
    async with open_client(person) as client:
        for each in steps:
            with pytest.raises(InvalidError, match="only the operator and the containers of the step's attempt"):
                await client.patch(STEP_RUN, each["metadata"]["name"], FORGED, namespace=FLOWS, subresource="status")

    options = CommonOptions(namespace=FLOWS)
    session = Session(oldest.client, oldest.client.config, options, Console(options))
    found = await select_runs(session, RunSelection(story="chain", phase=Phase.SUCCEEDED), system_now())
    assert [run["metadata"]["name"] for run in found] == ["one"]
    assert await open_gates(session) == []

    well = healths(await examined(oldest))
    assert {name: health for name, health in well.items() if health not in (Health.OK, Health.SKIPPED)} == {}
