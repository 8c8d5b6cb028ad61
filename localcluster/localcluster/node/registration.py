"""Registration of the node: the Node object, its heartbeat Lease, and its end."""

from __future__ import annotations

import platform
from typing import Any

import trio

from localcluster.clock import to_micro_time, to_time
from localcluster.log import get_logger
from localcluster.node.client import ApiClient, ApiError, UnreachableError
from localcluster.node.services import NodeServices
from localcluster.node.settings import HOST_IP

Object = dict[str, Any]

_log = get_logger("localcluster.node")
_NODES = "/api/v1/nodes"
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_LEASE_SECONDS = 40
_STATUS_EVERY_BEATS = 30


async def register(services: NodeServices, kubelet_port: int) -> None:
    """Create the Node if it does not exist, and report that it is ready.

    Raises:
        ApiError, UnreachableError: the API server refuses or does not answer.
    """
    name = services.settings.name
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": platform.system().lower(),
        "kubernetes.io/arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
    }
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {}}
    try:
        await services.client.create(_NODES, node)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
        # The controllers of a real cluster taint a silent node, and remove the taint when it reports again.
        await services.client.merge_patch(f"{_NODES}/{name}", {"metadata": {"labels": labels}})
    await _write_status(services, kubelet_port)


async def keep_alive(services: NodeServices, kubelet_port: int) -> None:
    """Renew the Lease regularly, and the status now and then, until cancelled."""
    beats = 0
    while True:
        try:
            await _renew_lease(services)
            if beats % _STATUS_EVERY_BEATS == _STATUS_EVERY_BEATS - 1:
                await _write_status(services, kubelet_port)
        except (ApiError, UnreachableError) as error:
            _log.warning("node_heartbeat_missed", node=services.settings.name, error=str(error))
        beats += 1
        await trio.sleep(services.settings.heartbeat_seconds)


async def _renew_lease(services: NodeServices) -> None:
    name = services.settings.name
    spec = {
        "holderIdentity": name,
        "leaseDurationSeconds": _LEASE_SECONDS,
        "renewTime": to_micro_time(services.now()),
    }
    try:
        await services.client.merge_patch(f"{_LEASES}/{name}", {"spec": spec})
    except ApiError as error:
        if error.code != 404:
            raise
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}
        await _create_lease(services.client, lease)


async def _create_lease(client: ApiClient, lease: Object) -> None:
    try:
        await client.create(_LEASES, lease)
    except ApiError as error:
        if error.code == 404:  # no namespace: the API server creates it a moment after this node starts
            _log.info("node_lease_waits_for_namespace", namespace="kube-node-lease")
        elif error.reason != "AlreadyExists":
            raise


async def _write_status(services: NodeServices, kubelet_port: int) -> None:
    now = to_time(services.now())
    capacity = services.settings.capacity
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "containers run as local processes",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
    status = {
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": [ready],
        # No Hostname address: an API server would prefer it, but DNS does not know this node's name.
        "addresses": [{"type": "InternalIP", "address": HOST_IP}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet_port}},
        "nodeInfo": {
            "architecture": platform.machine(),
            "operatingSystem": platform.system().lower(),
            "kernelVersion": platform.release(),
            "osImage": platform.platform(terse=True),
            "containerRuntimeVersion": "localprocess://1",
            "kubeletVersion": "v1.37.0-localcluster",
            "kubeProxyVersion": "",
            "machineID": "",
            "systemUUID": "",
            "bootID": "",
        },
    }
    await services.client.merge_patch(f"{_NODES}/{services.settings.name}/status", {"status": status})
