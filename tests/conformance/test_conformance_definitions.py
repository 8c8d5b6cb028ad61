"""CustomResourceDefinitions themselves: establishing, names, refusals, changes, removal; and discovery of kinds."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from tests.conformance.conformance_api import Api
from tests.conformance.conformance_kinds import FINALIZER, GROUP, WIDGETS_CRD, definition, version

CRDS = "customresourcedefinitions"


def plural_of(api: Api) -> str:
    """A plural that no other test uses."""
    return f"things{api.namespace.replace('-', '')}"


def thing(api: Api, name: str, spec: Object | None = None, **metadata: Any) -> Object:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": plural_of(api).capitalize(),
        "metadata": {"name": name, **metadata},
        "spec": spec or {},
    }


async def define(api: Api, *versions: Object, **names: Any) -> str:
    """Define a kind for this test; returns the plural with its API, once the server serves it."""
    plural = plural_of(api)
    crd = definition(plural, plural.capitalize(), *(versions or [version()]), **names)
    await api.create(CRDS, crd)
    path = f"/apis/{GROUP}/v1/{plural}"
    await api.until_served(path)
    return path


def conditions(crd: Object) -> dict[str, str]:
    return {found["type"]: found["status"] for found in (crd.get("status") or {}).get("conditions") or ()}


async def test_a_definition_is_established(api: Api) -> None:
    await define(api)
    crd = await api.wait_until(CRDS, f"{plural_of(api)}.{GROUP}", lambda obj: "Established" in conditions(obj))
    found = conditions(crd)
    assert (found["NamesAccepted"], found["Established"]) == ("True", "True")
    assert crd["status"]["storedVersions"] == ["v1"]
    assert crd["status"]["acceptedNames"]["kind"] == plural_of(api).capitalize()
    assert crd["spec"]["conversion"] == {"strategy": "None"}


async def test_names_are_completed(api: Api) -> None:
    plural = plural_of(api)
    crd = definition(plural, plural.capitalize(), version())
    crd["spec"]["names"] = {"plural": plural, "kind": plural.capitalize()}
    created = await api.create(CRDS, crd, dryRun="All")
    assert created["spec"]["names"]["listKind"] == f"{plural.capitalize()}List"
    assert created["spec"]["names"]["singular"] == plural


async def test_a_kind_that_is_taken_is_not_established(api: Api) -> None:
    plural = plural_of(api)
    await api.create(CRDS, definition(plural, "Widget", version()))
    name = f"{plural}.{GROUP}"
    crd = await api.wait_until(CRDS, name, lambda obj: "NamesAccepted" in conditions(obj))
    accepted = next(found for found in crd["status"]["conditions"] if found["type"] == "NamesAccepted")
    assert accepted["status"] == "False"
    assert "is already in use" in accepted["message"]
    assert (await api.list(f"/apis/{GROUP}/v1/{plural}")).code == 404
    await api.delete(CRDS, name)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scope": "Nowhere"}, "spec.scope"),
        ({"group": "bare"}, "spec.group"),
        ({"versions": []}, "spec.versions"),
        ({"versions": [version("v1"), version("v2")]}, "spec.versions"),
        ({"versions": [version("v1"), version("v1", storage=False)]}, "spec.versions"),
        ({"versions": [version("V1")]}, "spec.versions[0].name"),
        ({"versions": [{"name": "v1", "served": True, "storage": True}]}, "spec.versions[0].schema.openAPIV3Schema"),
        ({"names": {"plural": "Upper", "kind": "Upper"}}, "spec.names.plural"),
        ({"preserveUnknownFields": True}, "spec.preserveUnknownFields"),
        ({"conversion": {"strategy": "Magic"}}, "spec.conversion.strategy"),
        ({"conversion": {"strategy": "Webhook"}}, "spec.conversion.webhook"),
    ],
    ids=["scope", "group", "no version", "two stored", "version twice", "version name", "no schema", "names",
         "unknown fields", "strategy", "no webhook"],
)  # fmt: skip
async def test_a_bad_definition_is_refused(api: Api, change: Object, field: str) -> None:
    crd = definition("bads", "Bad", version())
    crd["spec"] |= change
    answer = await api.post(CRDS, crd)
    assert answer.refusal() == (422, "Invalid"), answer.body
    assert any(where.startswith(field) for _, where in answer.causes), answer.causes


STRUCTURE = "spec.validation.openAPIV3Schema"


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"type": "string"}, f"{STRUCTURE}.properties[spec].properties[x].default"),
        ({}, f"{STRUCTURE}.properties[spec].properties[x].type"),
        ({"type": "strin"}, f"{STRUCTURE}.properties[spec].properties[x].type"),
        ({"type": "array"}, f"{STRUCTURE}.properties[spec].properties[x].items"),
        ({"type": "string", "pattern": "["}, f"{STRUCTURE}.properties[spec].properties[x].pattern"),
        ({"type": "string", "uniqueItems": True}, f"{STRUCTURE}.properties[spec].properties[x].uniqueItems"),
        ({"type": "string", "$ref": "#/x"}, f"{STRUCTURE}.properties[spec].properties[x].$ref"),
        (
            {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"},
            f"{STRUCTURE}.properties[spec].properties[x].x-kubernetes-list-map-keys",
        ),
        (
            {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "pile"},
            f"{STRUCTURE}.properties[spec].properties[x].x-kubernetes-list-type",
        ),
        (
            {"type": "string", "x-kubernetes-embedded-resource": True},
            f"{STRUCTURE}.properties[spec].properties[x]",
        ),
        (
            {"type": "string", "anyOf": [{"type": "string"}]},
            f"{STRUCTURE}.properties[spec].properties[x].anyOf[0].type",
        ),
    ],
    ids=["default of another type", "no type", "unknown type", "list of nothing", "pattern",
         "unique items", "reference", "map without keys", "list type", "embedded text", "type in a choice"],
)  # fmt: skip
async def test_a_schema_must_be_structural(api: Api, schema: Object, field: str) -> None:
    spec = {"x": {**schema, "default": 5} if schema == {"type": "string"} else schema}
    answer = await api.post(CRDS, definition("bads", "Bad", version(spec=spec)))
    assert answer.refusal() == (422, "Invalid"), answer.body
    assert any(where.startswith(field) for _, where in answer.causes), answer.causes


@pytest.mark.parametrize("change", [{"scope": "Cluster"}, {"group": "other.example.com"}])
async def test_what_a_definition_is_of_cannot_be_changed(api: Api, change: Object) -> None:
    answer = await api.patch(CRDS, WIDGETS_CRD, {"spec": change}, dryRun="All")
    assert answer.refusal() == (422, "Invalid")
    assert any(where in ("spec.scope", "spec.group") for _, where in answer.causes)


async def test_a_stored_version_cannot_be_dropped(api: Api) -> None:
    operations = [
        {"op": "remove", "path": "/spec/versions/0"},
        {"op": "replace", "path": "/spec/versions/0/storage", "value": True},
    ]
    answer = await api.patch(CRDS, WIDGETS_CRD, operations, "application/json-patch+json", dryRun="All")
    assert answer.refusal() == (422, "Invalid")
    assert any(where.startswith("status.storedVersions") for _, where in answer.causes), answer.causes


async def test_a_new_default_shows_in_old_objects(api: Api) -> None:
    things = await define(api, version(spec={"x": {"type": "string"}}))
    await api.create(things, thing(api, "one"))
    name = f"{plural_of(api)}.{GROUP}"
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/y"
    added = [{"op": "add", "path": path, "value": {"type": "string", "default": "new"}}]
    assert (await api.patch(CRDS, name, added, "application/json-patch+json")).code == 200
    await api.until(lambda: api.get(things, "one"), lambda answer: answer.spec == {"y": "new"})
    await api.delete(CRDS, name)


async def test_a_version_that_is_not_served_is_not_found(api: Api) -> None:
    await define(api, version("v1"), version("v2", storage=False, served=False))
    assert (await api.list(f"/apis/{GROUP}/v2/{plural_of(api)}")).code == 404
    await api.delete(CRDS, f"{plural_of(api)}.{GROUP}")


async def test_a_deprecated_version_is_warned_of(api: Api) -> None:
    old = version("v1", deprecated=True, deprecationWarning="take v2")
    things = await define(api, old)
    assert (await api.list(things)).warnings == ["take v2"]
    assert (await api.post(things, thing(api, "one"))).warnings == ["take v2"]
    await api.delete(CRDS, f"{plural_of(api)}.{GROUP}")


async def test_a_deprecated_version_names_a_better_one(api: Api) -> None:
    things = await define(api, version("v1", deprecated=True), version("v2", storage=False))
    kind = plural_of(api).capitalize()
    expected = f"{GROUP}/v1 {kind} is deprecated; use {GROUP}/v2 {kind}"
    assert (await api.list(things)).warnings == [expected]
    await api.delete(CRDS, f"{plural_of(api)}.{GROUP}")


async def test_a_definition_takes_its_objects_along(api: Api) -> None:
    things = await define(api)
    await api.create(things, thing(api, "one"))
    name = f"{plural_of(api)}.{GROUP}"
    await api.delete(CRDS, name)
    await api.wait_until_gone(CRDS, name)
    await api.until(lambda: api.list(things), lambda answer: answer.code == 404)


async def test_a_definition_waits_for_the_finalizers_of_its_objects(api: Api) -> None:
    things = await define(api)
    await api.create(things, thing(api, "one", finalizers=[FINALIZER]))
    name = f"{plural_of(api)}.{GROUP}"
    answer = await api.delete(CRDS, name)
    assert answer.metadata["deletionTimestamp"]
    await api.wait_until(things, "one", lambda obj: "deletionTimestamp" in obj["metadata"])
    await api.until(lambda: api.post(things, thing(api, "late")), lambda late: late.code in (403, 405))
    await api.patch(things, "one", {"metadata": {"finalizers": None}})
    await api.wait_until_gone(CRDS, name)


# --- discovery -------------------------------------------------------------------------------------------------------


async def test_a_kind_is_discovered(api: Api) -> None:
    answer = await api.send("GET", f"/apis/{GROUP}/v1")
    assert (answer.body["kind"], answer.body["groupVersion"]) == ("APIResourceList", f"{GROUP}/v1")
    found = {entry["name"]: entry for entry in answer.body["resources"]}
    entry = found["widgets"]
    assert (entry["kind"], entry["singularName"], entry["namespaced"]) == ("Widget", "widget", True)
    assert entry["shortNames"] == ["wd"]
    assert set(entry["verbs"]) == {
        "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
    }  # fmt: skip
    assert found["widgets/status"]["verbs"] == ["get", "patch", "update"]
    assert (found["widgets/scale"]["kind"], found["widgets/scale"]["group"]) == ("Scale", "autoscaling")


async def test_a_group_says_which_version_it_prefers(api: Api) -> None:
    answer = await api.send("GET", f"/apis/{GROUP}")
    assert answer.body["kind"] == "APIGroup"
    assert [found["version"] for found in answer.body["versions"]] == ["v2", "v1"]
    assert answer.body["preferredVersion"] == {"groupVersion": f"{GROUP}/v2", "version": "v2"}


async def test_groups_are_discovered_together(api: Api) -> None:
    plain = await api.send("GET", "/apis")
    assert plain.body["kind"] == "APIGroupList"
    names = {found["name"] for found in plain.body["groups"]}
    assert {GROUP, "apps", "batch", "rbac.authorization.k8s.io", "apiextensions.k8s.io"} <= names
    media = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    whole = await api.send("GET", "/apis", accept=media)
    assert whole.body["kind"] == "APIGroupDiscoveryList"
    (group,) = (item for item in whole.body["items"] if item["metadata"]["name"] == GROUP)
    (kind,) = (found for found in group["versions"][0]["resources"] if found["resource"] == "widgets")
    assert kind["responseKind"] == {"group": GROUP, "version": "v2", "kind": "Widget"}
    assert {found["subresource"] for found in kind["subresources"]} == {"status", "scale"}


async def test_the_schema_of_a_kind_is_published(api: Api) -> None:
    index = (await api.http.get("/openapi/v3")).json()
    url = index["paths"][f"apis/{GROUP}/v1"]["serverRelativeURL"]
    document = (await api.http.get(url, follow_redirects=True)).json()
    schemas = document["components"]["schemas"]
    (widgets,) = (
        schema
        for schema in schemas.values()
        if {"group": GROUP, "version": "v1", "kind": "Widget"} in schema.get("x-kubernetes-group-version-kind", [])
    )
    spec = widgets["properties"]["spec"]
    assert spec["properties"]["size"]["default"] == 3
    assert spec["required"] == ["color"]
