"""``stream tap`` and ``stream send`` through the service proxy of a real API server, as a user with few rights.

The hub is a process of this machine, with TLS on an address that is not a loopback one: an API server proxies to no
other. It proxies to the addresses of Pods only, so a Pod that never runs says that this address is its own.
"""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trio
import trustme

from core.api.resource import POD
from deployment.permissions.names import OPERATOR_NAMESPACE
from tests.e2e.operator_rig import OperatorRig, open_operator_rig
from tests.integration.hub_cluster import HubCluster, free_port
from tests.integration.test_hub_cluster import endless, until
from tests.integration.test_hub_stream_console import done
from tests.unit.hub.modelled_client import collecting

USER: Final = ("--as=ada", "--namespace=default")
WAY: Final = """
apiVersion: v1
kind: Service
metadata: {name: bobrapet-hub, namespace: %(namespace)s}
spec:
  ports: [{name: console, port: 9001, targetPort: %(port)d}]
---
apiVersion: v1
kind: Endpoints
metadata: {name: bobrapet-hub, namespace: %(namespace)s}
subsets:
  - addresses: [{ip: "%(host)s", targetRef: {kind: Pod, name: bobrapet-hub, namespace: %(namespace)s}}]
    ports: [{name: console, port: %(port)d}]
---
apiVersion: v1
kind: Pod
metadata: {name: bobrapet-hub, namespace: %(namespace)s}
spec:
  schedulingGates: [{name: test.bobrapet/never}]
  containers: [{name: hub, image: hub}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: console-users, namespace: default}
rules:
  - {apiGroups: [runs.bubustack.io], resources: [storyruns], verbs: [get, list]}
  - {apiGroups: [transport.bubustack.io], resources: [transportbindings], verbs: [get, list, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: console-users, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: console-users}
subjects: [{kind: User, name: ada, apiGroup: rbac.authorization.k8s.io}]
"""
PROXY: Final = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: console-users, namespace: %(namespace)s}
rules:
  - {apiGroups: [""], resources: [services/proxy], resourceNames: ["https:bobrapet-hub:9001"], verbs: [get, create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: console-users, namespace: %(namespace)s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: console-users}
subjects: [{kind: User, name: ada, apiGroup: rbac.authorization.k8s.io}]
"""


def own_address() -> str:
    """An IPv4 address of this machine that is not a loopback one; empty without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return ""
        address: str = probe.getsockname()[0]
        return "" if address.startswith("127.") else address


@pytest.fixture
async def rig(tmp_path: Path, pytestconfig: pytest.Config) -> AsyncIterator[OperatorRig]:
    if pytestconfig.getoption("control_plane") != "real":
        pytest.skip("needs a real control plane: --control-plane real")
    if not own_address():
        pytest.skip("needs an address of the machine that is not a loopback one")
    async with open_operator_rig(tmp_path / "rig") as opened:
        yield opened


@asynccontextmanager
async def hub_behind_a_service(rig: OperatorRig, folder: Path) -> AsyncIterator[tuple[HubCluster, dict[str, object]]]:
    (folder / "data").mkdir(parents=True)
    shutil.copy(rig.plane.kubeconfig, folder / "data" / "kubeconfig")
    host, authority = own_address(), trustme.CA()
    issued = authority.issue_cert("localhost", host)
    issued.private_key_pem.write_to_path(folder / "tls.key")
    issued.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    authority.cert_pem.write_to_path(folder / "ca.crt")
    place: dict[str, object] = {"namespace": OPERATOR_NAMESPACE, "host": host, "port": free_port()}
    (folder / "way.yaml").write_text(WAY % place)
    await rig.apply(str(folder / "way.yaml"))
    own = {"status": {"podIP": host, "podIPs": [{"ip": host}]}}
    await rig.client.patch(POD, "bobrapet-hub", own, namespace=OPERATOR_NAMESPACE, subresource="status")
    async with trio.open_nursery() as nursery:
        cluster = HubCluster(folder, nursery, hub_port=free_port())
        cluster.client = rig.client
        try:
            await cluster.prepare()
            await cluster.start_hub(
                f"--console-bind-address={host}:{place['port']}",
                "--console-service=bobrapet-hub:9001",
                f"--tls-cert={folder / 'tls.crt'}",
                f"--tls-key={folder / 'tls.key'}",
            )
            await cluster.begin()
            yield cluster, place
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                for process in cluster.running.values():
                    process.kill()
                    await process.wait()


async def test_a_user_with_few_rights_looks_and_sends_through_the_api_server(rig: OperatorRig, tmp_path: Path) -> None:
    received: list[str] = []
    async with hub_behind_a_service(rig, tmp_path / "hub") as (cluster, place):
        trust = (tmp_path / "hub" / "ca.crt").read_bytes()
        cluster.engram("sink", collecting(received), trust=trust)
        cluster.engram("emit", endless, trust=trust)
        await until(lambda: len(received) > 3)

        refused = await done(cluster, "tap", "run-1/sink", "--count=1", *USER)
        assert refused.code == 1
        assert b"services/proxy in namespace bobrapet-system, for the name https:bobrapet-hub:9001" in refused.err

        proxy = tmp_path / "proxy.yaml"
        proxy.write_text(PROXY % place)
        await rig.apply(str(proxy))
        tap = await done(cluster, "tap", "run-1/sink", "--count=5", "--direction=in", "--output=json", *USER)
        assert tap.code == 0, tap.err
        assert len([each for each in tap.lines if each.get("steps") == ["emit"]]) == 5
        sent = await done(cluster, "send", "run-1/sink", '--payload={"text": "hello"}', "--output=json", *USER)
        assert (sent.code, sent.lines[0]["outcome"]) == (0, "buffered"), sent.err

        def arrived() -> list[dict[str, object]]:
            return [json.loads(text) for text in received if text.startswith("{")]

        await until(lambda: len(arrived()) == 1)
        assert arrived()[0]["payload"] == {"text": "hello"}
        assert "Running on https://" in cluster.hub_log
