"""Arbitrary bytes as objects of every watched kind, mixed with good objects.

No informer stops, lists again or loses more than the unreadable object. Handlers, indexers and trim functions are those
of production.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import trio
from hypothesis import event, given
from hypothesis import strategies as st
from trio.testing import MockClock

from core.api.unreadable import unreadable
from core.engine.slots.slots import occupant_of
from core.kube.client import open_client
from core.kube.config import ClusterConfig
from core.kube.informer import Change, Informer
from core.kube.retry import ONCE
from fuzz.engine.profile import budget
from fuzz.informers.hostile import NAMESPACE, good, hostile
from fuzz.informers.server import BytesServer
from manager.admission.informer_view import LOOKED_UP
from reconcilers.adapters.watched_kind import slim
from reconcilers.adapters.world import World
from reconcilers.controllers import watched_kinds

KINDS = len({*(kind.resource for kind in watched_kinds()), *LOOKED_UP})
GOOD = ("g1", "g2", "g3", "g4")


def informers_of(client: Any) -> list[Informer]:
    """The informers of production, including those of admission."""
    world = World.watching(client, watched_kinds())
    own = (kind for kind in LOOKED_UP if not world.watches(kind))
    return [*world, *(Informer(client, kind, trim=slim) for kind in own)]


async def play(kind: int, draw: Any) -> None:
    """Tests one kind: its list and its watch each have one hostile object among four good ones."""
    told = trio.Event()
    config = ClusterConfig("https://api.test")
    async with open_client(config, transport=BytesServer([], [], told.set)) as nobody:
        resource = informers_of(nobody)[kind].resource
    items = [good(resource, name, 10) for name in GOOD]
    items.insert(draw(st.integers(0, 4)), draw(hostile(resource, "h1", 11)))
    lines = [b'{"type":"MODIFIED","object":%s}' % good(resource, name, 2_000 + i) for i, name in enumerate(GOOD)]
    lines.insert(
        draw(st.integers(0, 4)),
        b'{"type":"%s","object":%s}'
        % (draw(st.sampled_from([b"ADDED", b"MODIFIED", b"DELETED"])), draw(hostile(resource, "h2", 1_500))),
    )
    server = BytesServer(items, lines, told.set)
    async with open_client(config, transport=server, retry=ONCE) as client, trio.open_nursery() as nursery:
        informer = informers_of(client)[kind]
        informer.add_handler(read_as_others_do)
        await nursery.start(informer.run)
        listed = names_in(informer)
        await told.wait()
        await trio.testing.wait_all_tasks_blocked()
        check(informer, listed, server)
        nursery.cancel_scope.cancel()


def read_as_others_do(change: Change) -> None:
    occupant_of(change.object)


def names_in(informer: Informer) -> set[str]:
    return {obj["metadata"]["name"] for obj in informer.each()}


def check(informer: Informer, listed: set[str], server: BytesServer) -> None:
    assert listed >= set(GOOD), "the list lost good objects"
    for name in GOOD:
        found = informer.get(NAMESPACE, name)
        assert found is not None, "the watch lost a good object"
        assert int(found["metadata"]["resourceVersion"]) >= 2_000, "an event of a good object was lost"
        assert unreadable(found) is None
    assert server.watches == 1, "it watches anew"
    hostile_ones = names_in(informer) - set(GOOD)
    event(f"{len(hostile_ones)} hostile kept")
    assert len(hostile_ones) <= 2
    assert informer.stuck_seconds == 0


@given(data=st.data(), kind=st.integers(0, KINDS - 1))
@budget(bounded=100, deep=10_000)
def test_no_bytes_stop_an_informer_or_cost_another_object(data: st.DataObject, kind: int) -> None:
    with quiet():
        trio.run(play, kind, data.draw, clock=MockClock(autojump_threshold=0))


@contextmanager
def quiet() -> Iterator[None]:
    """Captures the log: each hostile object causes a complaint."""
    with structlog.testing.capture_logs():
        yield
