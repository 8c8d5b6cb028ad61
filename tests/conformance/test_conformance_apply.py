"""Server-side apply: managed fields, ownership, conflicts, removal, and lists by their declared type."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from tests.conformance.conformance_api import Answer, Api
from tests.conformance.conformance_kinds import config_map, deployment, job, widget


async def apply(api: Api, manager: str, spec: Object | None = None, **query: Any) -> Answer:
    return await api.apply("widgets", widget("one", spec), manager, **query)


def managers(obj: Object) -> dict[tuple[str, str], Object]:
    """The managed fields, by (manager, operation)."""
    return {(entry["manager"], entry["operation"]): entry["fieldsV1"] for entry in obj["metadata"]["managedFields"]}


async def test_an_apply_creates_what_is_missing(api: Api) -> None:
    answer = await apply(api, "m1", {"size": 5})
    assert answer.code == 201
    assert managers(answer.body) == {("m1", "Apply"): {"f:spec": {"f:color": {}, "f:size": {}}}}
    (entry,) = answer.metadata["managedFields"]
    assert entry["apiVersion"] == "conformance.example.com/v1"
    assert entry["fieldsType"] == "FieldsV1"
    assert entry["time"].endswith("Z")


async def test_an_apply_of_the_same_is_no_write(api: Api) -> None:
    first = await apply(api, "m1")
    second = await apply(api, "m1")
    assert second.code == 200
    assert second.body == first.body


async def test_an_apply_needs_a_manager(api: Api) -> None:
    answer = await api.send("PATCH", api.path("widgets", "one"), widget("one"), "application/apply-patch+yaml")
    assert answer.refusal() == (422, "Invalid")
    assert "fieldManager: Required value: is required for apply patch" in answer.message


async def test_only_an_apply_can_be_forced(api: Api) -> None:
    await api.create("widgets", widget("one"))
    answer = await api.patch("widgets", "one", {"spec": {"size": 4}}, force="true")
    assert answer.refusal() == (422, "Invalid")
    assert "force: Forbidden: may not be specified for non-apply patch" in answer.message


async def test_an_apply_must_not_carry_managed_fields(api: Api) -> None:
    body = widget("one", managedFields=[{"manager": "x", "operation": "Apply", "apiVersion": "v1"}])
    answer = await api.apply("widgets", body, "m")
    assert answer.code == 400
    assert "metadata.managedFields must be nil" in answer.message


@pytest.mark.parametrize("missing", ["apiVersion", "kind"])
async def test_an_apply_names_its_type(api: Api, missing: str) -> None:
    body = {name: value for name, value in widget("one").items() if name != missing}
    answer = await api.apply("widgets", body, "m")
    assert answer.refusal() == (400, "BadRequest")


async def test_two_managers_conflict_over_a_value(api: Api) -> None:
    await apply(api, "m1", {"color": "red"})
    answer = await apply(api, "m2", {"color": "blue"})
    assert answer.refusal() == (409, "Conflict")
    assert answer.causes == {("FieldManagerConflict", ".spec.color")}
    assert answer.message == 'Apply failed with 1 conflict: conflict with "m1": .spec.color'


async def test_several_conflicts_are_told_at_once(api: Api) -> None:
    await apply(api, "m1", {"color": "red", "size": 5})
    answer = await apply(api, "m2", {"color": "blue", "size": 6})
    assert answer.message == 'Apply failed with 2 conflicts: conflicts with "m1":\n- .spec.color\n- .spec.size'
    assert {field for _, field in answer.causes} == {".spec.color", ".spec.size"}


async def test_a_conflict_with_an_update_names_version_and_time(api: Api) -> None:
    await api.create("widgets", widget("one"), fieldManager="editor")
    answer = await apply(api, "m2", {"color": "blue"})
    assert answer.code == 409
    assert answer.message.startswith(
        'Apply failed with 1 conflict: conflict with "editor" using conformance.example.com/v1'
    )
    assert answer.message.endswith(": .spec.color")


async def test_the_same_value_is_shared(api: Api) -> None:
    await apply(api, "m1")
    answer = await apply(api, "m2")
    assert answer.code == 200
    assert set(managers(answer.body)) == {("m1", "Apply"), ("m2", "Apply")}


async def test_force_takes_the_field_over(api: Api) -> None:
    await apply(api, "m1", {"size": 5})
    answer = await apply(api, "m2", {"color": "red", "size": 6}, force="true")
    assert answer.code == 200
    assert answer.spec["size"] == 6
    assert managers(answer.body)["m1", "Apply"] == {"f:spec": {"f:color": {}}}


async def test_a_field_nobody_applies_any_more_goes(api: Api) -> None:
    await apply(api, "m1", {"code": "abc", "size": 9})
    answer = await apply(api, "m1")
    assert "code" not in answer.spec
    assert answer.spec["size"] == 3


async def test_a_field_another_manager_applies_stays(api: Api) -> None:
    await apply(api, "m1", {"code": "abc"})
    await apply(api, "m2", {"code": "abc"})
    answer = await apply(api, "m1")
    assert answer.spec["code"] == "abc"


async def test_an_update_is_a_manager_of_its_own(api: Api) -> None:
    await apply(api, "m1", {"size": 5})
    answer = await api.patch("widgets", "one", {"spec": {"size": 6}}, fieldManager="m1")
    found = managers(answer.body)
    assert found["m1", "Update"] == {"f:spec": {"f:size": {}}}
    assert found["m1", "Apply"] == {"f:spec": {"f:color": {}}}


async def test_the_manager_of_an_update_is_the_user_agents_first_word(api: Api) -> None:
    created = await api.create("widgets", widget("one"))
    assert set(managers(created)) == {("conformance", "Update")}


async def test_status_is_managed_under_its_subresource(api: Api) -> None:
    await api.create("widgets", widget("one"))
    answer = await api.patch("widgets", "one", {"status": {"phase": "New"}}, subresource="status")
    entries = [entry for entry in answer.metadata["managedFields"] if entry.get("subresource") == "status"]
    assert len(entries) == 1
    assert entries[0]["fieldsV1"]["f:status"]["f:phase"] == {}


async def test_a_status_can_be_applied(api: Api) -> None:
    await api.create("widgets", widget("one"))
    body = {**widget("one"), "status": {"phase": "Done"}}
    answer = await api.apply("widgets", body, "controller", subresource="status")
    assert answer.code == 200, answer.message
    assert answer.body["status"]["phase"] == "Done"
    assert "f:spec" not in managers(answer.body)["controller", "Apply"]


async def test_managed_fields_can_be_cleared(api: Api) -> None:
    await api.create("widgets", widget("one"))
    answer = await api.patch("widgets", "one", {"metadata": {"managedFields": [{}]}})
    assert answer.code == 200
    assert "managedFields" not in answer.metadata


async def test_items_of_a_list_map_have_their_owners(api: Api) -> None:
    await apply(api, "m1", {"parts": [{"name": "a", "count": 2}]})
    answer = await apply(api, "m2", {"parts": [{"name": "b"}]})
    assert answer.code == 200, answer.message
    assert [part["name"] for part in answer.spec["parts"]] == ["a", "b"]
    owned = managers(answer.body)["m2", "Apply"]["f:spec"]["f:parts"]
    assert owned == {'k:{"name":"b"}': {".": {}, "f:name": {}}}
    answer = await apply(api, "m1")
    assert [part["name"] for part in answer.spec["parts"]] == ["b"]


async def test_items_of_a_list_map_conflict_by_field(api: Api) -> None:
    await apply(api, "m1", {"parts": [{"name": "a", "count": 2}]})
    answer = await apply(api, "m2", {"parts": [{"name": "a", "count": 3}]})
    assert answer.code == 409
    assert answer.causes == {("FieldManagerConflict", '.spec.parts[name="a"].count')}


async def test_members_of_a_set_have_their_owners(api: Api) -> None:
    await apply(api, "m1", {"tags": ["a", "b"]})
    answer = await apply(api, "m2", {"tags": ["b", "c"]})
    assert sorted(answer.spec["tags"]) == ["a", "b", "c"]
    assert managers(answer.body)["m2", "Apply"]["f:spec"]["f:tags"] == {'v:"b"': {}, 'v:"c"': {}}
    answer = await apply(api, "m1", {"tags": ["b"]})
    assert sorted(answer.spec["tags"]) == ["b", "c"]


async def test_an_atomic_list_has_one_owner(api: Api) -> None:
    await apply(api, "m1", {"atoms": [1, 2]})
    answer = await apply(api, "m2", {"atoms": [1, 2, 3]})
    assert answer.code == 409
    assert answer.causes == {("FieldManagerConflict", ".spec.atoms")}


async def test_a_field_outside_the_schema_is_refused(api: Api) -> None:
    answer = await apply(api, "m1", {"bogus": 1})
    assert answer.code == 500
    assert ".spec.bogus: field not declared in schema" in answer.message


async def test_a_type_outside_the_schema_is_refused(api: Api) -> None:
    answer = await apply(api, "m1", {"size": "five"})
    assert answer.code == 500
    assert answer.message.endswith(".spec.size: expected numeric (int or float), got string")


async def test_a_key_given_twice_in_a_list_map_is_refused(api: Api) -> None:
    answer = await apply(api, "m1", {"parts": [{"name": "a"}, {"name": "a", "count": 2}]})
    assert answer.code == 500
    assert answer.message.endswith('.spec.parts: duplicate entries for key [name="a"]')


async def test_built_in_kinds_merge_by_their_declared_keys(api: Api) -> None:
    body = deployment("one")
    assert (await api.apply("deployments", body, "m1")).code == 201
    sidecar = {"name": "side", "image": "i"}
    partial = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "one"},
        "spec": {"template": {"spec": {"containers": [sidecar]}}},
    }
    answer = await api.apply("deployments", partial, "m2")
    assert answer.code == 200, answer.message
    names = [found["name"] for found in answer.spec["template"]["spec"]["containers"]]
    assert sorted(names) == ["main", "side"]
    owned = managers(answer.body)["m2", "Apply"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert owned == {'k:{"name":"side"}': {".": {}, "f:image": {}, "f:name": {}}}


async def test_labels_and_data_are_owned_key_by_key(api: Api) -> None:
    await api.apply("configmaps", config_map("one", {"a": "1"}, labels={"x": "1"}), "m1")
    answer = await api.apply("configmaps", config_map("one", {"b": "2"}, labels={"y": "2"}), "m2")
    assert answer.code == 200
    assert answer.body["data"] == {"a": "1", "b": "2"}
    assert answer.metadata["labels"] == {"x": "1", "y": "2"}
    assert managers(answer.body)["m2", "Apply"] == {"f:data": {"f:b": {}}, "f:metadata": {"f:labels": {"f:y": {}}}}


async def test_an_apply_with_a_version_is_a_precondition(api: Api) -> None:
    first = await apply(api, "m1")
    await api.patch("widgets", "one", {"spec": {"size": 4}})
    body = widget("one", {"code": "abc"}, resourceVersion=first.version)
    answer = await api.apply("widgets", body, "m1")
    assert answer.refusal() == (409, "Conflict")


async def test_an_apply_in_dry_run_changes_nothing(api: Api) -> None:
    answer = await apply(api, "m1", dryRun="All")
    assert answer.code == 201
    assert (await api.get("widgets", "one")).code == 404


async def test_applied_objects_are_pruned_of_empty_owners(api: Api) -> None:
    await apply(api, "m1", {"size": 5})
    answer = await apply(api, "m2", {"size": 6}, force="true")
    assert set(managers(answer.body)) == {("m1", "Apply"), ("m2", "Apply")}
    answer = await apply(api, "m3", {"color": "red"}, force="true")
    assert set(managers(answer.body)) == {("m1", "Apply"), ("m2", "Apply"), ("m3", "Apply")}


async def test_a_job_can_be_applied_twice(api: Api) -> None:
    assert (await api.apply("jobs", job("one"), "m1")).code == 201
    answer = await api.apply("jobs", job("one"), "m1")
    assert answer.code == 200, answer.message
