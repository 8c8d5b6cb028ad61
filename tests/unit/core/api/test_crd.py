from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field

from core.api.crd import ConversionService, custom_resource_definition, model_schema
from core.api.kind import Kind
from core.api.kinds import KINDS
from core.api.schema import CelRule, Int32, JsonObject, Keywords, Quantity, WireModel
from core.api.story import STORY_KIND
from core.api.v1beta1.story import PRIMITIVES
from tests.unit.core.api.contract_additions import ADDITIONS, CHANGES
from tests.unit.core.api.crd_inventory import inventory

CONTRACT: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("contract_inventory.json").read_text(encoding="utf-8")
)
CLIENT_SIDE_APPLY_LIMIT = 262144
"""In bytes. ``kubectl apply`` stores the whole document in an annotation of at most this size."""

LIKE_STEPS = (".spec.compensations.items.", ".spec.finally.items.")
"""In v1beta1 described once, in ``.spec.steps``: the definition must not become too large."""

CONVERSION = ConversionService("bobrapet-system", "bobrapet-webhook-service", "/convert")

each_version = pytest.mark.parametrize(
    ("kind", "version"),
    [(kind, index) for kind in KINDS for index in range(len(kind.versions))],
    ids=[f"{kind.resource.kind} {version.name}" for kind in KINDS for version in kind.versions],
)
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.resource.kind)


def _differences(ours: dict[str, Any], contract: dict[str, Any]) -> set[str]:
    differing = {key for key in contract if key != "paths" and ours[key] != contract[key]}
    paths = contract["paths"].keys() | ours["paths"].keys()
    return differing | {path for path in paths if ours["paths"].get(path) != contract["paths"].get(path)}


def _schemas(schema: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    found = [(path, schema)]
    for name, child in schema.get("properties", {}).items():
        found += _schemas(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            found += _schemas(schema[key], f"{path}.{key}")
    return found


def _root(kind: Kind, version: int = 0) -> dict[str, Any]:
    spec = custom_resource_definition(kind, CONVERSION)["spec"]
    schema: dict[str, Any] = spec["versions"][version]["schema"]["openAPIV3Schema"]
    return schema


def test_every_kind_of_the_contract_is_rendered() -> None:
    assert {kind.resource.kind for kind in KINDS} == CONTRACT.keys()


@each_kind
def test_every_path_says_what_the_contract_says_unless_listed(kind: Kind) -> None:
    name = kind.resource.kind
    listed = {what for listed_kind, what in (*ADDITIONS, *CHANGES) if listed_kind == name}
    assert _differences(inventory(custom_resource_definition(kind)["spec"]), CONTRACT[name]) == listed


def test_additions_only_add() -> None:
    for kind in KINDS:
        ours = inventory(custom_resource_definition(kind)["spec"])
        for what in (what for name, what in ADDITIONS if name == kind.resource.kind):
            before = CONTRACT[kind.resource.kind]
            if what.startswith("."):
                assert before["paths"].get(what, {}).items() <= ours["paths"][what].items()
            else:
                assert all(item in ours[what] for item in before[what])


def test_the_comparison_notices_a_missing_path_a_new_path_and_a_changed_bound() -> None:
    contract = CONTRACT["StoryRun"]
    ours = json.loads(json.dumps(contract))
    del ours["paths"][".status.gates"]
    ours["paths"][".spec.surprise"] = {"type": "string"}
    ours["paths"][".spec.storyRef.name"]["maxLength"] = 254
    ours["columns"] = []
    assert _differences(ours, contract) == {".status.gates", ".spec.surprise", ".spec.storyRef.name", "columns"}


@each_version
def test_every_field_is_described_except_metadata_which_the_api_server_owns(kind: Kind, version: int) -> None:
    undescribed = [
        path
        for path, schema in _schemas(_root(kind, version))
        if "description" not in schema and not path.endswith((".items", ".additionalProperties"))
        if ".placement.affinity." not in path  # Kubernetes describes it, and the definition must not become too large
        if version == 0 or not path.startswith(LIKE_STEPS)
        if ".warm." not in path or "Template" in kind.resource.kind  # the templates describe it, for the same reason
    ]
    assert undescribed == [".metadata"]


@each_version
def test_descriptions_are_sentences_that_fit_a_terminal_paragraph(kind: Kind, version: int) -> None:
    for path, schema in _schemas(_root(kind, version)):
        text = schema.get("description", "A.")
        assert text.endswith("."), path
        assert len(text) <= 420, path
        assert re.search(r"  |\w- ", text) is None, path


@each_kind
def test_kubectl_can_apply_the_document_client_side(kind: Kind) -> None:
    for definition in (custom_resource_definition(kind), custom_resource_definition(kind, CONVERSION)):
        assert len(json.dumps(definition, separators=(",", ":"))) < CLIENT_SIDE_APPLY_LIMIT


@each_version
def test_schemas_are_structural(kind: Kind, version: int) -> None:
    for path, schema in _schemas(_root(kind, version)):
        assert "$ref" not in schema, path
        assert not {"allOf", "oneOf", "not"} & schema.keys(), path
        if schema.get("x-kubernetes-int-or-string") or path.endswith(".parallel.forEach"):  # forEach is any JSON
            assert "type" not in schema, path
        else:
            assert "type" in schema, path
            assert "anyOf" not in schema, path
        assert not ("properties" in schema and "additionalProperties" in schema), path
        assert set(schema.get("required", [])) <= schema.get("properties", {}).keys(), path


@each_kind
def test_exactly_one_version_is_stored_and_nothing_is_converted(kind: Kind) -> None:
    spec = custom_resource_definition(kind)["spec"]
    assert [version["name"] for version in spec["versions"] if version["storage"]] == ["v1alpha1"]
    assert spec["conversion"] == {"strategy": "None"}


def test_with_a_service_that_converts_every_version_is_served() -> None:
    spec = custom_resource_definition(STORY_KIND, CONVERSION)["spec"]
    assert [(found["name"], found["served"], found["storage"]) for found in spec["versions"]] == [
        ("v1alpha1", True, True),
        ("v1beta1", True, False),
    ]
    assert spec["conversion"] == {
        "strategy": "Webhook",
        "webhook": {
            "clientConfig": {
                "service": {
                    "namespace": "bobrapet-system",
                    "name": "bobrapet-webhook-service",
                    "path": "/convert",
                    "port": 443,
                }
            },
            "conversionReviewVersions": ["v1"],
        },
    }
    first, second = spec["versions"]
    assert first == custom_resource_definition(STORY_KIND)["spec"]["versions"][0]
    assert {**first, "schema": 0} == {**second, "schema": 0, "name": "v1alpha1", "storage": True}


def _bare(schema: Any) -> Any:
    """``schema`` without descriptions."""
    if isinstance(schema, list):
        return [_bare(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _bare(child) for key, child in schema.items() if not (key == "description" and isinstance(child, str))}


def test_a_version_differs_from_the_other_only_in_what_a_step_does() -> None:
    alpha, beta = (_root(STORY_KIND, version)["properties"] for version in (0, 1))
    assert alpha["status"] == beta["status"]
    lists = ("steps", "compensations", "finally")
    for name in alpha["spec"]["properties"].keys() | beta["spec"]["properties"].keys():
        one, other = (root["spec"]["properties"][name] for root in (alpha, beta))
        if name not in lists:
            assert one == other
            continue
        assert _bare(other["items"]) == _bare(beta["spec"]["properties"]["steps"]["items"])
        step, typed = one["items"]["properties"], beta["spec"]["properties"]["steps"]["items"]["properties"]
        assert typed.keys() - step.keys() == set(PRIMITIVES)
        assert step.keys() - typed.keys() == {"type"}
        assert {key for key in step.keys() & typed.keys() if step[key] != typed[key]} == {"ref", "with"}
        branch = typed["parallel"]["properties"]["steps"]["items"]["properties"]
        assert {key for key in typed if branch[key] != typed[key]} == {"execution", "parallel"}


def test_rendering_twice_gives_the_same_text() -> None:
    once, again = (json.dumps([custom_resource_definition(kind) for kind in KINDS]) for _ in range(2))
    assert once == again


class _Inner(WireModel):
    """An inner object."""

    schema_keywords: ClassVar = {"x-kubernetes-map-type": "atomic"}
    validations = (CelRule("has(self.size)", "size is required"),)

    size: Quantity | None = Field(None, description="Size.")


class _Outer(WireModel):
    """An outer object."""

    retries: Int32 = Field(3, ge=0, le=10, description="Retries.")
    names: list[str] = Field(min_length=1, max_length=2, description="Names.")
    inner: dict[str, _Inner] | None = Field(None, description="Inner objects.")
    rest: JsonObject | None = Field(None, description="The rest.")
    from_: bool | None = Field(None, alias="from", description="From.")


def test_a_model_renders_bounds_defaults_lists_maps_and_markers() -> None:
    assert model_schema(_Outer) == {
        "type": "object",
        "required": ["names"],
        "properties": {
            "retries": {
                "description": "Retries.",
                "type": "integer",
                "format": "int32",
                "minimum": 0,
                "maximum": 10,
                "default": 3,
            },
            "names": {
                "description": "Names.",
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
                "maxItems": 2,
            },
            "inner": {
                "description": "Inner objects.",
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "properties": {
                        "size": {
                            "description": "Size.",
                            "anyOf": [{"type": "integer"}, {"type": "string"}],
                            "x-kubernetes-int-or-string": True,
                            "pattern": model_schema(_Inner)["properties"]["size"]["pattern"],
                        }
                    },
                    "x-kubernetes-map-type": "atomic",
                    "x-kubernetes-validations": [{"rule": "has(self.size)", "message": "size is required"}],
                },
            },
            "rest": {
                "description": "The rest.",
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
            },
            "from": {"description": "From.", "type": "boolean"},
        },
    }


class _Unrenderable(WireModel):
    """A model with a field whose type has no known schema."""

    value: complex | None = None


def test_a_type_without_a_schema_is_refused_with_the_remedy() -> None:
    with pytest.raises(TypeError, match="give its annotation a Rendered marker"):
        model_schema(_Unrenderable)


def test_markers_compare_by_identity_so_that_annotations_stay_hashable() -> None:
    assert hash(Keywords({"format": "int32"}))
    assert Keywords({"a": 1}) != Keywords({"a": 1})
