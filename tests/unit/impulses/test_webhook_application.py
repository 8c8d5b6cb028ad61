"""What a webhook Impulse answers, without a socket.

(webhook/application.py, checking.py, config.py; signatures in general: test_webhook_authentication.py)
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from bubu_impulses.webhook.application import Webhook
from bubu_impulses.webhook.authentication import signature
from bubu_impulses.webhook.config import ConfigurationError, Settings, WebhookConfig, checked, is_repeatable, unsigned
from bubu_impulses.webhook.messages import Request, Response
from bubu_sdk import AsyncImpulseContext, decode
from bubu_sdk.testing import ImpulseEnvironment, Rejection
from tests.integration.impulse_pages import documents

SECRETS = {"secret": "s-1", "token": "t-1", "old": "s-0", "blank": " ", "spoilt": "whsec_!", "cut": "whsec_"}
MOVED = {"BUBU_WEBHOOK_PORT": "8082", "BUBU_WEBHOOK_PROBE_PORT": "8090"}
RIGHT_LACKS = {"group": "runs.bubustack.io", "kind": "storytriggers"}
LOG = logging.getLogger("test-webhook")


def settings(**given: Any) -> Settings:
    config: WebhookConfig = decode.decode(given, WebhookConfig, "config")
    return checked(config, SECRETS)


def event(content: Any, *, secret: str = "s-1", **headers: str) -> Request:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    signed = {"x-hub-signature-256": f"sha256={signature(secret, body)}"}
    return Request("POST", "/", signed | {name.replace("_", "-"): value for name, value in headers.items()}, body)


def look(name: str, secret: str = "s-1") -> Request:
    target = f"/triggers/{name}"
    return Request("GET", target, {"x-hub-signature-256": f"sha256={signature(secret, target.encode())}"})


def content(response: Response) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(response.body)
    return found


@dataclass
class Stand:
    """A webhook over an Impulse in memory."""

    environment: ImpulseEnvironment
    ctx: AsyncImpulseContext
    ending: list[bool] = field(default_factory=list)

    async def send(self, request: Request, **given: Any) -> Response:
        return await Webhook(settings(**given), self.ctx, LOG, lambda: bool(self.ending)).handle(request)


@pytest.fixture
def environ() -> Mapping[str, str]:
    return {}


@pytest.fixture
def stand(environ: Mapping[str, str]) -> Iterator[Stand]:
    environment = ImpulseEnvironment(story="orders", environ=environ)
    with environment.async_context() as ctx:
        yield Stand(environment, ctx)


# Acceptance.


async def test_an_event_is_one_storytrigger_and_its_name_is_the_answer(stand: Stand) -> None:
    stand.environment.operator.holds = True

    response = await stand.send(event({"n": 1}))

    (trigger,) = stand.environment.triggers
    name = trigger["metadata"]["name"]
    assert response.status == 202
    assert ("Location", f"/triggers/{name}") in response.headers
    assert content(response) == {
        "trigger": name,
        "namespace": "default",
        "decision": "Pending",
        "storyRun": "",
        "reason": "",
        "message": "",
        "status": f"/triggers/{name}",
    }
    assert trigger["spec"]["inputs"] == {"n": 1}
    assert trigger["spec"]["storyRef"] == {"name": "orders"}


async def test_the_run_continues_the_trace_of_the_sender(stand: Stand) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    await stand.send(event({"n": 1}, traceparent=parent, tracestate="vendor=1"))
    await stand.send(event({"n": 2}, tracestate="vendor=1", baggage="a=1"))

    traced, plain = (trigger["metadata"].get("annotations") or {} for trigger in stand.environment.triggers)
    assert traced["bubustack.io/traceparent"] == parent
    assert traced["bubustack.io/tracestate"] == "vendor=1"
    assert not any(name.startswith("bubustack.io/t") or name.endswith("baggage") for name in plain)


async def test_the_decision_can_be_looked_up(stand: Stand) -> None:
    stand.environment.operator.holds = True
    name = content(await stand.send(event({"n": 1})))["trigger"]

    assert content(await stand.send(look(name)))["decision"] == "Pending"
    stand.environment.operator.decide_pending()
    response = await stand.send(look(name))

    assert response.status == 200
    run = stand.environment.story_runs[0]["metadata"]["name"]
    assert (content(response)["decision"], content(response)["storyRun"]) == ("Created", run)


async def test_a_rejection_can_be_looked_up(stand: Stand) -> None:
    stand.environment.operator.rejects = lambda _: Rejection("StoryNotFound", "no such Story")

    name = content(await stand.send(event({"n": 1})))["trigger"]

    found = content(await stand.send(look(name)))
    assert (found["decision"], found["reason"], found["message"]) == ("Rejected", "StoryNotFound", "no such Story")


async def test_a_repeated_delivery_gets_the_same_answer_and_another_content_a_conflict(stand: Stand) -> None:
    given = {"keyHeader": "X-GitHub-Delivery"}
    first = await stand.send(event({"n": 1}, x_github_delivery="d-1"), **given)
    again = await stand.send(event({"n": 1.0}, x_github_delivery="d-1"), **given)
    other = await stand.send(event({"n": 2}, x_github_delivery="d-1"), **given)

    assert (first.status, again.status, other.status) == (202, 202, 409)
    assert content(first)["trigger"] == content(again)["trigger"]
    assert content(other)["reason"] == "Conflict"
    assert len(stand.environment.triggers) == 1


async def test_a_recorded_request_meets_its_storytrigger_whatever_its_headers_are(stand: Stand) -> None:
    (given,) = [each["spec"]["with"] for each in documents("webhook") if each["kind"] == "Impulse"]
    body = {"action": "opened", "pull_request": {"number": 7}, "repository": {"full_name": "a/b"}}
    first, replayed = (
        replace(event(body, x_github_delivery=delivery), target=given["path"]) for delivery in ("d-1", "d-2")
    )

    stand.environment.cluster.fail(503, method="POST")
    answers = [await stand.send(request, **given) for request in (first, first, replayed)]

    assert [answer.status for answer in answers] == [503, 202, 202]
    assert content(answers[1])["trigger"] == content(answers[2])["trigger"]
    assert len(stand.environment.triggers) == 1


async def test_without_a_key_a_recorded_request_meets_its_storytrigger(stand: Stand) -> None:
    first = await stand.send(event(b'{"n": 1}', x_github_delivery="d-1"))
    replayed = await stand.send(event(b'{"n": 1}', x_github_delivery="d-2"))
    other = await stand.send(event(b'{"n":1}'))

    assert (first.status, replayed.status, other.status) == (202, 202, 202)
    assert content(first)["trigger"] == content(replayed)["trigger"] != content(other)["trigger"]
    keys = [trigger["spec"]["deliveryIdentity"]["key"] for trigger in stand.environment.triggers]
    assert keys == [hashlib.sha256(body).hexdigest()[:32] for body in (b'{"n": 1}', b'{"n":1}')]


async def test_two_impulses_of_one_story_start_a_run_each_for_an_event_without_a_key(stand: Stand) -> None:
    webhooks = [Webhook(settings(), stand.ctx, LOG, lambda: False, impulse=name) for name in ("a", "b", "a")]

    answers = [await webhook.handle(event({"n": 1})) for webhook in webhooks]

    assert [answer.status for answer in answers] == [202, 202, 202]
    assert len({content(answer)["trigger"] for answer in answers}) == 2


async def test_a_recorded_request_does_not_get_other_inputs_from_other_headers(stand: Stand) -> None:
    given = {"inputs": {"event": '{{ headers["x-event"] }}'}}

    answers = [await stand.send(event({"n": 1}, x_event=name), **given) for name in ("push", "push", "delete")]

    assert [answer.status for answer in answers] == [202, 202, 409]
    assert len(stand.environment.triggers) == 1


@pytest.mark.parametrize(
    ("given", "is_repeated"),
    [({"key": ""}, True), ({"key": "", "auth": {"type": "bearer"}}, False), ({"auth": {"type": "bearer"}}, False)],
)
async def test_requests_start_a_run_each_with_an_empty_key_or_without_signatures(
    stand: Stand, given: dict[str, Any], is_repeated: bool
) -> None:
    request = event({"n": 1}, authorization="Bearer t-1")

    answers = [await stand.send(request, **given) for _ in range(2)]

    assert [answer.status for answer in answers] == [202, 202]
    assert len(stand.environment.triggers) == 2
    assert is_repeatable(decode.decode(given, WebhookConfig, "config")) == is_repeated


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"keyHeader": "X-Delivery", "inputs": {"a": ['{{ headers["x-event"] }}']}}, ["keyHeader", "inputs"]),
        ({"key": '{{ headers["x-event"] }}:{{ body.id }}'}, ["key"]),
        ({"key": "{{ body.id }}", "inputs": {"headers": "{{ body.headers }}"}}, []),
        ({"keyHeader": "X-Delivery", "auth": {"type": "bearer"}}, []),
        ({"keyHeader": "X-Delivery", "auth": {"type": "none"}}, []),
        ({"keyHeader": "Webhook-Id", "auth": {"type": "standard"}}, []),
        ({"key": '{{ headers["webhook-id"] }}', "auth": {"type": "standard"}}, []),
        ({"key": '{{ headers["webhook-id"] }}'}, ["key"]),
        ({"key": "{{ headers | toJson }}", "auth": {"type": "standard"}}, ["key"]),
        ({"inputs": {"at": ['{{ headers["x-slack-request-timestamp"] }}']}, "auth": {"type": "slack"}}, []),
        ({"inputs": {"id": '{{ headers["x-id"] }}'}, "auth": {"type": "stripe"}}, ["inputs"]),
    ],
)
def test_settings_that_a_signature_does_not_cover_are_found(given: dict[str, Any], names: list[str]) -> None:
    assert unsigned(decode.decode(given, WebhookConfig, "config")) == names


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"key": "{{ body.repository.name }}#{{ body.number }}"}, "shop#7"),
        ({"key": '{{ headers["x-event"] }}:{{ body.number }}'}, "push:7"),
        ({"keyHeader": "X-Event"}, "push"),
        ({"key": ""}, None),
    ],
)
async def test_the_key_comes_from_a_header_or_a_template(stand: Stand, given: dict[str, Any], key: str | None) -> None:
    await stand.send(event({"number": 7, "repository": {"name": "shop"}}, x_event="push"), **given)

    assert stand.environment.triggers[0]["spec"]["deliveryIdentity"].get("key") == key


async def test_a_key_that_is_too_long_is_hashed(stand: Stand) -> None:
    await stand.send(event({"id": "x" * 300}), key="{{ body.id }}")

    assert len(stand.environment.triggers[0]["spec"]["deliveryIdentity"]["key"]) == 64


async def test_inputs_may_be_chosen_from_body_and_headers(stand: Stand) -> None:
    inputs = {
        "number": "{{ body.pull_request.number }}",
        "title": "PR {{ body.pull_request.number }}",
        "event": '{{ headers["x-github-event"] }}',
        "labels": "{{ body.labels }}",
        "fixed": {"deep": [1, "{{ body.pull_request.number }}"]},
    }
    body = {"pull_request": {"number": 7}, "labels": ["a"], "rest": "x" * 5000}

    response = await stand.send(event(body, x_github_event="pull_request"), inputs=inputs)

    assert response.status == 202
    assert stand.environment.triggers[0]["spec"]["inputs"] == {
        "number": 7,
        "title": "PR 7",
        "event": "pull_request",
        "labels": ["a"],
        "fixed": {"deep": [1, 7]},
    }


async def test_braces_in_an_event_are_data(stand: Stand) -> None:
    await stand.send(event({"text": "{{ body.secret }}", "secret": "x"}), inputs={"text": "{{ body.text }}"})

    assert stand.environment.triggers[0]["spec"]["inputs"] == {"text": "{{ body.secret }}"}


@pytest.mark.parametrize("name", ["authorization", "cookie", "x-hub-signature-256"])
async def test_credentials_never_reach_inputs_or_keys(stand: Stand, name: str) -> None:
    request = event({"n": 1}, authorization="Bearer x", cookie="a=b")

    response = await stand.send(request, inputs={"stolen": f'{{{{ headers["{name}"] }}}}'})

    assert (response.status, content(response)["reason"]) == (400, "MissingValue")
    assert stand.environment.triggers == []


# Refusals.


SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("request_", "given", "status", "reason"),
    [
        (event(b"{"), {}, 400, "InvalidBody"),
        (event(b""), {}, 400, "InvalidBody"),
        (event(b"\xff"), {}, 400, "InvalidBody"),
        (event(b"NaN"), {}, 400, "InvalidBody"),
        (event(b"[" * 100_000), {}, 400, "InvalidBody"),
        *((event(b'{"a":%s%s}' % (b"[" * depth, b"]" * depth)), {}, 400, "InvalidBody") for depth in (300, 900)),
        (event(b'{"n":%s%s}' % (b"[" * 300, b"]" * 300)), {"schema": {}}, 400, "InvalidBody"),
        (event(b"9" * 10_000), {}, 400, "InvalidBody"),
        (event([1, 2]), {}, 400, "InvalidBody"),
        (event({"n": "one"}), {"schema": SCHEMA}, 400, "InvalidBody"),
        (event({"n": 1}, content_type="text/xml"), {}, 415, "NotJson"),
        (event({"n": 1}), {"key": "{{ body.id }}"}, 400, "MissingValue"),
        (event({"n": " "}), {"key": "{{ body.n }}"}, 400, "MissingValue"),
        (event({"n": 1}), {"keyHeader": "X-Delivery"}, 400, "MissingValue"),
        (event({"n": 1}), {"inputs": {"a": "{{ body.missing }}"}}, 400, "MissingValue"),
        (Request("GET", "/"), {}, 405, "MethodNotAllowed"),
        (Request("POST", "/triggers/x"), {}, 405, "MethodNotAllowed"),
        (Request("POST", "/other"), {}, 404, "NotFound"),
        (event({"n": 1}), {"path": "/events"}, 404, "NotFound"),
        (look("missing"), {}, 404, "NotFound"),
        (look("../x"), {}, 404, "NotFound"),
    ],
)
async def test_what_cannot_be_accepted_is_refused_with_its_reason(
    stand: Stand, request_: Request, given: dict[str, Any], status: int, reason: str
) -> None:
    response = await stand.send(request_, **given)

    assert (response.status, content(response)["reason"]) == (status, reason)
    assert stand.environment.triggers == []


async def test_a_violation_of_the_schema_is_named(stand: Stand) -> None:
    response = await stand.send(event({"n": "one"}), schema=SCHEMA)

    assert "body.n" in content(response)["message"]
    assert (await stand.send(event({"n": 1}), schema=SCHEMA)).status == 202


async def test_a_body_may_be_nested_two_hundred_deep(stand: Stand) -> None:
    body = b'{"a":%s%s}' % (b"[" * 199, b"]" * 199)

    assert (await stand.send(event(body))).status == 202
    assert (await stand.send(event(body), schema={"type": "object"})).status == 202


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/vnd.acme+json"])
async def test_kinds_of_json_are_accepted(stand: Stand, kind: str) -> None:
    assert (await stand.send(event({"n": 1}, content_type=kind))).status == 202


@pytest.mark.parametrize("environ", [{"BUBU_TRIGGER_THROTTLE_RATE_PER_SECOND": "1"}])
async def test_too_many_events_are_sent_back_with_a_time(stand: Stand) -> None:
    first = await stand.send(event({"n": 1}), patienceSeconds=0)
    second = await stand.send(event({"n": 2}), patienceSeconds=0)

    assert (first.status, second.status) == (202, 429)
    assert ("Retry-After", "1") in second.headers
    assert len(stand.environment.triggers) == 1


@pytest.mark.parametrize(("code", "status"), [(500, 503), (503, 503), (429, 503), (403, 422), (422, 422)])
async def test_a_failure_of_the_cluster_is_not_an_acceptance_and_tells_strangers_nothing(
    stand: Stand, code: int, status: int
) -> None:
    stand.environment.cluster.fail(code, method="POST")

    response = await stand.send(event({"n": 1}))

    assert response.status == status
    assert (("Retry-After", "5") in response.headers) == (status == 503)
    assert b"storytriggers" not in response.body
    assert (await stand.send(event({"n": 1}))).status == 202


async def test_an_event_that_only_lacks_rights_is_to_be_sent_again(stand: Stand) -> None:
    stand.environment.cluster.fail(403, method="POST", details=RIGHT_LACKS)

    response = await stand.send(event({"n": 1}))

    assert (response.status, content(response)["reason"]) == (503, "Unavailable")
    assert (await stand.send(event({"n": 1}))).status == 202


@pytest.mark.parametrize("environ", [{"BUBU_MAX_INLINE_SIZE": "100"}])
async def test_inputs_that_cannot_be_stored_are_too_large(environ: Mapping[str, str]) -> None:
    environment = ImpulseEnvironment(inline_bytes=None, environ=environ)
    with environment.async_context() as ctx:
        response = await Stand(environment, ctx).send(event({"text": "x" * 200}))

    assert (response.status, content(response)["reason"]) == (413, "TooLarge")


# Authentication.


OWN_HEADER = {"header": "X-Sig", "prefix": ""}


@pytest.mark.parametrize(
    ("request_", "given", "status"),
    [
        (event({"n": 1}, secret="wrong"), {}, 401),
        (event({"n": 1}, secret="s-0"), {}, 401),
        (event({"n": 1}, secret="s-0"), {"auth": {"secretKeys": ["secret", "old"]}}, 202),
        (event({"n": 1}, secret="s-1"), {"auth": {"secretKeys": ["secret", "old"]}}, 202),
        (Request("POST", "/", {}, b'{"n": 1}'), {}, 401),
        (Request("POST", "/", {"x-hub-signature-256": "sha256="}, b'{"n": 1}'), {}, 401),
        (Request("POST", "/", {"x-hub-signature-256": signature("s-1", b"{}")}, b"{}"), {}, 401),
        (
            Request("POST", "/", {"x-sig": signature("s-1", b"{}").upper()}, b"{}"),
            {"auth": {"header": "X-Sig", "prefix": ""}},
            202,
        ),
        (Request("POST", "/", {"x-hub-signature-256": "sha256=é"}, b"{}"), {}, 401),
        (Request("POST", "/", {"authorization": "Bearer t-1"}, b"{}"), {"auth": {"type": "bearer"}}, 202),
        (Request("POST", "/", {"authorization": "bearer  t-1 "}, b"{}"), {"auth": {"type": "bearer"}}, 202),
        (Request("POST", "/", {"authorization": "Bearer t-2"}, b"{}"), {"auth": {"type": "bearer"}}, 401),
        (Request("POST", "/", {"authorization": "Bearer "}, b"{}"), {"auth": {"type": "bearer"}}, 401),
        (Request("POST", "/", {"authorization": "Basic t-1"}, b"{}"), {"auth": {"type": "bearer"}}, 401),
        (Request("POST", "/", {}, b"{}"), {"auth": {"type": "none"}}, 202),
        (look("missing", secret="wrong"), {}, 401),
        (Request("GET", "/triggers/x", {"x-hub-signature-256": f"sha256={signature('s-1', b'')}"}), {}, 401),
        (Request("GET", "/triggers/x", event({"n": 1}).headers, event({"n": 1}).body), {}, 401),
    ],
)
async def test_only_trusted_senders_are_admitted(
    stand: Stand, request_: Request, given: dict[str, Any], status: int
) -> None:
    response = await stand.send(request_, **given)

    assert response.status == status
    assert len(stand.environment.triggers) == (1 if status == 202 else 0)


@pytest.mark.parametrize(
    ("headers", "auth", "status"),
    [
        ({}, {}, 401),
        ({"x-hub-signature-256": "sha256=12"}, {}, 401),
        ({"x-hub-signature-256": f"sha256={'0' * 64}"}, {}, None),
        ({"authorization": "Bearer t-2"}, {"type": "bearer"}, 401),
        ({"authorization": "Bearer t-1"}, {"type": "bearer"}, None),
        ({"authorization": "Bearer t-1", "content-type": "text/xml"}, {"type": "bearer"}, 415),
    ],
)
def test_credentials_are_checked_before_the_body_as_far_as_the_head_shows_them(
    stand: Stand, headers: dict[str, str], auth: dict[str, str], status: int | None
) -> None:
    webhook = Webhook(settings(auth=auth), stand.ctx, LOG, lambda: False)

    refused = webhook.admit(Request("POST", "/", headers))

    assert (None if refused is None else refused.status) == status


def test_the_signature_is_that_of_github() -> None:
    expected = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

    assert signature("It's a Secret to Everybody", b"Hello, World!") == expected


def test_settings_do_not_show_their_secrets() -> None:
    assert "s-1" not in repr(settings())


# Health, configuration.


async def test_health_needs_no_credentials_and_readiness_ends_with_the_signal(stand: Stand) -> None:
    ready, health = Request("GET", "/readyz"), Request("GET", "/healthz")
    assert [(await stand.send(one)).status for one in (ready, health)] == [200, 200]

    stand.ending.append(True)

    assert [(await stand.send(one)).status for one in (ready, health)] == [503, 200]
    probes = Webhook(settings(), stand.ctx, LOG, lambda: bool(stand.ending))
    assert [(await probes.probe(one)).status for one in (ready, health, event({"n": 1}))] == [503, 200, 404]
    assert (await stand.send(Request("POST", "/healthz"))).status == 405
    assert (await stand.send(event({"n": 1}))).status == 202


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"auth": {"secretKeys": ["missing", "blank"]}}, "auth.secretKeys: .* missing, blank"),
        ({"auth": {"header": "X Header"}}, "auth.header"),
        ({"path": "events"}, "path"),
        ({"path": "/triggers/x"}, "path"),
        ({"path": "/healthz"}, "path"),
        ({"port": 70000}, "port"),
        ({"port": 65535}, "probePort"),
        ({"port": 8080, "probePort": 8080}, "probePort"),
        ({"probePort": -1}, "probePort"),
        ({"maxBodyBytes": 0}, "maxBodyBytes"),
        ({"maxConnections": 0}, "maxConnections"),
        ({"patienceSeconds": 11}, "patienceSeconds"),
        ({"lingerSeconds": -1}, "lingerSeconds"),
        ({"key": "{{ body.a }}", "keyHeader": "X-A"}, "either keyHeader or key"),
        ({"key": "", "keyHeader": "X-A"}, "either keyHeader or key"),
        ({"auth": {"toleranceSeconds": 300}}, "auth.toleranceSeconds: .* hmac signs no timestamp"),
        ({"auth": {"type": "slack", "toleranceSeconds": 0}}, "auth.toleranceSeconds"),
        ({"auth": {"type": "stripe", "toleranceSeconds": 3601}}, "auth.toleranceSeconds"),
        ({"auth": {"type": "standard", "secretKeys": ["spoilt"]}}, "auth.secretKeys: spoilt: after whsec_"),
        ({"auth": {"type": "standard", "secretKeys": ["cut"]}}, "auth.secretKeys: cut: after whsec_"),
        ({"key": "{{ env }}"}, "key"),
        ({"keyHeader": "X Y"}, "keyHeader"),
        ({"keyHeader": "x-hub-signature-256"}, "keyHeader"),
        ({"inputs": {"a": ["{{ body"]}}, r"inputs.a\[0\]"),
        ({"schema": {"type": "strange"}}, "schema"),
        ({"schema": {"$ref": "https://example.com/schema"}}, "another document"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_path(given: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        settings(**given)


@pytest.mark.parametrize(
    ("given", "variables", "ports"),
    [
        ({}, {}, (8080, 8081)),
        ({"probePort": 1}, {}, (8080, 1)),
        ({"port": 9000}, MOVED, (9000, 9001)),
        ({"port": 9000, "probePort": 1}, MOVED, (9000, 1)),
        ({"port": 0}, MOVED, (0, 0)),
        ({}, MOVED, (8082, 8090)),
        ({"probePort": 1}, MOVED, (8082, 1)),
    ],
)
def test_a_node_may_move_ports_that_the_configuration_does_not_choose(
    given: dict[str, Any], variables: dict[str, str], ports: tuple[int, int]
) -> None:
    config: WebhookConfig = decode.decode(given, WebhookConfig, "config")

    assert config.ports(variables) == ports


def test_a_variable_that_is_no_port_is_named() -> None:
    with pytest.raises(ConfigurationError, match="BUBU_WEBHOOK_PORT"):
        WebhookConfig().ports({"BUBU_WEBHOOK_PORT": "x"})


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings(port=-1, path="x", key="{{")

    assert [part.partition(":")[0] for part in str(refused.value).split("; ")] == ["port", "path", "key"]
