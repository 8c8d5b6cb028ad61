"""Requests go on while certificates and authorities are exchanged: none is refused, on real sockets."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import trio
from certs_replica import HOST, LIFETIMES, GateWorld, Hand, Replica, open_gate_world, shake
from cryptography import x509

from certs.authority import issue_authority, issue_leaf
from certs.material import Material, pem_of

CLIENTS: Final = 4
STEP_MINUTES: Final = 10
PAUSE_SECONDS: Final = 0.02
"""Between two turns of the clock, for requests to be under way in every state."""


@pytest.fixture
async def gate(cluster: Any) -> AsyncIterator[GateWorld]:
    async with open_gate_world(cluster) as opened:
        yield opened


class Load:
    """Clients that ask for ever. Those that lag learn of a bundle only when a certificate is exchanged, and so trust,
    while one is exchanged and until we look again, what was published at the exchange before.
    """

    def __init__(self, *replicas: Replica) -> None:
        self._replicas = replicas
        self._leaf: x509.Certificate | None = None
        self.bundle = b""
        self.older_bundle = b""
        self.answered = 0
        self.answered_to_laggards = 0
        self.refused: list[str] = []
        self.shown: set[bytes] = set()

    def learn(self, bundle: bytes, leaf: x509.Certificate) -> None:
        """``bundle`` is published and ``leaf`` is served."""
        self.bundle = bundle
        if leaf != self._leaf:
            self._leaf, self.older_bundle = leaf, bundle

    async def ask_for_ever(self, replica: Replica, lags: bool) -> None:
        while True:
            try:
                self.shown.add(await shake(replica, self.older_bundle if lags else self.bundle))
            except (trio.BrokenResourceError, ssl.SSLError, OSError) as error:
                self.refused.append(repr(error.__cause__ or error))
                await trio.sleep(0.01)
                continue
            self.answered += 1
            self.answered_to_laggards += lags

    def start(self, nursery: trio.Nursery) -> None:
        for number in range(CLIENTS):
            replica = self._replicas[number % len(self._replicas)]
            nursery.start_soon(self.ask_for_ever, replica, number >= CLIENTS // 2)


def held_by(replica: Replica) -> Material:
    assert replica.keeper.held is not None
    return replica.keeper.held


async def test_no_request_is_refused_through_leaf_and_authority_rotations(gate: GateWorld) -> None:
    hand = Hand()
    one, two = await gate.replica(hand), await gate.replica(hand)
    for replica in (one, two):
        await replica.look()
    load = Load(one, two)
    load.learn((await gate.bundles())[0], held_by(one).leaf.certificate)
    leaves, authorities = {held_by(one).leaf.certificate}, {held_by(one).active.certificate}

    async with trio.open_nursery() as nursery:
        load.start(nursery)
        while len(authorities) < 3 or len(leaves) < 7:
            hand.turn(minutes=STEP_MINUTES)
            for replica in (one, two):  # the second goes on with the old certificate for a while
                await replica.look()
                (bundle,) = set(await gate.bundles())
                load.learn(bundle, held_by(replica).leaf.certificate)
                leaves.add(held_by(replica).leaf.certificate)
                authorities.add(held_by(replica).active.certificate)
                await trio.sleep(PAUSE_SECONDS)
        nursery.cancel_scope.cancel()

    assert load.refused == []
    assert load.answered > 200
    assert load.answered_to_laggards > 50
    assert len(load.shown) >= 7, "at least six exchanges were seen by clients"
    assert len({certificate.serial_number for certificate in (*leaves, *authorities)}) == len(leaves) + len(authorities)


async def test_the_load_notices_a_certificate_that_is_not_trusted(gate: GateWorld) -> None:
    """The test above can fail: a server of another lineage is refused."""
    replica = await gate.replica()
    await replica.look()
    load = Load(replica)
    load.learn((await gate.bundles())[0], held_by(replica).leaf.certificate)
    now = replica.hand()
    other = issue_leaf(issue_authority((HOST,), now, LIFETIMES), (HOST,), now, LIFETIMES)
    replica.serving.install(pem_of((other.certificate,)), other)

    with trio.move_on_after(0.3):
        await load.ask_for_ever(replica, False)

    assert load.answered == 0
    assert any("CERTIFICATE_VERIFY_FAILED" in refusal for refusal in load.refused)
