"""CustomResourceDefinitions and their objects: registration, schema, versions, status, deletion."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.integration.widgets import DEFINITIONS, SCHEMA, WIDGETS, definition, version, widget

MERGE = {"content-type": "application/merge-patch+json"}
APPLY = {"content-type": "application/apply-patch+yaml"}


async def test_a_definition_is_established_by_the_write_that_creates_it(cluster: Any) -> None:
    created = await cluster.create(DEFINITIONS, definition())
    conditions = {found["type"]: found["status"] for found in created["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert created["status"]["storedVersions"] == ["v1"]
    assert created["status"]["acceptedNames"]["listKind"] == "WidgetList"
    assert (await cluster.client.get(WIDGETS)).json()["kind"] == "WidgetList"
    resources = (await cluster.client.get("/apis/example.com/v1")).json()["resources"]
    assert [found["name"] for found in resources] == ["widgets", "widgets/status"]


async def test_a_kind_that_is_taken_is_not_established(cluster: Any) -> None:
    await cluster.create(DEFINITIONS, definition())
    other = definition(names={"plural": "gadgets", "kind": "Widget"})
    other["metadata"]["name"] = "gadgets.example.com"
    created = await cluster.create(DEFINITIONS, other)
    conditions = {found["type"]: found for found in created["status"]["conditions"]}
    assert conditions["NamesAccepted"]["status"] == "False"
    assert conditions["NamesAccepted"]["message"] == '"Widget" is already in use'
    assert (await cluster.client.get("/apis/example.com/v1/gadgets")).status_code == 404


async def test_objects_are_pruned_defaulted_and_validated(cluster: Any) -> None:
    await cluster.create(DEFINITIONS, definition())
    created = await cluster.create(WIDGETS, widget("a", {"color": "red", "bogus": 1, "free": {"any": [1]}}))
    assert created["spec"] == {"color": "red", "size": 3, "free": {"any": [1]}}
    answer = await cluster.client.post(WIDGETS, json=widget("b", {"size": 0}))
    assert answer.status_code == 422
    causes = {found["field"] for found in answer.json()["details"]["causes"]}
    assert causes == {"spec.color", "spec.size"}
    assert answer.json()["details"]["kind"] == "Widget"


async def test_generation_rises_with_the_spec_alone(cluster: Any) -> None:
    await cluster.create(DEFINITIONS, definition())
    await cluster.create(WIDGETS, widget("a"))

    async def generation(path: str, patch: dict[str, Any]) -> int:
        answer = await cluster.client.patch(path, content=orjson.dumps(patch), headers=MERGE)
        assert answer.status_code == 200, answer.text
        found: int = answer.json()["metadata"]["generation"]
        return found

    assert await generation(f"{WIDGETS}/a", {"metadata": {"labels": {"x": "y"}}}) == 1
    assert await generation(f"{WIDGETS}/a/status", {"status": {"phase": "Ok"}}) == 1
    assert await generation(f"{WIDGETS}/a", {"spec": {"size": 5}}) == 2
    assert await generation(f"{WIDGETS}/a", {"spec": {"size": 5}}) == 2


async def test_status_and_the_rest_are_written_apart(cluster: Any) -> None:
    await cluster.create(DEFINITIONS, definition())
    created = await cluster.create(WIDGETS, {**widget("a"), "status": {"phase": "Mine"}})
    assert "status" not in created
    both = {"metadata": {"labels": {"x": "y"}}, "spec": {"color": "blue"}, "status": {"phase": "Ok"}}
    answer = await cluster.client.patch(f"{WIDGETS}/a/status", content=orjson.dumps(both), headers=MERGE)
    assert answer.json()["status"] == {"phase": "Ok"}
    assert answer.json()["spec"]["color"] == "red"
    assert "labels" not in answer.json()["metadata"]
    answer = await cluster.client.patch(f"{WIDGETS}/a", content=orjson.dumps(both), headers=MERGE)
    assert answer.json()["spec"]["color"] == "blue"
    assert answer.json()["status"] == {"phase": "Ok"}
    stale = {**created, "status": {"phase": "Old"}}
    assert (await cluster.client.put(f"{WIDGETS}/a/status", json=stale)).status_code == 409


async def test_an_update_must_say_what_it_replaces(cluster: Any) -> None:
    await cluster.create(DEFINITIONS, definition())
    await cluster.create(WIDGETS, widget("a"))
    answer = await cluster.client.put(f"{WIDGETS}/a", json=widget("a"))
    assert answer.status_code == 422
    assert "metadata.resourceVersion: Invalid value: 0: must be specified for an update" in answer.json()["message"]


async def test_declared_fields_can_be_selected(cluster: Any) -> None:
    await cluster.create(DEFINITIONS, definition())
    await cluster.create(WIDGETS, widget("a"))
    await cluster.create(WIDGETS, widget("b", {"color": "blue"}))
    listed = (await cluster.client.get(WIDGETS, params={"fieldSelector": "spec.color=blue"})).json()
    assert [item["metadata"]["name"] for item in listed["items"]] == ["b"]
    assert (await cluster.client.get(WIDGETS, params={"fieldSelector": "spec.size=3"})).status_code == 400


async def test_applies_create_merge_and_conflict(cluster: Any) -> None:
    await cluster.create(DEFINITIONS, definition())

    async def apply(manager: str, spec: dict[str, Any], **query: str) -> Any:
        config = orjson.dumps(widget("a", spec))
        params = {"fieldManager": manager, **query}
        return await cluster.client.patch(f"{WIDGETS}/a", content=config, headers=APPLY, params=params)

    assert (await apply("m1", {"color": "red"})).status_code == 201
    conflict = await apply("m2", {"color": "blue"})
    assert conflict.status_code == 409
    assert conflict.json()["details"]["causes"][0]["field"] == ".spec.color"
    assert (await apply("m2", {"color": "blue"}, force="true")).json()["spec"]["color"] == "blue"
    shared = await apply("m2", {"color": "blue", "size": 9})
    assert shared.json()["spec"]["size"] == 9
    released = await apply("m2", {"color": "blue"})
    assert released.json()["spec"]["size"] == 3, "the default comes back when nobody sets the field any more"
    unknown = await apply("m2", {"color": "blue", "bogus": 1})
    assert unknown.status_code == 500, "as a real one: it cannot be read by the schema"
    assert "field not declared in schema" in unknown.json()["message"]


async def test_patch_types_a_custom_kind_takes(cluster: Any) -> None:
    await cluster.create(DEFINITIONS, definition())
    await cluster.create(WIDGETS, widget("a"))

    async def patch(kind: str, body: Any) -> Any:
        headers = {"content-type": f"application/{kind}"}
        return await cluster.client.patch(f"{WIDGETS}/a", content=orjson.dumps(body), headers=headers)

    json_patch = await patch("json-patch+json", [{"op": "replace", "path": "/spec/size", "value": 7}])
    assert json_patch.json()["spec"]["size"] == 7
    missing = await patch("json-patch+json", [{"op": "remove", "path": "/spec/nope"}])
    assert missing.status_code == 422
    assert missing.json()["message"].startswith("the server rejected our request due to an error in our request")
    assert (await patch("json-patch+json", {"op": "remove"})).status_code == 400
    assert (await patch("strategic-merge-patch+json", {})).status_code == 415
    assert (await patch("merge-patch+json", [])).status_code == 400
    assert (await patch("merge-patch+json", {"metadata": {"name": "other"}})).status_code == 400
    assert (await patch("apply-patch+yaml", widget("a"))).status_code == 422, "an apply needs a field manager"


async def test_versions_without_a_webhook_differ_in_name_only(cluster: Any) -> None:
    versions = [version("v1"), version("v2", storage=False)]
    await cluster.create(DEFINITIONS, definition(*versions))
    await cluster.create(WIDGETS, widget("a"))
    second = WIDGETS.replace("/v1/", "/v2/")
    shown = (await cluster.client.get(f"{second}/a")).json()
    assert shown["apiVersion"] == "example.com/v2"
    shown["spec"]["color"] = "blue"
    assert (await cluster.client.put(f"{second}/a", json=shown)).json()["apiVersion"] == "example.com/v2"
    first = (await cluster.client.get(f"{WIDGETS}/a")).json()
    assert (first["apiVersion"], first["spec"]["color"]) == ("example.com/v1", "blue")
    listed = (await cluster.client.get(second)).json()
    assert listed["items"][0]["apiVersion"] == "example.com/v2"


async def test_a_new_default_shows_in_old_objects(cluster: Any) -> None:
    created = await cluster.create(DEFINITIONS, definition())
    await cluster.create(WIDGETS, widget("a"))
    schema = orjson.loads(orjson.dumps(SCHEMA))
    schema["properties"]["spec"]["properties"]["shape"] = {"type": "string", "default": "round"}
    created["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema
    assert (await cluster.client.put(f"{DEFINITIONS}/widgets.example.com", json=created)).status_code == 200
    assert (await cluster.client.get(f"{WIDGETS}/a")).json()["spec"]["shape"] == "round"


async def test_deleting_a_definition_deletes_its_objects_and_ends_watches(cluster: Any) -> None:
    await cluster.create(DEFINITIONS, definition())
    await cluster.create(WIDGETS, widget("a"))
    await cluster.create(WIDGETS, widget("b", finalizers=["example.com/keep"]))
    resource = cluster.registry.find("example.com", "v1", "widgets")
    async with cluster.registry.open_watch(resource, None) as events:
        answer = await cluster.client.delete(f"{DEFINITIONS}/widgets.example.com")
        assert answer.json()["metadata"]["deletionTimestamp"]
        refused = await cluster.client.post(WIDGETS, json=widget("late"))
        assert refused.status_code == 403
        assert "custom resource definition is terminating" in refused.json()["message"]
        while (event := await events.receive()).type != "MODIFIED":
            pass
        assert event.object["metadata"]["name"] == "b"
        released = await cluster.client.patch(
            f"{WIDGETS}/b", content=b'{"metadata":{"finalizers":null}}', headers=MERGE
        )
        assert released.status_code == 200
        seen = [event.type async for event in events]
    assert seen[-1] == "DELETED"
    assert (await cluster.client.get(WIDGETS)).status_code == 404
    assert (await cluster.client.get(f"{DEFINITIONS}/widgets.example.com")).status_code == 404


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (
            {"versions": [version("v1", schema={"openAPIV3Schema": {"type": "string", "properties": {}}})]},
            "spec.validation",
        ),
        ({"scope": "Nowhere"}, "spec.scope"),
        ({"versions": [version("v1"), version("v2")]}, "spec.versions"),
        ({"names": {"plural": "gadgets", "kind": "Widget"}}, "metadata.name"),
    ],
    ids=["schema", "scope", "two storage versions", "name"],
)
async def test_a_bad_definition_is_refused(cluster: Any, spec: dict[str, Any], field: str) -> None:
    answer = await cluster.client.post(DEFINITIONS, json=definition(**spec))
    assert answer.status_code == 422
    assert field in str(answer.json()["details"]["causes"])
