"""Which defaults a Story gets before it is stored, and which fields stay unset."""

from __future__ import annotations

from typing import Any

import pytest

from core.policy.settings import OperatorSettings
from webhooks.cluster_view import InMemoryView
from webhooks.defaults import admission
from webhooks.defaults.story import with_defaults

SETTINGS = OperatorSettings(max_retries=5)
WORLD = InMemoryView(settings=SETTINGS)


def story(**spec: Any) -> dict[str, Any]:
    return {"kind": "Story", "spec": {"steps": [{"name": "a", "type": "stop"}], **spec}}


def test_a_retry_policy_is_completed_from_the_settings() -> None:
    step = {"name": "a", "type": "stop", "execution": {"retry": {"jitter": 10}}}
    filled = with_defaults(story(steps=[step]), SETTINGS)

    retry = {"jitter": 10, "maxRetries": 5, "delay": "1s", "backoff": "exponential"}
    assert filled["spec"]["steps"][0]["execution"] == {"retry": retry}


def test_retries_are_never_more_than_a_policy_may_say() -> None:
    filled = with_defaults(story(policy={"retries": {"stepRetryPolicy": {}}}), OperatorSettings(max_retries=50))

    assert filled["spec"]["policy"]["retries"]["stepRetryPolicy"]["maxRetries"] == 10


@pytest.mark.parametrize("list_name", ["steps", "compensations", "finally"])
def test_a_step_with_side_effects_is_not_retried_in_any_list(list_name: str) -> None:
    step = {"name": "z", "type": "stop", "sideEffects": True, "execution": {"timeout": "5s"}}
    filled = with_defaults(story(**{list_name: [step]}), SETTINGS)

    never = {"maxRetries": 0, "delay": "1s", "backoff": "exponential"}
    assert filled["spec"][list_name] == [{**step, "execution": {"timeout": "5s", "retry": never}}]


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"policy": {"timeouts": {"story": "1h"}}}, id="a policy without retries"),
        pytest.param({"steps": [{"name": "a", "execution": {"timeout": "1s"}}]}, id="an execution without a retry"),
        pytest.param({"steps": [{"name": "a", "execution": {"retry": None}}, "no step", 3]}, id="what is no step"),
        pytest.param({"steps": None, "policy": []}, id="what is no Story"),
    ],
)
def test_what_is_absent_stays_absent(spec: dict[str, Any]) -> None:
    assert with_defaults(story(**spec), SETTINGS) == story(**spec)


def test_a_second_time_changes_nothing_and_the_first_not_its_argument() -> None:
    step = {"name": "a", "type": "stop", "sideEffects": True}
    original = story(steps=[step], policy={"retries": {"stepRetryPolicy": {"maxRetries": 2}}})
    once = with_defaults(original, SETTINGS)

    assert with_defaults(once, SETTINGS) == once
    assert original["spec"]["steps"] == [{"name": "a", "type": "stop", "sideEffects": True}]


def test_other_kinds_have_no_defaults() -> None:
    engram = {"kind": "Engram", "spec": {"executionPolicy": {"retry": {}}}}

    assert admission.with_defaults(engram, WORLD) == engram
    assert admission.with_defaults(story(policy={"retries": {"stepRetryPolicy": {}}}), WORLD)["spec"]["policy"] == {
        "retries": {"stepRetryPolicy": {"maxRetries": 5, "delay": "1s", "backoff": "exponential"}}
    }
