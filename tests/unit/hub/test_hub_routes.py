"""Routes follow needs, and what cannot be connected is refused. (hub/routes.py, hub/topology.py, hub/settings.py)"""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import NamespacedName
from core.api.streaming import Streaming
from core.story.kinds import StepKind
from hub.routes import RouteError, StreamStep, compile_routes
from hub.settings import (
    DeliverySettings,
    DropPolicy,
    JoinMode,
    JoinSettings,
    KeySource,
    LaneKind,
    LaneSettings,
    Ordering,
    PartitionKey,
    PartitionMode,
    PartitionSettings,
    RouteRule,
    settings_of,
)
from hub.topology import BoundStep, Place, build_topology

RUN = NamespacedName("team", "run")
QUORUM = DeliverySettings(join=JoinSettings(JoinMode.QUORUM, 3))


def test_packets_follow_needs_whatever_the_order() -> None:
    steps = [StreamStep("join", ("left", "right")), StreamStep("left", ("start",)), StreamStep("start")]
    routes = compile_routes(RUN, "story", [*steps, StreamStep("right", ("start",))])

    assert routes.targets == {"start": ("left", "right"), "left": ("join",), "right": ("join",), "join": ()}
    assert routes.sources == {"start": (), "left": ("start",), "right": ("start",), "join": ("left", "right")}


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([StreamStep("a"), StreamStep("a")], "same name"),
        ([StreamStep("a", ("b",))], "needs names b"),
        ([StreamStep("a", ("b",)), StreamStep("b", ("a",))], "a → b → a"),
        ([StreamStep("a", ("a",))], "a → a"),
        ([StreamStep("a", kind=StepKind.SLEEP)], "it has no needs"),
        ([StreamStep("a"), StreamStep("b"), StreamStep("c", ("a", "b"), QUORUM)], "quorum is 3"),
    ],
)
def test_what_cannot_be_connected_is_refused(steps: list[StreamStep], problem: str) -> None:
    with pytest.raises(RouteError, match=problem):
        compile_routes(RUN, "story", steps)


def test_any_number_of_steps_may_need_one() -> None:
    """A Story has 100 main steps at most; how many of them get a packet, ``maxDownstreams`` says."""
    followers = tuple(f"b{number}" for number in range(99))
    routes = compile_routes(RUN, "story", [StreamStep("a"), *(StreamStep(each, ("a",)) for each in followers)])
    assert routes.targets["a"] == followers


def test_a_binding_must_name_a_step_of_a_run() -> None:
    routes = compile_routes(RUN, "story", [StreamStep("a")])
    bound = {NamespacedName("team", "run-a"): BoundStep(Place(RUN, "a"), "uid")}

    assert build_topology([routes], bound).bindings == bound
    for place in (Place(RUN, "b"), Place(NamespacedName("team", "other"), "a")):
        with pytest.raises(RouteError, match="there is no step"):
            build_topology([routes], {NamespacedName("team", "run-a"): BoundStep(place, "uid")})
    with pytest.raises(RouteError, match="twice"):
        build_topology([routes, routes], {})


def _settings(**streaming: Any) -> DeliverySettings:
    return settings_of(Streaming.model_validate(streaming), channel_buffer=64)


def test_absent_settings_have_the_defaults_of_the_contract() -> None:
    found = settings_of(None)

    assert (found.max_messages, found.max_bytes, found.drop_policy) == (100, 10 * 1024 * 1024, DropPolicy.NEWEST)
    assert (found.pause_percent, found.resume_percent, found.blocks) == (90, 50, True)
    assert not found.is_sequenced
    assert found.window_messages == 16


def test_what_one_setting_implies_for_another() -> None:
    assert _settings(delivery={"replay": {"mode": "memory"}}).at_least_once
    assert _settings(delivery={"semantics": "at_least_once"}).ordering is Ordering.PER_STREAM
    kept = _settings(delivery={"semantics": "at_least_once", "ordering": "per_partition"})
    assert kept.ordering is Ordering.PER_PARTITION
    swapped = _settings(flowControl={"pauseThreshold": {"bufferPct": 40}, "resumeThreshold": {"bufferPct": 60}})
    assert (swapped.pause_percent, swapped.resume_percent) == (40, 20)
    assert not _settings(flowControl={"mode": "none"}).blocks


def test_the_window_is_the_smallest_of_its_bounds() -> None:
    assert _settings().window_messages == 64
    assert _settings(flowControl={"initialCredits": {"messages": 7}}).window_messages == 7
    assert _settings(lifecycle={"maxInFlight": 5}).window_messages == 5
    assert _settings(backpressure={"buffer": {"maxMessages": 3}}).window_messages == 3
    assert _settings(flowControl={"initialCredits": {"bytes": 99}}).window_bytes == 99


def test_what_the_settings_say_about_joins_partitions_lanes_and_rules() -> None:
    assert _settings().join is None
    assert _settings(fanIn={}).join == JoinSettings(JoinMode.ALL, 0, 120.0, 1_000)
    quorum = _settings(fanIn={"mode": "quorum", "quorum": 2, "timeoutSeconds": 0, "maxEntries": 7}).join
    assert quorum == JoinSettings(JoinMode.QUORUM, 2, None, 7)

    hashed = _settings(partitioning={"mode": "hash", "key": "payload.user.id", "partitions": 8, "sticky": True})
    key = PartitionKey(KeySource.PAYLOAD, ("user", "id"))
    assert hashed.partitioning == PartitionSettings(PartitionMode.HASH, key, 8, True)
    for text, path in (("metadata.a.b", "a.b"), ("a.b", "a.b"), ("user", "user")):
        assert _settings(partitioning={"key": text}).partitioning.key == PartitionKey(KeySource.METADATA, (path,))
    message = PartitionKey(KeySource.METADATA, ("bubu.envelope.message_id",))
    assert _settings(partitioning={"key": "envelope.messageId"}).partitioning.key == message

    lanes = [{"name": "a", "kind": "audio", "maxMessages": 3}, {"name": "c", "kind": "control"}]
    assert _settings(lanes=lanes).lanes == (LaneSettings(LaneKind.AUDIO, 3, 1024 * 1024),)
    rule = {"action": "deny", "target": {"steps": ["b"]}, "when": " packet.x "}
    found = _settings(routing={"rules": [rule, {"name": "all"}], "maxDownstreams": 100})
    assert found.rules == (RouteRule("rules[0]", False, frozenset({"b"}), "packet.x"), RouteRule("all", True))
    assert found.max_downstreams == 100


@pytest.mark.parametrize(
    ("streaming", "field"),
    [
        ({"delivery": {"replay": {"mode": "durable"}}}, "delivery.replay.mode"),
        ({"fanIn": {"mode": "quorum"}}, "fanIn.quorum"),
        ({"fanIn": {"quorum": 1}}, "fanIn.quorum"),
        ({"partitioning": {"key": "envelope.nothing"}}, "partitioning.key"),
        ({"partitioning": {"key": "payload."}}, "partitioning.key"),
    ],
)
def test_settings_without_effect_are_refused_by_name(streaming: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=rf"^{field}:"):
        _settings(**streaming)
