"""The hub's certificate, issued by the operator: the hub gets a certificate and its key, never the key of an authority.

The operator keeps an authority for the names of the hub alone, in a Secret of its own, as it keeps that of its webhooks
(certs.rotation). What the hub serves is copied into a second Secret, with the bundle that containers must trust. A
container reads its bundle once in its life, so a new authority is published for a year before it signs anything.
"""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Final

import trio

from certs.authority import Lifetimes
from certs.material import Material, pem_of
from certs.policy import CertRules
from certs.rotation import CertificateKeeper, EventReporter
from certs.secret import CA_CERT, GENERATION, OWNER, OWNER_LABEL, TLS_CERT, TLS_KEY
from certs.serving import ServingContext
from core.api.resource import SECRET
from core.engine.ports import Clock
from core.engine.wakeup import WakeUp
from core.kube.client import KubeClient
from core.kube.errors import AlreadyExistsError, ConflictError, KubeError, NotFoundError
from core.kube.informer import Change, Informer
from core.kube.retry import Backoff
from core.telemetry.logs import get_logger
from core.workloads.hub_access import HUB_TLS_SECRET
from kubewire import Object

HUB_AUTHORITY_SECRET: Final = "bobrapet-hub-ca"  # noqa: S105 - a name, not a secret
HUB_LIFETIMES: Final = Lifetimes(
    authority=timedelta(days=3650),
    leaf=timedelta(days=7),
    overlap=timedelta(days=730),
    settle=timedelta(days=365),
    hurry=timedelta(days=1),
)
LONGEST_WAIT_SECONDS: Final = 600.0

_LOG: Final = get_logger("certificates")


def hub_names(host: str) -> tuple[str, ...]:
    """The names that clients use for a hub at ``host``: its DNS name, of a Service with the domain of the cluster."""
    return (host, f"{host}.cluster.local") if host.endswith(".svc") else (host,)


class HubAuthority:
    """Keeps the Secret with the hub's certificate. Every replica runs it; they agree by generations.

    Args:
        client: may read and write both Secrets.
    """

    def __init__(
        self, client: KubeClient, namespace: str, names: tuple[str, ...], clock: Clock, events: EventReporter
    ) -> None:
        self._client = client.for_itself()
        self._namespace = namespace
        self._wakeup = WakeUp()
        self._bundle: bytes | None = None
        self._informer = Informer(
            self._client, SECRET, namespace=namespace, field_selector=f"metadata.name={HUB_TLS_SECRET}"
        )
        self._informer.add_handler(self._changed)
        self._keeper = CertificateKeeper(
            client,
            ServingContext(),
            namespace=namespace,
            rules=CertRules(names, HUB_LIFETIMES, "bobrapet hub"),
            clock=clock,
            events=events,
            secret=HUB_AUTHORITY_SECRET,
            targets=(),
            series="hub-",
            on_adopted=self._wakeup.wake,
        )

    @property
    def bundle(self) -> bytes | None:
        """The authorities that the hub's clients must trust (PEM), as stored; None before the first time."""
        return self._bundle

    async def run(self) -> None:
        """Run until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keeper.run)
            nursery.start_soon(self._informer.run)
            backoff = Backoff(0.5, 30.0)
            while True:
                self._wakeup.clear()
                wait = LONGEST_WAIT_SECONDS
                try:
                    await self.look()
                    backoff.reset()
                except KubeError as error:
                    wait = backoff.next_seconds(error)
                    level = _LOG.warning if backoff.failures == 1 else _LOG.debug
                    level("the hub's certificate cannot be stored", error=str(error))
                with trio.move_on_after(wait):
                    await self._wakeup.wait()

    async def look(self) -> None:
        """Make the Secret what it should be. One of another owner is left alone.

        Raises:
            KubeError: the server could not be reached, or refuses the write.
        """
        material = self._keeper.held
        if material is None:
            return
        try:
            found = await self._client.get(SECRET, HUB_TLS_SECRET, self._namespace)
        except NotFoundError:
            found = None
        if found is not None and not _is_to_be_replaced(found, material):
            return
        wanted = _secret(material, found, self._namespace)
        try:
            if found is None:
                await self._client.create(SECRET, wanted)
            else:
                await self._client.replace(SECRET, wanted)
        except (AlreadyExistsError, ConflictError):
            self._wakeup.wake()
            return
        _LOG.info("the hub's certificate was stored", object=f"{self._namespace}/{HUB_TLS_SECRET}")

    def _changed(self, change: Change) -> None:
        encoded = ((change.new or {}).get("data") or {}).get(CA_CERT)
        if isinstance(encoded, str) and encoded:
            self._bundle = base64.b64decode(encoded)
        self._wakeup.wake()


def _is_to_be_replaced(found: Object, material: Material) -> bool:
    metadata = found["metadata"]
    if (metadata.get("labels") or {}).get(OWNER_LABEL) != OWNER:
        return False
    word = (metadata.get("annotations") or {}).get(GENERATION, "")
    stored = int(word) if word.isascii() and word.isdigit() and len(word) < 16 else 0
    return stored <= material.generation and (found.get("data") or {}) != _data(material)


def _secret(material: Material, found: Object | None, namespace: str) -> Object:
    metadata: Object = {
        "name": HUB_TLS_SECRET,
        "namespace": namespace,
        "labels": {OWNER_LABEL: OWNER},
        "annotations": {GENERATION: str(material.generation)},
    }
    if found is not None:
        metadata |= {"uid": found["metadata"]["uid"], "resourceVersion": found["metadata"]["resourceVersion"]}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata} | {
        "data": _data(material)
    }


def _data(material: Material) -> dict[str, str]:
    entries = {
        TLS_CERT: pem_of((material.leaf.certificate,)),
        TLS_KEY: material.leaf.key_pem(),
        CA_CERT: material.bundle,
    }
    return {name: base64.b64encode(content).decode() for name, content in entries.items()}
