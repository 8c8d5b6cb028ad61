"""A hub that is killed writes nothing: the operator learns it from the Lease, and shows it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import trio

from bubu_contract.instants import format_instant, format_precise_instant
from core.api.conditions import find_condition
from core.api.objects import Object
from core.api.resource import CONFIG_MAP, LEASE, STEP_RUN, STORY_RUN, TRANSPORT, TRANSPORT_BINDING, Resource
from core.engine.clock import system_now
from core.ownership.ownership import WHOLE_CLUSTER
from core.policy.settings import OperatorSettings, TransportSettings
from core.workloads.hub_access import HubAccess
from core.workloads.hub_lease import HUB_LEASE
from deployment.permissions.names import CONFIG_NAME
from tests.integration.hub_cluster import PATIENCE_SECONDS, ROOT, HubCluster, open_hub_cluster
from tests.integration.operator_cluster import (
    NAMESPACE_NAME,
    OPERATOR_NAMESPACE,
    OperatorCluster,
    eventually,
    status_of,
)
from tests.unit.hub.modelled_client import collecting, forever

HUB = HubAccess("127.0.0.1:9000", b"k" * 32)
SETTINGS = replace(OperatorSettings(), transport=TransportSettings(heartbeat_timeout=timedelta(seconds=1)))
RENEWED_EVERY = 0.3
"""Seconds; the Lease lasts one."""


async def renew(world: OperatorCluster, *, ago: timedelta = timedelta()) -> None:
    renewed = format_precise_instant(system_now() - ago)
    spec = {"holderIdentity": "hub", "leaseDurationSeconds": 1, "renewTime": renewed}
    body = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": {"name": HUB_LEASE}, "spec": spec}
    await world.client.apply(LEASE, body, namespace=OPERATOR_NAMESPACE, field_manager="hub", force=True)


@asynccontextmanager
async def living_hub(world: OperatorCluster) -> AsyncIterator[None]:
    """A hub that renews its Lease in the block, and is killed at its end."""

    async def renew_for_ever() -> None:
        while True:
            await renew(world)
            await trio.sleep(RENEWED_EVERY)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(renew_for_ever)
        yield
        nursery.cancel_scope.cancel()


async def report_connected(world: OperatorCluster) -> None:
    """What the hub writes when the container of the step has connected."""
    now = format_instant(system_now())
    ready = {"type": "Ready", "status": "True", "reason": "TransportReady", "message": "a client serves the step"}
    status = {
        "conditions": [{**ready, "lastTransitionTime": now}],
        "stream": {"connected": True, "generation": 1, "connectedAt": now, "observedAt": now},
    }
    await world.client.patch(
        TRANSPORT_BINDING, "one-listen-transport", {"status": status}, namespace=NAMESPACE_NAME, subresource="status"
    )


def shown(step_run: Object) -> tuple[object, str]:
    """Phase, and the message about its connection."""
    found = find_condition(status_of(step_run).get("conditions") or [], "TransportReady") or {}
    return status_of(step_run).get("phase"), str(found.get("message"))


def degraded(run: Object) -> tuple[object, object, str]:
    found = find_condition(status_of(run).get("conditions") or [], "Degraded") or {}
    return found.get("status"), found.get("reason"), str(found.get("message"))


def bindings_ready(transport: Object) -> tuple[object, object]:
    found = find_condition(status_of(transport).get("conditions") or [], "BindingsReady") or {}
    return found.get("status"), found.get("reason")


async def test_streams_of_a_killed_hub_count_as_not_connected_until_the_next_one_has_reported(
    world: OperatorCluster,
) -> None:
    spec = {"provider": "people", "driver": "hub", "supportedBinary": ["application/json"]}
    await world.create(TRANSPORT, "wire", spec, namespaced=False)
    await world.engram("ears", "sleep 600", engram={"mode": "deployment"}, supportedModes=["deployment"])
    await world.story(
        "talk",
        {"name": "listen", "ref": {"name": "ears"}},
        pattern="realtime",
        transports=[{"name": "wire", "transportRef": "wire"}],
    )
    async with world.operator_owning(WHOLE_CLUSTER, SETTINGS, hub=HUB) as (_, traffic):
        async with living_hub(world):
            await world.run("one", "talk")
            await world.until(TRANSPORT_BINDING, "one-listen-transport", lambda each: bool(each))
            await report_connected(world)
            await world.until(STEP_RUN, "one-listen", lambda each: shown(each)[0] == "Running")
            await world.until(TRANSPORT, "wire", lambda each: bindings_ready(each) == ("True", "BindingsReady"))

        await world.until(TRANSPORT, "wire", lambda each: bindings_ready(each) == ("False", "HubSilent"))
        lost = await world.until(STEP_RUN, "one-listen", lambda each: shown(each)[0] == "Paused")
        assert shown(lost)[1].startswith("no hub has renewed the Lease bobrapet-hub since ")
        await trio.sleep(3.0)  # counts follow within two seconds
        writes = traffic.writes.total()
        await trio.sleep(1.5)
        assert traffic.writes.total() == writes, "nothing is written while the hub stays away"

    await renew(world, ago=timedelta(minutes=5))
    async with world.operator_owning(WHOLE_CLUSTER, SETTINGS, hub=HUB):
        shown_run = await world.until(STORY_RUN, "one", lambda each: degraded(each)[0] == "True")
        assert degraded(shown_run)[1] == "TopologyDegraded"
        assert ": no hub has renewed the Lease bobrapet-hub since " in degraded(shown_run)[2]
        async with living_hub(world):
            await report_connected(world)
            await world.until(STEP_RUN, "one-listen", lambda each: shown(each)[0] == "Running")
            await world.until(TRANSPORT, "wire", lambda each: bindings_ready(each) == ("True", "BindingsReady"))
            await world.until(STORY_RUN, "one", lambda each: degraded(each)[0] == "False")
            await world.client.patch(STORY_RUN, "one", {"spec": {"cancelRequested": True}}, namespace=NAMESPACE_NAME)
            await world.finished("one")


def manifest(resource: Resource, name: str, namespace: str = "", **content: Object) -> Object:
    where = {"namespace": namespace} if namespace else {}
    kind = {"apiVersion": resource.api_version, "kind": resource.kind}
    return {**kind, "metadata": {"name": name, **where}, **content}


async def start_operator(cluster: HubCluster) -> None:
    """The process, as an installation starts it; streams of a silent hub count as lost when its Lease is over."""
    data = {"controller.transport.heartbeat-timeout": "1s"}
    config = manifest(CONFIG_MAP, CONFIG_NAME, namespace=OPERATOR_NAMESPACE, data=data)
    await cluster.client.create(CONFIG_MAP, config)
    flags = ["--leader-elect=false", "--health-probe-bind-address=0", "--webhook-bind-address=0"]
    command = [sys.executable, "-m", "cli", "manager", f"--kubeconfig={cluster.folder / 'data' / 'kubeconfig'}", *flags]
    with (cluster.folder / "manager.log").open("ab") as log:
        cluster.running["manager"] = await trio.lowlevel.open_process(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


async def test_an_operator_and_a_hub_as_processes_agree_about_the_death_of_the_hub_and_its_return(
    tmp_path: Path,
) -> None:
    async with open_hub_cluster(tmp_path) as cluster:

        async def until_bindings(*wanted: str) -> None:
            async def are_so() -> bool:
                return bindings_ready(await cluster.client.get(TRANSPORT, "voice")) == wanted

            await eventually(are_so, seconds=PATIENCE_SECONDS)

        spec = {"provider": "people", "driver": "grpc", "supportedBinary": ["text/plain", "application/json"]}
        await cluster.client.create(TRANSPORT, manifest(TRANSPORT, "voice", spec=spec))
        await cluster.begin()
        await cluster.start_hub()
        cluster.engram("emit", forever)
        cluster.engram("sink", collecting([]))
        await start_operator(cluster)
        await until_bindings("True", "BindingsReady")

        await cluster.end("hub")
        shorter = {"spec": {"leaseDurationSeconds": 1}}
        await cluster.client.patch(LEASE, HUB_LEASE, shorter, namespace=OPERATOR_NAMESPACE)
        await until_bindings("False", "HubSilent")
        assert (await cluster.status("sink"))["stream"]["connected"] is True, "nobody has written that it is not"

        await cluster.start_hub()
        await until_bindings("True", "BindingsReady")
