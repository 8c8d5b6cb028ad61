"""The status and scale subresources, and generation: which write changes which part."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from tests.conformance.conformance_api import JSON_PATCH, Api
from tests.conformance.conformance_kinds import config_map, deployment, job, pod, widget

BOTH: Object = {
    "metadata": {"labels": {"x": "y"}},
    "spec": {"color": "blue"},
    "status": {"phase": "New"},
}


async def test_a_status_given_at_creation_is_dropped(api: Api) -> None:
    created = await api.create("widgets", {**widget("one"), "status": {"phase": "New"}})
    assert "status" not in created


async def test_a_patch_of_the_status_reaches_the_status_alone(api: Api) -> None:
    await api.create("widgets", widget("one"))
    answer = await api.patch("widgets", "one", BOTH, subresource="status")
    assert answer.code == 200
    assert answer.body["status"] == {"phase": "New", "seen": 0}
    assert answer.spec["color"] == "red"
    assert "labels" not in answer.metadata


async def test_a_patch_of_the_object_leaves_the_status(api: Api) -> None:
    await api.create("widgets", widget("one"))
    await api.patch("widgets", "one", {"status": {"phase": "Done"}}, subresource="status")
    answer = await api.patch("widgets", "one", BOTH)
    assert answer.body["status"]["phase"] == "Done"
    assert answer.spec["color"] == "blue"
    assert answer.metadata["labels"] == {"x": "y"}


async def test_an_update_of_the_object_leaves_the_status(api: Api) -> None:
    await api.create("widgets", widget("one"))
    current = (await api.patch("widgets", "one", {"status": {"phase": "Done"}}, subresource="status")).body
    del current["status"]
    answer = await api.put("widgets", current)
    assert answer.body["status"]["phase"] == "Done"


async def test_an_update_of_the_status_replaces_it(api: Api) -> None:
    created = await api.create("widgets", widget("one"))
    first = await api.put("widgets", {**created, "status": {"phase": "New", "replicas": 2}}, "status")
    assert first.body["status"] == {"phase": "New", "replicas": 2, "seen": 0}
    second = await api.put("widgets", {**first.body, "status": {"phase": "Done"}}, "status")
    assert second.body["status"] == {"phase": "Done", "seen": 0}


async def test_a_stale_update_of_the_status_conflicts(api: Api) -> None:
    created = await api.create("widgets", widget("one"))
    assert (await api.put("widgets", {**created, "status": {"phase": "New"}}, "status")).code == 200
    answer = await api.put("widgets", {**created, "status": {"phase": "Done"}}, "status")
    assert answer.refusal() == (409, "Conflict")


async def test_a_status_is_validated(api: Api) -> None:
    await api.create("widgets", widget("one"))
    answer = await api.patch("widgets", "one", {"status": {"phase": "Odd"}}, subresource="status")
    assert answer.refusal() == (422, "Invalid")
    assert ("FieldValueNotSupported", "status.phase") in answer.causes


async def test_the_status_can_be_read_alone(api: Api) -> None:
    await api.create("widgets", widget("one"))
    assert (await api.get("widgets", "one", "status")).body == await api.read("widgets", "one")


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_status_is_neither_created_nor_deleted(api: Api, method: str) -> None:
    await api.create("widgets", widget("one"))
    answer = await api.send(method, api.path("widgets", "one", "status"), {})
    assert answer.refusal() == (405, "MethodNotAllowed")


async def test_a_kind_without_status_has_none(api: Api) -> None:
    await api.create("configmaps", config_map("one"))
    assert (await api.get("configmaps", "one", "status")).code == 404


async def test_finalizers_cannot_be_set_through_the_status(api: Api) -> None:
    await api.create("widgets", widget("one"))
    patch = {"metadata": {"finalizers": ["example.com/x"]}, "status": {"phase": "New"}}
    answer = await api.patch("widgets", "one", patch, subresource="status")
    assert "finalizers" not in answer.metadata


async def test_a_pods_status_is_written_apart(api: Api) -> None:
    await api.until_pods_are_taken()
    await api.create("pods", pod("one"))
    patch = {"status": {"phase": "Running", "message": "m"}, "spec": {"activeDeadlineSeconds": 5}}
    answer = await api.patch("pods", "one", patch, subresource="status")
    assert answer.body["status"]["phase"] == "Running"
    assert "activeDeadlineSeconds" not in answer.spec
    answer = await api.patch("pods", "one", {"status": {"phase": "Failed"}, "metadata": {"labels": {"a": "b"}}})
    assert answer.body["status"]["phase"] == "Running"
    assert answer.metadata["labels"] == {"a": "b"}


# --- generation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patch", "subresource", "expected"),
    [
        ({"metadata": {"labels": {"x": "y"}}}, "", 1),
        ({"metadata": {"annotations": {"x": "y"}}}, "", 1),
        ({"spec": {"size": 5}}, "", 2),
        ({"spec": {"color": "red"}}, "", 1),
        ({"status": {"phase": "New"}}, "status", 1),
        ({"spec": {"size": 5}, "status": {"phase": "New"}}, "status", 1),
        ({"spec": {"replicas": 5}}, "scale", 2),
    ],
    ids=["label", "annotation", "spec", "same spec", "status", "spec through status", "scale"],
)
async def test_generation_rises_with_the_spec_alone(api: Api, patch: Object, subresource: str, expected: int) -> None:
    await api.create("widgets", widget("one", {"replicas": 1}))
    answer = await api.patch("widgets", "one", patch, subresource=subresource)
    assert answer.code == 200, answer.message
    assert (await api.read("widgets", "one"))["metadata"]["generation"] == expected


async def test_generation_rises_when_a_deletion_begins(api: Api) -> None:
    await api.create("widgets", widget("one", finalizers=["example.com/x"]))
    await api.delete("widgets", "one")
    assert (await api.read("widgets", "one"))["metadata"]["generation"] == 2
    await api.patch("widgets", "one", {"metadata": {"finalizers": None}})


@pytest.mark.parametrize(
    ("plural", "body", "change"),
    [
        ("deployments", deployment("one"), {"spec": {"paused": True}}),
        ("jobs", job("one"), {"spec": {"parallelism": 2}}),
    ],
    ids=["Deployment", "Job"],
)
async def test_workloads_have_a_generation(api: Api, plural: str, body: Object, change: Any) -> None:
    created = await api.create(plural, body)
    assert created["metadata"]["generation"] == 1
    answer = await api.patch(plural, "one", {"metadata": {"labels": {"x": "y"}}})
    assert answer.metadata["generation"] == 1
    answer = await api.patch(plural, "one", change)
    assert answer.metadata["generation"] == 2


# --- scale -----------------------------------------------------------------------------------------------------------


async def test_a_scale_shows_the_declared_paths(api: Api) -> None:
    await api.create("widgets", widget("one", {"replicas": 2}))
    await api.patch("widgets", "one", {"status": {"replicas": 1, "selector": "a=b"}}, subresource="status")
    answer = await api.get("widgets", "one", "scale")
    assert (answer.body["kind"], answer.body["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert answer.spec == {"replicas": 2}
    assert answer.body["status"] == {"replicas": 1, "selector": "a=b"}


async def test_a_scale_is_updated_with_its_version(api: Api) -> None:
    await api.create("widgets", widget("one", {"replicas": 2}))
    scale = (await api.get("widgets", "one", "scale")).body
    scale["spec"]["replicas"] = 4
    assert (await api.put("widgets", scale, "scale")).spec == {"replicas": 4}
    assert (await api.read("widgets", "one"))["spec"]["replicas"] == 4
    scale["spec"]["replicas"] = 5
    assert (await api.put("widgets", scale, "scale")).refusal() == (409, "Conflict")


async def test_a_scale_that_was_never_set_can_be_set_but_not_read(api: Api) -> None:
    await api.create("widgets", widget("one"))
    answer = await api.get("widgets", "one", "scale")
    assert answer.refusal() == (500, "InternalError")
    assert 'the spec replicas field ".spec.replicas" does not exist' in answer.message
    assert (await api.patch("widgets", "one", {"spec": {"replicas": 2}}, subresource="scale")).spec == {"replicas": 2}


async def test_a_negative_scale_is_refused(api: Api) -> None:
    await api.create("widgets", widget("one", {"replicas": 2}))
    answer = await api.patch("widgets", "one", {"spec": {"replicas": -1}}, subresource="scale")
    assert answer.refusal() == (422, "Invalid")
    assert ("FieldValueInvalid", "spec.replicas") in answer.causes


async def test_a_deployment_is_scaled(api: Api) -> None:
    await api.create("deployments", deployment("one"))
    answer = await api.get("deployments", "one", "scale")
    assert answer.spec == {}
    assert answer.body["status"] == {"replicas": 0, "selector": "app=one"}
    paused = {"spec": {"paused": True}}
    await api.patch("deployments", "one", paused)
    assert (await api.patch("deployments", "one", {"spec": {"replicas": 2}}, subresource="scale")).spec == {
        "replicas": 2
    }
    assert (await api.read("deployments", "one"))["spec"]["replicas"] == 2


async def test_a_patch_of_a_scale_that_does_not_fit_is_refused(api: Api) -> None:
    await api.create("deployments", deployment("one"))
    operations = [{"op": "test", "path": "/spec/replicas", "value": 5}]
    answer = await api.patch("deployments", "one", operations, JSON_PATCH, "scale")
    assert answer.refusal() == (422, "Invalid")
