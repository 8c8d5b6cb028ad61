"""Dry runs: everything is checked and answered, nothing is stored."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from tests.conformance.conformance_api import APPLY_PATCH, MERGE_PATCH, STRATEGIC_PATCH, Api
from tests.conformance.conformance_kinds import FINALIZER, config_map, widget

DRY: Object = {"dryRun": "All"}


async def test_a_creation_is_answered_and_not_kept(api: Api) -> None:
    answer = await api.post("widgets", widget("one"), **DRY)
    assert answer.code == 201
    assert answer.metadata["uid"]
    assert answer.spec["size"] == 3
    assert (await api.get("widgets", "one")).code == 404


async def test_a_creation_of_what_is_there_conflicts(api: Api) -> None:
    await api.create("widgets", widget("one"))
    assert (await api.post("widgets", widget("one"), **DRY)).refusal() == (409, "AlreadyExists")


async def test_an_invalid_creation_is_refused(api: Api) -> None:
    assert (await api.post("widgets", widget("one", {"size": 0}), **DRY)).refusal() == (422, "Invalid")


async def test_an_update_is_answered_and_not_kept(api: Api) -> None:
    created = await api.create("widgets", widget("one"))
    changed = {**created, "spec": {**created["spec"], "size": 5}}
    answer = await api.put("widgets", changed, **DRY)
    assert answer.spec["size"] == 5
    assert answer.metadata["generation"] == 2
    assert answer.version == created["metadata"]["resourceVersion"]
    assert await api.read("widgets", "one") == created


async def test_a_stale_update_conflicts(api: Api) -> None:
    created = await api.create("widgets", widget("one"))
    await api.patch("widgets", "one", {"spec": {"size": 4}})
    assert (await api.put("widgets", created, **DRY)).refusal() == (409, "Conflict")


@pytest.mark.parametrize(
    ("media", "body"),
    [(MERGE_PATCH, {"data": {"x": "y"}}), (STRATEGIC_PATCH, {"data": {"x": "y"}}), (APPLY_PATCH, None)],
)
async def test_a_patch_is_answered_and_not_kept(api: Api, media: str, body: Any) -> None:
    created = await api.create("configmaps", config_map("one"))
    wanted = config_map("one", {"x": "y"}) if body is None else body
    answer = await api.patch("configmaps", "one", wanted, media, fieldManager="m", **DRY)
    assert answer.body["data"] == {"a": "b", "x": "y"}
    assert await api.read("configmaps", "one") == created


async def test_a_status_is_answered_and_not_kept(api: Api) -> None:
    created = await api.create("widgets", widget("one"))
    answer = await api.patch("widgets", "one", {"status": {"phase": "New"}}, subresource="status", **DRY)
    assert answer.body["status"]["phase"] == "New"
    assert await api.read("widgets", "one") == created


async def test_a_deletion_is_answered_and_not_done(api: Api) -> None:
    created = await api.create("widgets", widget("one"))
    assert (await api.delete("widgets", "one", **DRY)).code == 200
    assert await api.read("widgets", "one") == created


async def test_a_deletion_with_finalizers_is_answered_and_not_done(api: Api) -> None:
    created = await api.create("widgets", widget("one", finalizers=[FINALIZER]))
    answer = await api.delete("widgets", "one", {"dryRun": ["All"]})
    assert answer.code == 200
    assert await api.read("widgets", "one") == created
    await api.patch("widgets", "one", {"metadata": {"finalizers": None}})


async def test_a_collection_is_answered_and_not_deleted(api: Api) -> None:
    await api.create("widgets", widget("one"))
    assert (await api.send("DELETE", api.path("widgets"), **DRY)).code == 200
    assert (await api.list("widgets")).names == ["one"]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_dry_run_of_an_unknown_kind_is_refused(api: Api, method: str) -> None:
    await api.create("widgets", widget("one"))
    path = api.path("widgets") if method == "POST" else api.path("widgets", "one")
    body = widget("two") if method == "POST" else None
    answer = await api.send(method, path, body, dryRun="Some")
    assert answer.refusal() == (422, "Invalid")
    assert ("FieldValueNotSupported", "dryRun") in answer.causes
