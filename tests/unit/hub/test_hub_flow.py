"""What packets become on their way: inputs, conditions, rules, schemas, joins, partitions, primitives. (hub/flow.py)"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trio
import trio.testing

from bubu_wire.codec import decode, encode
from bubu_wire.messages import AudioFrame, DataRequest, DataResponse
from core.api.objects import NamespacedName, Object
from core.evaluation.pool import OverLimitError
from core.story.kinds import StepKind
from hub.child_runs import ChildOrder, ChildRunError
from hub.delivery import Loss
from hub.evaluation import PacketEvaluator
from hub.packets import PacketChecker
from hub.questions import Question
from hub.refusal import PacketRefusal, PacketRefusedError
from hub.routes import StreamStep, compile_routes
from hub.run import LiveRun, RunServices
from hub.settings import (
    DeliverySettings,
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
)
from tests.unit.hub.json_packets import json_packet, metadata_of, received
from tests.unit.hub.test_hub_run import RecordedLink

RUN = NamespacedName("team", "run-1")
OPEN = DeliverySettings(max_messages=1_000, window_messages=10_000)
ALO = DeliverySettings(at_least_once=True, ordering=Ordering.PER_STREAM, max_messages=4, window_messages=2)
EMIT = StreamStep("emit")


class SlowEvaluator(PacketEvaluator):
    """Answers as a process does, after a time."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.asked = 0
        self._seconds = seconds

    async def answer(self, question: Question, subject: Any, namespace: str) -> Any:
        from core.engine.clock import system_now
        from hub.questions import answer_of

        self.asked += 1
        await trio.sleep(self._seconds)
        answer = answer_of(question.request(subject), system_now)
        if "value" not in answer:
            raise PacketRefusedError(PacketRefusal(answer["reason"]), answer["text"])
        return answer["value"]


@dataclass
class Stage:
    """A run whose clients are recorded."""

    run: LiveRun
    links: Mapping[str, RecordedLink]

    def send(self, step: str, *packets: bytes) -> None:
        self.run.arrived(step, self.links[step], packets)

    def got(self, step: str) -> list[Any]:
        """Payload and inputs of what has come to a step."""
        return [received(message) for message in self.links[step].sent]

    def texts(self, step: str) -> list[Any]:
        return [payload["text"] for payload, _ in self.got(step)]

    def inputs(self, step: str) -> list[Any]:
        return [inputs for _, inputs in self.got(step)]


@asynccontextmanager
async def staged(
    *steps: StreamStep,
    inputs: Mapping[str, Any] | None = None,
    evaluator: PacketEvaluator | None = None,
    **services: Any,
) -> AsyncIterator[Stage]:
    shared = RunServices(**services)
    shared._evaluator = evaluator or SlowEvaluator()
    run = LiveRun(compile_routes(RUN, "story", steps, inputs=inputs), "e1", PacketChecker(), shared)
    links = {name: RecordedLink() for name in run.steps}
    for name, link in links.items():
        if not run.steps[name].spec.runs_jobs:
            run.attach(name, link)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.serve)
        await trio.testing.wait_all_tasks_blocked()
        yield Stage(run, links)
        nursery.cancel_scope.cancel()


def sink(name: str = "sink", needs: Sequence[str] = ("emit",), **more: Any) -> StreamStep:
    return StreamStep(name, tuple(needs), **{"delivery": OPEN, **more})


def text(value: str, **metadata: Any) -> bytes:
    return json_packet({"text": value}, **metadata)


async def test_runtime_is_evaluated_for_each_packet_and_replaces_the_inputs_of_its_sender() -> None:
    runtime = {
        "said": "{{ packet.text }}",
        "user": "{{ packet.metadata.user }}",
        "hello": "{{ inputs.hello }}, {{ steps.emit.text }}",
        "n": "{{ packet.n }}",
        "plain": 1,
    }
    async with staged(EMIT, sink(runtime=runtime), sink("plain"), inputs={"hello": "Hi"}) as stage:
        for value in ("a", "b"):
            stage.send("emit", json_packet({"text": value, "n": 3}, {"old": True}, user="u"))
        await trio.testing.wait_all_tasks_blocked()

        assert stage.texts("sink") == ["a", "b"]
        assert stage.inputs("sink") == [
            {"said": value, "user": "u", "hello": f"Hi, {value}", "n": 3, "plain": 1} for value in "ab"
        ]
        assert stage.inputs("plain") == [{"old": True}] * 2
        assert metadata_of(stage.links["sink"].sent[0])["current-step-id"] == "sink"


async def test_a_condition_decides_who_gets_a_packet_and_those_without_are_no_loss() -> None:
    steps = (
        sink("cel", condition="packet.n > 1"),
        sink("template", condition='{{ eq packet.text "b" }}'),
        sink("never", condition="inputs.on"),
        sink("always", condition="true"),
    )
    async with staged(EMIT, *steps, inputs={"on": False}) as stage:
        for number, value in enumerate("abc", 1):
            stage.send("emit", json_packet({"text": value, "n": number}))

        assert [stage.texts(step.name) for step in steps] == [["b", "c"], ["b"], [], ["a", "b", "c"]]
        assert [stage.run.node(step.name).skipped["if"] for step in steps] == [1, 2, 3, 0]
        assert all(not stage.run.node(step.name).refused for step in steps)


async def test_a_packet_that_cannot_be_evaluated_is_lost_for_this_step_alone_and_told() -> None:
    bad = sink("bad", runtime={"x": "{{ packet.nothing }}"})
    odd = sink("odd", condition="packet.n > 1")
    async with staged(EMIT, bad, odd, sink()) as stage:
        stage.send("emit", json_packet({"text": "a", "n": 5}), json_packet({"text": "b", "nothing": 1}))
        run = stage.run

        assert stage.texts("sink") == ["a", "b"]
        assert stage.inputs("bad") == [{"x": 1}]
        assert stage.texts("odd") == ["a"]
        assert (run.node("bad").refused, run.node("odd").refused) == ({"expression": 1}, {"expression": 1})
        assert run.node("bad").trouble.startswith("expression: step bad, runtime.x: packet.nothing is missing")
        assert run.node("odd").trouble.startswith("expression: step odd, if: packet.n is missing")


async def test_schemas_fill_in_defaults_and_refuse_what_does_not_fit() -> None:
    schema = {
        "properties": {"said": {"type": "string"}, "size": {"type": "integer", "default": 3}},
        "required": ["said"],
    }
    shaped = sink("shaped", runtime={"said": "{{ packet.text }}"}, input_schema=schema)
    source = replace(EMIT, output_schema={"required": ["text"], "properties": {"bad": False}})
    async with staged(source, shaped, sink()) as stage:
        stage.send("emit", text("a"), json_packet({"text": 5}), json_packet({"other": 1}))
        audio = encode(DataRequest(AudioFrame(8_000, 1, b"pcm")))
        stage.send("emit", audio)
        run = stage.run

        assert stage.inputs("shaped") == [{"said": "a", "size": 3}]
        assert len(stage.got("sink")) == 3  # only sound: nothing to check
        assert run.node("shaped").refused == {"input_schema": 1, "expression": 1}
        assert run.node("shaped").trouble.startswith("expression: ")  # of the sound, which has no text
        assert run.node("emit").refused == {"output_schema": 1}  # once, and not for each receiver
        assert 'step emit, output: "text" is a required property' in run.node("emit").trouble


async def test_rules_of_the_source_allow_and_deny() -> None:
    rules = (
        RouteRule("to b", True, frozenset({"b"}), "packet.n < 3"),
        RouteRule("to c", True, frozenset({"c"})),
        RouteRule("not", False, frozenset(), "{{ packet.metadata.secret }}"),
    )
    source = replace(EMIT, delivery=replace(OPEN, rules=rules))
    async with staged(source, sink("b"), sink("c"), sink("d")) as stage:
        for number, secret in ((1, "no"), (2, "yes"), (3, "no"), (4, "perhaps")):
            stage.send("emit", json_packet({"text": str(number), "n": number}, secret=secret))

        assert (stage.texts("b"), stage.texts("c"), stage.texts("d")) == (["1"], ["1", "3"], [])
        assert stage.run.node("d").skipped == {"rule": 3}
        assert stage.run.node("d").refused == {"expression": 1}  # "perhaps" is no bool


async def test_no_more_steps_get_a_packet_than_max_downstreams_says() -> None:
    source = replace(EMIT, delivery=replace(OPEN, max_downstreams=2))
    async with staged(source, sink("a", condition="packet.a"), sink("b"), sink("c"), sink("d")) as stage:
        stage.send("emit", json_packet({"text": "1", "a": True}), json_packet({"text": "2", "a": False}))

        assert [stage.texts(name) for name in "abcd"] == [["1"], ["1", "2"], ["2"], []]
        assert [stage.run.node(name).refused["max_downstreams"] for name in "abcd"] == [0, 0, 1, 2]


async def test_all_steps_of_a_long_story_get_a_packet_if_max_downstreams_says_so() -> None:
    names = [f"s{number}" for number in range(99)]
    source = replace(EMIT, delivery=replace(OPEN, max_downstreams=99))
    async with staged(source, *(sink(name, is_in_line=True) for name in names)) as stage:
        stage.send("emit", json_packet({"text": "1"}))
        assert [stage.texts(name) for name in names] == [["1"]] * 99


async def test_a_slow_evaluation_keeps_the_order_and_holds_only_its_own_step(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Texts are that long that nothing of them is evaluated on the loop."""
    long = "{{ packet.text }}" + "{{/* " + "x" * 3_000 + " */}}"
    evaluator = SlowEvaluator(0.1)
    async with staged(EMIT, sink("slow", runtime={"a": long}), sink(), evaluator=evaluator) as stage:
        stage.send("emit", *(text(f"t{number}") for number in range(100)))
        assert len(stage.texts("sink")) == 64  # the queue of the slow step holds no more
        assert stage.run.is_held("emit")
        await trio.sleep(5)
        assert 45 <= len(stage.texts("slow")) <= 55
        await trio.sleep(10)
        assert stage.inputs("slow") == [{"a": f"t{number}"} for number in range(100)]
        assert len(stage.texts("sink")) == 100
        assert not stage.run.is_held("emit")
        assert evaluator.asked == 100


async def test_what_was_evaluated_slowly_waits_for_room_too(autojump_clock: trio.testing.MockClock) -> None:
    long = "{{ packet.text }}" + "{{/* " + "x" * 3_000 + " */}}"
    async with staged(EMIT, sink("slow", runtime={"a": long}, delivery=ALO), evaluator=SlowEvaluator()) as stage:
        stage.send("emit", *(text(f"t{number}") for number in range(50)))
        await trio.sleep(1)
        link, seen = stage.links["slow"], []
        while link.sent:
            seen += stage.inputs("slow")
            stage.run.receipts("slow", link.receipts(len(link.sent)))
            await trio.sleep(1)
        assert seen == [{"a": f"t{number}"} for number in range(50)]
        assert stage.run.node("slow").refused == {}
        assert stage.run.outstanding("slow") == 0


async def test_without_blocking_a_slow_step_drops_what_it_cannot_hold(autojump_clock: trio.testing.MockClock) -> None:
    long = "{{ packet.text }}" + "{{/* " + "x" * 3_000 + " */}}"
    free = replace(OPEN, blocks=False)
    slow = sink("slow", runtime={"a": long}, delivery=free)
    async with staged(EMIT, slow, evaluator=SlowEvaluator(1)) as stage:
        stage.send("emit", *(text(f"t{number}") for number in range(100)))
        assert not stage.run.is_held("emit")
        assert stage.run.node("slow").refused == {"buffer_full": 36}
        await trio.sleep(70)
        assert len(stage.got("slow")) == 64


async def test_the_limits_of_a_process_refuse_one_packet() -> None:
    class Killed(PacketEvaluator):
        async def answer(self, question: Question, subject: Any, namespace: str) -> Any:
            await trio.lowlevel.checkpoint()
            raise PacketRefusedError(PacketRefusal.LIMIT, str(OverLimitError("time", 2, "takes longer than 2 s")))

    costly = "{{ range $i := until 5000 }}{{ range $j := until 100 }}{{ end }}{{ end }}"
    async with staged(EMIT, sink("slow", runtime={"a": costly}), sink(), evaluator=Killed()) as stage:
        stage.send("emit", text("a"))
        await trio.testing.wait_all_tasks_blocked()
        assert stage.run.node("slow").refused == {"limit": 1}
        assert stage.texts("sink") == ["a"]


# Joins.


def joining(mode: JoinMode = JoinMode.ALL, **more: Any) -> DeliverySettings:
    return replace(OPEN, join=JoinSettings(mode, **more))


DIAMOND = (
    EMIT,
    StreamStep("left", ("emit",), OPEN),
    StreamStep("right", ("emit",), OPEN),
)


async def test_branches_of_one_origin_are_joined_and_expressions_see_all_of_them() -> None:
    runtime = {"l": "{{ steps.left.text }}", "r": "{{ steps.right.text }}", "first": "{{ packet.text }}"}
    join = sink(
        "join", ("left", "right"), delivery=joining(), runtime=runtime, condition="steps.left.ok && steps.right.ok"
    )
    async with staged(*DIAMOND, join) as stage:
        stage.send("emit", text("x"), text("y"))
        keys = [metadata_of(message)["bubu.join.key"] for message in stage.links["left"].sent]
        assert keys == [metadata_of(message)["bubu.join.key"] for message in stage.links["right"].sent]
        assert len(set(keys)) == 2

        def answer(value: str, key: str) -> bytes:
            metadata: Any = {"bubu.join.key": key}
            return json_packet({"text": value, "ok": value != "ly"}, **metadata)

        stage.send("right", answer("rx", keys[0]), answer("ry", keys[1]))
        assert stage.got("join") == []
        assert stage.run.outstanding("join") == 2
        stage.send("left", answer("lx", keys[0]), answer("ly", keys[1]))
        assert stage.inputs("join") == [{"l": "lx", "r": "rx", "first": "lx"}]  # the first need is the packet
        assert stage.run.node("join").skipped == {"joined": 2, "if": 1}


async def test_message_ids_join_too_and_without_any_key_a_branch_is_lost_by_name() -> None:
    async with staged(*DIAMOND, sink("join", ("left", "right"), delivery=joining())) as stage:
        stage.send("left", text("l", message_id="m"), text("no key"))
        stage.send("right", text("r", message_id="m"))
        assert stage.texts("join") == ["l"]
        assert stage.run.node("join").refused == {"no_join_key": 1}
        stage.send("emit", text("has one", message_id="own"))
        assert "bubu.join.key" not in metadata_of(stage.links["left"].sent[0])


async def test_any_takes_the_first_branch_once_and_quorum_counts() -> None:
    needs = ("left", "right", "third")
    steps = (
        *DIAMOND,
        StreamStep("third", ("emit",), OPEN),
        sink("any", needs, delivery=joining(JoinMode.ANY)),
        sink("two", needs, delivery=joining(JoinMode.QUORUM, quorum=2)),
        StreamStep("merge", needs, kind=StepKind.CONDITION),
        sink("each", ("merge",)),
    )
    async with staged(*steps) as stage:
        for name in ("third", "right", "left"):
            stage.send(name, text(name, message_id="m"))
        assert (stage.texts("any"), stage.texts("two")) == (["third"], ["right"])
        assert stage.texts("each") == ["third", "right", "left"]
        assert stage.run.node("any").skipped == {"join_late": 2}
        assert stage.run.node("two").skipped == {"joined": 1, "join_late": 1}


async def test_a_branch_that_waits_too_long_is_counted_and_told(autojump_clock: trio.testing.MockClock) -> None:
    async with staged(*DIAMOND, sink("join", ("left", "right"), delivery=joining(seconds=5.0))) as stage:
        stage.send("left", text("l", message_id="m"))
        await trio.sleep(4.9)
        assert stage.run.node("join").refused == {}
        await trio.sleep(0.2)
        assert stage.run.node("join").refused == {"join_timeout": 1}
        assert stage.run.node("join").trouble.startswith("join_timeout: ")
        assert stage.run.outstanding("join") == 0


# Partitions and lanes.


async def test_packets_of_a_partition_are_numbered_by_themselves() -> None:
    key = PartitionKey(KeySource.PAYLOAD, ("user",))
    hashed = PartitionSettings(PartitionMode.HASH, key, 8)
    settings = replace(ALO, ordering=Ordering.PER_PARTITION, max_messages=100, window_messages=100, partitioning=hashed)
    async with staged(EMIT, sink(delivery=settings)) as stage:
        stage.send("emit", *(json_packet({"text": "x", "user": user}) for user in ("user-1", "user-2", "user-1")))
        places = [decode(DataResponse, message).envelope for message in stage.links["sink"].sent]
        found = [(place.partition, place.sequence) for place in places if place is not None]
        assert found[0] == ("p4", 1)
        assert found[2] == ("p4", 2)
        assert found[1][1] == 1


async def test_a_lane_drops_what_is_beyond_its_cap_and_the_others_do_not_notice() -> None:
    lanes = (LaneSettings(LaneKind.AUDIO, max_messages=2), LaneSettings(LaneKind.PAYLOAD, max_bytes=10))
    settings = replace(OPEN, lanes=lanes)
    async with staged(EMIT, sink(delivery=settings)) as stage:
        stage.links["sink"].space = 0
        sound = encode(DataRequest(AudioFrame(8_000, 1, b"pcm")))
        stage.send("emit", sound, sound, sound, text("too large"))
        lost = stage.run.steps["sink"].delivery.counts.lost
        assert lost == {Loss.LANE_FULL: 1, Loss.LANE_OVERSIZE: 1}


# Primitives.


async def test_condition_and_parallel_pass_packets_on_with_their_name_in_steps() -> None:
    steps = (
        EMIT,
        StreamStep("only", ("emit",), kind=StepKind.CONDITION, condition="packet.n > 1"),
        StreamStep("fork", ("only",), kind=StepKind.PARALLEL),
        sink("a", ("fork",), runtime={"from": "{{ steps.emit.text }}", "by": "{{ steps.fork.text }}"}),
        sink("b", ("fork",)),
    )
    async with staged(*steps) as stage:
        stage.send("emit", *(json_packet({"text": str(n), "n": n}) for n in (1, 2)))
        assert stage.inputs("a") == [{"from": "2", "by": "2"}]
        assert stage.texts("b") == ["2"]
        assert stage.run.node("only").skipped == {"if": 1}


async def test_stop_ends_the_packets_for_which_it_holds() -> None:
    stop = StreamStep("end", ("emit",), kind=StepKind.STOP, condition="packet.n > 1")
    async with staged(EMIT, stop, sink("after", ("end",)), sink()) as stage:
        stage.send("emit", *(json_packet({"text": str(n), "n": n}) for n in (1, 2)))
        assert (stage.texts("after"), stage.texts("sink")) == (["1"], ["1", "2"])
        assert stage.run.node("end").skipped == {"stop": 1}


@pytest.mark.parametrize(("condition", "passed"), [("", []), ("inputs.yes", []), ("inputs.no", ["1"])])
async def test_a_stop_that_does_not_read_the_packet_ends_all_or_none(condition: str, passed: list[str]) -> None:
    stop = StreamStep("end", ("emit",), kind=StepKind.STOP, condition=condition)
    async with staged(EMIT, stop, sink("after", ("end",)), inputs={"yes": True, "no": False}) as stage:
        stage.send("emit", text("1"))
        assert stage.texts("after") == passed
        assert stage.run.node("end").skipped == ({} if passed else {"stop": 1})


async def test_sleep_delays_each_packet_and_keeps_the_order(autojump_clock: trio.testing.MockClock) -> None:
    sleep = StreamStep("late", ("emit",), kind=StepKind.SLEEP, parameters={"duration": "{{ inputs.wait }}"})
    async with staged(EMIT, sleep, sink(needs=("late",)), inputs={"wait": "10s"}) as stage:
        stage.send("emit", text("a"))
        await trio.sleep(5)
        stage.send("emit", text("b"))
        await trio.sleep(5.1)
        assert stage.texts("sink") == ["a"]
        stage.run.written("sink", stage.links["sink"], everything=True)
        assert stage.run.outstanding("sink") == 1
        await trio.sleep(5)
        assert stage.texts("sink") == ["a", "b"]


async def test_what_sleeps_is_bounded_and_a_full_receiver_holds_it(autojump_clock: trio.testing.MockClock) -> None:
    sleep = StreamStep("late", ("emit",), kind=StepKind.SLEEP, parameters={"duration": "1s"})
    async with staged(EMIT, sleep, sink(needs=("late",), delivery=ALO)) as stage:
        stage.send("emit", *(text(f"t{number}") for number in range(1_200)))
        await trio.sleep(0.5)
        while stage.run.route(stage.run.steps["emit"]):
            pass
        assert (len(stage.run.primitives["late"].held), stage.run.is_held("emit")) == (1_000, True)
        link, seen = stage.links["sink"], 0
        await trio.sleep(2)
        assert stage.run.is_held("late")
        while link.sent:
            seen += len(link.sent)
            stage.run.receipts("sink", link.receipts(len(link.sent)))
            await trio.sleep(1.5)
        assert seen == 1_200


@pytest.mark.parametrize("parameters", [{"duration": "soon"}, {"for": "1s"}, {}])
async def test_a_sleep_without_a_duration_loses_its_packets_by_name(parameters: Object) -> None:
    sleep = StreamStep("late", ("emit",), kind=StepKind.SLEEP, parameters=parameters)
    async with staged(EMIT, sleep, sink(needs=("late",))) as stage:
        stage.send("emit", text("a"), text("b"))
        await trio.testing.wait_all_tasks_blocked()
        assert stage.run.node("late").refused == {"expression": 2}
        assert "with.duration" in stage.run.node("late").trouble


@dataclass
class InMemoryChildRuns:
    """StoryRuns that are only noted."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    orders: list[ChildOrder] = field(default_factory=list)
    under_way: int = 0
    most: int = 0

    async def run(self, order: ChildOrder) -> Mapping[str, Any]:
        self.orders.append(order)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await trio.sleep(self.seconds.get(order.inputs["text"], 1.0))
        self.under_way -= 1
        if order.inputs["text"] == "fails":
            raise ChildRunError(f"StoryRun of {order.key} has failed")
        return {"text": order.inputs["text"].upper()}


async def test_a_packet_starts_a_story_run_and_its_output_goes_on(autojump_clock: trio.testing.MockClock) -> None:
    call = StreamStep(
        "call",
        ("emit",),
        kind=StepKind.EXECUTE_STORY,
        parameters={"storyRef": {"name": "child"}},
        runtime={"text": "{{ packet.text }}"},
    )
    children = InMemoryChildRuns({"a": 5.0})
    last = sink(needs=("call",), runtime={"asked": "{{ steps.emit.text }}", "got": "{{ packet.text }}"})
    async with staged(EMIT, call, last, child_runs=children) as stage:
        stage.send("emit", *(text(value, message_id=f"m-{value}") for value in ("a", "fails", *"bcdefghijk")))
        await trio.sleep(20)
        assert stage.inputs("sink") == [{"asked": value, "got": value.upper()} for value in "abcdefghijk"]
        assert children.most == 8
        assert ChildOrder(RUN, "call", "m-a", {"name": "child"}, {"text": "a"}, waits=True) in children.orders
        assert stage.run.node("call").refused == {"child_run": 1}
        assert metadata_of(stage.links["sink"].sent[0])["bubu.envelope.message_id"] == "m-a"


async def test_a_story_run_need_not_be_waited_for_and_needs_a_cluster(autojump_clock: trio.testing.MockClock) -> None:
    parameters = {"storyRef": {"name": "child"}, "with": {"text": "{{ inputs.t }}"}, "waitForCompletion": False}
    call = StreamStep("call", ("emit",), kind=StepKind.EXECUTE_STORY, parameters=parameters)
    children = InMemoryChildRuns()
    async with staged(EMIT, call, sink(needs=("call",)), inputs={"t": "x"}, child_runs=children) as stage:
        stage.send("emit", text("a"))
        await trio.sleep(2)
        assert stage.texts("sink") == ["a"]
        assert (children.orders[0].inputs, children.orders[0].waits) == ({"text": "x"}, False)
    async with staged(EMIT, call, sink(needs=("call",)), inputs={"t": "x"}) as stage:
        stage.send("emit", text("a"))
        await trio.testing.wait_all_tasks_blocked()
        assert stage.run.node("call").trouble == "child_run: this hub starts no StoryRuns: it has no cluster"


async def test_the_end_of_a_run_counts_what_waits_anywhere(autojump_clock: trio.testing.MockClock) -> None:
    sleep = StreamStep("late", ("emit",), kind=StepKind.SLEEP, parameters={"duration": "1h"})
    join = sink("join", ("left", "right"), delivery=joining())
    async with staged(*DIAMOND, join, sleep, sink(needs=("late",))) as stage:
        stage.send("emit", text("a"), text("b"))
        stage.send("left", text("l", message_id="m"))
        await trio.testing.wait_all_tasks_blocked()
    assert stage.run.node("late").refused == {Loss.RUN_ENDED: 2}
    assert stage.run.node("join").refused == {Loss.RUN_ENDED: 1}


def test_a_run_in_which_nothing_is_evaluated_has_no_flow() -> None:
    run = LiveRun(compile_routes(RUN, "story", [EMIT, sink()]), "1", PacketChecker())
    assert (run._flow, run.steps["emit"].emission) == (None, None)
    with pytest.raises(KeyError):
        run.node("nobody")
