"""Create, read, update, delete over HTTP, as a real API server answers."""

from __future__ import annotations

from typing import Any

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_created_object_carries_system_metadata(cluster: Any) -> None:
    created = await cluster.create(CONFIGMAPS, config_map("one", a="b"))
    metadata = created["metadata"]
    assert metadata["uid"]
    assert metadata["resourceVersion"]
    assert metadata["creationTimestamp"].endswith("Z")
    assert metadata["namespace"] == "default"
    assert "generation" not in metadata
    assert (await cluster.client.get(f"{CONFIGMAPS}/one")).json() == created


async def test_second_create_conflicts_in_the_real_words(cluster: Any) -> None:
    await cluster.create(CONFIGMAPS, config_map("one"))
    answer = await cluster.client.post(CONFIGMAPS, json=config_map("one"))
    assert answer.status_code == 409
    assert answer.json()["reason"] == "AlreadyExists"
    assert answer.json()["message"] == 'configmaps "one" already exists'
