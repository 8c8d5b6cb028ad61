"""Signatures of each scheme, as their senders document them, and their timestamps. (webhook/authentication.py)"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import pytest

from bubu_impulses.webhook.application import Webhook
from bubu_impulses.webhook.authentication import FACTS, Scheme, secret_bytes
from bubu_impulses.webhook.config import WebhookConfig, checked
from bubu_impulses.webhook.messages import Request, Response
from bubu_sdk import AsyncImpulseContext, decode
from bubu_sdk.testing import ImpulseEnvironment
from tests.integration.impulse_pages import template

NOW: Final = 1_700_000_000
KEY: Final = base64.b64encode(b"the key of the signatures").decode()
LOG: Final = logging.getLogger("test-webhook")
BODY: Final = b'{"id": "evt_1"}'

Sign = Callable[..., Request]


def slack(body: bytes = BODY, at: int = NOW, secret: str = "s-1", target: str = "") -> Request:
    signed = f"v0:{at}:".encode() + (target.encode() or body)
    headers = {"x-slack-request-timestamp": str(at), "x-slack-signature": f"v0={_hex(secret, signed)}"}
    return _request(headers, body, target)


def stripe(body: bytes = BODY, at: int = NOW, secret: str = "s-1", target: str = "") -> Request:
    signed = f"{at}.".encode() + (target.encode() or body)
    header = f"t={at},v1={'0' * 64}, v1={_hex(secret, signed)},v0={'1' * 64}"
    return _request({"stripe-signature": header}, body, target)


def standard(body: bytes = BODY, at: int = NOW, secret: str = "s-1", target: str = "", id_: str = "msg_1") -> Request:
    signed = f"{id_}.{at}.".encode() + (target.encode() or body)
    digest = hmac.digest(KEY.encode() if secret == KEY else secret.encode(), signed, "sha256")
    header = f"v1a,{'A' * 86}== v1,{'A' * 43}= v1,{base64.b64encode(digest).decode()}"
    headers = {"webhook-id": id_, "webhook-timestamp": str(at), "webhook-signature": header}
    return _request(headers, body, target)


SENDERS: Final[Mapping[str, Sign]] = {"slack": slack, "stripe": stripe, "standard": standard}
each_sender = pytest.mark.parametrize("name", SENDERS)


def _hex(secret: str, signed: bytes) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _request(headers: Mapping[str, str], body: bytes, target: str) -> Request:
    return Request("GET", target, headers) if target else Request("POST", "/", headers, body)


class Stand:
    """A webhook over an Impulse in memory, at the time ``now``."""

    def __init__(self, environment: ImpulseEnvironment, ctx: AsyncImpulseContext) -> None:
        self.environment = environment
        self.ctx = ctx
        self.now = float(NOW)

    def webhook(self, auth: Mapping[str, Any], **given: Any) -> Webhook:
        config: WebhookConfig = decode.decode({"auth": auth, **given}, WebhookConfig, "config")
        settings = checked(config, {"secret": "s-1", "old": "s-0"})
        return Webhook(settings, self.ctx, LOG, lambda: False, lambda: self.now)

    async def send(self, name: str, request: Request, **given: Any) -> Response:
        return await self.webhook({"type": name, **given.pop("auth", {})}, **given).handle(request)


@pytest.fixture
def stand() -> Iterator[Stand]:
    environment = ImpulseEnvironment(story="orders")
    with environment.async_context() as ctx:
        yield Stand(environment, ctx)


def content(response: Response) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(response.body)
    return found


def check(name: str, secret: str, request: Request, now: float) -> None:
    config: WebhookConfig = decode.decode({"auth": {"type": name}}, WebhookConfig, "config")
    checked(config, {"secret": secret}).authentication.check(request, now)


def test_the_signature_of_slack_is_that_of_its_documentation() -> None:
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = {
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    check("slack", "8f742231b10e8888abcd99yyyzzz85a5", Request("POST", "/", headers, body), 1531420618)


def test_the_signature_of_standard_webhooks_is_that_of_its_libraries() -> None:
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    request = Request("POST", "/", headers, b'{"test": 2432232314}')
    check("standard", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", request, 1614265330)


@each_sender
async def test_a_signature_with_a_timestamp_is_accepted(stand: Stand, name: str) -> None:
    assert (await stand.send(name, SENDERS[name]())).status == 202
    assert (await stand.send(name, SENDERS[name](secret="s-0"), auth={"secretKeys": ["secret", "old"]})).status == 202


@each_sender
@pytest.mark.parametrize(("seconds", "status"), [(300, 202), (301, 401), (-300, 202), (-301, 401)])
async def test_a_timestamp_too_far_from_the_clock_is_refused_before_the_body_is_read(
    stand: Stand, name: str, seconds: int, status: int
) -> None:
    stand.now += seconds

    refused = stand.webhook({"type": name}).admit(replace(SENDERS[name](), body=b""))
    response = await stand.send(name, SENDERS[name]())

    assert response.status == status
    if status == 401:
        assert refused == response
        assert content(response)["reason"] == "TimestampOutOfTolerance"
        assert f"301 s {'ago' if seconds > 0 else 'in the future'}" in content(response)["message"]
        assert stand.environment.triggers == []
    else:
        assert refused is None


@each_sender
async def test_the_tolerance_can_be_chosen(stand: Stand, name: str) -> None:
    stand.now += 11

    assert (await stand.send(name, SENDERS[name](), auth={"toleranceSeconds": 10})).status == 401
    assert (await stand.send(name, SENDERS[name](), auth={"toleranceSeconds": 11})).status == 202


@each_sender
async def test_what_the_signature_is_not_for_is_refused(stand: Stand, name: str) -> None:
    sign = SENDERS[name]
    stamps = {"slack": "x-slack-request-timestamp", "standard": "webhook-timestamp"}
    later = {k: v.replace(str(NOW), str(NOW + 1)) for k, v in sign().headers.items()}
    wrong = [
        sign(secret="s-0"),
        replace(sign(), body=b"{}"),
        replace(sign(), headers={}),
        replace(sign(), headers=later),
        replace(sign(), headers={k: v.replace("=" if name != "standard" else ",", "~") for k, v in later.items()}),
        replace(sign(), method="GET", target="/triggers/x"),
        sign(target="/triggers/y", secret="s-0"),
        replace(sign(target="/triggers/y"), target="/triggers/x"),
    ]
    if name in stamps:
        for text in ("", "now", "-1", "1e9", "\u0661", "9" * 13):
            wrong.append(replace(sign(), headers={**sign().headers, stamps[name]: text}))
    else:
        (header,) = sign().headers.values()
        for text in (header.replace("t=", "u="), f"t={NOW},{header}", f"{header},t={NOW + 1}"):
            wrong.append(replace(sign(), headers={"stripe-signature": text}))

    answers = [await stand.send(name, request) for request in wrong]

    assert [(answer.status, content(answer)["reason"]) for answer in answers] == [(401, "Unauthenticated")] * len(wrong)
    assert stand.environment.triggers == []


@pytest.mark.parametrize("id_", ["", "msg.1", "a b", "é"])
async def test_an_id_that_could_hide_where_the_body_begins_is_refused(stand: Stand, id_: str) -> None:
    answer = await stand.send("standard", standard(id_=id_))

    assert (answer.status, content(answer)["reason"]) == (401, "Unauthenticated")
    assert "webhook-id" in content(answer)["message"]


@each_sender
async def test_a_decision_is_looked_up_with_a_timestamp_too(stand: Stand, name: str) -> None:
    link = content(await stand.send(name, SENDERS[name]()))["status"]

    assert (await stand.send(name, SENDERS[name](target=link))).status == 200
    stand.now += 301
    assert content(await stand.send(name, SENDERS[name](target=link)))["reason"] == "TimestampOutOfTolerance"


@each_sender
async def test_an_event_that_is_signed_again_later_meets_its_storytrigger(stand: Stand, name: str) -> None:
    first = await stand.send(name, SENDERS[name]())
    replayed = await stand.send(name, SENDERS[name]())
    stand.now += 3600
    again = await stand.send(name, SENDERS[name](at=NOW + 3600))

    assert {content(answer)["trigger"] for answer in (first, replayed, again)} == {content(first)["trigger"]}
    assert len(stand.environment.triggers) == 1
    key = "msg_1" if name == "standard" else hashlib.sha256(BODY).hexdigest()[:32]
    assert stand.environment.triggers[0]["spec"]["deliveryIdentity"]["key"] == key


async def test_events_with_equal_bodies_and_other_ids_are_two(stand: Stand) -> None:
    answers = [await stand.send("standard", standard(id_=id_)) for id_ in ("msg_1", "msg_2")]

    assert [answer.status for answer in answers] == [202, 202]
    assert len(stand.environment.triggers) == 2


async def test_slack_gets_its_challenge_back(stand: Stand) -> None:
    body = b'{"type": "url_verification", "challenge": "c-1", "token": "t"}'

    response = await stand.send("slack", slack(body), schema={"required": ["event"]})
    strange = await stand.send("slack", slack(b'{"type": "url_verification", "challenge": 1}'))
    forged = await stand.send("slack", slack(body, secret="s-0"))

    assert (response.status, content(response)) == (200, {"challenge": "c-1"})
    assert (strange.status, forged.status) == (202, 401)
    assert (await stand.send("stripe", stripe(body))).status == 202
    assert len(stand.environment.triggers) == 2


def test_a_secret_of_standard_webhooks_may_be_encoded() -> None:
    assert secret_bytes(Scheme.STANDARD, f"whsec_{KEY}") == b"the key of the signatures"
    assert secret_bytes(Scheme.STANDARD, KEY) == KEY.encode()
    assert secret_bytes(Scheme.STRIPE, f"whsec_{KEY}") == f"whsec_{KEY}".encode()


def test_each_scheme_is_in_the_table_and_in_the_template() -> None:
    (kinds,) = [template("webhook")["spec"]["configSchema"]["properties"]["auth"]["properties"]["type"]["enum"]]

    assert list(FACTS) == list(Scheme)
    assert kinds == [str(scheme) for scheme in Scheme]
