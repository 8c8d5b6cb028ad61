"""Strategic merge patches: lists that merge by key, and the directives."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from tests.conformance.conformance_api import STRATEGIC_PATCH, Api
from tests.conformance.conformance_kinds import config_map, container, deployment, pod


def template(containers: list[Object]) -> Object:
    return {"spec": {"template": {"spec": {"containers": containers}}}}


async def two_containers(api: Api) -> None:
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    ports = [{"containerPort": 80, "name": "web"}]
    await api.create("deployments", deployment("one", container("x", env=env, ports=ports), container("y")))


async def patched(api: Api, patch: Object) -> Object:
    answer = await api.patch("deployments", "one", patch, STRATEGIC_PATCH)
    assert answer.code == 200, answer.message
    found: Object = answer.spec["template"]["spec"]
    return found


@pytest.mark.parametrize(
    ("containers", "images"),
    [
        ([{"name": "y", "image": "new"}], {"x": "example.com/app:1", "y": "new"}),
        ([{"name": "z", "image": "third"}], {"z": "third", "x": "example.com/app:1", "y": "example.com/app:1"}),
        ([{"name": "x", "$patch": "delete"}], {"y": "example.com/app:1"}),
        ([{"name": "only", "image": "i"}, {"$patch": "replace"}], {"only": "i"}),
    ],
    ids=["changes the one of that name", "adds the one of a new name", "deletes", "replaces the list"],
)
async def test_containers_merge_by_name(api: Api, containers: list[Object], images: dict[str, str]) -> None:
    await two_containers(api)
    spec = await patched(api, template(containers))
    assert {found["name"]: found["image"] for found in spec["containers"]} == images


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ([{"name": "B", "value": "9"}], {"A": "1", "B": "9"}),
        ([{"name": "C", "value": "3"}], {"A": "1", "B": "2", "C": "3"}),
        ([{"name": "A", "$patch": "delete"}], {"B": "2"}),
        ([{"name": "none", "$patch": "delete"}], {"A": "1", "B": "2"}),
    ],
    ids=["changes", "adds", "deletes", "deletes nothing"],
)
async def test_variables_merge_by_name(api: Api, env: list[Object], expected: dict[str, str]) -> None:
    await two_containers(api)
    spec = await patched(api, template([{"name": "x", "env": env}]))
    (found,) = (found for found in spec["containers"] if found["name"] == "x")
    assert {entry["name"]: entry["value"] for entry in found["env"]} == expected


async def test_ports_merge_by_number(api: Api) -> None:
    await two_containers(api)
    ports = [{"containerPort": 80, "name": "http"}, {"containerPort": 81}]
    spec = await patched(api, template([{"name": "x", "ports": ports}]))
    (found,) = (found for found in spec["containers"] if found["name"] == "x")
    assert {(port["containerPort"], port.get("name")) for port in found["ports"]} == {(80, "http"), (81, None)}


async def test_the_order_can_be_set(api: Api) -> None:
    await two_containers(api)
    order = {"$setElementOrder/containers": [{"name": "y"}, {"name": "x"}], "containers": [{"name": "x", "image": "n"}]}
    spec = await patched(api, {"spec": {"template": {"spec": order}}})
    assert [found["name"] for found in spec["containers"]] == ["y", "x"]


async def test_lists_without_a_merge_key_are_replaced(api: Api) -> None:
    await two_containers(api)
    await patched(api, template([{"name": "x", "args": ["a", "b"]}]))
    spec = await patched(api, template([{"name": "x", "args": ["c"]}]))
    (found,) = (found for found in spec["containers"] if found["name"] == "x")
    assert found["args"] == ["c"]


async def test_a_map_can_be_replaced_as_a_whole(api: Api) -> None:
    await api.create("configmaps", config_map("one", {"a": "1", "b": "2"}))
    patch = {"data": {"$patch": "replace", "c": "3"}}
    answer = await api.patch("configmaps", "one", patch, STRATEGIC_PATCH)
    assert answer.body["data"] == {"c": "3"}


async def test_a_map_can_be_deleted_as_a_whole(api: Api) -> None:
    await api.create("configmaps", config_map("one", {"a": "1"}))
    answer = await api.patch("configmaps", "one", {"data": {"$patch": "delete"}}, STRATEGIC_PATCH)
    assert answer.code == 200
    assert not answer.body.get("data")


async def test_null_takes_a_key_away(api: Api) -> None:
    await api.create("configmaps", config_map("one", {"a": "1", "b": "2"}))
    answer = await api.patch("configmaps", "one", {"data": {"a": None}}, STRATEGIC_PATCH)
    assert answer.body["data"] == {"b": "2"}


async def test_finalizers_are_a_set(api: Api) -> None:
    first = ["example.com/a", "example.com/b"]
    await api.create("configmaps", config_map("one", finalizers=first))
    patch: dict[str, Any] = {"metadata": {"finalizers": ["example.com/c"]}}
    answer = await api.patch("configmaps", "one", patch, STRATEGIC_PATCH)
    assert set(answer.metadata["finalizers"]) == {*first, "example.com/c"}
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/a"]}}
    answer = await api.patch("configmaps", "one", patch, STRATEGIC_PATCH)
    assert set(answer.metadata["finalizers"]) == {"example.com/b", "example.com/c"}
    await api.patch("configmaps", "one", {"metadata": {"finalizers": None}})


async def test_keys_to_retain_drop_the_others(api: Api) -> None:
    spec = {"volumes": [{"name": "v", "emptyDir": {}}]}
    body = deployment("one")
    body["spec"]["template"]["spec"] |= spec
    await api.create("deployments", body)
    volume = {"name": "v", "configMap": {"name": "c"}, "$retainKeys": ["name", "configMap"]}
    spec = await patched(api, {"spec": {"template": {"spec": {"volumes": [volume]}}}})
    assert spec["volumes"] == [{"name": "v", "configMap": {"name": "c", "defaultMode": 420}}]


async def test_an_unknown_directive_is_refused(api: Api) -> None:
    await api.create("configmaps", config_map("one"))
    answer = await api.patch("configmaps", "one", {"data": {"$patch": "explode"}}, STRATEGIC_PATCH)
    assert answer.code == 500


async def test_an_item_without_its_merge_key_is_refused(api: Api) -> None:
    await two_containers(api)
    answer = await api.patch("deployments", "one", template([{"image": "new"}]), STRATEGIC_PATCH)
    assert answer.code == 500
    assert "does not contain declared merge key: name" in answer.message


async def test_conditions_of_a_status_merge_by_type(api: Api) -> None:
    await api.until_pods_are_taken()
    await api.create("pods", pod("one"))

    async def condition(kind: str, status: str) -> Object:
        patch = {"status": {"conditions": [{"type": kind, "status": status}]}}
        answer = await api.patch("pods", "one", patch, STRATEGIC_PATCH, subresource="status")
        assert answer.code == 200, answer.message
        return {found["type"]: found["status"] for found in answer.body["status"]["conditions"]}

    assert await condition("example.com/A", "True") == {"example.com/A": "True"}
    assert await condition("example.com/B", "False") == {"example.com/A": "True", "example.com/B": "False"}
    assert await condition("example.com/A", "False") == {"example.com/A": "False", "example.com/B": "False"}
