"""The delivery policy: variables, keys, identities, pauses. (delivery.py; Trigger contract 5.3 and 5.4)"""

from __future__ import annotations

from typing import Any

import pytest

from bubu_sdk import TriggerPolicyError, delivery
from bubu_sdk.delivery import Backoff, DedupeMode, Identity, Limits, Retry

ROOTS: dict[str, Any] = {
    "inputs": {"eventId": "evt-123", "number": 42, "blank": " "},
    "story": {"name": "policy-story", "namespace": "token-ns"},
    "impulse": {"name": "hook", "namespace": "token-ns"},
}
COMPUTED = "9f7746a272894bce74d4e9d46f39c8fed676f42366134dcbf49100e93be1151b"
KEY_MODE = {"BUBU_TRIGGER_DEDUPE_MODE": "key", "BUBU_TRIGGER_DEDUPE_KEY_TEMPLATE": "{{ inputs.eventId }}"}
TOKEN_MODE = {"BUBU_TRIGGER_DEDUPE_MODE": " Token "}


def identity(environ: dict[str, str], key: str | None = None, submission_id: str | None = None) -> Identity:
    policy = delivery.load(environ)
    return delivery.identity_of(policy, delivery.resolve_key(policy, key, ROOTS), submission_id, "fresh-uuid")


@pytest.mark.parametrize(
    ("environ", "key", "submission_id", "expected"),
    [
        ({}, None, None, Identity(DedupeMode.NONE, "fresh-uuid")),
        ({"BUBU_TRIGGER_DEDUPE_MODE": "none"}, None, None, Identity(DedupeMode.NONE, "fresh-uuid")),
        ({}, None, "event-7", Identity(DedupeMode.NONE, "event-7")),
        ({}, "order-1", None, Identity(DedupeMode.TOKEN, "order-1", "order-1")),
        ({}, " order-1 ", "event-7", Identity(DedupeMode.TOKEN, "order-1", "order-1")),
        ({"BUBU_TRIGGER_DEDUPE_MODE": "none"}, "order-1", None, Identity(DedupeMode.TOKEN, "order-1", "order-1")),
        (TOKEN_MODE, "order-1", None, Identity(DedupeMode.TOKEN, "order-1", "order-1")),
        ({**TOKEN_MODE, "BUBU_TRIGGER_TOKEN": " t "}, None, None, Identity(DedupeMode.TOKEN, "t", "t")),
        ({**TOKEN_MODE, "BUBU_TRIGGER_TOKEN": "t"}, "order-1", None, Identity(DedupeMode.TOKEN, "order-1", "order-1")),
        (KEY_MODE, None, None, Identity(DedupeMode.KEY, COMPUTED, COMPUTED)),
        (KEY_MODE, COMPUTED, None, Identity(DedupeMode.KEY, COMPUTED, COMPUTED)),
    ],
)
def test_mode_and_key_give_the_identity(
    environ: dict[str, str], key: str | None, submission_id: str | None, expected: Identity
) -> None:
    assert identity(environ, key, submission_id) == expected


@pytest.mark.parametrize(
    ("environ", "key", "named"),
    [
        (TOKEN_MODE, None, "BUBU_TRIGGER_TOKEN"),
        (TOKEN_MODE, "  ", "BUBU_TRIGGER_TOKEN"),
        (KEY_MODE, "another", "differs"),
        ({**KEY_MODE, "BUBU_TRIGGER_DEDUPE_KEY_TEMPLATE": "{{ inputs.blank }}"}, None, "blank"),
        ({**KEY_MODE, "BUBU_TRIGGER_DEDUPE_KEY_TEMPLATE": "{{ inputs.missing }}"}, None, "inputs.missing"),
        ({}, "k" * 257, "257"),
    ],
)
def test_a_request_without_a_usable_key_is_refused(environ: dict[str, str], key: str | None, named: str) -> None:
    with pytest.raises(TriggerPolicyError, match=named):
        identity(environ, key)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ inputs.number }}", "42"),
        ("{{ inputs }}", '{"blank":" ","eventId":"evt-123","number":42}'),
        (" {{ story.namespace }}/{{ story.name }}:{{ impulse.name }} ", "token-ns/policy-story:hook"),
    ],
)
def test_a_key_is_the_hash_of_the_trimmed_text(template: str, text: str) -> None:
    import hashlib

    environ = {**KEY_MODE, "BUBU_TRIGGER_DEDUPE_KEY_TEMPLATE": template}
    assert identity(environ).key == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEDUPE_MODE", "sometimes"),
        ("DEDUPE_KEY_TEMPLATE", "{{ inputs.id }}"),
        ("RETRY_MAX_ATTEMPTS", "-1"),
        ("RETRY_MAX_ATTEMPTS", "many"),
        ("RETRY_BASE_DELAY", "-1s"),
        ("RETRY_MAX_DELAY", "soon"),
        ("RETRY_BACKOFF", "random"),
        ("THROTTLE_MAX_IN_FLIGHT", "-1"),
        ("THROTTLE_RATE_PER_SECOND", "1.5"),
        ("THROTTLE_BURST", "9" * 5000),
    ],
)
def test_a_wrong_variable_is_an_error_that_names_it(name: str, value: str) -> None:
    with pytest.raises(TriggerPolicyError, match=f"BUBU_TRIGGER_{name}"):
        delivery.load({f"BUBU_TRIGGER_{name}": value})


@pytest.mark.parametrize("template", [None, " ", "{{ now }}", "{{ inputs.id", "{{ inputs.id | env }}"])
def test_mode_key_needs_a_template_that_can_be_evaluated(template: str | None) -> None:
    environ = {"BUBU_TRIGGER_DEDUPE_MODE": "key"}
    if template is not None:
        environ["BUBU_TRIGGER_DEDUPE_KEY_TEMPLATE"] = template

    with pytest.raises(TriggerPolicyError, match="BUBU_TRIGGER_DEDUPE_KEY_TEMPLATE"):
        delivery.load(environ)


@pytest.mark.parametrize("zero", ["0", "0s", "0m0s"])
def test_a_delay_of_zero_is_the_default(zero: str) -> None:
    retry = delivery.load({"BUBU_TRIGGER_RETRY_BASE_DELAY": zero, "BUBU_TRIGGER_RETRY_MAX_DELAY": zero}).retry

    assert (retry.base_seconds, retry.max_seconds) == (1.0, 300.0)


def test_an_empty_environment_has_no_policy() -> None:
    policy = delivery.load({})

    assert policy.mode is None
    assert policy.retry == Retry(attempts=1, base_seconds=1.0, max_seconds=300.0, backoff=Backoff.EXPONENTIAL)
    assert policy.limits == Limits(0, 0, 0)


def test_every_variable_is_read() -> None:
    policy = delivery.load(
        {
            "BUBU_TRIGGER_RETRY_MAX_ATTEMPTS": "4",
            "BUBU_TRIGGER_RETRY_BASE_DELAY": "300ms",
            "BUBU_TRIGGER_RETRY_MAX_DELAY": "1m30s",
            "BUBU_TRIGGER_RETRY_BACKOFF": "Linear",
            "BUBU_TRIGGER_THROTTLE_MAX_IN_FLIGHT": "3",
            "BUBU_TRIGGER_THROTTLE_RATE_PER_SECOND": "10",
            "BUBU_TRIGGER_THROTTLE_BURST": "20",
        }
    )

    assert policy.retry == Retry(4, 0.3, 90.0, Backoff.LINEAR)
    assert policy.limits == Limits(3, 10, 20)


@pytest.mark.parametrize(
    ("retry", "exact"),
    [
        (Retry(base_seconds=1, max_seconds=300), [1, 2, 4, 8, 16]),
        (Retry(base_seconds=2, max_seconds=300, backoff=Backoff.LINEAR), [2, 4, 6, 8, 10]),
        (Retry(base_seconds=3, max_seconds=300, backoff=Backoff.CONSTANT), [3, 3, 3, 3, 3]),
        (Retry(base_seconds=1, max_seconds=5), [1, 2, 4, 5, 5]),
        (Retry(base_seconds=9, max_seconds=5, backoff=Backoff.CONSTANT), [5, 5, 5, 5, 5]),
    ],
)
def test_pauses_grow_as_chosen_and_vary_by_a_quarter(retry: Retry, exact: list[float]) -> None:
    pauses = [[retry.pause_seconds(failures, chance) for failures in range(1, 6)] for chance in (0, 0.5, 1)]

    assert pauses == [[0.75 * one for one in exact], exact, [1.25 * one for one in exact]]


def test_the_pause_after_many_failures_is_the_longest_one() -> None:
    assert Retry().pause_seconds(100_000, 0.5) == 300.0
