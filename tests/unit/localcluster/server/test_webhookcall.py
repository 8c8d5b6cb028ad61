"""Webhooks that the process around the server answers itself."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import trio

from localcluster.server.storage import Storage
from localcluster.server.store import Store
from localcluster.server.webhookcall import LocalWebhooks, WebhookCaller, WebhookCallError

SERVICE = {"namespace": "ours", "name": "hooks", "path": "/check"}


@pytest.fixture
def store() -> Store:
    return Store(Storage.open(None))


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
