"""Requests continue while certificates and authorities are exchanged: none is refused, on real sockets.

Two replicas answer each request on a separate connection, so that each is a handshake. The schedule of requests is
fixed and does not depend on earlier answers. A latency counts from the instant at which the request was due. Half of
the clients trust what is published, as API servers do. The other half trust what was published one exchange ago.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import pytest
import trio
from cryptography import x509

from certs.authority import issue_authority, issue_leaf
from certs.material import Material, pem_of
from certs.policy import CertRules
from tests.integration.certs_replica import HOST, LIFETIMES, AdmissionWorld, Hand, Replica, open_admission_world

RATE: Final = 200
"""Requests per second."""
LEAST_SECONDS: Final = 2.0
REQUESTS_PER_LOOK: Final = 8
"""Answers between two looks of replicas, even on a slow machine, so that requests are in progress in every state."""
CONNECTIONS: Final = 8
"""Connections at the same time.

On a slow machine, requests wait for each other longer. They are not all in progress from the first rotation to the
last.
"""
DEADLINE_SECONDS: Final = 40.0
"""For one request. An API server waits as long by default."""

RULES: Final = CertRules((HOST,), replace(LIFETIMES, authority=timedelta(hours=3, minutes=30)))
LEAF_ROTATIONS: Final = 6
AUTHORITY_ROTATIONS: Final = 2


@pytest.fixture
async def gate(cluster: Any) -> AsyncIterator[AdmissionWorld]:
    async with open_admission_world(cluster) as opened:
        yield opened


class Passage:
    """A passage that many tasks may enter at a time, or that is closed and empty."""

    def __init__(self) -> None:
        self._changed = trio.Condition()
        self._inside = 0
        self._is_closed = False

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        async with self._changed:
            while self._is_closed:
                await self._changed.wait()
            self._inside += 1
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                async with self._changed:
                    self._inside -= 1
                    self._changed.notify_all()

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        async with self._changed:
            self._is_closed = True
            while self._inside:
                await self._changed.wait()
        yield
        async with self._changed:
            self._is_closed = False
            self._changed.notify_all()


class Trust:
    """What clients trust: the bundle that the replicas have published, and the one before the last exchange.

    An exchange changes the certificate that is served, by whichever replica is first. Nothing is exchanged between the
    choice of a lagging client's bundle and the end of its handshake. Otherwise the client might be two exchanges late.
    """

    def __init__(self, *replicas: Replica) -> None:
        self._replicas = replicas
        self._exchanges: list[Material] = []
        self._contexts: dict[bytes, ssl.SSLContext] = {}
        self.published = b""
        """The bundle as it was last read from the place where API servers read it."""
        self.laggards = Passage()

    def context(self, *, lags: bool) -> ssl.SSLContext:
        bundle = self._one_exchange_ago() if lags else self.published
        if bundle not in self._contexts:
            self._contexts[bundle] = ssl.create_default_context(cadata=bundle.decode())
        return self._contexts[bundle]

    def authority_of(self, leaf: x509.Certificate) -> int:
        """The serial number of the authority that signed the certificate."""
        [number] = {
            authority.serial_number
            for material in self._exchanges
            for authority in material.trusted
            if authority.subject == leaf.issuer
        }
        return number

    def _one_exchange_ago(self) -> bytes:
        newest = max((held_by(replica) for replica in self._replicas), key=lambda held: held.generation)
        if not self._exchanges or self._exchanges[-1].leaf.certificate != newest.leaf.certificate:
            self._exchanges.append(newest)
        return self._exchanges[max(0, len(self._exchanges) - 2)].bundle


@dataclass(frozen=True)
class Answer:
    """``late_seconds`` counts from the instant at which the request was due. ``shown`` is the certificate, as DER."""

    port: int
    lags: bool
    late_seconds: float
    shown: bytes


class Load:
    """Requests by schedule, to the replicas in turn. On each replica, lagging and current clients take turns."""

    def __init__(self, replicas: Sequence[Replica], trust: Trust) -> None:
        self.ports = [replica.port for replica in replicas]
        self._trust = trust
        self._room = trio.CapacityLimiter(CONNECTIONS)
        self._ends = trio.Event()
        self.sent = 0
        self.answers: list[Answer] = []
        self.failures: list[str] = []

    async def send(self, least: int) -> None:
        """Send at least ``least`` requests, and more until ``end``, each when it is due; returns when all are over."""
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            while self.sent < least or not self._ends.is_set():
                due = began + self.sent / RATE
                await trio.sleep_until(due)
                port, lags = self.ports[self.sent % len(self.ports)], self.sent // len(self.ports) % 2 > 0
                nursery.start_soon(self._request, port, lags, due)
                self.sent += 1

    def end(self) -> None:
        self._ends.set()

    @property
    def over(self) -> int:
        """Number of requests that were answered or have failed."""
        return len(self.answers) + len(self.failures)

    async def until_over(self, requests: int) -> None:
        while self.over < requests:  # noqa: ASYNC110 - as often as requests are sent
            await trio.sleep(1 / RATE)

    async def _request(self, port: int, lags: bool, due: float) -> None:
        try:
            async with self._room:
                shown = await self._ask(port, lags)
        except (trio.TooSlowError, trio.BrokenResourceError, ssl.SSLError, OSError) as error:
            self.failures.append(repr(error.__cause__ or error))
        else:
            self.answers.append(Answer(port, lags, trio.current_time() - due, shown))

    async def _ask(self, port: int, lags: bool) -> bytes:
        passage = self._trust.laggards.passed() if lags else nullcontext()
        with trio.fail_after(DEADLINE_SECONDS):
            async with passage:
                stream = await connect(port, self._trust.context(lags=lags))
            return await ask(stream)


Stream = trio.SSLStream[trio.SocketStream]


async def connect(port: int, trust: ssl.SSLContext) -> Stream:
    """A connection whose server has shown a certificate that ``trust`` accepts."""
    connection = await trio.open_tcp_stream("127.0.0.1", port)
    stream = trio.SSLStream(connection, trust, server_hostname=HOST, https_compatible=True)
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


async def ask(stream: Stream) -> bytes:
    """Send one request over a connection; returns the certificate that the server showed."""
    async with stream:
        shown = stream.getpeercert(binary_form=True)
        await stream.send_all(b"hello")
        if await stream.receive_some(16) != b"ok":
            raise trio.BrokenResourceError("not answered")
    assert isinstance(shown, bytes)
    return shown


def held_by(replica: Replica) -> Material:
    assert replica.keeper.held is not None
    return replica.keeper.held


async def rotate(gate: AdmissionWorld, replicas: tuple[Replica, ...], trust: Trust, load: Load) -> None:
    """Turn the clock to the next due instant until enough was exchanged. The second replica is a little late."""
    hand = replicas[0].hand
    leaves, authorities = set[int](), set[int]()
    while len(authorities) <= AUTHORITY_ROTATIONS or len(leaves) - len(authorities) < LEAF_ROTATIONS:
        due = []
        for replica in replicas:
            async with trust.laggards.closed():
                due.append(await replica.look())
            (trust.published,) = set(await gate.bundles())
            leaves.add(held_by(replica).leaf.certificate.serial_number)
            authorities.add(held_by(replica).active.certificate.serial_number)
            await load.until_over(load.over + REQUESTS_PER_LOOK)
        hand.at = max(hand.at, min(date for date in due if date is not None))
    load.end()


async def test_no_request_is_refused_through_leaf_and_authority_rotations(gate: AdmissionWorld) -> None:
    hand = Hand()
    replicas = (await gate.replica(hand, RULES), await gate.replica(hand, RULES))
    for replica in replicas:
        await replica.look()
    trust = Trust(*replicas)
    (trust.published,) = set(await gate.bundles())

    load = Load(replicas, trust)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rotate, gate, replicas, trust, load)
        await load.send(int(RATE * LEAST_SECONDS))

    assert load.failures == []
    assert len(load.answers) == load.sent >= RATE * LEAST_SECONDS
    assert abs(sum(answer.lags for answer in load.answers) - load.sent / 2) <= len(load.ports)
    told = [told_by([answer for answer in load.answers if answer.port == port], trust) for port in load.ports]
    for leaf_rotations, authority_rotations in told:
        assert leaf_rotations >= LEAF_ROTATIONS
        assert authority_rotations >= AUTHORITY_ROTATIONS
    late = sorted(answer.late_seconds * 1000 for answer in load.answers)
    print(
        f"{load.sent} requests at {RATE} a second, 0 failed; rotations of certificates and of authorities that clients "
        f"have seen, by replica: {told}; answered after they were due by {late[len(late) // 2]:.0f} ms (p50), "
        f"{late[len(late) * 99 // 100]:.0f} ms (p99), {late[-1]:.0f} ms (most)"
    )


def told_by(answers: list[Answer], trust: Trust) -> tuple[int, int]:
    """How often the certificate was exchanged within an authority, and how often for one of another authority.

    Both numbers come from the serial numbers that clients have seen.
    """
    shown = {leaf.serial_number: leaf for leaf in (x509.load_der_x509_certificate(answer.shown) for answer in answers)}
    authorities = {trust.authority_of(leaf) for leaf in shown.values()}
    return len(shown) - len(authorities), len(authorities) - 1


async def test_the_load_notices_a_certificate_that_is_not_trusted(gate: AdmissionWorld) -> None:
    """The test above can fail: a server with a certificate of a foreign authority is refused."""
    replica = await gate.replica()
    await replica.look()
    trust = Trust(replica)
    trust.published = (await gate.bundles())[0]
    now = replica.hand()
    other = issue_leaf(issue_authority((HOST,), now, LIFETIMES), (HOST,), now, LIFETIMES)
    replica.serving.install(pem_of((other.certificate,)), other)

    load = Load((replica,), trust)
    load.end()
    await load.send(20)

    assert load.answers == []
    assert len(load.failures) == 20
    assert all("CERTIFICATE_VERIFY_FAILED" in failure for failure in load.failures)


async def test_the_load_notices_a_bundle_that_has_not_yet_heard_of_the_authority(gate: AdmissionWorld) -> None:
    """If the next authority signed at once, clients that lag by one exchange would be refused."""
    replica = await gate.replica()
    await replica.look()
    trust = Trust(replica)
    trust.published = (await gate.bundles())[0]
    trust.context(lags=True)  # it knows the first certificate
    now = replica.hand()
    authority = issue_authority((HOST,), now, LIFETIMES)
    leaf = issue_leaf(authority, (HOST,), now, LIFETIMES)
    replica.serving.install(pem_of((leaf.certificate,)), leaf)
    trust.published += pem_of((authority.certificate,))

    load = Load((replica,), trust)
    load.end()
    await load.send(20)

    assert {answer.lags for answer in load.answers} == {False}
    assert len(load.failures) == len(load.answers) == 10
