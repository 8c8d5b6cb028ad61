"""An API server for one step that runs here: in memory, with a copy of its StepRun, gone at the end.

The SDK of the step claims the StepRun, and reports to it, as it does in a cluster; nothing reaches the cluster that the
step comes from.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from core.api.objects import Object
from core.api.resource import EFFECT_CLAIM, NAMESPACE, STEP_RUN
from core.kube.client import KubeClient, open_client
from core.kube.config import ClusterConfig
from core.kube.credentials import bearer_token
from core.kube.errors import AlreadyExistsError
from deployment.crds import install_crds
from localcluster import certificates, serving
from localcluster.clock import utc_now
from localcluster.kubeconfig import Connection, render_kubeconfig
from localcluster.privatefile import write_private
from localcluster.server.cluster import open_api_server
from localcluster.transport import ASGIStreamingTransport

_HOSTS: Final = (serving.LOOPBACK, "localhost")
_KEPT: Final = ("signals", "signalEvents", "effects", "retries")
"""What a retry finds in the status of its StepRun."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """``kubeconfig``: the file with which a process finds the API server."""

    kubeconfig: Path
    client: KubeClient
    namespace: str
    step_run: str

    async def status(self) -> Object:
        """What the step has reported."""
        found = await self.client.get(STEP_RUN, self.step_run, self.namespace)
        status: Object = found.get("status") or {}
        return status


@asynccontextmanager
async def open_sandbox(folder: Path, step_run: Object, claims: Sequence[Object]) -> AsyncIterator[Sandbox]:
    """Serve until the block ends.

    Args:
        folder: a private folder for keys and the kubeconfig.
        claims: EffectClaims of the StepRun that are completed; the step finds that these effects have happened.
    """
    listener = serving.bind_loopback(0)
    url = f"https://{serving.LOOPBACK}:{listener.getsockname()[1]}"
    authority = certificates.new_authority("bobrapet debug", utc_now())
    pair = certificates.issue_server(authority, "bobrapet debug", _HOSTS, utc_now())
    async with open_api_server() as server, trio.open_nursery() as nursery:
        await nursery.start(serving.serve_asgi, server.app, listener, serving.TlsIdentity(pair), folder)
        config = ClusterConfig("http://sandbox", bearer_token(server.admin_token))
        async with open_client(config, transport=ASGIStreamingTransport(server.app, nursery)) as client:
            await install_crds(client)
            sandbox = await _filled(folder, client, step_run, claims)
            connection = Connection(url, token=server.admin_token, ca_pem=authority.certificate_pem)
            write_private(sandbox.kubeconfig, render_kubeconfig(connection, namespace=sandbox.namespace))
            yield sandbox
        nursery.cancel_scope.cancel()


async def _filled(folder: Path, client: KubeClient, step_run: Object, claims: Sequence[Object]) -> Sandbox:
    metadata = step_run["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    with suppress(AlreadyExistsError):
        await client.create(NAMESPACE, {"metadata": {"name": namespace}})
    kept = {key: metadata[key] for key in ("name", "namespace", "labels", "annotations") if key in metadata}
    made = await client.create(
        STEP_RUN, {**_kind(step_run), "metadata": kept, "spec": step_run["spec"]}, namespace=namespace
    )
    before = step_run.get("status") or {}
    status = {key: before[key] for key in _KEPT if key in before}
    patch = {"status": {"retries": 0, **status, "phase": "Pending"}}
    await client.patch(STEP_RUN, name, patch, namespace=namespace, subresource="status")
    for claim in claims:
        spec = claim["spec"] | {"stepRunRef": {"name": name, "uid": made["metadata"]["uid"]}}
        own = {"name": claim["metadata"]["name"], "namespace": namespace}
        await client.create(EFFECT_CLAIM, {**_kind(claim), "metadata": own, "spec": spec}, namespace=namespace)
    return Sandbox(folder / "kubeconfig", client, namespace, name)


def _kind(obj: Object) -> Object:
    return {name: obj[name] for name in ("apiVersion", "kind")}
