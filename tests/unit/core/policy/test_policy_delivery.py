"""The delivery policy of an Impulse over that of its template."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from core.policy.delivery import merged_policy


def policy(**parts: Any) -> Object:
    return {"spec": {"deliveryPolicy": parts}}


@pytest.mark.parametrize(
    ("template", "own", "merged"),
    [
        ({}, {}, {}),
        ({"mode": "token"}, {}, {"mode": "token"}),
        ({"mode": "key", "keyTemplate": "t"}, {}, {"mode": "key", "keyTemplate": "t"}),
        ({"mode": "key", "keyTemplate": "t"}, {"keyTemplate": "own"}, {"mode": "key", "keyTemplate": "own"}),
        ({"keyTemplate": "t"}, {"mode": " KEY "}, {"mode": " KEY ", "keyTemplate": "t"}),
        ({"mode": "key", "keyTemplate": "t"}, {"mode": "token"}, {"mode": "token"}),
        ({"mode": "key", "keyTemplate": "t"}, {"mode": " ", "keyTemplate": ""}, {"mode": "key", "keyTemplate": "t"}),
        ({}, {"mode": "token", "keyTemplate": "own"}, {"mode": "token", "keyTemplate": "own"}),
    ],
)
def test_each_field_of_the_impulse_outranks_that_of_the_template(template: Object, own: Object, merged: Object) -> None:
    assert merged_policy(policy(dedupe=template), policy(dedupe=own))["dedupe"] == merged


def test_retries_are_merged_field_by_field_and_zero_is_a_value() -> None:
    below, own = {"maxAttempts": 3, "baseDelay": "1s", "backoff": "linear"}, {"maxAttempts": 0, "maxDelay": "5m"}
    assert merged_policy(policy(retry=below), policy(retry=own))["retry"] == {
        "maxAttempts": 0,
        "baseDelay": "1s",
        "backoff": "linear",
        "maxDelay": "5m",
    }


def test_a_delay_of_zero_is_the_default_and_not_the_delay_of_the_template() -> None:
    below, own = {"baseDelay": "10s", "maxDelay": "0s"}, {"baseDelay": "0s"}

    assert merged_policy(policy(retry=below), policy(retry=own))["retry"] == {}


def test_without_a_template_the_own_fields_are_the_policy() -> None:
    assert merged_policy(None, policy(retry={"maxAttempts": 2})) == {"dedupe": {}, "retry": {"maxAttempts": 2}}
    assert merged_policy(None, {"spec": {}}) == {"dedupe": {}, "retry": {}}
