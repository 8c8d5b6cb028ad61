"""A patch becomes a function from the stored object to the wanted object."""

from __future__ import annotations

from typing import Any

import pytest

from kubewire import PatchType
from localcluster.server import patching
from localcluster.server.builtin import BUILTIN
from localcluster.server.errors import StatusError
from localcluster.server.identity import ADMIN
from localcluster.server.options import FieldValidation, WriteOptions
from localcluster.server.patching import Patch
from localcluster.server.shape import SchemaShape
from localcluster_tests.server.schema_samples import WIDGET_SCHEMA, record_of, widget

PODS = next(resource for resource in BUILTIN if resource.plural == "pods")
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "default"},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
    "status": {"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}]},
}


def patched(body: Any, kind: PatchType, subresource: str, options: WriteOptions | None = None) -> dict[str, Any]:
    patch = Patch(kind, body)
    patching.check(patch, PODS)
    build = patching.builder(patch, PODS, options or WriteOptions(user=ADMIN), SchemaShape(), subresource)
    return build(POD)


@pytest.mark.parametrize("kind", [PatchType.MERGE, PatchType.STRATEGIC])
def test_a_patch_of_the_status_alone_leaves_the_rest_unread(kind: PatchType) -> None:
    before = {**POD["status"]}
    built = patched({"status": {"phase": "Running"}, "metadata": {"uid": None}}, kind, "status")

    assert "spec" not in built
    assert built["status"] == {**before, "phase": "Running"}
    assert POD["status"] == before


@pytest.mark.parametrize(
    ("body", "kind", "subresource"),
    [
        pytest.param({"status": {"phase": "Running"}}, PatchType.MERGE, "", id="of the object"),
        pytest.param({"spec": {"nodeName": "n"}}, PatchType.MERGE, "status", id="that names the spec"),
        pytest.param([{"op": "test", "path": "/spec", "value": POD["spec"]}], PatchType.JSON, "status", id="JSON"),
    ],
)
def test_any_other_patch_sees_the_whole_object(body: Any, kind: PatchType, subresource: str) -> None:
    assert patched(body, kind, subresource)["spec"]["containers"][0]["name"] == "c"


def test_a_patch_shares_nothing_that_it_may_change_with_the_stored_object() -> None:
    built = patched({"status": {"phase": "Running"}}, PatchType.MERGE, "status")
    built["metadata"]["labels"] = {}
    built["status"]["conditions"][0]["status"] = "True"

    assert POD["status"] == {"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}]}
    assert "labels" not in POD["metadata"]


def test_a_status_of_the_wrong_type_is_refused_by_its_field() -> None:
    with pytest.raises(StatusError, match=r"PodStatus\.status\.phase of type string"):
        patched({"status": {"phase": 1}}, PatchType.MERGE, "status")


def test_an_unknown_field_of_the_status_is_refused_when_asked_to() -> None:
    options = WriteOptions(user=ADMIN, field_validation=FieldValidation.STRICT)
    with pytest.raises(StatusError, match=r'unknown field \\*"status\.zz\\*"'):
        patched({"status": {"zz": 1}}, PatchType.MERGE, "status", options)


def test_a_custom_kind_without_its_spec_is_patched_all_the_same() -> None:
    rtype = record_of(WIDGET_SCHEMA)
    build = patching.builder(
        Patch(PatchType.MERGE, {"status": {}}), rtype, WriteOptions(user=ADMIN), SchemaShape(), "status"
    )

    assert build(widget())["metadata"]["name"] == "w1"
