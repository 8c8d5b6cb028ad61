"""Versions of a custom kind: converted by changing only the version's name, or by a webhook."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from core.api.objects import Object
from tests.conformance.conformance_api import Api, take_whole
from tests.conformance.conformance_kinds import FINALIZER, GROUP, definition, version, widget
from tests.integration.webhookserver import WebhookServer

SECOND = f"/apis/{GROUP}/v2/widgets"


# --- without a webhook -----------------------------------------------------------------------------------------------


async def test_versions_differ_in_name_only(api: Api) -> None:
    created = await api.create("widgets", widget("one"))
    shown = await api.read(SECOND, "one")
    assert shown == {**created, "apiVersion": f"{GROUP}/v2"}


async def test_a_write_in_one_version_is_seen_in_the_other(api: Api) -> None:
    created = await api.create(SECOND, widget("one", served="v2"))
    assert created["apiVersion"] == f"{GROUP}/v2"
    created["spec"]["color"] = "blue"
    assert (await api.put(SECOND, created)).body["apiVersion"] == f"{GROUP}/v2"
    first = await api.read("widgets", "one")
    assert (first["apiVersion"], first["spec"]["color"]) == (f"{GROUP}/v1", "blue")
    assert (await api.list(SECOND)).body["items"][0]["apiVersion"] == f"{GROUP}/v2"


async def test_a_body_of_another_version_is_refused(api: Api) -> None:
    answer = await api.post(SECOND, widget("one", served="v1"))
    assert answer.refusal() == (400, "BadRequest")
    assert "does not match the expected API version" in answer.message


async def test_managers_are_kept_apart_by_version(api: Api) -> None:
    await api.create("widgets", widget("one"), fieldManager="m")
    answer = await api.patch(SECOND, "one", {"spec": {"size": 7}}, fieldManager="m")
    assert {entry["apiVersion"] for entry in answer.metadata["managedFields"]} == {f"{GROUP}/v1", f"{GROUP}/v2"}


# --- with a webhook --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gauges:
    """A kind with the field ``color`` in v1 and ``paint`` in v2."""

    first: str
    second: str
    webhook: WebhookServer

    def body(self, name: str, spec: Object, *, served: str = "v1", **metadata: Any) -> Object:
        plural = self.first.rpartition("/")[2]
        return {
            "apiVersion": f"{GROUP}/{served}",
            "kind": plural.capitalize(),
            "metadata": {"name": name, **metadata},
            "spec": spec,
        }


async def convert(request: Object) -> Object:
    """Converts between ``v1.spec.color`` and ``v2.spec.paint``."""
    renamed = {"color": "paint"} if request["desiredAPIVersion"].endswith("v2") else {"paint": "color"}
    converted = []
    for obj in request["objects"]:
        spec = {renamed.get(name, name): value for name, value in obj["spec"].items()}
        converted.append({**obj, "apiVersion": request["desiredAPIVersion"], "spec": spec})
    return {"convertedObjects": converted, "result": {"status": "Success"}}


@pytest.fixture
async def gauges(api: Api, webhook: WebhookServer) -> AsyncIterator[Gauges]:
    webhook.handlers["/convert"] = convert
    plural = f"gauges{api.namespace.replace('-', '')}"
    crd = definition(plural, plural.capitalize(), version("v1"), version("v2", storage=False))
    crd["spec"]["conversion"] = {
        "strategy": "Webhook",
        "webhook": {"clientConfig": webhook.client_config("/convert"), "conversionReviewVersions": ["v1"]},
    }
    await api.create("customresourcedefinitions", crd)
    found = Gauges(f"/apis/{GROUP}/v1/{plural}", f"/apis/{GROUP}/v2/{plural}", webhook)
    await api.until_served(found.first)
    await api.until_served(found.second)
    yield found
    webhook.handlers["/convert"] = convert
    await api.delete("customresourcedefinitions", crd["metadata"]["name"])


async def test_objects_are_shown_in_every_version(api: Api, gauges: Gauges) -> None:
    await api.create(gauges.first, gauges.body("a", {"color": "red"}))
    assert (await api.read(gauges.second, "a"))["spec"] == {"paint": "red"}
    created = await api.create(gauges.second, gauges.body("b", {"paint": "blue"}, served="v2"))
    assert created["apiVersion"] == f"{GROUP}/v2"
    assert (await api.read(gauges.first, "b"))["spec"] == {"color": "blue"}


async def test_a_list_is_converted_as_a_whole(api: Api, gauges: Gauges) -> None:
    for name, color in (("a", "red"), ("b", "blue")):
        await api.create(gauges.first, gauges.body(name, {"color": color}))
    listed = await api.list(gauges.second)
    assert [item["spec"] for item in listed.body["items"]] == [{"paint": "red"}, {"paint": "blue"}]
    assert {item["apiVersion"] for item in listed.body["items"]} == {f"{GROUP}/v2"}


async def test_a_watch_is_converted(api: Api, gauges: Gauges) -> None:
    start = (await api.list(gauges.first)).version
    await api.create(gauges.first, gauges.body("a", {"color": "red"}))
    async with api.watching(gauges.second, resourceVersion=start) as events:
        (event,) = await take_whole(events, 1)
    assert event["object"]["spec"] == {"paint": "red"}


@pytest.mark.parametrize(
    ("patch", "expected"),
    [({"spec": {"paint": "blue"}}, {"color": "blue"}), ({"spec": {"more": 1}}, {"color": "red", "more": 1})],
)
async def test_a_patch_means_the_version_it_is_sent_in(
    api: Api, gauges: Gauges, patch: Object, expected: Object
) -> None:
    await api.create(gauges.first, gauges.body("a", {"color": "red"}))
    assert (await api.patch(gauges.second, "a", patch)).code == 200
    assert (await api.read(gauges.first, "a"))["spec"] == expected


async def test_an_apply_means_the_version_it_is_sent_in(api: Api, gauges: Gauges) -> None:
    await api.apply(gauges.second, gauges.body("a", {"paint": "red"}, served="v2"), "m")
    assert (await api.read(gauges.first, "a"))["spec"] == {"color": "red"}
    answer = await api.apply(gauges.second, gauges.body("a", {"paint": "blue"}, served="v2"), "n")
    assert answer.refusal() == (409, "Conflict")
    assert answer.causes == {("FieldManagerConflict", ".spec.paint")}


async def test_metadata_survives_conversion(api: Api, gauges: Gauges) -> None:
    body = gauges.body("a", {"paint": "red"}, served="v2", labels={"x": "y"}, finalizers=[FINALIZER])
    await api.create(gauges.second, body)
    shown = await api.read(gauges.first, "a")
    assert shown["metadata"]["labels"] == {"x": "y"}
    await api.delete(gauges.second, "a")
    await api.patch(gauges.first, "a", {"metadata": {"finalizers": None}})
    assert (await api.get(gauges.second, "a")).code == 404


async def test_the_review_names_the_version_that_is_wanted(api: Api, gauges: Gauges) -> None:
    await api.create(gauges.first, gauges.body("a", {"color": "red"}))
    gauges.webhook.asked.clear()
    await api.read(gauges.second, "a")
    request = gauges.webhook.asked[-1][1]
    assert request["desiredAPIVersion"] == f"{GROUP}/v2"
    assert [obj["apiVersion"] for obj in request["objects"]] == [f"{GROUP}/v1"]
    assert request["uid"]


@pytest.mark.parametrize(
    "answer",
    [
        {"convertedObjects": [], "result": {"status": "Failure", "message": "cannot"}},
        {"convertedObjects": [], "result": {"status": "Success"}},
        {"result": {"status": "Success"}},
    ],
    ids=["failure", "too few objects", "no objects"],
)
async def test_a_conversion_that_fails_is_told(api: Api, gauges: Gauges, answer: Object) -> None:
    async def refuse(_: Object) -> Object:
        return answer

    await api.create(gauges.first, gauges.body("a", {"color": "red"}))
    gauges.webhook.handlers["/convert"] = refuse
    found = await api.get(gauges.second, "a")
    assert found.code == 500
    kind = gauges.body("a", {})["kind"]
    assert f"conversion webhook for {GROUP}/v1, Kind={kind} " in found.message
    assert (await api.read(gauges.first, "a"))["spec"] == {"color": "red"}, "no conversion is needed"


async def test_a_conversion_must_not_make_another_object(api: Api, gauges: Gauges) -> None:
    async def rename(request: Object) -> Object:
        made = await convert(request)
        for obj in made["convertedObjects"]:
            obj["metadata"] = {**obj["metadata"], "name": "another"}
        return made

    await api.create(gauges.first, gauges.body("a", {"color": "red"}))
    gauges.webhook.handlers["/convert"] = rename
    answer = await api.get(gauges.second, "a")
    assert answer.code == 500
    assert "conversion webhook for" in answer.message
