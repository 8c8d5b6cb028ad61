"""``with`` of a step without ``runtime`` comes with each packet, as its inputs. (hub/work.py, hub/envelope.py)"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
import trio
import trio.testing

from bubu_wire.codec import decode, encode
from bubu_wire.errors import MessageError
from bubu_wire.inspection import Inspector
from bubu_wire.messages import AudioFrame, BinaryFrame, DataRequest, DataResponse
from core.api import keys
from hub import envelope as module
from hub.bindings import read_binding, trimmed
from hub.envelope import PacketReading, inputs_field
from hub.settings import JoinSettings, PartitionMode, PartitionSettings
from hub.story_routes import BoundSettings, routes_of
from tests.unit.hub.cluster_samples import engram_step, primitive_step, realtime_story, transport_binding
from tests.unit.hub.json_packets import json_packet, received
from tests.unit.hub.test_hub_flow import DIAMOND, EMIT, OPEN, RUN, SlowEvaluator, sink, staged, text

WITH = {"url": "https://{{ inputs.host }}/", "tries": 3, "id": 2**60}
GIVEN = {"url": "https://a.b/", "tries": 3.0, "id": float(2**60)}
HOST = {"host": "a.b"}


async def test_each_packet_has_it_beside_its_frame() -> None:
    async with staged(EMIT, sink(parameters=WITH), sink("plain"), inputs=HOST) as stage:
        stage.send("emit", *(json_packet({"n": n}) for n in range(3)))
        assert stage.got("sink") == [({"n": n}, GIVEN) for n in range(3)]
        assert stage.got("plain") == [({"n": n}, None) for n in range(3)]
        frames = {name: [decode(DataResponse, each).frame for each in stage.links[name].sent] for name in stage.links}
        assert frames["sink"] == frames["plain"]


async def test_what_the_sender_has_put_into_the_json_stays_the_input() -> None:
    async with staged(EMIT, sink(parameters=WITH), inputs=HOST) as stage:
        for _ in range(2):
            stage.send("emit", json_packet({"n": 1}, {"text": "hi"}))
        assert stage.got("sink") == [({"n": 1}, {"text": "hi"})] * 2
        assert decode(DataResponse, stage.links["sink"].sent[1]).inputs == GIVEN


async def test_sound_and_other_bytes_keep_their_frame_and_get_it_instead_of_what_was_beside() -> None:
    sound, film = AudioFrame(8_000, 1, b"pcm"), BinaryFrame(b"\x00\xff", "application/x-film")
    packets = [
        encode(DataRequest(sound)),
        encode(DataRequest(film, {"k": "v"})),
        encode(DataRequest(sound, inputs={"old": True})),
    ]
    async with staged(EMIT, sink(parameters=WITH), inputs=HOST) as stage:
        for _ in range(2):
            stage.send("emit", *packets)
        found = [decode(DataResponse, message) for message in stage.links["sink"].sent]
        assert [each.frame for each in found] == [sound, film, sound] * 2
        assert [each.inputs for each in found] == [GIVEN] * 6
        assert found[4].metadata["k"] == "v"


async def test_it_is_evaluated_once_also_by_a_process() -> None:
    evaluator = SlowEvaluator()
    long = {"text": "{{ inputs.host }}" + "{{/* x */}}" * 300}
    async with staged(EMIT, sink(parameters=long), inputs=HOST, evaluator=evaluator) as stage:
        stage.send("emit", *(text(str(n)) for n in range(5)))
        await trio.testing.wait_all_tasks_blocked()
        assert [inputs for _, inputs in stage.got("sink")] == [{"text": "a.b"}] * 5
        assert stage.texts("sink") == list("01234")
        assert evaluator.asked == 1


async def test_the_schema_adds_its_defaults_and_what_does_not_fit_it_was_checked_with_the_engram() -> None:
    schema = {"properties": {"size": {"default": 7}}, "required": ["url"]}
    async with staged(EMIT, sink(parameters=WITH, input_schema=schema), inputs=HOST) as stage:
        stage.send("emit", text("a"), text("b"))
        assert stage.inputs("sink") == [{**GIVEN, "size": 7.0}] * 2
    async with staged(EMIT, sink(parameters={"n": 1}, input_schema=schema)) as stage:
        stage.send("emit", text("a"))
        assert stage.inputs("sink") == [{"n": 1.0}]


@pytest.mark.parametrize("given", [{"n": "{{ inputs.gone.deep }}"}, {"n": "x" * 1_048_577}])
async def test_if_it_has_no_value_packets_are_lost_by_name(given: Any) -> None:
    async with staged(EMIT, sink(parameters=given)) as stage:
        stage.send("emit", text("a"), text("b"))
        await trio.testing.wait_all_tasks_blocked()
        assert stage.got("sink") == []
        assert sum(stage.run.node("sink").refused.values()) == 2
        assert "step sink, with" in stage.run.node("sink").trouble


async def test_condition_join_and_partition_come_with_it() -> None:
    by_user = PartitionSettings(PartitionMode.HASH)
    delivery = replace(OPEN, join=JoinSettings(), partitioning=by_user)
    join = sink("join", ("left", "right"), parameters=WITH, condition="packet.text == 'l'", delivery=delivery)
    async with staged(*DIAMOND, join, inputs=HOST) as stage:
        for number in "12":
            for name in ("left", "right"):
                stage.send(name, text(name[0], message_id=number, partition_key="u"))
        assert stage.inputs("join") == [GIVEN] * 2
        partitions = {decode(DataResponse, each).envelope.partition for each in stage.links["join"].sent}  # type: ignore[union-attr]
        assert len(partitions) == 1
        assert "" not in partitions


def test_a_packet_that_would_be_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MESSAGE_BYTES", 100)
    reading = PacketReading(Inspector().inspect(json_packet({"text": "x" * 20})))
    with pytest.raises(MessageError, match="with its inputs the packet has"):
        reading.packet_beside(inputs_field({"a": "y" * 80}))


@pytest.mark.parametrize("inputs", [None, {"old": 1}])
@pytest.mark.parametrize("with_structs", [True, False])
def test_the_packet_can_be_inspected_and_changed_again(inputs: Any, *, with_structs: bool) -> None:
    packet = Inspector().inspect(json_packet({"n": 1}, inputs, with_structs=with_structs))
    made = PacketReading(packet).packet_beside(inputs_field({"a": 1.0}))
    again = Inspector().inspect(made.body)
    assert (again.document, again.partition, again.pairs) == (made.document, made.partition, made.pairs)
    assert decode(DataRequest, made.body).inputs == {"a": 1.0}
    assert received(PacketReading(made).with_inputs({"b": 2}, orjson.dumps({"b": 2})).packet.body)[1] == {"b": 2}


def test_only_a_step_whose_binding_says_so_has_it_with_its_packets() -> None:
    story = realtime_story(
        engram_step("source") | {"with": {"a": 1}},
        engram_step("with", "source") | {"with": {"a": 1}},
        engram_step("before", "source") | {"with": {"a": 1}},
        primitive_step("pace", "source", type_="sleep") | {"with": {"duration": "1s"}},
    )
    bound = {
        "source": BoundSettings(with_in_packets=True),
        "with": BoundSettings(with_in_packets=True),
        "before": BoundSettings(),
    }
    steps = routes_of(RUN, story, {}, bound).steps
    assert {name: step.parameters for name, step in steps.items()} == {
        "source": None,
        "with": {"a": 1},
        "before": None,
        "pace": {"duration": "1s"},
    }
    assert [name for name, step in steps.items() if step.takes_as_it_is] == ["source", "before"]
    binding = transport_binding("with")
    assert not read_binding(trimmed(binding)).with_in_packets
    binding["metadata"]["annotations"][keys.ANNOTATION_WITH_IN_PACKETS] = "true"
    assert read_binding(trimmed(binding)).with_in_packets
