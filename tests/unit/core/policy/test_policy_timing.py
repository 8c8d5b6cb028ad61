"""How long a step may run, and how many attempts it gets."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core.api.objects import Object
from core.policy.layers import PolicyError
from core.policy.retry import DEFAULT_MAX_DELAY, BackoffStrategy, RetryPolicy
from core.policy.settings import OperatorSettings, TimeoutSettings
from core.policy.timing import retry_layers, retry_notes, retry_policy, retry_spec, step_timeout, timeout_choice
from tests.unit.core.policy.policy_samples import sources

SECOND = timedelta(seconds=1)

TIMEOUTS: list[tuple[Object, float]] = [
    ({}, 1800),
    ({"settings": replace(OperatorSettings(), timeouts=TimeoutSettings(default_step=7 * SECOND))}, 7),
    ({"template": {"execution": {"timeout": "6s"}}}, 6),
    ({"engram": {"executionPolicy": {"timeout": "5s"}}}, 5),
    ({"engram": {"executionPolicy": {"timeout": "5s"}, "overrides": {"timeout": "4s"}}}, 4),
    ({"story_policy": {"execution": {"timeout": "3s"}}}, 3),
    ({"story_policy": {"execution": {"timeout": "3s"}, "timeouts": {"step": "2s"}}}, 2),
    ({"step": {"execution": {"timeout": "1s"}}}, 1),
]


LAYERS = (
    *("built-in", "operator", "EngramTemplate", "Engram executionPolicy", "Engram overrides"),
    *("Story policy", "Story policy", "Story step"),
)
"""The layer of each timeout above."""


@pytest.mark.parametrize("height", range(len(TIMEOUTS)))
def test_the_layer_of_the_timeout_is_known(height: int) -> None:
    layers: Object = {}
    for layer, _ in TIMEOUTS[: height + 1]:
        layers |= layer
    assert timeout_choice(sources(**layers)).layer == LAYERS[height]


@pytest.mark.parametrize("height", range(len(TIMEOUTS)))
def test_the_most_specific_timeout_counts(height: int) -> None:
    layers: Object = {}
    for layer, _ in TIMEOUTS[: height + 1]:
        layers |= layer
    assert step_timeout(sources(**layers)) == TIMEOUTS[height][1] * SECOND


def test_a_blank_timeout_is_none() -> None:
    layers: dict[str, Any] = {"step": {"execution": {"timeout": " "}}, "story_policy": {"timeouts": {"step": "2s"}}}
    assert step_timeout(sources(**layers)) == 2 * SECOND


@pytest.mark.parametrize("text", ["0s", "-1s", "soon", "5", "{{ inputs.t }}"])
def test_an_invalid_timeout_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(PolicyError, match=r"^step execution\.timeout: "):
        step_timeout(sources(step={"execution": {"timeout": text}}))


RECOMMENDED = {
    "recommendedBaseDelay": "3s",
    "recommendedMaxDelay": "1m",
    "recommendedBackoff": "Linear",
    "recommendedMaxRetries": 7,
}


@pytest.mark.parametrize(
    ("layers", "spec"),
    [
        pytest.param({}, None, id="nobody-asks"),
        pytest.param({"step": {"execution": {"retry": {"maxRetries": 1}}}}, {"maxRetries": 1}, id="step"),
        pytest.param(
            {"story_policy": {"retries": {"stepRetryPolicy": {"maxRetries": 2, "delay": "5s"}}}},
            {"maxRetries": 2, "delay": "5s"},
            id="story",
        ),
        pytest.param(
            {
                "step": {"execution": {"retry": {"maxRetries": 1}}},
                "story_policy": {"retries": {"stepRetryPolicy": {"maxRetries": 2, "delay": "5s"}}},
            },
            {"maxRetries": 1},
            id="step-replaces-story",
        ),
        pytest.param(
            {"template": {"execution": {"retry": RECOMMENDED}}},
            {"maxRetries": 7, "delay": "3s", "maxDelay": "1m", "backoff": "linear"},
            id="template-alone",
        ),
        pytest.param(
            {
                "step": {"execution": {"retry": {"maxRetries": 1, "delay": "9s", "backoff": ""}}},
                "template": {"execution": {"retry": RECOMMENDED}},
            },
            {"maxRetries": 1, "delay": "9s", "maxDelay": "1m", "backoff": "linear"},
            id="template-fills-gaps",
        ),
        pytest.param(
            {"template": {"execution": {"retry": {"recommendedMaxRetries": 4}}}},
            {"maxRetries": 4},
            id="template-with-only-retries",
        ),
        pytest.param(
            {"template": {"execution": {"retry": {"recommendedBaseDelay": "2s"}}}},
            {"maxRetries": 3, "delay": "2s"},
            id="retries-are-spelled-out",
        ),
        pytest.param(
            {"template": {"execution": {"retry": {"recommendedMaxRetries": 40}}}},
            {"maxRetries": 10},
            id="as-many-as-can-be-stored",
        ),
        pytest.param(
            {
                "step": {"execution": {"retry": {"maxRetries": 1, "retryOn": ["transient", 1]}}},
                "story_policy": {"retries": {"stepRetryPolicy": {"maxRetries": 2, "retryOn": ["any"]}}},
                "template": {"execution": {"retry": {"recommendedRetryOn": [75]}}},
            },
            {"maxRetries": 1, "retryOn": ["transient", 1]},
            id="the-list-of-the-step-replaces-all-others",
        ),
        pytest.param(
            {
                "story_policy": {"retries": {"stepRetryPolicy": {"maxRetries": 2}}},
                "template": {"execution": {"retry": {"recommendedRetryOn": [75]}}},
            },
            {"maxRetries": 2, "retryOn": [75]},
            id="the-template-fills-in-the-list",
        ),
        pytest.param({"step": {"sideEffects": True}}, {"maxRetries": 0}, id="side-effects"),
        pytest.param(
            {"step": {"sideEffects": True, "execution": {"retry": {"maxRetries": 2}}}},
            {"maxRetries": 2},
            id="side-effects-with-own-policy",
        ),
        pytest.param(
            {
                "step": {"sideEffects": True},
                "story_policy": {"retries": {"stepRetryPolicy": {"maxRetries": 5}}},
            },
            {"maxRetries": 0},
            id="side-effects-beat-the-story",
        ),
    ],
)
def test_the_stored_policy_is_the_steps_with_gaps_filled(layers: Object, spec: Object | None) -> None:
    assert retry_spec(sources(**layers)) == spec


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        ({}, {}),
        ({"step": {"execution": {"retry": {"delay": "1s"}}}}, {"delay": "Story step", "maxRetries": "operator"}),
        ({"step": {"sideEffects": True}}, {"maxRetries": "Story step sideEffects"}),
        (
            {"template": {"execution": {"retry": {"recommendedRetryOn": ["any"]}}}},
            {"maxRetries": "operator", "retryOn": "EngramTemplate"},
        ),
        (
            {
                "story_policy": {"retries": {"stepRetryPolicy": {"maxRetries": 2}}},
                "template": {"execution": {"retry": RECOMMENDED}},
            },
            {
                **dict.fromkeys(("delay", "maxDelay", "backoff"), "EngramTemplate"),
                "maxRetries": "Story policy",
            },
        ),
    ],
)
def test_the_layer_of_each_part_of_the_retries_is_known(layers: Object, found: Object) -> None:
    assert retry_layers(sources(**layers)) == found


def test_retries_beyond_what_can_be_stored_are_noted() -> None:
    many = {"execution": {"retry": {"recommendedMaxRetries": 40}}}
    assert retry_notes(sources(template=many)) == [
        "EngramTemplate: 40 retries are more than a StepRun can have; 10 are used"
    ]
    assert retry_notes(sources()) == retry_notes(sources(step={"execution": {"retry": {"maxRetries": 10}}})) == []


def test_the_operators_default_is_what_is_spelled_out() -> None:
    layers = {"template": {"execution": {"retry": {"recommendedBaseDelay": "2s"}}}}
    assert retry_spec(sources(settings=replace(OperatorSettings(), max_retries=5), **layers)) == {
        "maxRetries": 5,
        "delay": "2s",
    }


@pytest.mark.parametrize(
    ("spec", "policy"),
    [
        (None, RetryPolicy(3, SECOND, DEFAULT_MAX_DELAY, BackoffStrategy.EXPONENTIAL, 0)),
        ({"maxRetries": 0}, RetryPolicy(0, SECOND, DEFAULT_MAX_DELAY, BackoffStrategy.EXPONENTIAL, 0)),
        ({"maxRetries": 99}, RetryPolicy(50, SECOND, DEFAULT_MAX_DELAY, BackoffStrategy.EXPONENTIAL, 0)),
        (
            {"delay": "2s", "maxDelay": "3s", "backoff": "linear", "jitter": 10},
            RetryPolicy(3, 2 * SECOND, 3 * SECOND, BackoffStrategy.LINEAR, 10),
        ),
        (
            {"retryOn": ["any", 75, "ValueError"]},
            RetryPolicy(retry_on=("any", 75, "ValueError")),
        ),
        (
            {"delay": "10m", "backoff": "constant"},
            RetryPolicy(3, 600 * SECOND, 30_000 * SECOND, BackoffStrategy.CONSTANT, 0),
        ),
    ],
)
def test_a_stored_policy_is_read_with_defaults(spec: Object | None, policy: RetryPolicy) -> None:
    assert retry_policy(spec, OperatorSettings()) == policy


@pytest.mark.parametrize(
    ("spec", "delay", "max_delay"),
    [
        (None, 7 * SECOND, 77 * SECOND),
        ({"delay": "2s"}, 2 * SECOND, 77 * SECOND),
        ({"delay": "2m"}, 120 * SECOND, 120 * SECOND),
        ({"maxDelay": "9s"}, 7 * SECOND, 9 * SECOND),
        ({"backoff": "constant"}, SECOND, 50 * SECOND),
    ],
)
def test_the_operators_exponential_backoff_fills_what_a_policy_leaves_out(
    spec: Object | None, delay: timedelta, max_delay: timedelta
) -> None:
    settings = OperatorSettings(retry_delay=7 * SECOND, retry_max_delay=77 * SECOND)

    policy = retry_policy(spec, settings)

    assert (policy.delay, policy.max_delay) == (delay, max_delay)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"delay": "soon"}, "retry.delay: 'soon' is not a duration; write for example 30s, 5m or 1h30m"),
        ({"maxDelay": "0s"}, "retry.maxDelay: '0s' must be greater than zero"),
        ({"backoff": "random"}, "retry.backoff 'random' must be exponential, linear or constant"),
    ],
)
def test_an_invalid_policy_is_refused(spec: Object, problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        retry_policy(spec, OperatorSettings())
    assert caught.value.problems == (problem,)
