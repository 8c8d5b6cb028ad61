"""Which objects a value refers to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from core.payloads.errors import PayloadError, StoreUnavailableError, object_missing, object_too_large
from core.payloads.referred import keys_referred_to, reachable_from

LIMIT = 1000


class Objects:
    """Contains the given data by key; ``read_keys`` are those that were read."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = {key: json.dumps({"contentType": "json", "data": value}).encode() for key, value in data.items()}
        self.read_keys: list[str] = []

    async def read(self, key: str, limit_bytes: int) -> bytes:
        self.read_keys.append(key)
        if key == "outputs/ns/down/x":
            raise StoreUnavailableError("no answer")
        if key not in self.data:
            raise object_missing(key)
        if len(self.data[key]) > limit_bytes:
            raise object_too_large(key, limit_bytes)
        return self.data[key]


def to(key: str, **more: Any) -> dict[str, Any]:
    return {"$bubuStorageRef": key, **more}


async def reached(objects: Objects, *roots: str) -> set[str]:
    return set(await reachable_from(roots, objects, namespace="ns", object_bytes=LIMIT))


def test_references_are_found_wherever_they_are() -> None:
    value = {
        "spec": {"inputs": {"a": [to("one", **{"$bubuStoragePath": "x[0]"}), "plain"]}},
        "status": {"output": to("two", odd=1), "steps": ({"deep": [[to("three")]]},)},
        "annotation": json.dumps({"a": to("four")}),
        "twice": json.dumps({"a": json.dumps(to("five"))}),
        "number": to(5),  # type: ignore[arg-type]  # not a reference
        "file": {"$bubuArtifact": "six", "name": "m.pt"},
        "text of a file": json.dumps({"a": {"$bubuArtifact": "seven"}}),
    }

    assert keys_referred_to(value) == {"one", "two", "three", "four", "five", "six", "seven"}


async def test_files_are_found_and_not_read() -> None:
    file = "outputs/ns/a/files/m.sha256-0.pt"
    objects = Objects({"outputs/ns/a/x": {"$bubuArtifact": file}, file: "x" * 10 * LIMIT})

    assert await reached(objects, "outputs/ns/a/x") == {"outputs/ns/a/x", file}
    assert objects.read_keys == ["outputs/ns/a/x"]


def test_a_value_that_is_nested_deeply_is_searched_too() -> None:
    value: Any = to("deep")
    for _ in range(5000):
        value = [value]

    assert keys_referred_to(value) == {"deep"}


async def test_objects_are_followed_also_in_circles() -> None:
    objects = Objects(
        {
            "outputs/ns/a/x": {"next": to("outputs/ns/b/x"), "text": json.dumps(to("inputs/ns/c/x"))},
            "outputs/ns/b/x": [to("outputs/ns/a/x"), to("outputs/ns/gone/x")],
            "inputs/ns/c/x": "plain",
            "outputs/ns/other/x": to("outputs/ns/alone/x"),
        }
    )

    found = await reached(objects, "outputs/ns/a/x")

    assert found == {"outputs/ns/a/x", "outputs/ns/b/x", "inputs/ns/c/x", "outputs/ns/gone/x"}
    assert sorted(objects.read_keys) == sorted(found)


async def test_objects_of_another_namespace_are_not_read() -> None:
    objects = Objects({"outputs/other/a/x": to("outputs/ns/b/x")})

    assert await reached(objects, "outputs/other/a/x", "../x") == {"outputs/other/a/x", "../x"}
    assert objects.read_keys == []


async def test_what_cannot_be_read_ends_the_search() -> None:
    large = {"outputs/ns/a/x": to("outputs/ns/b/x"), "outputs/ns/b/x": "x" * LIMIT}
    with pytest.raises(PayloadError, match="'outputs/ns/b/x' is larger than 1,000 bytes"):
        await reached(Objects(large), "outputs/ns/a/x")
    with pytest.raises(StoreUnavailableError, match="no answer"):
        await reached(Objects({}), *(f"outputs/ns/{number}/x" for number in range(20)), "outputs/ns/down/x")


async def test_an_object_that_is_not_json_is_searched_as_text() -> None:
    objects = Objects({})
    objects.data["outputs/ns/a/x"] = b'{"cut": {"$bubuStorageRef": "outputs/ns/b/x"}, "\xff'

    assert await reached(objects, "outputs/ns/a/x") == {"outputs/ns/a/x", "outputs/ns/b/x"}
