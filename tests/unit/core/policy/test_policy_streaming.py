"""Merged settings of a stream. (core/policy/streaming.py)"""

from __future__ import annotations

from typing import Any

import pytest

from core.api.schema import WireModel
from core.api.streaming import Streaming
from core.policy.streaming import (
    STREAMING_FIELDS,
    RolloutStrategy,
    channel_buffer,
    merged_problems,
    merged_settings,
    rollout_strategy,
    variables_of,
)


def test_the_fields_are_those_of_the_schema() -> None:
    model: type[WireModel] = Streaming
    assert tuple(sorted(field.alias or name for name, field in model.model_fields.items())) == STREAMING_FIELDS


def test_a_story_that_says_nothing_leaves_the_transport_in_force() -> None:
    """In the reference, the Story's defaults win."""
    of_transport = {"flowControl": {"mode": "none"}, "routing": {"maxDownstreams": 4}, "lanes": [{"name": "a"}]}
    assert merged_settings({"streaming": of_transport}, {"name": "x"}) == of_transport


@pytest.mark.parametrize(
    ("transport", "declared", "merged"),
    [
        ({}, {}, {}),
        ({"defaultSettings": {"a": {"b": 1, "c": 2}}}, {"settings": {"a": {"b": 3}}}, {"a": {"b": 3, "c": 2}}),
        ({"streaming": {"recording": {}}}, {"settings": {"room": "r"}}, {"recording": {}, "room": "r"}),
        ({"streaming": {"lanes": [1, 2]}}, {"streaming": {"lanes": [3]}}, {"lanes": [3]}),
        ({"defaultSettings": {"a": 1}}, {"settings": {"a": None}}, {"a": 1}),
        ({"defaultSettings": {"a": {"b": 1}}}, {"settings": {"a": "text"}}, {"a": "text"}),
        ({"streaming": None, "defaultSettings": None}, {"streaming": None, "settings": None}, {}),
    ],
)
def test_objects_are_merged_and_all_else_is_replaced(transport: Any, declared: Any, merged: Any) -> None:
    assert merged_settings(transport, declared) == merged


def test_the_sides_are_not_changed() -> None:
    transport = {"defaultSettings": {"a": {"b": 1}}}
    merged_settings(transport, {"settings": {"a": {"c": 2}}})
    assert transport == {"defaultSettings": {"a": {"b": 1}}}


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"routing": "fast"}, "routing"),
        ({"fanIn": {"mode": "all", "quorum": 2}}, "fanIn.quorum"),
        ({"flowControl": {"ackEvery": {"maxDelay": "soon"}}}, "flowControl.ackEvery.maxDelay"),
        ({"env": {"A B": "x"}}, "env.A B"),
        ({"env": {"BUBU_X": 3}}, "env.BUBU_X"),
        ({"env": []}, "env"),
        ({"env": {"BUBU_TRANSPORT_SECURITY_MODE": "off"}}, "env.BUBU_TRANSPORT_SECURITY_MODE"),
    ],
)
def test_what_cannot_be_used_is_named_from_the_top_level_on(settings: Any, path: str) -> None:
    [found] = merged_problems(settings)
    assert found.path == path
    assert found.remedy


def test_settings_of_a_provider_are_its_own_business() -> None:
    assert merged_problems({"room": {"name": 3}, "env": {"HOME": "/x"}, "delivery": {"ordering": "per_stream"}}) == []


def test_the_hub_knows_how_much_an_sdk_holds() -> None:
    assert channel_buffer({}, 16) == 64
    assert channel_buffer({}, 200) == 200
    assert channel_buffer({"env": {"BUBU_GRPC_CHANNEL_BUFFER_SIZE": "8"}}, 16) == 8
    assert channel_buffer({"env": {"BUBU_GRPC_CHANNEL_BUFFER_SIZE": "many"}}, 16) == 64


def test_variables_are_ordered_by_name() -> None:
    assert list(variables_of({"env": {"B": "1", "A": "2"}})) == ["A", "B"]


def test_the_strategy_may_be_absent() -> None:
    assert rollout_strategy({}) is None
    assert rollout_strategy({"lifecycle": {"strategy": "rolling"}}) is RolloutStrategy.ROLLING
