"""A release of the chart whose certificate cert-manager issues, with what a cluster adds to it.

The operator is a process with the flags and the account of the release's Deployment. Its folder follows the Secret as a
mounted volume does, and the Service of admission leads API servers to its port, so they verify the certificate for the
name of the Service: here it is an ``ExternalName``, because no kube-proxy serves cluster addresses.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import trio
from cryptography import x509

from certs.inject import VALIDATING
from certs.rotation import DEFAULT_SECRET
from core.api.objects import Object
from core.api.resource import DEPLOYMENT, NAMESPACE, SECRET, SERVICE, STORY
from core.kube.client import KubeClient, open_client
from core.kube.config import load_config
from core.kube.errors import ApiError, InternalServerError, InvalidError, NotFoundError
from localcluster.node.atomicdir import write_files
from localcluster.node.volumes import File
from tests.e2e.admission_rig import RIGHT, WRONG
from tests.e2e.cert_manager import CLUSTER_NAMESPACE, CertManager, definition_files
from tests.e2e.helm import CHART, Helm
from tests.e2e.operator_rig import FLOWS, OperatorRig, eventually, is_late
from tests.integration.balancer import Balancer, open_balancer
from tools.control_plane.binaries import ensure_binaries
from tools.control_plane.node import open_node
from tools.control_plane.ports import unshared_port
from tools.control_plane.processes import ServerProcess
from tools.control_plane.running import open_control_plane

SYSTEM: Final = "bobrapet-system"
SERVICE_NAME: Final = "bobrapet-webhook-service"
HOST: Final = f"{SERVICE_NAME}.{SYSTEM}.svc"
MANAGER: Final = "bobrapet-controller-manager"
STORY_BETA: Final = replace(STORY, version="v1beta1")
_VOLUME: Final = "serving-cert"
_KUBELET_SECONDS: Final = 0.2


@dataclass
class MountedSecret:
    """A kubelet's part: ``folder`` shows the Secret of an optional volume, and changes all at once."""

    client: KubeClient
    name: str
    folder: Path
    is_late: bool = False
    """Deliver nothing for now. A kubelet may take more than a minute."""
    _shown: Object | None = None
    _versions: Any = field(default_factory=itertools.count)

    async def run(self) -> None:
        while True:
            if not self.is_late:
                await self._look()
            await trio.sleep(_KUBELET_SECONDS)

    async def _look(self) -> None:
        try:
            data = (await self.client.get(SECRET, self.name, SYSTEM)).get("data") or {}
        except NotFoundError:
            data = {}
        if data != self._shown:
            files = {name: File(base64.b64decode(content), 0o644) for name, content in data.items()}
            write_files(self.folder, files, f"{next(self._versions)}")
            self._shown = data


@dataclass
class Load:
    """Users who write, one request after the other; each begins with a handshake, for admission and for conversion."""

    client: KubeClient
    service: Balancer
    admitted: int = 0
    denied: int = 0
    """Invalid objects that admission has refused."""
    refused: list[str] = field(default_factory=list)
    """Why valid objects were not admitted, or invalid ones not denied."""
    late: list[str] = field(default_factory=list)
    """Writes for which the API server waited too long, as on a busy machine."""

    async def run(self) -> None:
        beta = {"spec": {"steps": [{"name": "a", "sleep": {"duration": "1s"}}]}}
        while True:
            for resource, content in ((STORY, RIGHT), (STORY_BETA, beta), (STORY, WRONG)):
                await self.service.cut()
                kind = {"apiVersion": resource.api_version, "kind": resource.kind}
                story = {**kind, "metadata": {"name": "tried", "namespace": FLOWS}, **content}
                try:
                    await self.client.create(resource, story, dry_run=True)
                except InvalidError as error:
                    if content is WRONG:
                        self.denied += 1
                    else:
                        self.refused.append(str(error))
                except InternalServerError as error:
                    (self.late if is_late(str(error)) else self.refused).append(str(error))
                except ApiError as error:
                    self.refused.append(str(error))
                else:
                    if content is WRONG:
                        self.refused.append("an invalid object was admitted")
                    self.admitted += 1

    async def goes_on(self, rounds: int = 3) -> None:
        """Return after each kind of write was tried so many times from now on."""
        wanted = self.tried + 3 * (rounds + 1)

        async def reached() -> bool:
            return self.tried >= wanted

        await eventually(reached, lambda: f"nobody answers: {self}")

    @property
    def tried(self) -> int:
        return self.admitted + self.denied + len(self.refused) + len(self.late)


@dataclass
class CertManagerRig:
    """``rig`` has the cluster and the account; ``issuing`` and ``mount`` run once ``start`` was called."""

    rig: OperatorRig
    helm: Helm
    service: Balancer
    issuing: CertManager
    mount: MountedSecret
    _nursery: trio.Nursery
    _port: int = 0
    _health: int = 0
    _metrics: int = 0
    _number: int = 0

    # The release.

    async def release(self, command: str, **values: Any) -> None:
        """``helm install`` or ``helm upgrade``. The Pods of the Deployment are our operator process."""
        port = {"name": "https", "port": self.service.port, "protocol": "TCP", "targetPort": 9443}
        own = {
            "certificates": {"certManager": {"enabled": True}},
            "controllerManager": {"replicas": 0},
            "serviceAccount": {"name": MANAGER},
            "webhookService": {"ports": [port]},
        }
        where = ["bobrapet", str(CHART), f"--namespace={SYSTEM}"]
        path = self.rig.directory / "values.json"
        path.write_text(json.dumps(own | values))
        await trio.to_thread.run_sync(partial(self.helm, command, *where, f"--values={path}"))
        await self.rig.established()

    async def reach_admission(self) -> None:
        """Make the Service lead API servers to the operator's port."""
        spec = {"type": "ExternalName", "externalName": "localhost", "clusterIP": None, "clusterIPs": None}
        await self.rig.merge(SERVICE, SERVICE_NAME, {"spec": spec}, SYSTEM)

    # The operator.

    async def start_operator(self) -> ServerProcess:
        """A process with the flags of the Deployment; only its ports and the folder are others."""
        deployment = await self.rig.client.get(DEPLOYMENT, MANAGER, SYSTEM)
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        flags = container["args"]
        for volume in [each for each in pod["volumes"] if each["name"] == _VOLUME]:  # none: with its own certificate
            (mount,) = (each for each in container["volumeMounts"] if each["name"] == _VOLUME)
            assert volume["secret"] == {"secretName": self.mount.name, "optional": True, "defaultMode": 420}
            assert f"--webhook-cert-path={mount['mountPath']}" in flags
            flags = [each.replace(mount["mountPath"], str(self.mount.folder)) for each in flags]
        self._port, self._health, self._metrics = unshared_port(), unshared_port(), unshared_port()
        self._number += 1
        process = await self.rig.start_operator(
            f"operator-{self._number}",
            *(flag for flag in flags if "-bind-address=" not in flag),
            f"--webhook-bind-address=127.0.0.1:{self._port}",
            f"--health-probe-bind-address=127.0.0.1:{self._health}",
            f"--metrics-bind-address=127.0.0.1:{self._metrics}",
            "--metrics-secure=false",
        )
        self.service.ports = [self._port]
        return process

    async def readiness(self) -> str:
        """What ``/readyz`` says."""
        return await self._page(self._health, "readyz?verbose")

    async def sample(self, series: str) -> float:
        """The value of a series of the operator's metrics; 0 if it has none."""
        found = re.search(rf"^{re.escape(series)} (\S+)$", await self._page(self._metrics, "metrics"), re.MULTILINE)
        return float(found[1]) if found else 0.0

    async def is_ready(self) -> bool:
        return "[+]webhook ok" in await self.readiness()

    async def _page(self, port: int, path: str) -> str:
        async with httpx.AsyncClient(trust_env=False) as http:
            try:
                return (await http.get(f"http://127.0.0.1:{port}/{path}")).text
            except httpx.TransportError as error:
                return repr(error)

    # What is served, and trusted.

    async def served(self) -> x509.Certificate:
        """What a client is shown that trusts the published bundle, and uses the name of the Service.

        Raises:
            trio.BrokenResourceError: it does not trust it.
        """
        trust = ssl.create_default_context(cadata=(await self.bundle()).decode())
        connection = await trio.open_tcp_stream("127.0.0.1", self._port)
        async with trio.SSLStream(connection, trust, server_hostname=HOST, https_compatible=True) as stream:
            await stream.do_handshake()
            der = stream.getpeercert(binary_form=True)
        assert isinstance(der, bytes)
        return x509.load_der_x509_certificate(der)

    async def serves(self, certificate: x509.Certificate) -> None:
        """Wait until the operator serves it."""

        async def reached() -> bool:
            try:
                return await self.served() == certificate
            except trio.BrokenResourceError:
                return False  # the one before has expired

        await eventually(reached, lambda: f"{certificate.serial_number} is not served", seconds=30)

    async def bundle(self) -> bytes:
        """The authorities that API servers trust (PEM)."""
        found = await self.rig.client.get(VALIDATING, "bobrapet-validating-webhook-configuration")
        (bundle,) = {hook["clientConfig"].get("caBundle", "") for hook in found["webhooks"]}
        return base64.b64decode(bundle)

    @asynccontextmanager
    async def load(self) -> AsyncIterator[Load]:
        """Writes during the block."""
        load = Load(self.rig.client, self.service)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            yield load
            nursery.cancel_scope.cancel()

    def start_issuing(self) -> None:
        self._nursery.start_soon(self.issuing.run)


@asynccontextmanager
async def open_cert_manager_rig(directory: Path, helm: Path) -> AsyncIterator[CertManagerRig]:
    """A cluster with the definitions of cert-manager. Nothing of ours is installed, and nobody issues yet."""
    async with AsyncExitStack() as stack:
        plane = await stack.enter_async_context(open_control_plane(ensure_binaries(), directory / "plane", audit=True))
        client = await stack.enter_async_context(open_client(await load_config(plane.kubeconfig)))
        rig = OperatorRig(plane, client, directory, stack)
        rig.add_images({})
        await stack.enter_async_context(open_node(plane, directory / "images.yaml", directory / "node"))
        for name in (SYSTEM, FLOWS, CLUSTER_NAMESPACE):
            await client.create(NAMESPACE, {"metadata": {"name": name}})
        await rig.apply(*definition_files())
        await rig.established()
        service = await stack.enter_async_context(open_balancer())
        mount = MountedSecret(client, DEFAULT_SECRET, directory / "serving-certs")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mount.run)
            yield CertManagerRig(
                rig, Helm(helm, directory, plane.kubeconfig), service, CertManager(client), mount, nursery
            )
            nursery.cancel_scope.cancel()
