"""What a cloud store does with servers that are not quite like S3."""

from __future__ import annotations

from typing import Any

import obstore
import obstore.store
import pytest

from core.payloads.cloud_answers import CloudProvider
from core.payloads.cloud_store import CloudStore
from core.payloads.errors import StoreUnavailableError

LATER = CloudProvider("Azure Blob Storage", "Azure", "container", "/metadata/identity/", copies_later=True)


@pytest.fixture
def memory() -> obstore.store.MemoryStore:
    return obstore.store.MemoryStore()


async def test_a_server_that_starts_a_listing_at_the_beginning_gives_each_object_once(
    memory: obstore.store.MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Azurite ignores where a listing is to start."""
    keys = [f"outputs/team/{number}.json" for number in range(5)]
    for key in keys:
        obstore.put(memory, key, b"x")
    listed = obstore.list
    monkeypatch.setattr(obstore, "list", lambda store, folder, **_: listed(store, folder, chunk_size=2))
    store = CloudStore("a container", 5, LATER, lambda: memory)

    first = await store.page("outputs/team", limit=3)
    second = await store.page("outputs/team", after=first[-1].key, limit=3)

    assert [each.key for each in (*first, *second)] == keys
    assert await store.page("outputs/team", after=keys[-1]) == []


async def test_a_copy_is_complete_when_it_has_the_size_of_its_source(
    memory: obstore.store.MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Azure may answer before it has copied; until then the copy is empty."""
    looks: list[str] = []
    obstore.put(memory, "a", b"content")

    def copy(store: Any, source: str, target: str) -> None:
        obstore.put(store, target, b"")

    def head(store: Any, key: str) -> Any:
        looks.append(key)
        if looks.count("b") == 3:
            obstore.put(store, "b", b"content")
        return {"size": len(bytes(obstore.get(store, key).bytes()))}

    monkeypatch.setattr(obstore, "copy", copy)
    monkeypatch.setattr(obstore, "head", head)
    await CloudStore("a container", 5, LATER, lambda: memory).copy("a", "b")
    assert looks == ["a", "b", "b", "b"]
    looks.clear()
    with pytest.raises(StoreUnavailableError, match=r"did not end in time|did not answer within 0\.3 s"):
        await CloudStore("a container", 0.3, LATER, lambda: memory).copy("a", "c")


async def test_credentials_that_obstore_refuses_are_a_fault_of_the_store() -> None:
    def connect() -> Any:
        raise ValueError("hunter2")

    store = CloudStore("a container", 5, LATER, connect)
    for call in (store.read("a", 1), store.write("a", b""), store.copy("a", "b"), store.page("a"), store.delete(["a"])):
        with pytest.raises(
            StoreUnavailableError, match="its credentials do not have the form that Azure issues"
        ) as caught:
            await call
        assert "hunter2" not in str(caught.value)
        assert caught.value.__cause__ is None
