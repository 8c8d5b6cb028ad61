"""Webhooks that the process around the server answers itself, and connections that break during a call."""

from __future__ import annotations

import gc
import socket
import struct
import warnings
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import orjson
import pytest
import trio

from localcluster.server.storage import Storage
from localcluster.server.store import Store
from localcluster.server.webhookcall import LocalWebhooks, WebhookCaller, WebhookCallError

SERVICE = {"namespace": "ours", "name": "hooks", "path": "/check"}


@pytest.fixture
def store() -> Iterator[Store]:
    storage = Storage.open(None)
    yield Store(storage)
    storage.close()


async def echo(store: Store, path: str, raw: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    return orjson.dumps({"path": path, "revision": store.revision, "review": orjson.loads(raw)})


async def test_a_local_service_is_asked_without_a_connection(store: Store) -> None:
    caller = WebhookCaller(store, LocalWebhooks(("ours", "hooks"), echo))

    answer = await caller.call({"service": SERVICE}, {"a": 1}, 5)

    assert answer == {"path": "/check", "revision": store.revision, "review": {"a": 1}}


@pytest.mark.parametrize("other", [{"name": "others"}, {"namespace": "others"}])
async def test_another_service_is_looked_up(store: Store, other: dict[str, Any]) -> None:
    caller = WebhookCaller(store, LocalWebhooks(("ours", "hooks"), echo))

    with pytest.raises(WebhookCallError, match="not found in namespace"):
        await caller.call({"service": {**SERVICE, **other}}, {}, 5)


async def test_a_local_service_has_the_same_time_as_a_remote_one(
    store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    async def silent(_: Store, __: str, ___: bytes) -> bytes:
        await trio.sleep_forever()

    caller = WebhookCaller(store, LocalWebhooks(("ours", "hooks"), silent))

    with pytest.raises(WebhookCallError, match=r"/check.*deadline exceeded"):
        await caller.call({"service": SERVICE}, {}, 5)
    assert trio.current_time() == pytest.approx(5, abs=1)


async def test_a_local_answer_that_is_no_object_is_an_error(store: Store) -> None:
    async def wrong(_: Store, __: str, ___: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        return b"[]"

    caller = WebhookCaller(store, LocalWebhooks(("ours", "hooks"), wrong))

    with pytest.raises(WebhookCallError, match="not an object"):
        await caller.call({"service": SERVICE}, {}, 5)


async def _reset(stream: trio.SocketStream) -> None:
    """End the connection while the client is still sending."""
    await stream.receive_some(1)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _never_read(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize("serve", [_reset, _never_read])
async def test_a_body_that_cannot_be_sent_leaves_nothing_to_the_garbage_collector(
    store: Store, serve: Callable[[trio.SocketStream], Awaitable[None]]
) -> None:
    larger_than_the_buffers = {"a": "x" * (16 << 20)}
    caller = WebhookCaller(store)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(trio.serve_listeners, serve, listeners)
        port = listeners[0].socket.getsockname()[1]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with pytest.raises(WebhookCallError, match=f"127.0.0.1:{port}"):
                await caller.call({"url": f"http://127.0.0.1:{port}/check"}, larger_than_the_buffers, 1)
            gc.collect()
        await caller.aclose()
        nursery.cancel_scope.cancel()

    assert [str(warning.message) for warning in caught] == []
