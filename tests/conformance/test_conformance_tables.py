"""Tables and bare metadata, which kubectl requests for printing."""

from __future__ import annotations

import pytest

from tests.conformance.conformance_api import Answer, Api
from tests.conformance.conformance_kinds import GROUP, config_map, container, deployment, job, pod, widget

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


def columns(answer: Answer) -> list[str]:
    return [found["name"] for found in answer.body["columnDefinitions"]]


async def test_a_custom_kind_has_its_declared_columns(api: Api) -> None:
    await api.create("widgets", widget("one"))
    answer = await api.list("widgets", accept=TABLE)
    assert (answer.body["kind"], answer.body["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert columns(answer) == ["Name", "Color", "Size", "Phase", "Age"]
    name, color, size, phase, age = answer.body["columnDefinitions"]
    assert (name["type"], name["format"], name["priority"]) == ("string", "name", 0)
    assert color["description"] == "What it looks like."
    assert (size["type"], phase["priority"], age["type"]) == ("integer", 1, "date")
    (row,) = answer.body["rows"]
    assert row["cells"][:4] == ["one", "red", 3, None]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert row["object"]["metadata"]["name"] == "one"


@pytest.mark.parametrize(
    ("include", "kind"), [("Object", "Widget"), ("Metadata", "PartialObjectMetadata"), ("None", "")]
)
async def test_rows_carry_as_much_of_the_object_as_wanted(api: Api, include: str, kind: str) -> None:
    await api.create("widgets", widget("one"))
    answer = await api.list("widgets", accept=TABLE, includeObject=include)
    (row,) = answer.body["rows"]
    assert (row["object"] or {}).get("kind", "") == kind


async def test_a_single_object_is_a_table_of_one_row(api: Api) -> None:
    created = await api.create("widgets", widget("one"))
    answer = await api.get("widgets", "one", accept=TABLE)
    assert len(answer.body["rows"]) == 1
    assert answer.metadata["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_a_table_is_paged(api: Api) -> None:
    for name in "abc":
        await api.create("widgets", widget(name))
    first = await api.list("widgets", accept=TABLE, limit=2)
    assert [row["cells"][0] for row in first.body["rows"]] == ["a", "b"]
    rest = await api.list("widgets", accept=TABLE, limit=2, **{"continue": first.metadata["continue"]})
    assert [row["cells"][0] for row in rest.body["rows"]] == ["c"]


async def test_another_form_is_taken_when_a_table_is_only_preferred(api: Api) -> None:
    answer = await api.list("widgets", accept=f"{TABLE},application/json")
    assert answer.body["kind"] == "Table"


async def test_a_form_that_does_not_exist_is_passed_over_or_refused(api: Api) -> None:
    odd = "application/json;as=Drawing;v=v1;g=meta.k8s.io"
    assert (await api.list("widgets", accept=odd)).code == 406
    assert (await api.list("widgets", accept=f"{odd},application/json")).body["kind"] == "WidgetList"


async def test_metadata_alone_is_given(api: Api) -> None:
    created = await api.create("widgets", widget("one"))
    answer = await api.get("widgets", "one", accept=PARTIAL)
    assert (answer.body["kind"], answer.body["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert answer.metadata == created["metadata"]
    listed = await api.list("widgets", accept=PARTIAL_LIST)
    assert listed.body["kind"] == "PartialObjectMetadataList"
    assert [set(item) for item in listed.body["items"]] == [{"kind", "apiVersion", "metadata"}]


@pytest.mark.parametrize(
    ("plural", "expected"),
    [
        ("configmaps", ["Name", "Data", "Age"]),
        ("secrets", ["Name", "Type", "Data", "Age"]),
        ("serviceaccounts", ["Name", "Age"]),
        ("namespaces", ["Name", "Status", "Age"]),
        ("services", ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector"]),
        ("leases", ["Name", "Holder", "Age"]),
        ("roles", ["Name", "Created At"]),
        ("rolebindings", ["Name", "Role", "Age", "Users", "Groups", "ServiceAccounts"]),
        ("deployments", ["Name", "Ready", "Up-to-date", "Available", "Age", "Containers", "Images", "Selector"]),
        ("replicasets", ["Name", "Desired", "Current", "Ready", "Age", "Containers", "Images", "Selector"]),
        ("jobs", ["Name", "Status", "Completions", "Duration", "Age", "Containers", "Images", "Selector"]),
        (
            "pods",
            ["Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "Nominated Node", "Readiness Gates"],
        ),
        (
            "customresourcedefinitions",
            ["Name", "Scope", "Versions", "Created At", "Group", "Kind", "ShortNames", "Established"],
        ),
        (
            "events",
            ["Last Seen", "Type", "Reason", "Object", "Subobject", "Source", "Message", "First Seen", "Count", "Name"],
        ),
    ],
)  # fmt: skip
async def test_built_in_kinds_have_kubectls_columns(api: Api, plural: str, expected: list[str]) -> None:
    assert columns(await api.list(plural, accept=TABLE)) == expected


async def cells(api: Api, plural: str, name: str, count: int) -> list[object]:
    answer = await api.get(plural, name, accept=TABLE)
    (row,) = answer.body["rows"]
    found: list[object] = row["cells"][:count]
    return found


async def test_a_config_map_shows_how_much_it_holds(api: Api) -> None:
    await api.create("configmaps", config_map("one", {"a": "1", "b": "2"}))
    assert await cells(api, "configmaps", "one", 2) == ["one", 2]


async def test_a_pod_shows_its_state(api: Api) -> None:
    await api.until_pods_are_taken()
    await api.create("pods", pod("one", container("a"), container("b")))
    assert await cells(api, "pods", "one", 4) == ["one", "0/2", "Pending", "0"]
    running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    common = {"image": "i", "imageID": "i"}
    statuses = [
        {**common, "name": "a", "ready": True, "restartCount": 0, "state": running},
        {**common, "name": "b", "ready": False, "restartCount": 3, "state": waiting},
    ]
    patch = {"status": {"phase": "Running", "containerStatuses": statuses}}
    assert (await api.patch("pods", "one", patch, subresource="status")).code == 200
    assert await cells(api, "pods", "one", 3) == ["one", "1/2", "CrashLoopBackOff"]


async def test_a_finished_pod_is_completed(api: Api) -> None:
    await api.until_pods_are_taken()
    await api.create("pods", pod("one"))
    done = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    status = {"image": "i", "imageID": "i", "name": "main", "ready": False, "restartCount": 0, "state": done}
    patch = {"status": {"phase": "Succeeded", "containerStatuses": [status]}}
    await api.patch("pods", "one", patch, subresource="status")
    assert await cells(api, "pods", "one", 4) == ["one", "0/1", "Completed", "0"]


async def test_a_dying_pod_is_terminating(api: Api) -> None:
    await api.until_pods_are_taken()
    await api.create("pods", pod("one", nodeName="n"))
    await api.delete("pods", "one")
    assert (await cells(api, "pods", "one", 3))[2] == "Terminating"
    await api.delete("pods", "one", {"gracePeriodSeconds": 0})


async def test_a_job_shows_how_far_it_is(api: Api) -> None:
    await api.create("jobs", job("one"))
    await api.wait_until("jobs", "one", lambda obj: bool(obj["status"].get("conditions")))
    assert await cells(api, "jobs", "one", 3) == ["one", "Suspended", "0/1"]


async def test_a_deployment_shows_its_replicas(api: Api) -> None:
    await api.create("deployments", deployment("one"))
    assert await cells(api, "deployments", "one", 4) == ["one", "0/0", 0, 0]


async def test_the_age_of_something_new_is_in_seconds(api: Api) -> None:
    await api.create("configmaps", config_map("one"))
    age = (await cells(api, "configmaps", "one", 3))[2]
    assert isinstance(age, str)
    assert age.endswith("s")


async def test_a_custom_kinds_age_is_its_instant_or_a_span(api: Api) -> None:
    await api.create("widgets", widget("one"))
    age = (await cells(api, "widgets", "one", 5))[4]
    assert isinstance(age, str)
    assert age.endswith("s")


async def test_a_kind_without_columns_shows_name_and_age(api: Api) -> None:
    answer = await api.send("GET", f"/apis/{GROUP}/v2/widgets", accept=TABLE)
    assert columns(answer) == ["Name", "Color", "Size", "Phase", "Age"]
