"""ControllerRevisions: their data cannot be changed, but everything else can."""

from __future__ import annotations

from typing import Any

import pytest

from kubewire import Object
from tests.conformance.conformance_api import Api, take
from tests.conformance.conformance_kinds import deployment, owner

PLURAL = "controllerrevisions"


def revision(name: str = "one", **fields: Any) -> Object:
    metadata = {"name": name, **fields.pop("meta", {})}
    kind = {"apiVersion": "apps/v1", "kind": "ControllerRevision"}
    return {**kind, "metadata": metadata, "data": {"spec": {"a": [1, None]}}, "revision": 3, **fields}


async def test_a_revision_is_kept_as_it_was_sent(api: Api) -> None:
    created = await api.create(PLURAL, revision())
    assert (created["data"], created["revision"]) == ({"spec": {"a": [1, None]}}, 3)
    assert "generation" not in created["metadata"]
    assert await api.read(PLURAL, "one") == created
    assert (await api.list(PLURAL)).names == ["one"]


async def test_a_revision_without_a_number_has_number_zero(api: Api) -> None:
    sent = revision()
    del sent["revision"]
    assert (await api.create(PLURAL, sent))["revision"] == 0


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"data": None}, "data: Required value: data is mandatory"),
        ({"data": [1]}, "data: Required value: data must be a valid JSON object"),
        ({"data": "text"}, "data: Required value: data must be a valid JSON object"),
        ({"revision": -1}, "revision: Invalid value: -1: must be greater than or equal to 0"),
    ],
)
async def test_what_is_no_revision_is_refused(api: Api, fields: Object, told: str) -> None:
    answer = await api.post(PLURAL, revision(**fields))
    assert answer.refusal() == (422, "Invalid")
    assert answer.message == f'ControllerRevision.apps "one" is invalid: {told}'


async def test_what_a_revision_keeps_cannot_be_changed(api: Api) -> None:
    created = await api.create(PLURAL, revision())
    told = 'ControllerRevision.apps "one" is invalid: data: Invalid value: {"other":1}: field is immutable'
    replaced = await api.put(PLURAL, {**created, "data": {"other": 1}})
    assert replaced.refusal() == (422, "Invalid")
    assert replaced.message == told
    patched = await api.patch(PLURAL, "one", {"data": {"other": 1}})
    assert patched.refusal() == (422, "Invalid")
    assert "field is immutable" in patched.message
    taken = await api.patch(PLURAL, "one", {"data": None})
    assert taken.refusal() == (422, "Invalid")
    assert await api.read(PLURAL, "one") == created


async def test_all_else_about_a_revision_can_be_changed(api: Api) -> None:
    await api.create(PLURAL, revision())
    answer = await api.patch(PLURAL, "one", {"metadata": {"labels": {"a": "b"}}, "revision": 4})
    assert answer.code == 200
    assert (answer.body["revision"], answer.metadata["labels"]) == (4, {"a": "b"})


async def test_revisions_are_watched_selected_and_deleted(api: Api) -> None:
    version = (await api.list(PLURAL)).version
    async with api.watching(PLURAL, labelSelector="a=b", resourceVersion=version) as events:
        await api.create(PLURAL, revision("other"))
        created = await api.create(PLURAL, revision(meta={"labels": {"a": "b"}}))
        wrong = {"preconditions": {"uid": "another"}}
        assert (await api.delete(PLURAL, "one", wrong)).refusal() == (409, "Conflict")
        assert (await api.delete(PLURAL, "one", {"preconditions": {"uid": created["metadata"]["uid"]}})).code == 200
        assert await take(events, 2) == [("ADDED", "one"), ("DELETED", "one")]


async def test_kubectl_sees_whose_revision_it_is(api: Api) -> None:
    web = await api.create("deployments", deployment("web"))
    await api.create(PLURAL, revision("owned", meta={"ownerReferences": [owner(web, controller=True)]}))
    await api.create(PLURAL, revision("stray"))
    table = await api.list(PLURAL, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert [column["name"] for column in table.body["columnDefinitions"]] == ["Name", "Controller", "Revision", "Age"]
    assert [row["cells"][:3] for row in table.body["rows"]] == [
        ["owned", "deployment.apps/web", 3],
        ["stray", "<none>", 3],
    ]
