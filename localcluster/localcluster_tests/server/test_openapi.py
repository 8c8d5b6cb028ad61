"""OpenAPI documents: complete, consistent, and with the parts that kubectl needs."""

from __future__ import annotations

from typing import Any

import pytest

from localcluster.server import openapi
from localcluster.server.builtin import BUILTIN
from localcluster.server.types import Object, resource_types_of_crd
from localcluster_tests.server.schema_samples import WIDGET_SCHEMA, crd_of

WIDGETS = resource_types_of_crd(crd_of(WIDGET_SCHEMA, subresources={"status": {}}))
TYPES = [*BUILTIN, *WIDGETS]


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(references(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(references(item) for item in node))
    return set()


def document(group: str, version: str = "v1") -> Object:
    found = openapi.document_v3(TYPES, group, version)
    assert found is not None
    return found


@pytest.mark.parametrize("group", sorted({rtype.group for rtype in TYPES}))
def test_a_version_3_document_stands_alone(group: str) -> None:
    found = document(group)
    schemas = found["components"]["schemas"]
    assert {name.removeprefix("#/components/schemas/") for name in references(found)} <= set(schemas)


def test_the_version_2_document_stands_alone() -> None:
    found = openapi.document_v2(TYPES)
    assert {name.removeprefix("#/definitions/") for name in references(found)} <= set(found["definitions"])


READABLE = [rtype for rtype in TYPES if "list" in rtype.verbs]


@pytest.mark.parametrize("rtype", READABLE, ids=lambda rtype: f"{rtype.group}.{rtype.kind}")
def test_explain_finds_every_readable_kind_from_its_url(rtype: Any) -> None:
    found = document(rtype.group)
    base = f"/apis/{rtype.group}/v1" if rtype.group else "/api/v1"
    kind = {"group": rtype.group, "version": "v1", "kind": rtype.kind}
    scope = f"{base}/namespaces/{{namespace}}" if rtype.namespaced else base
    assert found["paths"][f"{scope}/{rtype.plural}"]["get"]["x-kubernetes-group-version-kind"] == kind
    owners = [
        name
        for name, schema in found["components"]["schemas"].items()
        if kind in schema.get("x-kubernetes-group-version-kind", ())
    ]
    assert owners == [openapi.definition_name(rtype)]


def test_patches_know_validation_manager_and_dry_run() -> None:
    for group, plural in (("", "pods"), ("test.example.com", "widgets")):
        base = f"/apis/{group}/v1" if group else "/api/v1"
        patch = document(group)["paths"][f"{base}/namespaces/{{namespace}}/{plural}/{{name}}"]["patch"]
        names = {parameter["name"] for parameter in patch["parameters"]}
        assert {"fieldValidation", "fieldManager", "dryRun", "force"} <= names


def test_custom_kinds_take_no_strategic_merge_patch() -> None:
    def patch_types(group: str, path: str) -> set[str]:
        return set(document(group)["paths"][path]["patch"]["requestBody"]["content"])

    custom = patch_types("test.example.com", "/apis/test.example.com/v1/namespaces/{namespace}/widgets/{name}")
    assert "application/apply-patch+yaml" in custom
    assert "application/strategic-merge-patch+json" not in custom
    pods = patch_types("", "/api/v1/namespaces/{namespace}/pods/{name}")
    assert "application/strategic-merge-patch+json" in pods


def test_a_custom_kind_keeps_its_schema_and_gains_metadata() -> None:
    widget = document("test.example.com")["components"]["schemas"]["com.example.test.v1.Widget"]
    assert widget["properties"]["spec"]["properties"]["color"] == {"type": "string", "enum": ["red", "green", "blue"]}
    assert widget["properties"]["metadata"]["allOf"] == [
        {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
    ]


def test_version_2_says_less_but_never_anything_stricter() -> None:
    spec = openapi.document_v2(TYPES)["definitions"]["com.example.test.v1.Widget"]["properties"]["spec"]
    fields = spec["properties"]
    assert "oneOf" not in fields["one"]
    assert "type" not in fields["note"]
    assert "default" not in fields["replicas"]
    assert fields["open"] == {"x-kubernetes-preserve-unknown-fields": True}
    assert fields["steps"]["x-kubernetes-list-map-keys"] == ["name"]


def test_the_index_names_each_document_and_changes_with_its_content() -> None:
    index = openapi.index_v3(TYPES)["paths"]
    assert {"api/v1", "apis/batch/v1", "apis/test.example.com/v1"} <= set(index)
    url = index["apis/test.example.com/v1"]["serverRelativeURL"]
    assert url.startswith("/openapi/v3/apis/test.example.com/v1?hash=")
    changed = resource_types_of_crd(crd_of({"type": "object"}))
    assert openapi.index_v3([*BUILTIN, *changed])["paths"]["apis/test.example.com/v1"]["serverRelativeURL"] != url
    assert openapi.index_v3([*BUILTIN, *changed])["paths"]["api/v1"] == index["api/v1"]


def test_what_is_not_served_has_no_document() -> None:
    assert openapi.document_v3(TYPES, "nope.example.com", "v1") is None


def test_documents_leave_the_schemas_they_are_made_of_alone() -> None:
    before = repr(WIDGET_SCHEMA)
    openapi.document_v2(TYPES)
    document("test.example.com")
    assert repr(WIDGET_SCHEMA) == before
