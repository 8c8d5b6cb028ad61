"""Which values go into the store, under which key, and which stay."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bubu_contract import canonical
from bubu_sdk import dehydrate
from bubu_sdk.dehydrate import Placement
from bubu_sdk.errors import StorageError
from bubu_sdk.hydrate import Hydrator
from bubu_sdk.storage import FileStore
from bubu_sdk.testing import InMemoryStore
from core.payloads.address import may_refer

PLACE = Placement("outputs", "default", "sr-1-step", "bubu://engram/default/http/output", "v1")
DIGESTED = replace(PLACE, with_digest=True)
LONG = "x" * 2000


def planned(data: Any, *, inline_bytes: int = 1024, max_depth: int = 10) -> tuple[Any, dict[str, bytes]]:
    result, writes = dehydrate.plan(data, PLACE, inline_bytes=inline_bytes, max_depth=max_depth)
    return result, {write.key: write.body for write in writes}


def restored(result: Any, objects: dict[str, bytes]) -> Any:
    store = InMemoryStore()
    store.objects |= objects
    return Hydrator(store, lambda *_: "", namespace="default", max_depth=64).hydrate(result, "output")


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ((), "outputs/default/sr-1-step/output.json"),
        (("data",), "outputs/default/sr-1-step/data.json"),
        (("items", 0, "body"), "outputs/default/sr-1-step/items.0.body.json"),
        (("../sr-2-step/output",), "outputs/default/sr-1-step/%2E%2E%2Fsr-2-step%2Foutput.json"),
        (("a.b",), "outputs/default/sr-1-step/a%2Eb.json"),
        (("a", "b"), "outputs/default/sr-1-step/a.b.json"),
        (("a\nb\0",), "outputs/default/sr-1-step/a%u000Ab%u0000.json"),
    ],
)
def test_keys_follow_the_documented_layout_and_stay_in_their_place(path: tuple[str | int, ...], key: str) -> None:
    assert PLACE.key(path, b"{}") == key


def test_an_endless_key_is_shortened_without_colliding() -> None:
    one, two = (DIGESTED.key(("k" * 500, end), b"{}") for end in "ab")

    assert one != two
    assert max(len(Path(key).name) for key in (one, two)) < 255


def test_a_key_with_the_digest_of_its_content_is_checked_by_readers() -> None:
    result, [write] = dehydrate.plan({"body": LONG}, DIGESTED, inline_bytes=1024, max_depth=10)
    digest = hashlib.sha256(write.body).hexdigest()

    assert write.key == f"outputs/default/sr-1-step/body.sha256-{digest}.json"
    assert restored(result, {write.key: write.body}) == {"body": LONG}
    with pytest.raises(StorageError, match=r"output\.body: the stored object .* its SHA-256 differs") as caught:
        restored(result, {write.key: write.body.replace(b"xx", b"xy", 1)})
    assert not caught.value.retryable


@pytest.mark.parametrize("mark", ["$bubuStorageRef", "$bubuArtifact"])
def test_the_key_of_an_object_with_references_inside_says_so(mark: str) -> None:
    body = dehydrate.wrapped({"body": {mark: "outputs/default/sr-1-step/x.json"}}, "json")
    digest = hashlib.sha256(body).hexdigest()

    assert DIGESTED.key(("a",), body) == f"outputs/default/sr-1-step/a.refs.sha256-{digest}.json"
    assert may_refer(DIGESTED.key(("a",), body))
    assert not may_refer(DIGESTED.key(("a",), b"{}"))


def test_offloading_without_an_identity_is_refused() -> None:
    nameless = Placement("outputs", "default", " ")

    with pytest.raises(StorageError, match="BUBU_STEPRUN_NAME"):
        dehydrate.plan({"a": LONG}, nameless, inline_bytes=10, max_depth=10)


def test_a_long_text_leaves_alone_as_raw() -> None:
    result, objects = planned({"note": "short", "body": LONG})

    assert result == {
        "note": "short",
        "body": {
            "$bubuStorageRef": "outputs/default/sr-1-step/body.json",
            "$bubuStorageContentType": "text/plain",
            "$bubuStorageSchema": "bubu://engram/default/http/output",
            "$bubuStorageSchemaVersion": "v1",
        },
    }
    assert objects == {"outputs/default/sr-1-step/body.json": b'{"contentType":"raw","data":"%s"}' % LONG.encode()}


def test_many_small_values_leave_together_as_json() -> None:
    data = {f"k{i}": "x" * 20 for i in range(60)}

    result, objects = planned(data)

    assert result["$bubuStorageRef"] == "outputs/default/sr-1-step/output.json"
    assert result["$bubuStorageContentType"] == "application/json"
    assert json.loads(objects["outputs/default/sr-1-step/output.json"]) == {"contentType": "json", "data": data}


@pytest.mark.parametrize(("length", "stays"), [(1024, True), (1025, False)])
def test_the_limit_is_strict_and_counts_utf_8_bytes(length: int, stays: bool) -> None:
    text = "é" * (length // 2) + "x" * (length % 2)

    result, _ = planned(text)

    assert (result == text) is stays


def test_a_parent_that_stays_too_large_leaves_whole_and_nothing_is_orphaned() -> None:
    data = {f"key-{i:05}": LONG for i in range(2000)}

    result, objects = planned(data)

    assert result["$bubuStorageRef"] == "outputs/default/sr-1-step/output.json"
    assert list(objects) == ["outputs/default/sr-1-step/output.json"]


def test_a_parent_with_references_is_exempt_from_the_inline_limit() -> None:
    data = {"body": LONG, **{f"k{i}": "x" * 20 for i in range(60)}}

    result, objects = planned(data)

    assert len(canonical.encode(result)) > 1024
    assert list(objects) == ["outputs/default/sr-1-step/body.json"]


def test_references_pass_through_untouched_even_below_the_limit() -> None:
    link = {"$bubuStorageRef": "outputs/default/other/output.json"}

    assert planned({"a": link}, inline_bytes=5) == ({"a": link}, {})


def test_nesting_at_the_limit_leaves_as_one_object() -> None:
    result, objects = planned({"a": {"b": {"c": 1, "d": 2}}}, max_depth=2)

    assert result["a"]["b"]["$bubuStorageRef"] == "outputs/default/sr-1-step/a.b.json"
    assert restored(result, objects) == {"a": {"b": {"c": 1, "d": 2}}}


def test_a_limit_of_zero_offloads_everything() -> None:
    result, objects = planned({"a": "x"}, inline_bytes=0)

    assert restored(result, objects) == {"a": "x"}
    assert "$bubuStorageRef" in result["a"]


@pytest.mark.parametrize(
    "data",
    [None, {}, [], {"a": [LONG, {"b": LONG}], "c": None}, [[LONG] * 3] * 2, {"é<&>": LONG}, {"a": {"": LONG}}],
    ids=lambda value: type(value).__name__,
)
def test_what_leaves_comes_back(data: Any) -> None:
    assert restored(*planned(data)) == data


def test_without_storage_a_large_output_is_refused_with_the_remedy() -> None:
    with pytest.raises(StorageError, match=r"2008 bytes, more than the inline limit of 1024 .*storage policy"):
        dehydrate.dehydrate({"a": LONG}, None, PLACE, inline_bytes=1024, max_depth=10)


def test_the_file_store_holds_the_documented_bytes_and_no_leftovers(tmp_path: Path) -> None:
    dehydrate.dehydrate({"a": LONG}, FileStore(tmp_path), PLACE, inline_bytes=1024, max_depth=10)

    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files == [tmp_path / "outputs/default/sr-1-step/a.json"]
    assert json.loads(files[0].read_bytes()) == {"contentType": "raw", "data": LONG}
