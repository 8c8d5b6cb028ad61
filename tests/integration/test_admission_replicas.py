"""Several admission servers behind one address, while kubectl applies without a pause: no valid object is refused.

``failurePolicy`` is ``Fail``: every unanswered review would be a refusal.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import Lifetimes
from certs.rotation import DEFAULT_SECRET
from certs.secret import ROTATE
from core.api.objects import Object
from core.api.resource import SECRET, STORY
from core.kube.errors import KubeError
from tests.integration.admission_stand import (
    AdmissionStand,
    is_asked,
    open_cluster_with_admission,
    open_replica,
    registered,
)
from tests.integration.balancer import Balancer, open_balancer
from tests.integration.kubectl_binary import KUBECTL, needs_kubectl
from tests.integration.operator_cluster import OPERATOR, eventually
from tools.control_plane.session import SessionCluster

pytestmark = [pytest.mark.kubectl, needs_kubectl]


ROTATIONS = ("leaf", "leaf", "authority", "leaf")
ROTATIONS_OF_OTHERS = ("authority", "leaf")
"""After the processes were replaced."""
LIFETIMES = Lifetimes(hurry=timedelta(seconds=2))
DRAIN_SECONDS = 2.0
NOTICED_SECONDS = 1.0
"""How long a balancer continues to send connections to a replica that stops."""


def story(name: str, number: int) -> Object:
    """One of five Stories with that prefix.

    Each prefix has only one writer, because kubectl first looks and then creates: one of two writers would fail.
    """
    return {
        "apiVersion": "bubustack.io/v1alpha1",
        "kind": "Story",
        "metadata": {"name": f"{name}-{number % 5}", "namespace": "team"},
        "spec": {"version": str(number), "steps": [{"name": "a", "type": "sleep", "with": {"duration": "1s"}}]},
    }


@pytest.fixture
async def stand(tmp_path: Path, real: SessionCluster | None) -> AsyncIterator[AdmissionStand]:
    async with open_cluster_with_admission(tmp_path, real, str(KUBECTL)) as opened:
        yield opened


class Applying:
    """Users who apply Stories, with kubectl and by requests, until the block ends."""

    def __init__(self, stand: AdmissionStand) -> None:
        self._stand = stand
        self.requests = 0
        self.kubectl_calls = 0
        self.refusals: list[str] = []

    async def go_on(self) -> None:
        """Wait until a ``kubectl apply`` that begins after this call was answered."""
        until = self.kubectl_calls + 2  # one of these two begins after this call
        with trio.fail_after(60):
            while self.kubectl_calls < until:  # noqa: ASYNC110 - a call takes much longer than this
                await trio.sleep(0.02)

    async def by_requests(self) -> None:
        while True:
            try:
                await self._stand.client.apply(
                    STORY, story("requested", self.requests), field_manager="tests", force=True
                )
            except KubeError as error:
                self.refusals.append(str(error))
            self.requests += 1
            await trio.sleep(0.05)

    async def by_kubectl(self) -> None:
        while True:
            wanted = story("applied", self.kubectl_calls)
            said = await self._stand.kubectl("apply", "-f", "-", stdin=wanted, check=False)
            if "story.bubustack.io/applied" not in said:
                self.refusals.append(said)
            self.kubectl_calls += 1
            await trio.sleep(0.4)


@asynccontextmanager
async def applying(stand: AdmissionStand) -> AsyncIterator[Applying]:
    people = Applying(stand)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(people.by_requests)
        nursery.start_soon(people.by_kubectl)
        yield people
        nursery.cancel_scope.cancel()


class Replicas:
    """Admission servers behind a balancer. They are started and stopped as a Deployment does."""

    def __init__(self, stand: AdmissionStand, balancer: Balancer, nursery: trio.Nursery) -> None:
        self._stand = stand
        self._balancer = balancer
        self._nursery = nursery
        self._scopes: dict[int, tuple[trio.CancelScope, trio.Event]] = {}

    @property
    def ports(self) -> list[int]:
        return list(self._scopes)

    async def start(self) -> int:
        """Start a new replica; returns its port, once the balancer uses it."""
        port: int = await self._nursery.start(self._run)
        return port

    async def _run(self, *, task_status: trio.TaskStatus[int]) -> None:
        over = trio.Event()
        with trio.CancelScope() as scope:
            async with open_replica(self._stand, drain_seconds=DRAIN_SECONDS, lifetimes=LIFETIMES) as url:
                port = int(url.rstrip("/").rpartition(":")[2])
                self._scopes[port] = scope, over
                self._balancer.ports.append(port)
                task_status.started(port)
                await trio.sleep_forever()
        over.set()

    async def stop(self, port: int) -> None:
        """Signal the replica to stop. The balancer hears of it only later."""
        scope, over = self._scopes.pop(port)
        scope.cancel()
        await trio.sleep(NOTICED_SECONDS)
        self._balancer.ports.remove(port)
        await over.wait()


@pytest.fixture
async def replicas(stand: AdmissionStand) -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as stack:
        balancer = await stack.enter_async_context(open_balancer())
        nursery = await stack.enter_async_context(trio.open_nursery())
        found = Replicas(stand, balancer, nursery)
        for _ in range(2):
            await found.start()
        await stack.enter_async_context(registered(stand.client, f"https://127.0.0.1:{balancer.port}"))
        await eventually(lambda: is_asked(stand.client), seconds=30)
        yield found
        nursery.cancel_scope.cancel()


async def test_certificates_authorities_and_processes_that_change_refuse_nobody(
    stand: AdmissionStand, replicas: Replicas, real: SessionCluster | None
) -> None:
    """Two processes use several certificates and two authorities, one after the other; then two others replace them."""
    leaves, authorities = set[int](), set[bytes]()
    first = ROTATIONS if real is not None else ("leaf", "authority")
    async with applying(stand) as people:
        for wanted in (*first, None, *ROTATIONS_OF_OTHERS):
            if wanted is None:
                await restart(replicas)
            else:
                made = await rotate(stand, wanted)
                await until_shown(replicas, made)
                leaves.add(made.serial_number)
                authorities.add(made.issuer.public_bytes())
            await people.go_on()
    assert people.refusals == []
    assert len(leaves) == len(first) + len(ROTATIONS_OF_OTHERS)
    assert len(authorities) == 1 + 2
    assert people.kubectl_calls > len(leaves)
    assert people.requests > 50
    print(
        f"{people.kubectl_calls} calls of kubectl apply and {people.requests} requests through {len(leaves)} "
        f"certificates of {len(authorities)} authorities and a rolling restart of 2 replicas: 0 refused"
    )


async def rotate(stand: AdmissionStand, wanted: str) -> x509.Certificate:
    """Request another certificate, from another authority or not; returns it once it is stored."""
    before = await _stored(stand)
    patch = {"metadata": {"annotations": {ROTATE: wanted}}}
    await stand.client.patch(SECRET, DEFAULT_SECRET, patch, namespace=OPERATOR.namespace)
    with trio.fail_after(60):
        while (stored := await _stored(stand)) in (b"", before):  # noqa: ASYNC110 - the operator wakes nobody here
            await trio.sleep(0.05)
    return x509.load_pem_x509_certificate(stored)


async def restart(replicas: Replicas) -> None:
    for old in list(replicas.ports):
        await replicas.start()
        await trio.sleep(0.5)
        await replicas.stop(old)


async def until_shown(replicas: Replicas, certificate: x509.Certificate) -> None:
    """Return when every replica shows the certificate."""
    wanted = certificate.public_bytes(Encoding.DER)
    with trio.fail_after(60):
        for port in replicas.ports:
            while await shown_on(port) != wanted:  # noqa: ASYNC110 - a replica wakes nobody here
                await trio.sleep(0.05)


async def shown_on(port: int) -> bytes:
    """The certificate that a replica shows, as DER."""
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=anybody)
    await stream.do_handshake()
    shown = stream.getpeercert(binary_form=True)
    await trio.aclose_forcefully(stream)
    assert isinstance(shown, bytes)
    return shown


async def _stored(stand: AdmissionStand) -> bytes:
    """The certificate, as PEM. It is empty while a request for another one is open."""
    secret = await stand.client.get(SECRET, DEFAULT_SECRET, OPERATOR.namespace)
    asked = ROTATE in (secret["metadata"].get("annotations") or {})
    return b"" if asked else base64.b64decode(secret["data"]["tls.crt"])
