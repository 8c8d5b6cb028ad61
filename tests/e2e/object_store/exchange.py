"""What operator and SDK do with one object store: each reads what the other has written."""

from __future__ import annotations

import hashlib

import pytest
import trio

from bubu_sdk.storage import ObjectMissingError
from bubu_sdk.storage import Store as SdkStore
from core.payloads.address import Folder, ObjectPlace
from core.payloads.dehydrate import OffloadBounds, plan
from core.payloads.hydrate import hydrate
from core.payloads.store import Store


async def exchange(store: Store, of_sdk: SdkStore) -> str:
    """``store`` is that of the operator; both are in the same place. Returns the key of an object of the SDK."""
    value = {"text": "x" * 100_000, "rows": [{"n": number} for number in range(5000)], "n": 1}
    planned = plan(value, ObjectPlace(Folder.INPUTS, "team", "run-step"), OffloadBounds(4096, 4096))
    for each in planned.objects:
        await store.write(each.key, each.content)
    for each in planned.objects:
        assert await trio.to_thread.run_sync(of_sdk.read, each.key) == each.content

    body = b'{"contentType":"json","data":[1,2]}'
    key = f"outputs/team/run-step/output.sha256-{hashlib.sha256(body).hexdigest()}.json"
    await trio.to_thread.run_sync(of_sdk.write, key, body, "application/json")
    found = await hydrate(
        {"mine": planned.remaining, "theirs": {"$bubuStorageRef": key}}, store, namespace="team", field="with"
    )

    assert found == {"mine": value, "theirs": [1, 2]}
    with pytest.raises(ObjectMissingError):
        await trio.to_thread.run_sync(of_sdk.read, "outputs/team/none.json")
    return key
