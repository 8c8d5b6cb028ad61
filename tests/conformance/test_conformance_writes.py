"""Creating, replacing and deleting: conflicts, names, system metadata, and the refusals with their messages."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from tests.conformance.conformance_api import Api
from tests.conformance.conformance_kinds import GROUP, config_map, deployment, widget

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


async def test_a_created_object_carries_system_metadata(api: Api) -> None:
    created = await api.create("configmaps", config_map("one"))
    metadata = created["metadata"]
    assert metadata["uid"]
    assert metadata["resourceVersion"].isdigit()
    assert metadata["creationTimestamp"].endswith("Z")
    assert metadata["namespace"] == api.namespace
    assert "generation" not in metadata
    assert await api.read("configmaps", "one") == created


async def test_system_metadata_cannot_be_chosen(api: Api) -> None:
    wanted: Object = {"uid": "mine", "creationTimestamp": "2000-01-01T00:00:00Z", "selfLink": "/x", "generation": 7}
    created = await api.create("widgets", widget("one", deletionTimestamp="2000-01-01T00:00:00Z", **wanted))
    assert all(created["metadata"].get(name) != value for name, value in wanted.items())
    assert "deletionTimestamp" not in created["metadata"]
    assert created["metadata"]["generation"] == 1


async def test_a_resource_version_must_not_be_set_on_create(api: Api) -> None:
    answer = await api.post("configmaps", config_map("one", resourceVersion="7"))
    assert answer.refusal() == (500, "")
    assert answer.message == "resourceVersion should not be set on objects to be created"


async def test_a_second_create_conflicts(api: Api) -> None:
    await api.create("configmaps", config_map("one"))
    answer = await api.post("configmaps", config_map("one"))
    assert answer.code == 409
    assert answer.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'configmaps "one" already exists',
        "reason": "AlreadyExists",
        "details": {"name": "one", "kind": "configmaps"},
        "code": 409,
    }


async def test_a_second_create_of_a_custom_kind_names_its_group(api: Api) -> None:
    await api.create("widgets", widget("one"))
    answer = await api.post("widgets", widget("one"))
    assert answer.message == f'widgets.{GROUP} "one" already exists'
    assert answer.body["details"] == {"name": "one", "group": GROUP, "kind": "widgets"}


async def test_generated_names_differ(api: Api) -> None:
    names = {(await api.create("configmaps", {"metadata": {"generateName": "n-"}}))["metadata"]["name"] for _ in "abc"}
    assert len(names) == 3
    assert all(name.startswith("n-") and len(name) == 7 for name in names)


async def test_a_generated_name_is_cut_to_fit(api: Api) -> None:
    created = await api.create("configmaps", {"metadata": {"generateName": "x" * 100}})
    assert len(created["metadata"]["name"]) == 63


async def test_a_name_wins_over_a_generated_one(api: Api) -> None:
    created = await api.create("configmaps", config_map("fixed", generateName="n-"))
    assert created["metadata"]["name"] == "fixed"


async def test_an_unknown_object_is_not_found(api: Api) -> None:
    answer = await api.get("widgets", "none")
    assert answer.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f'widgets.{GROUP} "none" not found',
        "reason": "NotFound",
        "details": {"name": "none", "group": GROUP, "kind": "widgets"},
        "code": 404,
    }


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (b"{not json", 400, "error"),
        (b'{"kind":"Secret","apiVersion":"v1","metadata":{"name":"x"}}', 400, "cannot be handled as a ConfigMap"),
        (b'{"kind":"ConfigMap","apiVersion":"v2","metadata":{"name":"x"}}', 400, 'for version "v2"'),
        (b'{"metadata":{"name":"x","namespace":"other"}}', 400, "does not match the namespace sent on the request"),
        (b'{"metadata":{}}', 422, "name or generateName is required"),
        (b'{"metadata":{"name":"Upper"}}', 422, "a lowercase RFC 1123 subdomain must consist of"),
        (b'{"metadata":{"name":"x"},"data":{"a":1}}', 400, "cannot unmarshal number into Go struct field"),
        (b'{"metadata":{"name":"x"},"data":[]}', 400, "cannot unmarshal array into Go struct field"),
        (b'{"metadata":{"name":"x","labels":{"-":"y"}}}', 422, "metadata.labels: Invalid value"),
        (b'{"metadata":{"name":"x","labels":{"a":"not ok"}}}', 422, "metadata.labels: Invalid value"),
        (b'{"metadata":{"name":"x","annotations":{"a b":"y"}}}', 422, "metadata.annotations: Invalid value"),
        (b'{"metadata":{"name":"x","finalizers":["bare"]}}', 422, "metadata.finalizers"),
        (b'{"metadata":{"name":"x"},"data":{"no/slash":"y"}}', 422, "data[no/slash]: Invalid value"),
        (b'{"metadata":{"name":"x"},"data":{"a":"y"},"binaryData":{"a":"eQ=="}}', 422, "duplicate of key present in"),
        (b'{"metadata":{"name":"x","ownerReferences":[{"kind":"A","apiVersion":"v1","name":"b"}]}}', 422, "uid"),
    ],
    ids=[
        "no JSON", "wrong kind", "wrong version", "wrong namespace", "no name", "bad name", "number as text",
        "list as map", "bad label key", "bad label value", "bad annotation key", "unqualified finalizer",
        "bad data key", "key given twice", "owner without uid",
    ],
)  # fmt: skip
async def test_malformed_objects_are_refused(api: Api, body: bytes, code: int, text: str) -> None:
    answer = await api.post("configmaps", body)
    assert answer.code == code
    assert text in answer.message


async def test_an_empty_body_is_an_empty_object(api: Api) -> None:
    answer = await api.post("configmaps", b"{}")
    assert answer.refusal() == (422, "Invalid")


async def test_a_stale_update_conflicts(api: Api) -> None:
    first = await api.create("configmaps", config_map("one"))
    first["data"] = {"a": "c"}
    assert (await api.put("configmaps", first)).code == 200
    stale = await api.put("configmaps", first)
    assert stale.refusal() == (409, "Conflict")
    assert stale.message == f'Operation cannot be fulfilled on configmaps "one": {MODIFIED}'


async def test_an_update_without_a_version_replaces_whatever_is_there(api: Api) -> None:
    await api.create("configmaps", config_map("one"))
    answer = await api.put("configmaps", config_map("one", {"x": "y"}))
    assert answer.code == 200
    assert answer.body["data"] == {"x": "y"}


async def test_an_update_of_a_custom_object_must_say_what_it_replaces(api: Api) -> None:
    await api.create("widgets", widget("one"))
    answer = await api.put("widgets", widget("one"))
    assert answer.refusal() == (422, "Invalid")
    assert answer.causes == {("FieldValueInvalid", "metadata.resourceVersion")}
    assert "must be specified for an update" in answer.message


async def test_an_update_of_another_incarnation_conflicts(api: Api) -> None:
    created = await api.create("configmaps", config_map("one"))
    answer = await api.put("configmaps", config_map("one", uid="another"))
    assert answer.refusal() == (409, "Conflict")
    uid = created["metadata"]["uid"]
    assert f"Precondition failed: UID in precondition: another, UID in object meta: {uid}" in answer.message


async def test_an_update_of_nothing_is_not_found(api: Api) -> None:
    answer = await api.put("widgets", widget("none", resourceVersion="1"))
    assert answer.refusal() == (404, "NotFound")


async def test_an_update_that_changes_nothing_is_no_write(api: Api) -> None:
    created = await api.create("configmaps", config_map("one"))
    answer = await api.put("configmaps", created)
    assert answer.body == created


async def test_a_patch_that_changes_nothing_is_no_write(api: Api) -> None:
    created = await api.create("widgets", widget("one"))
    answer = await api.patch("widgets", "one", {"spec": {"color": "red"}})
    assert answer.body == created


async def test_an_update_under_another_name_is_refused(api: Api) -> None:
    created = await api.create("configmaps", config_map("one"))
    created["metadata"]["name"] = "two"
    answer = await api.send("PUT", api.path("configmaps", "one"), created)
    assert answer.refusal() == (400, "BadRequest")
    assert "does not match the name on the URL" in answer.message


@pytest.mark.parametrize(
    ("field", "value"),
    [("uid", "x"), ("creationTimestamp", "2000-01-01T00:00:00Z"), ("generation", 99), ("selfLink", "/x")],
)
async def test_system_metadata_cannot_be_patched(api: Api, field: str, value: Any) -> None:
    created = await api.create("widgets", widget("one"))
    answer = await api.patch("widgets", "one", {"metadata": {field: value}})
    if answer.code == 200:
        assert answer.metadata == created["metadata"]
    else:
        assert answer.code in (409, 422)
        assert await api.read("widgets", "one") == created


async def test_immutable_fields_stay(api: Api) -> None:
    await api.create("configmaps", {**config_map("one"), "immutable": True})
    answer = await api.patch("configmaps", "one", {"data": {"a": "c"}})
    assert answer.refusal() == (422, "Invalid")
    assert answer.causes == {("FieldValueForbidden", "data")}


@pytest.mark.parametrize("mode", ["Strict", "Warn", "Ignore"])
async def test_unknown_fields_are_refused_warned_of_or_ignored(api: Api, mode: str) -> None:
    obj = {**config_map("one"), "bogus": 1, "metadata": {"name": "one", "strange": 2}}
    answer = await api.post("configmaps", obj, fieldValidation=mode)
    if mode == "Strict":
        assert answer.refusal() == (400, "BadRequest")
        assert 'strict decoding error: unknown field "metadata.strange", unknown field "bogus"' in answer.message
        return
    assert answer.code == 201
    assert "bogus" not in answer.body
    assert answer.warnings == (
        ['unknown field \\"metadata.strange\\"', 'unknown field \\"bogus\\"'] if mode == "Warn" else []
    )


@pytest.mark.parametrize("mode", ["Strict", "Warn"])
async def test_duplicate_fields_are_refused_or_warned_of(api: Api, mode: str) -> None:
    body = b'{"metadata":{"name":"one"},"data":{"a":"b"},"data":{"c":"d"}}'
    answer = await api.post("configmaps", body, fieldValidation=mode)
    if mode == "Strict":
        assert answer.refusal() == (400, "BadRequest")
        assert 'duplicate field "data"' in answer.message
    else:
        assert answer.warnings == ['duplicate field \\"data\\"']


async def test_an_unknown_validation_mode_is_refused(api: Api) -> None:
    answer = await api.post("configmaps", config_map("one"), fieldValidation="Perhaps")
    assert answer.refusal() == (422, "Invalid")
    assert "fieldValidation" in answer.message


async def test_a_namespace_must_exist(api: Api) -> None:
    answer = await api.send("POST", "/api/v1/namespaces/none/configmaps", config_map("one"))
    assert answer.refusal() == (404, "NotFound")
    assert answer.message == 'namespaces "none" not found'


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api/v1/namespaces/default/foos", 404),
        ("GET", "/apis/example.com/v1/foos", 404),
        ("GET", f"/apis/{GROUP}/v3/widgets", 404),
        ("GET", f"/apis/{GROUP}/v1/namespaces/default/widgets/x/foo", 404),
        ("GET", "/api/v1/namespaces/default/configmaps/one/foo", 404),
        ("GET", "/nonsense", 404),
        ("PUT", "/api/v1/namespaces/default/configmaps", 405),
        ("POST", "/api/v1/configmaps", 405),
        ("POST", "/api/v1/namespaces/default/configmaps/one", 405),
        ("GET", "/apis/authorization.k8s.io/v1/subjectaccessreviews", 405),
        ("DELETE", "/api/v1/namespaces", 405),
    ],
)
async def test_what_is_not_served_is_refused_with_a_status(api: Api, method: str, path: str, code: int) -> None:
    answer = await api.send(method, path, {})
    assert answer.code == code
    if path.startswith(("/api/v1/", f"/apis/{GROUP}/v1/", "/apis/authorization.k8s.io/")):
        assert answer.body["kind"] == "Status"
        assert answer.reason == {404: "NotFound", 405: "MethodNotAllowed"}[code]


async def test_a_body_in_an_unknown_format_is_refused(api: Api) -> None:
    answer = await api.send("POST", api.path("configmaps"), b"x", "application/x-nonsense")
    assert answer.refusal() == (415, "UnsupportedMediaType")


async def test_an_answer_in_an_unknown_format_is_refused(api: Api) -> None:
    answer = await api.list("configmaps", accept="application/x-nonsense")
    assert answer.refusal() == (406, "NotAcceptable")


async def test_yaml_bodies_are_read(api: Api) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: yaml\ndata: {a: 'b'}\n"
    answer = await api.send("POST", api.path("configmaps"), body, "application/yaml", accept="application/json")
    assert answer.code == 201, answer.message
    assert answer.body["data"] == {"a": "b"}


async def test_a_body_that_is_too_large_is_refused(api: Api) -> None:
    answer = await api.post("configmaps", config_map("one", {"a": "x" * (3 << 20)}))
    assert answer.refusal() == (413, "RequestEntityTooLarge")


async def test_a_map_larger_than_a_mebibyte_is_refused(api: Api) -> None:
    answer = await api.post("configmaps", config_map("one", {"a": "x" * ((1 << 20) + 1)}))
    assert answer.refusal() == (422, "Invalid")
    assert answer.causes == {("FieldValueTooLong", "[]")}


async def test_a_deployment_is_told_apart_from_a_number(api: Api) -> None:
    await api.create("deployments", deployment("one", replicas=0))
    answer = await api.patch("deployments", "one", {"spec": {"replicas": True}})
    assert answer.code in (400, 422)


async def test_deleting_nothing_is_not_found(api: Api) -> None:
    answer = await api.delete("configmaps", "none")
    assert answer.refusal() == (404, "NotFound")


async def test_a_delete_says_what_it_deleted(api: Api) -> None:
    created = await api.create("configmaps", config_map("one"))
    answer = await api.delete("configmaps", "one")
    assert answer.code == 200
    details = {"name": "one", "kind": "configmaps", "uid": created["metadata"]["uid"]}
    assert answer.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }


async def test_a_collection_is_deleted_by_selector(api: Api) -> None:
    for name in "abc":
        await api.create("widgets", widget(name, labels={"keep": "yes" if name == "b" else "no"}))
    answer = await api.send("DELETE", api.path("widgets"), labelSelector="keep=no")
    assert answer.code == 200
    assert (await api.list("widgets")).names == ["b"]


async def test_an_object_can_be_created_by_update_only_where_its_kind_says_so(api: Api) -> None:
    assert (await api.put("configmaps", config_map("one"))).code == 404
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {}}
    assert (await api.put("leases", lease)).code == 201
