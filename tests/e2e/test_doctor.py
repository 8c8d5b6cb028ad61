"""``bobrapet doctor`` on a real API server: permissions, webhooks, certificates, policies. It takes about 30 s."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from certs.authority import issue_authority
from certs.inject import VALIDATING
from certs.lifetimes import DEFAULT_LIFETIMES
from certs.material import pem_of
from cli.console import Console
from cli.doctor.context import DoctorContext
from cli.doctor.examination import examine
from cli.options import CommonOptions
from cli.session import Session
from core.api.resource import CLUSTER_ROLE_BINDING, CUSTOM_RESOURCE_DEFINITION
from core.engine.clock import system_now
from core.kube.client import open_client
from core.kube.config import Impersonation
from core.kube.retry import ONCE
from deployment.registration import validating_configuration
from kubewire import PatchType
from tests.e2e.admission_rig import NAMES, ask_admission
from tests.e2e.operator_rig import FLOWS, OperatorRig, eventually
from tools.control_plane.ports import held_port
from tools.control_plane.processes import ServerProcess
from views.doctor.diagnosis import CheckResult, Health

MACHINE_IS_BUSY = 10.0
"""Otherwise a check may not be finished in time, which is a warning."""
CONFIGURATION = validating_configuration()["metadata"]["name"]


@asynccontextmanager
async def context(rig: OperatorRig, user: str = "") -> AsyncIterator[DoctorContext]:
    """The cluster of the rig, as an administrator or as ``user`` sees it."""
    options = CommonOptions(namespace=FLOWS)
    config = rig.client.config
    if user:
        config = replace(config, impersonation=Impersonation(user=user))
    async with open_client(config, retry=ONCE) as client:
        yield DoctorContext(Session(client, config, options, Console(options)))


async def examined(rig: OperatorRig, user: str = "") -> dict[str, CheckResult]:
    async with context(rig, user) as found:
        return {result.check: result for result in await examine(found, patience=MACHINE_IS_BUSY)}


def healths(results: dict[str, CheckResult]) -> dict[str, Health]:
    return {name: result.health for name, result in results.items()}


async def has_started(operator: ServerProcess) -> bool:
    return "controllers start" in await trio.Path(operator.log).read_text()


async def test_doctor_finds_what_is_missing_broken_and_forbidden_on_a_real_api_server(rig: OperatorRig) -> None:
    before = healths(await examined(rig))

    assert {name for name, health in before.items() if health is Health.OK} == {
        *("api-server", "your-permissions", "definitions", "operator-permissions", "configuration"),
        *("object-store", "quota", "runs", "leftovers"),
    }
    assert {before[name] for name in ("operator", "lease", "webhooks", "certificates", "admission", "policies")} == {
        Health.PROBLEM
    }

    with held_port() as port:
        where = f"--webhook-bind-address=127.0.0.1:{port}"
    operator = await rig.start_operator("operator", where, NAMES)
    await eventually(lambda: has_started(operator), operator.tail)
    await ask_admission(rig, operator)
    await rig.apply("manifests/policies")
    found = await examined(rig)
    healthy = healths(found)
    assert {name: health for name, health in healthy.items() if health not in (Health.OK, Health.SKIPPED)} == {}, found

    await operator.kill()
    stranger = issue_authority(("127.0.0.1",), system_now(), DEFAULT_LIFETIMES)
    bundle = base64.b64encode(pem_of((stranger.certificate,))).decode()
    hooks = (await rig.client.get(VALIDATING, CONFIGURATION))["webhooks"]
    patch = [
        {"op": "replace", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": bundle}
        for index, _ in enumerate(hooks)
    ]
    await rig.client.patch(VALIDATING, CONFIGURATION, patch, patch_type=PatchType.JSON)
    await rig.client.delete(CUSTOM_RESOURCE_DEFINITION, "effectclaims.runs.bubustack.io")
    await rig.client.delete(CLUSTER_ROLE_BINDING, "bobrapet-manager-rolebinding")

    async def all_is_seen() -> bool:
        found = await examined(rig)
        return {name for name, health in healths(found).items() if health is Health.PROBLEM} >= {
            *("admission", "certificates", "definitions", "operator-permissions")
        }

    await eventually(all_is_seen, lambda: "doctor does not find the damage")
    broken = await examined(rig)
    assert "API servers cannot call admission" in broken["admission"].diagnoses[0].text
    assert "ValidatingWebhookConfiguration" in broken["certificates"].diagnoses[-1].text
    assert "effectclaims.runs.bubustack.io" in broken["definitions"].diagnoses[0].text

    as_nobody = healths(await examined(rig, "nobody"))
    assert as_nobody.pop("api-server") is Health.OK
    assert as_nobody.pop("your-permissions") is Health.WARNING
    assert set(as_nobody.values()) == {Health.SKIPPED}
