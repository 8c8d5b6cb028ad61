"""The tables of built-in fields: they parse, are consistent, and keep the marks that patches need."""

from __future__ import annotations

from typing import Any

import pytest

from localcluster.server import builtin_schemas, schema
from localcluster.server.builtin import BUILTIN
from localcluster.server.builtin_schemas import definitions, full_name, structural_schema
from localcluster.server.types import ResourceType


def references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [name for value in node.values() for name in references(value)]
    return []


def test_every_reference_leads_to_a_definition() -> None:
    known = definitions()
    assert [name for found in known.values() for name in references(found) if name not in known] == []


def test_every_definition_says_what_it_is() -> None:
    assert [name for name, found in definitions().items() if not found.get("description")] == []


@pytest.mark.parametrize("rtype", BUILTIN, ids=lambda rtype: f"{rtype.group}.{rtype.kind}")
def test_every_built_in_kind_has_a_schema_with_type_and_metadata(rtype: ResourceType) -> None:
    assert rtype.schema is not None
    assert {"apiVersion", "kind", "metadata"} <= set(rtype.schema["properties"])
    assert references(rtype.schema) == []


def test_keyed_lists_keep_the_marks_that_patches_merge_by() -> None:
    container = definitions()[full_name("core/v1", "Container")]["properties"]
    ports, env, args = container["ports"], container["env"], container["args"]
    assert ports["x-kubernetes-list-map-keys"] == ["containerPort", "protocol"]
    assert ports["x-kubernetes-patch-merge-key"] == "containerPort"
    assert (env["x-kubernetes-list-type"], env["x-kubernetes-patch-strategy"]) == ("map", "merge")
    assert args["x-kubernetes-list-type"] == "atomic"
    volumes = definitions()[full_name("core/v1", "PodSpec")]["properties"]["volumes"]
    assert volumes["x-kubernetes-patch-strategy"] == "merge,retainKeys"
    job_conditions = definitions()[full_name("batch/v1", "JobStatus")]["properties"]["conditions"]
    assert job_conditions["x-kubernetes-list-type"] == "atomic"
    assert job_conditions["x-kubernetes-patch-merge-key"] == "type"
    selector = definitions()[full_name("core/v1", "ServiceSpec")]["properties"]["selector"]
    assert selector["x-kubernetes-map-type"] == "atomic"


def test_a_key_that_may_be_absent_has_its_default() -> None:
    for name in ("ContainerPort", "ServicePort"):
        assert definitions()[full_name("core/v1", name)]["properties"]["protocol"]["default"] == "TCP"


def test_a_pod_template_is_resolved_all_the_way_down() -> None:
    job = structural_schema("batch", "v1", "Job")
    assert job is not None
    pod_spec = job["properties"]["spec"]["properties"]["template"]["properties"]["spec"]
    assert pod_spec["required"] == ["containers"]
    env = pod_spec["properties"]["containers"]["items"]["properties"]["env"]["items"]
    assert env["properties"]["valueFrom"]["properties"]["secretKeyRef"]["required"] == ["key"]


def test_a_kind_without_a_table_has_no_schema() -> None:
    assert structural_schema("apps", "v1", "Nope") is None


def test_unknown_fields_of_a_built_in_kind_are_dropped_and_named() -> None:
    jobs = next(rtype for rtype in BUILTIN if rtype.plural == "jobs")
    obj: dict[str, Any] = {
        "metadata": {"name": "x"},
        "spec": {
            "bogus": 1,
            "template": {
                "spec": {
                    "containers": [{"name": "a", "envv": [], "resources": {"limits": {"cpu": 1, "x.y/z": "2"}}}],
                    "volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}],
                    "nodeSelector": {"any": "label"},
                }
            },
        },
    }
    assert schema.prune(obj, jobs) == ["spec.bogus", "spec.template.spec.containers[0].envv"]
    assert obj["spec"]["template"]["spec"]["volumes"] == [{"name": "v", "nfs": {"server": "s", "path": "/"}}]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("  field string:", "without a definition"),
        ("no definition", "neither"),
        ("core/v1 A: x\n  field: y", "no field"),
        ("core/v1 A: x\n  field string odd: y", "unknown mark"),
    ],
)
def test_a_table_that_cannot_be_read_says_where(table: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        list(builtin_schemas._parse(table))
