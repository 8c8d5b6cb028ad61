"""JSON patches, merge patches, and which kinds accept which patch type."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.conformance.conformance_api import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, Api
from tests.conformance.conformance_kinds import config_map, widget


@pytest.mark.parametrize(
    ("operations", "data"),
    [
        ([{"op": "add", "path": "/data/c", "value": "d"}], {"a": "b", "c": "d"}),
        ([{"op": "replace", "path": "/data/a", "value": "z"}], {"a": "z"}),
        ([{"op": "remove", "path": "/data/a"}], None),
        ([{"op": "move", "from": "/data/a", "path": "/data/n"}], {"n": "b"}),
        ([{"op": "copy", "from": "/data/a", "path": "/data/n"}], {"a": "b", "n": "b"}),
        ([{"op": "test", "path": "/data/a", "value": "b"}, {"op": "remove", "path": "/data/a"}], None),
        ([{"op": "add", "path": "/data", "value": {"x": "y"}}], {"x": "y"}),
        ([{"op": "add", "path": "/data/x~1y", "value": "1"}], 422),
        ([{"op": "test", "path": "/data/a", "value": "z"}], 422),
        ([{"op": "remove", "path": "/data/none"}], 422),
        ([{"op": "replace", "path": "/data/none", "value": "1"}], {"a": "b", "none": "1"}),
        ([{"op": "add", "path": "/none/x", "value": "1"}], 422),
        ([{"op": "jump", "path": "/data"}], 422),
        ({"op": "add"}, 400),
        ([{"op": "add", "path": "/data/c", "value": 1}], 422),
        ([], {"a": "b"}),
    ],
    ids=[
        "add", "replace", "remove", "move", "copy", "test then remove", "add whole", "escaped slash makes a bad key",
        "failed test", "remove of nothing", "replace of nothing adds", "add below nothing", "unknown operation",
        "no list", "wrong type", "nothing",
    ],
)  # fmt: skip
async def test_json_patches(api: Api, operations: Any, data: Any) -> None:
    created = await api.create("configmaps", config_map("one"))
    answer = await api.patch("configmaps", "one", operations, JSON_PATCH)
    if isinstance(data, int):
        assert answer.code == data, answer.message
        assert await api.read("configmaps", "one") == created
    else:
        assert answer.code == 200, answer.message
        assert answer.body.get("data") == data


async def test_a_json_patch_of_a_list_counts_from_zero_and_dash_is_the_end(api: Api) -> None:
    await api.create("widgets", widget("one", {"atoms": [1, 2, 3]}))
    operations = [
        {"op": "add", "path": "/spec/atoms/-", "value": 9},
        {"op": "remove", "path": "/spec/atoms/0"},
        {"op": "add", "path": "/spec/atoms/1", "value": 8},
    ]
    answer = await api.patch("widgets", "one", operations, JSON_PATCH)
    assert answer.spec["atoms"] == [2, 8, 3, 9]


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"size": 5}, {"size": 5, "notes": {"x": "1"}, "atoms": [1, 2]}),
        ({"notes": {"y": "2"}}, {"size": 3, "notes": {"x": "1", "y": "2"}, "atoms": [1, 2]}),
        ({"notes": {"x": None}}, {"size": 3, "notes": {}, "atoms": [1, 2]}),
        ({"notes": None, "atoms": None}, {"size": 3}),
        ({"atoms": [3]}, {"size": 3, "notes": {"x": "1"}, "atoms": [3]}),
        ({"size": None}, {"size": 3, "notes": {"x": "1"}, "atoms": [1, 2]}),
    ],
    ids=["value", "merge into map", "null takes away", "null takes maps away", "lists are replaced", "back to default"],
)
async def test_merge_patches(api: Api, patch: Any, expected: Any) -> None:
    await api.create("widgets", widget("one", {"notes": {"x": "1"}, "atoms": [1, 2]}))
    answer = await api.patch("widgets", "one", {"spec": patch})
    assert answer.code == 200, answer.message
    assert {name: answer.spec[name] for name in ("size", "notes", "atoms") if name in answer.spec} == expected


@pytest.mark.parametrize(
    ("body", "code"),
    [([], 400), ("text", 400), (b"{", 400), (b"null", 400), ({"kind": "Other"}, 422), ({"apiVersion": "v2"}, 422)],
    ids=["list", "text", "no JSON", "null", "other kind", "other version"],
)
async def test_what_is_no_merge_patch_is_refused(api: Api, body: Any, code: int) -> None:
    await api.create("configmaps", config_map("one"))
    answer = await api.patch("configmaps", "one", body)
    assert answer.code == code, answer.message


@pytest.mark.parametrize("media", [MERGE_PATCH, STRATEGIC_PATCH])
async def test_the_name_cannot_be_patched(api: Api, media: str) -> None:
    await api.create("configmaps", config_map("one"))
    answer = await api.patch("configmaps", "one", {"metadata": {"name": "two"}}, media)
    assert answer.refusal() == (400, "BadRequest")
    assert answer.message == "the name of the object (two) does not match the name on the URL (one)"


@pytest.mark.parametrize(
    ("plural", "media", "code"),
    [
        ("configmaps", STRATEGIC_PATCH, 200),
        ("widgets", STRATEGIC_PATCH, 415),
        ("widgets", "application/json", 415),
        ("widgets", MERGE_PATCH, 200),
        ("configmaps", MERGE_PATCH, 200),
    ],
)
async def test_which_kinds_take_which_patch_types(api: Api, plural: str, media: str, code: int) -> None:
    await api.create(plural, config_map("one") if plural == "configmaps" else widget("one"))
    answer = await api.patch(plural, "one", {"metadata": {"labels": {"x": "y"}}}, media)
    assert answer.code == code
    if code == 415:
        assert answer.reason == "UnsupportedMediaType"
        assert MERGE_PATCH in answer.message
        assert APPLY_PATCH in answer.message
        assert (STRATEGIC_PATCH in answer.message) == (plural == "configmaps")


@pytest.mark.parametrize(
    ("media", "body"),
    [(MERGE_PATCH, {}), (JSON_PATCH, []), (STRATEGIC_PATCH, {})],
    ids=["merge", "json", "strategic"],
)
async def test_a_patch_of_nothing_is_not_found(api: Api, media: str, body: Any) -> None:
    answer = await api.patch("configmaps", "none", body, media)
    assert answer.refusal() == (404, "NotFound")


async def test_a_patch_with_a_version_is_a_precondition(api: Api) -> None:
    created = await api.create("configmaps", config_map("one"))
    version = created["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "data": {"x": "y"}}
    assert (await api.patch("configmaps", "one", patch)).code == 200
    stale = await api.patch("configmaps", "one", patch)
    assert stale.refusal() == (409, "Conflict")


async def test_a_patch_of_another_incarnation_is_refused(api: Api) -> None:
    await api.create("configmaps", config_map("one"))
    answer = await api.patch("configmaps", "one", {"metadata": {"uid": "other"}})
    assert answer.refusal() == (422, "Invalid")
    assert answer.causes == {("FieldValueInvalid", "metadata.uid")}


async def test_concurrent_patches_all_arrive(api: Api) -> None:
    await api.create("configmaps", config_map("one"))

    async def patch(index: int) -> None:
        answer = await api.patch("configmaps", "one", {"data": {f"k{index}": "v"}})
        assert answer.code == 200

    async with trio.open_nursery() as nursery:
        for index in range(20):
            nursery.start_soon(patch, index)
    assert len((await api.read("configmaps", "one"))["data"]) == 21


async def test_a_patched_object_is_validated(api: Api) -> None:
    created = await api.create("widgets", widget("one"))
    answer = await api.patch("widgets", "one", [{"op": "replace", "path": "/spec/size", "value": 0}], JSON_PATCH)
    assert answer.refusal() == (422, "Invalid")
    assert answer.causes == {("FieldValueInvalid", "spec.size")}
    assert await api.read("widgets", "one") == created


@pytest.mark.parametrize("media", [MERGE_PATCH, STRATEGIC_PATCH])
@pytest.mark.parametrize("mode", ["Strict", "Warn", "Ignore"])
async def test_fields_given_twice_in_patches_are_refused_or_warned_of(api: Api, media: str, mode: str) -> None:
    await api.create("configmaps", config_map("one"))
    body = b'{"metadata":{"labels":{"a":"1","a":"2"}}}'
    answer = await api.patch("configmaps", "one", body, media, fieldValidation=mode)
    if mode == "Strict":
        assert answer.refusal() == (422, "Invalid")
        assert answer.causes == {("FieldValueInvalid", "patch")}
        assert 'strict decoding error: duplicate field "metadata.labels.a"' in answer.message
        return
    assert answer.metadata["labels"] == {"a": "2"}
    assert answer.warnings == (['duplicate field \\"metadata.labels.a\\"'] if mode == "Warn" else [])


@pytest.mark.parametrize("mode", ["Strict", "Warn", "Ignore"])
async def test_unknown_fields_in_patches_are_refused_warned_of_or_ignored(api: Api, mode: str) -> None:
    await api.create("widgets", widget("one"))
    answer = await api.patch("widgets", "one", {"spec": {"bogus": 1}}, fieldValidation=mode)
    if mode == "Strict":
        assert answer.code == 422
        assert 'unknown field "spec.bogus"' in answer.message
        return
    assert answer.code == 200
    assert "bogus" not in answer.spec
    assert answer.warnings == (['unknown field \\"spec.bogus\\"'] if mode == "Warn" else [])
