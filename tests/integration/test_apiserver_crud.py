"""Create, read, update and delete over HTTP, as a real API server answers."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import trio

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
MERGE = {"content-type": "application/merge-patch+json"}


def config_map(name: str, data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data or {"a": "b"}}


async def test_created_object_carries_system_metadata(cluster: Any) -> None:
    created = await cluster.create(CONFIGMAPS, config_map("one"))
    metadata = created["metadata"]
    assert metadata["uid"]
    assert metadata["resourceVersion"] == str(cluster.server.store.revision)
    assert metadata["creationTimestamp"].endswith("Z")
    assert metadata["namespace"] == "default"
    assert "generation" not in metadata
    assert (await cluster.client.get(f"{CONFIGMAPS}/one")).json() == created


async def test_system_metadata_cannot_be_chosen(cluster: Any) -> None:
    wanted: dict[str, Any] = {"uid": "mine", "creationTimestamp": "2000-01-01T00:00:00Z", "selfLink": "/x"}
    created = await cluster.create(CONFIGMAPS, config_map("one", deletionTimestamp="2000-01-01T00:00:00Z", **wanted))
    assert all(created["metadata"].get(name) != value for name, value in wanted.items())
    assert "deletionTimestamp" not in created["metadata"]


async def test_second_create_conflicts_in_the_real_words(cluster: Any) -> None:
    await cluster.create(CONFIGMAPS, config_map("one"))
    answer = await cluster.client.post(CONFIGMAPS, json=config_map("one"))
    assert answer.status_code == 409
    assert answer.json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'configmaps "one" already exists',
        "reason": "AlreadyExists",
        "details": {"name": "one", "kind": "configmaps"},
        "code": 409,
    }


async def test_generated_names_differ(cluster: Any) -> None:
    obj = {"metadata": {"generateName": "job-"}}
    names = {(await cluster.create(CONFIGMAPS, obj))["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("job-") and len(name) == 9 for name in names)


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (b"{not json", 400, "json parse error"),
        (b"[]", 400, "must be a JSON object"),
        (b'{"kind":"Secret","apiVersion":"v1","metadata":{"name":"x"}}', 400, "cannot be handled as a ConfigMap"),
        (
            b'{"kind":"ConfigMap","apiVersion":"v2","metadata":{"name":"x"}}',
            400,
            'is registered for version "v2"',
        ),
        (b'{"metadata":{"name":"x","namespace":"other"}}', 400, "does not match the namespace sent on the request"),
        (b'{"metadata":{}}', 422, "name or generateName is required"),
        (b'{"metadata":{"name":"Upper"}}', 422, "RFC 1123 subdomain"),
        (b'{"metadata":[]}', 400, "metadata must be an object"),
        (b'{"metadata":{"name":"x"},"data":{"a":1}}', 400, "cannot unmarshal number"),
    ],
)
async def test_malformed_objects_are_refused(cluster: Any, body: bytes, code: int, text: str) -> None:
    answer = await cluster.client.post(CONFIGMAPS, content=body)
    assert answer.status_code == code
    assert text in answer.json()["message"]


async def test_unknown_fields_are_refused_warned_of_or_ignored_as_asked(cluster: Any) -> None:
    obj = {**config_map("one"), "bogus": 1}
    strict = await cluster.client.post(CONFIGMAPS, json=obj, params={"fieldValidation": "Strict"})
    assert strict.status_code == 400
    assert strict.json()["message"].endswith('strict decoding error: unknown field "bogus"')
    warned = await cluster.client.post(CONFIGMAPS, json=obj)
    assert warned.status_code == 201
    assert warned.headers["warning"] == '299 - "unknown field \\"bogus\\""'
    assert "bogus" not in warned.json()
    ignored = await cluster.client.put(f"{CONFIGMAPS}/one", json=obj, params={"fieldValidation": "Ignore"})
    assert ignored.status_code == 200
    assert "warning" not in ignored.headers


async def test_a_namespace_must_exist_and_live(cluster: Any) -> None:
    answer = await cluster.client.post("/api/v1/namespaces/none/configmaps", json=config_map("one"))
    assert answer.status_code == 404
    assert answer.json()["message"] == 'namespaces "none" not found'
    await cluster.create("/api/v1/namespaces", {"metadata": {"name": "dying"}})
    await cluster.client.delete("/api/v1/namespaces/dying")
    answer = await cluster.client.post("/api/v1/namespaces/dying/configmaps", json=config_map("one"))
    assert answer.status_code == 403
    assert answer.json()["message"] == (
        'configmaps "one" is forbidden: unable to create new content in namespace dying because it is being terminated'
    )
    assert answer.json()["details"]["causes"][0]["reason"] == "NamespaceTerminating"


async def test_a_stale_update_conflicts(cluster: Any) -> None:
    first = await cluster.create(CONFIGMAPS, config_map("one"))
    first["data"] = {"a": "c"}
    second = await cluster.client.put(f"{CONFIGMAPS}/one", json=first)
    assert second.status_code == 200
    stale = await cluster.client.put(f"{CONFIGMAPS}/one", json=first)
    assert stale.status_code == 409
    assert stale.json()["message"] == (
        'Operation cannot be fulfilled on configmaps "one": the object has been modified; please apply your changes to '
        "the latest version and try again"
    )


async def test_an_update_of_another_incarnation_conflicts(cluster: Any) -> None:
    await cluster.create(CONFIGMAPS, config_map("one"))
    answer = await cluster.client.put(f"{CONFIGMAPS}/one", json=config_map("one", uid="another"))
    assert answer.status_code == 409
    assert "Precondition failed: UID in precondition: another" in answer.json()["message"]


async def test_an_update_that_changes_nothing_is_no_write(cluster: Any) -> None:
    created = await cluster.create(CONFIGMAPS, config_map("one"))
    answer = await cluster.client.put(f"{CONFIGMAPS}/one", json=created)
    assert answer.json() == created
    assert str(cluster.server.store.revision) == created["metadata"]["resourceVersion"]


async def test_true_is_not_one_to_an_update(cluster: Any) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template, "replicas": 1}
    await cluster.create(path, {"metadata": {"name": "d"}, "spec": spec})
    answer = await cluster.client.patch(f"{path}/d", content=b'{"spec":{"replicas":true}}', headers=MERGE)
    assert answer.status_code == 422


async def test_a_dry_run_changes_nothing(cluster: Any) -> None:
    before = cluster.server.store.revision
    answer = await cluster.client.post(CONFIGMAPS, json=config_map("one"), params={"dryRun": "All"})
    assert answer.status_code == 201
    assert answer.json()["metadata"]["uid"]
    assert cluster.server.store.revision == before
    await cluster.create(CONFIGMAPS, config_map("one"))
    before = cluster.server.store.revision
    patched = await cluster.client.patch(
        f"{CONFIGMAPS}/one", content=b'{"data":{"x":"y"}}', headers=MERGE, params={"dryRun": "All"}
    )
    assert patched.json()["data"] == {"a": "b", "x": "y"}
    assert (await cluster.client.delete(f"{CONFIGMAPS}/one", params={"dryRun": "All"})).status_code == 200
    assert cluster.server.store.revision == before


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api/v1/namespaces/default/foos", 404),
        ("GET", "/apis/example.com/v1/foos", 404),
        ("GET", f"{CONFIGMAPS}/one/foo", 404),
        ("GET", "/nonsense", 404),
        ("PUT", CONFIGMAPS, 405),
        ("POST", "/api/v1/configmaps", 405),
        ("POST", f"{CONFIGMAPS}/one", 405),
        ("GET", "/apis/authorization.k8s.io/v1/subjectaccessreviews", 405),
    ],
)
async def test_what_is_not_served_is_refused_with_a_status(cluster: Any, method: str, path: str, code: int) -> None:
    answer = await cluster.client.request(method, path, content=b"{}")
    assert answer.status_code == code
    assert answer.json()["kind"] == "Status"


async def test_what_a_local_cluster_leaves_out_says_what_to_do_instead(cluster: Any) -> None:
    answer = await cluster.client.post("/api/v1/namespaces/default/pods/p/eviction", json={})
    assert answer.status_code == 501
    assert answer.json()["message"] == "pods/eviction is not served by a local cluster: delete the pod instead"


async def test_media_types_that_are_not_spoken_are_refused(cluster: Any) -> None:
    answer = await cluster.client.get(CONFIGMAPS, headers={"accept": "application/vnd.kubernetes.protobuf"})
    assert answer.status_code == 406
    answer = await cluster.client.post(CONFIGMAPS, content=b"x", headers={"content-type": "application/cbor"})
    assert answer.status_code == 415
    both = {"accept": "application/vnd.kubernetes.protobuf,application/json"}
    assert (await cluster.client.get(CONFIGMAPS, headers=both)).headers["content-type"] == "application/json"


async def test_yaml_bodies_are_read(cluster: Any) -> None:
    answer = await cluster.client.post(
        CONFIGMAPS,
        content=b"metadata:\n  name: yam\ndata: {a: 'b', on: 'c'}\n",
        headers={"content-type": "application/yaml"},
    )
    assert answer.status_code == 201
    assert answer.json()["data"] == {"a": "b", "true": "c"}


async def test_a_body_that_is_too_large_is_refused(cluster: Any) -> None:
    huge = orjson.dumps(config_map("one", {"a": "x" * (4 << 20)}))
    answer = await cluster.client.post(CONFIGMAPS, content=huge)
    assert answer.status_code == 413
    assert answer.json()["reason"] == "RequestEntityTooLarge"


async def test_concurrent_patches_all_arrive(cluster: Any) -> None:
    await cluster.create(CONFIGMAPS, config_map("one"))

    async def patch(index: int) -> None:
        body = orjson.dumps({"data": {f"k{index}": "v"}})
        answer = await cluster.client.patch(f"{CONFIGMAPS}/one", content=body, headers=MERGE)
        assert answer.status_code == 200

    async with trio.open_nursery() as nursery:
        for index in range(50):
            nursery.start_soon(patch, index)
    data = (await cluster.client.get(f"{CONFIGMAPS}/one")).json()["data"]
    assert len(data) == 51


async def test_a_table_and_partial_metadata_are_given_on_request(cluster: Any) -> None:
    await cluster.create(CONFIGMAPS, config_map("one"))
    table = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    rows = (await cluster.client.get(CONFIGMAPS, headers=table)).json()
    assert rows["kind"] == "Table"
    assert rows["rows"][0]["cells"][0] == "one"
    partial = {"accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    items = (await cluster.client.get(CONFIGMAPS, headers=partial)).json()
    assert items["kind"] == "PartialObjectMetadataList"
    assert set(items["items"][0]) == {"kind", "apiVersion", "metadata"}


async def test_lists_and_single_objects_show_the_same(cluster: Any) -> None:
    created = [await cluster.create(CONFIGMAPS, config_map(name)) for name in ("b", "a")]
    listed = (await cluster.client.get(CONFIGMAPS)).json()
    assert listed["kind"] == "ConfigMapList"
    assert listed["items"] == [created[1], created[0]]
    assert listed["metadata"]["resourceVersion"] == str(cluster.server.store.revision)


async def test_pods_are_completed_as_on_a_real_cluster(cluster: Any) -> None:
    spec = {"containers": [{"name": "c", "image": "i"}]}
    created = await cluster.create("/api/v1/namespaces/default/pods", {"metadata": {"name": "p"}, "spec": spec})
    found = created["spec"]
    assert found["serviceAccountName"] == "default"
    (volume,) = found["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    assert found["containers"][0]["volumeMounts"] == [
        {"name": volume["name"], "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    ]
    assert len(found["tolerations"]) == 2
    assert created["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


async def test_a_pod_needs_its_service_account(cluster: Any) -> None:
    spec = {"serviceAccountName": "nobody", "containers": [{"name": "c", "image": "i"}]}
    answer = await cluster.client.post(
        "/api/v1/namespaces/default/pods", json={"metadata": {"name": "p"}, "spec": spec}
    )
    assert answer.status_code == 403
    assert answer.json()["message"] == (
        'pods "p" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found'
    )


async def test_events_have_two_faces(cluster: Any) -> None:
    involved = {"kind": "Pod", "namespace": "default", "name": "p"}
    event = {"metadata": {"name": "e"}, "involvedObject": involved, "message": "m", "reason": "R", "type": "Normal"}
    await cluster.create("/api/v1/namespaces/default/events", event)
    new = "/apis/events.k8s.io/v1/namespaces/default/events"
    shown = (await cluster.client.get(f"{new}/e")).json()
    assert shown["regarding"] == involved
    assert shown["note"] == "m"
    assert shown["apiVersion"] == "events.k8s.io/v1"
    selected = (await cluster.client.get(new, params={"fieldSelector": "regarding.name=p"})).json()
    assert len(selected["items"]) == 1
    old = await cluster.client.get(
        "/api/v1/namespaces/default/events", params={"fieldSelector": "involvedObject.name=q"}
    )
    assert old.json()["items"] == []


async def test_a_pod_is_bound_once(cluster: Any) -> None:
    pods = "/api/v1/namespaces/default/pods"
    await cluster.create(pods, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n"},
    }
    assert (await cluster.client.post(f"{pods}/p/binding", json=binding)).status_code == 201
    bound = (await cluster.client.get(f"{pods}/p")).json()
    assert bound["spec"]["nodeName"] == "n"
    assert [(found["type"], found["status"]) for found in bound["status"]["conditions"]] == [("PodScheduled", "True")]
    again = await cluster.client.post(f"{pods}/p/binding", json=binding)
    assert again.status_code == 409


async def test_documents_are_served(cluster: Any) -> None:
    assert (await cluster.client.get("/healthz")).text == "ok"
    assert (await cluster.client.get("/version")).json()["major"] == "1"
    assert (await cluster.client.get("/api")).json()["versions"] == ["v1"]
    assert "apps" in [group["name"] for group in (await cluster.client.get("/apis")).json()["groups"]]
    assert (await cluster.client.get("/apis/nope/v1")).status_code == 404
    assert "paths" in (await cluster.client.get("/openapi/v3")).json()
