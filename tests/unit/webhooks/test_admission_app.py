"""The admission server as API servers, kubelets and other clients see it, without sockets."""

from __future__ import annotations

import base64
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import orjson
import pytest
import trio

from core.api.objects import Object
from core.telemetry import metrics
from tests.unit.webhooks.admission_reviews import (
    BY_PATH,
    MUTATE_STORY,
    OPERATOR,
    STEP_RUN_STATUS,
    VALIDATE_ENGRAM,
    VALIDATE_STORY,
    ChangingWorld,
    engram,
    gate,
    review,
    story,
    template,
)
from webhooks.app import admission_app
from webhooks.limits import ReviewLimits
from webhooks.registration import CONVERT_PATH, HOOKS, Hook
from webhooks.request_limits import RequestLimits
from webhooks.setup import AdmissionSetup

JSON = {"content-type": "application/json"}


@asynccontextmanager
async def asking(gate: AdmissionSetup, **limits: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an admission server, in this process."""
    app: Any = admission_app(gate, ReviewLimits(**limits))  # Quart and httpx type ASGI applications differently
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="https://gate", timeout=20) as client:
        yield client


async def answer_to(client: httpx.AsyncClient, path: str, body: Object) -> Object:
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    response: Object = answer.json()["response"]
    assert response["uid"] == body["request"]["uid"]
    return response


# Decisions.


async def test_a_sound_story_passes_and_a_wrong_one_is_refused() -> None:
    async with asking(gate()) as client:
        sound = await answer_to(client, VALIDATE_STORY.path, review(VALIDATE_STORY, story()))
        wrong = story({"name": "a", "type": "stop", "needs": ["gone"]})
        refused = await answer_to(client, VALIDATE_STORY.path, review(VALIDATE_STORY, wrong))

    assert sound["allowed"] is True
    assert (refused["allowed"], refused["status"]["code"]) == (False, 422)
    assert refused["status"]["details"]["causes"][0]["field"] == "spec.steps[0].needs[0]"


async def test_defaults_come_as_a_patch() -> None:
    new = story({"name": "a", "ref": {"name": "x"}, "sideEffects": True})
    async with asking(gate()) as client:
        response = await answer_to(client, MUTATE_STORY.path, review(MUTATE_STORY, new))
        complete = await answer_to(client, MUTATE_STORY.path, review(MUTATE_STORY, story()))

    (operation,) = orjson.loads(base64.b64decode(response["patch"]))
    assert (operation["op"], operation["path"]) == ("add", "/spec/steps/0/execution")
    assert complete == {"uid": complete["uid"], "allowed": True}


async def test_what_is_being_deleted_is_neither_changed_nor_held_up() -> None:
    broken = story({"name": "a", "type": "stop", "needs": ["gone"]}, {"name": "b", "ref": {"name": "x"}})
    broken["spec"]["steps"][1]["sideEffects"] = True
    leaving = {**broken, "metadata": {**broken["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    async with asking(gate()) as client:
        for hook in (VALIDATE_STORY, MUTATE_STORY):
            response = await answer_to(client, hook.path, review(hook, leaving, broken))
            assert response == {"uid": response["uid"], "allowed": True}
            deleted = await answer_to(client, hook.path, review(hook, None, broken, operation="DELETE"))
            assert deleted["allowed"] is True


async def test_a_dry_run_is_decided_as_any_other() -> None:
    wrong = story({"name": "a", "type": "stop", "needs": ["gone"]})
    async with asking(gate()) as client:
        real = await answer_to(client, VALIDATE_STORY.path, review(VALIDATE_STORY, wrong))
        dry = await answer_to(client, VALIDATE_STORY.path, review(VALIDATE_STORY, wrong, dryRun=True))

    assert real == dry


@pytest.mark.parametrize(("username", "allowed"), [("alice", False), (OPERATOR, True)])
async def test_a_status_is_the_operator_s(username: str, allowed: bool) -> None:
    old = {
        "apiVersion": "runs.bubustack.io/v1alpha1",
        "kind": "StepRun",
        "metadata": {"name": "s", "namespace": "team"},
        "spec": {"storyRunRef": {"name": "run"}, "stepId": "a"},
    }
    body = review(STEP_RUN_STATUS, {**old, "status": {"phase": "Succeeded"}}, old, userInfo={"username": username})
    async with asking(gate()) as client:
        assert (await answer_to(client, STEP_RUN_STATUS.path, body))["allowed"] is allowed


async def test_every_hook_has_its_path() -> None:
    async with asking(gate()) as client:
        for hook in HOOKS:
            body = review(hook, {"apiVersion": hook.resource.api_version, "kind": hook.resource.kind}, {})
            response = await answer_to(client, hook.path, body)
            assert response["status"]["code"] == 400, "the object before is of no kind"
    assert len(BY_PATH) == len(HOOKS)


# Other objects.


async def test_an_object_that_comes_a_moment_later_is_waited_for(nursery: trio.Nursery) -> None:
    world = ChangingWorld()

    async def apply_template() -> None:
        await trio.sleep(0.02)
        world.add(story(name="unrelated"))
        await trio.sleep(0.02)
        world.add(template())

    nursery.start_soon(apply_template)
    async with asking(gate(world=world)) as client:
        response = await answer_to(client, VALIDATE_ENGRAM.path, review(VALIDATE_ENGRAM, engram()))

    assert response["allowed"] is True


async def test_what_does_not_come_is_refused_after_a_second(autojump_clock: trio.abc.Clock) -> None:
    began = trio.current_time()
    async with asking(gate()) as client:
        response = await answer_to(client, VALIDATE_ENGRAM.path, review(VALIDATE_ENGRAM, engram()))

    assert response["status"]["details"]["causes"][0]["reason"] == "FieldValueNotFound"
    assert trio.current_time() - began == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(story({"name": "a", "type": "stop", "needs": ["gone"]}), id="a step that is not there"),
        pytest.param(story({"name": "a", "ref": {"name": "gone"}}), id="a warning"),
    ],
)
async def test_nobody_waits_for_what_cannot_come_or_is_no_error(new: Object, autojump_clock: trio.abc.Clock) -> None:
    began = trio.current_time()
    async with asking(gate()) as client:
        await answer_to(client, VALIDATE_STORY.path, review(VALIDATE_STORY, new))

    assert trio.current_time() == began


async def test_few_wait_for_other_objects(autojump_clock: trio.abc.Clock) -> None:
    began = trio.current_time()
    async with asking(gate(), patient=0) as client:
        response = await answer_to(client, VALIDATE_ENGRAM.path, review(VALIDATE_ENGRAM, engram()))

    assert response["allowed"] is False
    assert trio.current_time() == began


# Bodies that are not a review.


@pytest.mark.parametrize(
    ("method", "path", "content", "headers", "status", "sentence"),
    [
        pytest.param("POST", "/nope", b"{}", JSON, 404, "this path is not served", id="path"),
        pytest.param("GET", VALIDATE_STORY.path, b"", {}, 405, "use POST on this path", id="method"),
        pytest.param("POST", "/healthz", b"{}", JSON, 405, "use GET, HEAD on this path", id="health"),
        pytest.param("POST", VALIDATE_STORY.path, b"{}", {}, 415, "application/json", id="no content type"),
        pytest.param(
            "POST", VALIDATE_STORY.path, b"{}", {"content-type": "application/yaml"}, 415, "application/json", id="type"
        ),
        pytest.param("POST", VALIDATE_STORY.path, b"{", JSON, 400, "the body is not valid JSON", id="JSON"),
        pytest.param("POST", VALIDATE_STORY.path, b"{}", JSON, 400, "it has no request", id="no request"),
        pytest.param("POST", VALIDATE_STORY.path, b'{"request":{}}', JSON, 400, "request.uid must be", id="no uid"),
        pytest.param("POST", VALIDATE_STORY.path, b"x" * 101, JSON, 413, "larger than 100 bytes", id="large"),
        pytest.param(
            "GET", VALIDATE_STORY.path, b"x" * (1 << 17), JSON, 413, "larger than 65536 bytes", id="large GET"
        ),
    ],
)
async def test_strangers_get_one_sentence(
    method: str, path: str, content: bytes, headers: dict[str, str], status: int, sentence: str
) -> None:
    async with asking(gate(), review_bytes=100) as client:
        answer = await client.request(method, path, content=content, headers=headers)

    assert answer.status_code == status
    assert sentence in answer.text
    assert answer.text.count("\n") == 1
    assert len(answer.text) < 200


async def test_a_review_that_does_not_fit_is_denied_under_its_uid() -> None:
    body = {**review(VALIDATE_STORY, story()), "apiVersion": "admission.k8s.io/v1beta1"}
    async with asking(gate()) as client:
        response = await answer_to(client, VALIDATE_STORY.path, body)

    assert (response["allowed"], response["status"]["code"], response["status"]["reason"]) == (False, 400, "BadRequest")


UNREADABLE = [
    pytest.param(
        b'{"a":' * 1_500 + b"1" + b"}" * 1_500, "the body is not valid JSON", id="deeper than the parser reads"
    ),
    pytest.param(b'{"a":' * 400 + b"1" + b"}" * 400, "nested deeper than 254 levels", id="deeper than can be written"),
    pytest.param(b"[" + b"{}," * 3_000 + b"{}]", "more than 5000 values", id="too many values"),
    pytest.param(b'"\xff"', "the body is not valid JSON", id="no UTF-8"),
    pytest.param(b'"\\ud800"', "the body is not valid JSON", id="half of a character"),
    pytest.param(b"NaN", "the body is not valid JSON", id="NaN"),
    pytest.param(b'{"a":1,"a":2}', "a key occurs twice", id="a key twice"),
    pytest.param(b'"%s"' % (b"x" * 300_000), "larger than 200000 bytes", id="too large"),
]


@pytest.mark.parametrize(("value", "sentence"), UNREADABLE)
@pytest.mark.parametrize("hook", [STEP_RUN_STATUS, VALIDATE_STORY, MUTATE_STORY], ids=lambda hook: hook.path)
async def test_a_review_that_cannot_be_read_is_denied_so_that_no_failure_policy_lets_it_pass(
    hook: Hook, value: bytes, sentence: str
) -> None:
    text = orjson.dumps(review(hook, {"spec": "VALUE"})).replace(b'"VALUE"', value)
    async with asking(gate(), values=5_000, review_bytes=200_000) as client:
        answer = await client.post(hook.path, content=text, headers=JSON)

    assert answer.status_code == 200
    response = answer.json()["response"]
    assert (response["allowed"], response["uid"]) == (False, review(hook, {})["request"]["uid"])
    assert sentence in response["status"]["message"]


async def test_a_body_without_a_length_is_read_to_its_limit() -> None:
    received, sent = 0, []

    async def receive() -> Object:
        nonlocal received
        received += 1
        await trio.lowlevel.checkpoint()
        return {"type": "http.request", "body": b" " * 100, "more_body": True}

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": VALIDATE_STORY.path, "query_string": b"", "headers": []}
    limits = ReviewLimits(review_bytes=1_000, drained_bytes=2_000)
    await admission_app(gate(), limits)(cast("Any", scope), cast("Any", receive), cast("Any", send))

    assert (sent[0]["status"], received) == (413, 11 + 21)


# Requests that are not decided.


async def test_while_there_is_trouble_nothing_is_decided() -> None:
    async with asking(gate(trouble=lambda: "waiting for the first list of stories")) as client:
        answer = await client.post(VALIDATE_STORY.path, json=review(VALIDATE_STORY, story()))
        ready, healthy = await client.get("/readyz"), await client.get("/healthz")
        converted = await client.post(CONVERT_PATH, json={"a": 1})

    assert answer.status_code == ready.status_code == 503
    assert "waiting for the first list of stories" in answer.text
    assert (ready.text, healthy.text) == ("waiting for the first list of stories\n", "ok\n")
    assert converted.json() == {"a": 1}, "conversion needs no other objects"


async def test_beyond_so_many_requests_others_come_later(nursery: trio.Nursery) -> None:
    async with asking(gate(), requests=1, seconds=100) as client:
        is_asking = trio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            is_asking.set()
            await trio.Event().wait()
            yield b""

        nursery.start_soon(_post, client, slowly)
        await is_asking.wait()
        answer = await client.post(VALIDATE_STORY.path, json=review(VALIDATE_STORY, story()))
        healthy = await client.get("/healthz")
        nursery.cancel_scope.cancel()

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert healthy.status_code == 200


async def test_beyond_so_many_bytes_others_come_later(nursery: trio.Nursery) -> None:
    async with asking(gate(), held_bytes=1_000, seconds=100) as client:
        is_asking = trio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield b" " * 900
            is_asking.set()
            await trio.sleep_forever()

        nursery.start_soon(_post, client, slowly)
        await is_asking.wait()
        crowded = await client.post(VALIDATE_STORY.path, json=review(VALIDATE_STORY, story()))
        nursery.cancel_scope.cancel()

    assert (crowded.status_code, crowded.headers["retry-after"]) == (429, "1")


async def _post(client: httpx.AsyncClient, content: Callable[[], AsyncIterator[bytes]]) -> None:
    await client.post(VALIDATE_STORY.path, content=content(), headers=JSON)


@pytest.mark.parametrize(
    ("query", "seconds"), [("", 4), ("?timeout=2s", 1.6), ("?timeout=30s", 4), ("?timeout=x", 4), ("?timeout=-1s", 4)]
)
async def test_a_request_has_its_time_and_no_more(query: str, seconds: float, autojump_clock: trio.abc.Clock) -> None:
    began = trio.current_time()

    async def never() -> AsyncIterator[bytes]:
        await trio.Event().wait()
        yield b""

    async with asking(gate()) as client:
        answer = await client.post(f"{VALIDATE_STORY.path}{query}", content=never(), headers=JSON)

    assert answer.status_code == 504
    assert f"not decided within {seconds:g} s" in answer.text
    assert trio.current_time() - began == pytest.approx(seconds)


async def test_an_answer_that_has_begun_is_sent_whole(autojump_clock: trio.abc.Clock) -> None:
    sent: list[Any] = []

    async def application(_: Any, __: Any, send: Any) -> None:
        await trio.sleep(3.9)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await trio.sleep(1)
        await send({"type": "http.response.body", "body": b"whole"})

    async def receive() -> Object:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        await trio.sleep(1)
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": VALIDATE_STORY.path, "query_string": b"", "headers": []}
    await RequestLimits(application, ReviewLimits())(scope, receive, send)

    assert [message.get("status") or message["body"] for message in sent] == [200, b"whole"]


async def test_a_bug_is_logged_and_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def convert(_: Object) -> Object:
        raise KeyError("a secret word")

    async with asking(gate(convert=convert)) as client:
        answer = await client.post(CONVERT_PATH, json={})

    assert (answer.status_code, answer.text) == (500, "the webhook failed; see the log of the operator\n")
    assert "a webhook failed" in caplog.text


# Conversion.


async def test_conversion_is_what_the_server_was_given() -> None:
    def convert(body: Object) -> Object:
        if "request" not in body:
            raise ValueError("request: must be an object")
        return {"converted": body["request"]}

    async with asking(gate(convert=convert)) as client:
        small = await client.post(CONVERT_PATH, json={"request": 1})
        large = await client.post(CONVERT_PATH, json={"request": "x" * 100_000})
        wrong = await client.post(CONVERT_PATH, json={})

    assert small.json() == {"converted": 1}
    assert large.json() == {"converted": "x" * 100_000}
    assert (wrong.status_code, wrong.text) == (400, "request: must be an object\n")


# Logs and metrics.


async def test_a_denial_is_logged_without_what_the_object_holds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    wrong = story({"name": "a", "type": "stop", "needs": ["password"]}, name="weather")
    async with asking(gate()) as client:
        await answer_to(client, VALIDATE_STORY.path, review(VALIDATE_STORY, wrong))

    (record,) = [record for record in caplog.records if record.message == "an object was denied"]
    fields: Object = record.bobrapet_fields  # type: ignore[attr-defined]  # ours, see core.telemetry.logs
    assert fields["rules"] == ["story/need-unknown"]
    assert (fields["namespace"], fields["name"], fields["user"]) == ("team", "weather", "alice")
    assert "password" not in str(fields)


async def test_requests_are_counted_by_path_and_code() -> None:
    with metrics.recording():
        async with asking(gate(), requests=1) as client:
            await client.post(VALIDATE_STORY.path, json=review(VALIDATE_STORY, story()))
            await client.post(VALIDATE_STORY.path, content=b"{", headers=JSON)
            wrong = story({"name": "a", "type": "stop", "needs": ["gone"]})
            await client.post(VALIDATE_STORY.path, json=review(VALIDATE_STORY, wrong))
        path = VALIDATE_STORY.path
        name = "controller_runtime_webhook"
        assert metrics.sample(f"{name}_requests_total", webhook=path, code="200") == 2
        assert metrics.sample(f"{name}_requests_total", webhook=path, code="400") == 1
        assert metrics.sample("bobrapet_admission_decisions_total", webhook=path, decision="allowed") == 1
        assert metrics.sample("bobrapet_admission_decisions_total", webhook=path, decision="denied") == 1
        assert metrics.sample(f"{name}_requests_in_flight", webhook=path) == 0
        assert metrics.sample(f"{name}_requests_in_flight", webhook=MUTATE_STORY.path) == 0
        assert metrics.sample(f"{name}_latency_seconds_count", webhook=path) == 3
