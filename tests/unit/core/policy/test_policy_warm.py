"""Warm workers: layers are merged field by field, defaults, bounds, and how they are turned off."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from core.policy.layers import PolicyError, resolve_impulse_policy, resolve_policy
from core.policy.settings import OperatorSettings
from core.policy.sources import Sources
from core.policy.warm import WarmPolicy, warm_policy, warm_problems


def sources(
    template: Any = None, overrides: Any = None, policy: Any = None, story: Any = None, step: Any = None
) -> Sources:
    return Sources(
        settings=OperatorSettings(),
        template={"spec": {"image": "app:1", "execution": {"warm": template}}},
        engram={"spec": {"overrides": {"warm": overrides}, "executionPolicy": {"warm": policy}}},
        story={"spec": {"policy": {"execution": {"warm": story}}}},
        step={"name": "a", "execution": {"warm": step}},
    )


def test_without_a_layer_that_asks_there_are_no_workers() -> None:
    assert resolve_policy(sources()).warm is None


def test_each_field_comes_from_the_most_specific_layer_that_sets_it() -> None:
    found = resolve_policy(
        sources(
            template={"replicas": 1, "concurrencyPerWorker": 2},
            policy={"idleTimeout": "30s"},
            overrides={"replicas": 2, "maxReplicas": 4},
            story={"maxReplicas": 8},
            step={"isolation": "task"},
        )
    )
    assert found.warm == WarmPolicy(2, 8, 2, "task", timedelta(seconds=30))
    assert found.provenance["warm.maxReplicas"] == "Story policy"
    assert found.provenance["warm.concurrencyPerWorker"] == "EngramTemplate"


def test_an_empty_block_asks_for_one_worker_with_one_step() -> None:
    assert resolve_policy(sources(overrides={})).warm == WarmPolicy(1, 1, 1, "process", timedelta(minutes=10))
    assert resolve_policy(sources(overrides={"replicas": None})).warm == WarmPolicy()
    assert warm_policy({"replicas": 3}) == WarmPolicy(3, 3)


@pytest.mark.parametrize("off", [{"enabled": False}, {"maxReplicas": 0}])
def test_a_later_layer_turns_them_off_and_another_one_on_again(off: dict[str, Any]) -> None:
    assert resolve_policy(sources(overrides={"replicas": 2}, story=off)).warm is None
    on = {"enabled": True, "maxReplicas": 2}
    assert resolve_policy(sources(overrides={"replicas": 2}, story=off, step=on)).warm == WarmPolicy(2, 2)


def test_bounds_of_different_layers_never_contradict_each_other() -> None:
    assert resolve_policy(sources(template={"replicas": 5}, step={"maxReplicas": 2})).warm == WarmPolicy(2, 2)


def test_every_problem_is_reported_with_its_layer() -> None:
    with pytest.raises(PolicyError) as caught:
        resolve_policy(sources(overrides={"replicas": 0}, step={"isolation": "thread", "idleTimeout": "soon"}))
    text = "\n".join(caught.value.problems)
    assert "Engram overrides: warm.replicas" in text
    assert "Story step: warm.isolation" in text
    assert "Story step: warm.idleTimeout" in text


@pytest.mark.parametrize(
    ("block", "path"),
    [
        ("yes", "warm"),
        ({"replicas": True}, "warm.replicas"),
        ({"replicas": 101}, "warm.replicas"),
        ({"maxReplicas": -1}, "warm.maxReplicas"),
        ({"concurrencyPerWorker": 65}, "warm.concurrencyPerWorker"),
        ({"enabled": "no"}, "warm.enabled"),
        ({"isolation": "none"}, "warm.isolation"),
        ({"idleTimeout": "1ms"}, "warm.idleTimeout"),
        ({"replicas": 3, "maxReplicas": 2}, "warm.maxReplicas"),
    ],
)
def test_a_bad_value_is_named_with_its_path(block: Any, path: str) -> None:
    assert [problem.path for problem in warm_problems(block, "warm")] == [path]


def test_good_values_have_no_problem() -> None:
    good = {"replicas": 2, "maxReplicas": 10, "concurrencyPerWorker": 4, "isolation": "task", "idleTimeout": "10m"}
    assert not list(warm_problems(good, "warm"))
    assert not list(warm_problems({"replicas": 3, "maxReplicas": 0}, "warm"))


@pytest.mark.parametrize(("steps", "workers"), [(1, 2), (9, 3), (12, 3), (13, 4), (1000, 5)])
def test_workers_follow_the_number_of_steps_between_the_bounds(steps: int, workers: int) -> None:
    assert WarmPolicy(replicas=2, max_replicas=5, concurrency=4).replicas_for(steps) == workers


def test_a_listener_has_no_workers() -> None:
    template = {"spec": {"image": "app:1", "execution": {"warm": {"replicas": 2}}}}
    impulse = {"metadata": {"namespace": "n"}, "spec": {"execution": {"warm": {"replicas": 2}}}}
    assert resolve_impulse_policy(OperatorSettings(), template, impulse).warm is None
