"""Stories in two versions on an API server that calls our conversion webhook, and the remedy when it is down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from core.api.crd import custom_resource_definition
from core.api.keys import ANNOTATION_STORY_CONVERSION
from core.api.objects import Object
from core.api.resource import STORY
from core.api.story import STORY_KIND
from deployment.generate import CONVERSION_SERVICE
from tests.integration.webhookserver import WebhookServer, open_webhook_server
from tests.integration.widgets import DEFINITIONS
from webhooks.conversion import review

GROUP = "/apis/bubustack.io"
ALPHA, BETA = (f"{GROUP}/{version}/namespaces/default/stories" for version in ("v1alpha1", "v1beta1"))
DEFINITION = f"{DEFINITIONS}/stories.bubustack.io"
HOST = f"{CONVERSION_SERVICE.name}.{CONVERSION_SERVICE.namespace}.svc"
MERGE, JSON_PATCH = ({"content-type": f"application/{kind}+json"} for kind in ("merge-patch", "json-patch"))

KILL_SWITCH = [
    {"op": "test", "path": "/spec/versions/1/name", "value": "v1beta1"},
    {"op": "replace", "path": "/spec/versions/1/served", "value": False},
    {"op": "replace", "path": "/spec/conversion", "value": {"strategy": "None"}},
]


@dataclass
class TwoVersions:
    """A cluster that serves Stories in both versions. Its webhook can be killed."""

    cluster: Any
    hook: trio.CancelScope
    asked: list[Any]

    async def get(self, path: str) -> Any:
        return await self.cluster.client.get(path)

    async def kill_webhook(self) -> None:
        self.hook.cancel()
        await trio.testing.wait_all_tasks_blocked(0.05)

    async def patch_definition(self, patch: Any, headers: Object) -> Any:
        return await self.cluster.client.patch(DEFINITION, content=orjson.dumps(patch), headers=headers)


async def convert(request: Object) -> Object:
    asked = {"apiVersion": review.API_VERSION, "kind": review.KIND, "request": request}
    response: Object = review.answer(asked)["response"]
    return response


async def serve(folder: Path, *, task_status: trio.TaskStatus[tuple[WebhookServer, trio.CancelScope]]) -> None:
    with trio.CancelScope() as scope:
        async with open_webhook_server(folder, HOST) as server:
            server.handlers["/convert"] = convert
            task_status.started((server, scope))
            await trio.sleep_forever()


@pytest.fixture
async def both(cluster: Any, tmp_path: Path) -> AsyncIterator[TwoVersions]:
    """In the order of an installation: the plain definition, then the Service, then both versions with the bundle."""
    await cluster.create(DEFINITIONS, custom_resource_definition(STORY_KIND))
    async with trio.open_nursery() as nursery:
        server, scope = await nursery.start(lambda task_status: serve(tmp_path, task_status=task_status))
        await cluster.create("/api/v1/namespaces", {"metadata": {"name": CONVERSION_SERVICE.namespace}})
        await cluster.create(
            f"/api/v1/namespaces/{CONVERSION_SERVICE.namespace}/services",
            {
                "metadata": {"name": CONVERSION_SERVICE.name},
                "spec": {"ports": [{"port": CONVERSION_SERVICE.port, "targetPort": server.port}]},
            },
        )
        found = TwoVersions(cluster, scope, server.asked)
        definition = custom_resource_definition(STORY_KIND, CONVERSION_SERVICE)
        answer = await found.patch_definition({"spec": definition["spec"]}, MERGE)
        assert answer.status_code == 200, answer.text
        bundle = [
            {"op": "add", "path": "/spec/conversion/webhook/clientConfig/caBundle", "value": server.ca_bundle},
        ]
        assert (await found.patch_definition(bundle, JSON_PATCH)).status_code == 200
        yield found
        nursery.cancel_scope.cancel()


def beta(name: str, *steps: Object) -> Object:
    return {
        "apiVersion": "bubustack.io/v1beta1",
        "kind": "Story",
        "metadata": {"name": name},
        "spec": {"steps": list(steps)},
    }


def alpha(name: str, *steps: Object) -> Object:
    return {**beta(name, *steps), "apiVersion": "bubustack.io/v1alpha1"}


GATE: Object = {"name": "approve", "gate": {"timeout": "24h", "onTimeout": "skip"}}
STORED_GATE: Object = {"name": "approve", "type": "gate", "with": {"timeout": "24h", "onTimeout": "skip"}}


async def test_the_stored_version_is_the_one_that_informers_watch(both: TwoVersions) -> None:
    assert STORY.version == "v1alpha1"
    stored = (await both.get(DEFINITION)).json()
    assert stored["status"]["storedVersions"] == ["v1alpha1"]
    await both.cluster.create(ALPHA, alpha("a", STORED_GATE))
    assert (await both.get(ALPHA)).status_code == 200
    assert both.asked == [], "reading what is stored asks nobody"


async def test_what_is_written_in_one_version_is_read_in_the_other(both: TwoVersions) -> None:
    await both.cluster.create(BETA, beta("b", GATE))
    stored = (await both.get(f"{ALPHA}/b")).json()
    assert stored["spec"]["steps"] == [STORED_GATE]
    assert "annotations" not in stored["metadata"]
    await both.cluster.create(ALPHA, alpha("a", {"name": "x", "type": "sleep", "with": {"duration": "1s", "n": 1}}))
    listed = (await both.get(BETA)).json()["items"]
    assert [item["spec"]["steps"][0] for item in listed] == [{"name": "x", "sleep": {"duration": "1s"}}, GATE]
    assert ANNOTATION_STORY_CONVERSION in listed[0]["metadata"]["annotations"]


async def test_an_edit_in_the_typed_version_keeps_what_it_does_not_show(both: TwoVersions) -> None:
    await both.cluster.create(ALPHA, alpha("a", {"name": "x", "type": "sleep", "with": {"duration": "1s", "n": 1}}))
    patch = {"metadata": {"labels": {"team": "a"}}}
    answer = await both.cluster.client.patch(f"{BETA}/a", content=orjson.dumps(patch), headers=MERGE)
    assert answer.status_code == 200, answer.text
    stored = (await both.get(f"{ALPHA}/a")).json()
    assert stored["spec"]["steps"] == [{"name": "x", "type": "sleep", "with": {"duration": "1s", "n": 1}}]
    assert stored["metadata"]["labels"] == {"team": "a"}
    assert ANNOTATION_STORY_CONVERSION not in stored["metadata"].get("annotations", {})


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"name": "a"}, "a step must set exactly one of ref, run, condition"),
        ({"name": "a", "gate": {}, "sleep": {}}, "a step must set exactly one of ref, run, condition"),
        ({"name": "a", "gate": {}, "with": {}}, "with is the input of an Engram"),
        ({"name": "a", "wait": {}}, "spec.steps[0].wait.until"),
        ({"name": "a", "gate": {"onTimeout": "stop"}}, "spec.steps[0].gate.onTimeout"),
        ({"name": "a", "parallel": {"steps": [{"name": "b"}]}}, "a step must set exactly one of ref, run, condition"),
        ({"name": "a", "parallel": {"steps": [{"name": "b", "sleep": 3}]}}, "parallel.steps[0].sleep"),
    ],
)
async def test_the_schema_refuses_what_no_step_can_be(both: TwoVersions, step: Object, message: str) -> None:
    answer = await both.cluster.client.post(BETA, json=beta("b", step))
    assert answer.status_code == 422, answer.text
    assert message in answer.json()["message"]


async def test_what_is_nested_deeper_than_the_schema_looks_is_kept(both: TwoVersions) -> None:
    inner = {"name": "c", "parallel": {"steps": [{"name": "d", "sleep": {"duration": "1s"}}]}}
    written = {
        "name": "a",
        "parallel": {"steps": [inner, {"name": "e", "ref": {"name": "x"}, "execution": {"job": {}}}]},
    }
    created = await both.cluster.create(BETA, beta("b", written))
    assert created["spec"]["steps"] == [written]
    stored = (await both.get(f"{ALPHA}/b")).json()["spec"]["steps"][0]
    assert stored["with"]["steps"][0]["with"]["steps"] == [{"name": "d", "type": "sleep", "with": {"duration": "1s"}}]


@pytest.mark.parametrize("switch", ["patch", "replace"])
async def test_a_dead_webhook_stops_one_version_and_the_kill_switch_brings_all_back(
    both: TwoVersions, switch: str
) -> None:
    await both.cluster.create(BETA, beta("b", GATE))
    await both.kill_webhook()
    broken = await both.get(BETA)
    assert broken.status_code == 500
    assert "conversion webhook for bubustack.io/v1alpha1, Kind=Story failed" in broken.json()["message"]
    assert (await both.get(f"{ALPHA}/b")).status_code == 200

    if switch == "patch":
        answer = await both.patch_definition(KILL_SWITCH, JSON_PATCH)
    else:  # as kubectl replace does it
        version = (await both.get(DEFINITION)).json()["metadata"]["resourceVersion"]
        plain = custom_resource_definition(STORY_KIND)
        plain["metadata"]["resourceVersion"] = version
        answer = await both.cluster.client.put(DEFINITION, json=plain)
    assert answer.status_code == 200, answer.text

    assert (await both.get(BETA)).status_code == 404
    served = (await both.get(GROUP)).json()
    assert [found["version"] for found in served["versions"]] == ["v1alpha1"]
    assert (await both.get(f"{ALPHA}/b")).json()["spec"]["steps"] == [STORED_GATE]
    await both.cluster.create(ALPHA, alpha("c", STORED_GATE))
    assert (await both.cluster.client.delete(f"{ALPHA}/b")).status_code == 200
    assert [item["metadata"]["name"] for item in (await both.get(ALPHA)).json()["items"]] == ["c"]
