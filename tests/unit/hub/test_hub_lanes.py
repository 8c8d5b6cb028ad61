"""Each kind of packet has its own room, and nothing is counted twice. (hub/lanes.py, hub/delivery.py)"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubu_wire.codec import encode
from bubu_wire.inspection import Inspected, Inspector
from bubu_wire.messages import AudioFrame, BinaryFrame, DataRequest, Frame, VideoFrame
from hub.delivery import Loss, StepDelivery
from hub.lanes import lane_of
from hub.settings import DeliverySettings, DropPolicy, LaneKind, LaneSettings, Ordering
from tests.unit.hub.json_packets import json_packet

FRAMES: dict[LaneKind, Frame] = {
    LaneKind.AUDIO: AudioFrame(8_000, 1, b"pcm"),
    LaneKind.VIDEO: VideoFrame(b"h264"),
    LaneKind.BINARY: BinaryFrame(b"raw", "text/plain"),
}


def packet(kind: LaneKind) -> Inspected:
    if kind is LaneKind.PAYLOAD:
        return Inspector().inspect(json_packet({"a": 1}, x="y"))
    return Inspector().inspect(encode(DataRequest(FRAMES[kind], {"x": "y"}, {"a": 1})))


@pytest.mark.parametrize("kind", LaneKind)
def test_the_frame_says_the_kind(kind: LaneKind) -> None:
    assert lane_of(packet(kind)) is kind


def test_the_oldest_of_its_lane_goes_and_not_that_of_another() -> None:
    lanes = (LaneSettings(LaneKind.AUDIO, 1), LaneSettings(LaneKind.VIDEO, 5))
    delivery = StepDelivery(DeliverySettings(lanes=lanes, drop_policy=DropPolicy.OLDEST), "s", {})
    for kind in (LaneKind.VIDEO, LaneKind.AUDIO, LaneKind.AUDIO, LaneKind.BINARY, LaneKind.AUDIO):
        assert delivery.offer(packet(kind), 10, 0.0) is None
    assert delivery.waiting == 3
    assert delivery.counts.lost == {Loss.DROP_OLDEST_LANE: 2}


@given(
    st.lists(
        st.sampled_from(["audio", "video", "take", "receipt", "end", "expire"]),
        max_size=40,
    )
)
def test_what_leaves_the_buffer_leaves_its_lane(operations: list[str]) -> None:
    lanes = (LaneSettings(LaneKind.AUDIO, 2), LaneSettings(LaneKind.VIDEO, 3, 1_000))
    settings = DeliverySettings(
        lanes=lanes, at_least_once=True, ordering=Ordering.PER_STREAM, max_age_seconds=5, window_messages=2
    )
    delivery = StepDelivery(settings, "s", {})
    delivery.connected()
    now, number = 0.0, 0
    for operation in operations:
        now += 1.0
        match operation:
            case "audio" | "video":
                delivery.offer(packet(LaneKind(operation)), 10, now)
            case "take":
                delivery.take(now, 1_000)
            case "receipt":
                number += 1
                delivery.receipt("s", "", number, now)
            case "end":
                delivery.disconnected()
                delivery.connected()
            case _:
                delivery.expire(now, now)
        assert delivery._lanes is not None
        loads = [delivery._lanes.load(kind) for kind in (LaneKind.AUDIO, LaneKind.VIDEO)]
        assert sum(load.messages for load in loads if load) == delivery.waiting
        counts = delivery.counts
        assert counts.offered == counts.delivered + counts.lost.total() + delivery.pending
    delivery.abandon()
    assert all(load.messages == load.size == 0 for load in loads if load) if operations else True
