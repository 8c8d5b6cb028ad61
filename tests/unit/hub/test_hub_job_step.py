"""Steps whose Engram runs as a Job: each packet starts one. (hub/job_step.py)"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import trio

from hub.child_runs import ChildOrder, ChildRunError
from hub.refusal import PacketRefusal
from hub.routes import StreamStep
from hub.settings import MAX_CHILDREN, DeliverySettings, Ordering, PartitionMode, PartitionSettings, delivery_to_jobs
from hub.story_routes import BoundSettings, routes_of, streaming_steps
from tests.unit.hub.cluster_samples import engram_step, primitive_step, realtime_story
from tests.unit.hub.json_packets import json_packet, metadata_of, received
from tests.unit.hub.stand import RUN
from tests.unit.hub.test_hub_flow import EMIT, OPEN, Stage, sink, staged

JOBS = delivery_to_jobs(OPEN)
STORED = {"$bubuStorageRef": "outputs/team/run-1-work-0/text", "$bubuStorageContentType": "text/plain"}


class Runs:
    """StoryRuns that end when a test says so."""

    def __init__(self, output: Mapping[str, Any] | None = None) -> None:
        """``output``: of each run; None: their text, and an exclamation mark."""
        self._output = output
        self.orders: list[ChildOrder] = []
        self.most = 0
        self._at_work = 0
        self._ends: dict[Any, trio.Event] = {}

    async def run(self, order: ChildOrder) -> Mapping[str, Any]:
        self.orders.append(order)
        self._at_work += 1
        self.most = max(self.most, self._at_work)
        await self._end(order.inputs["text"]).wait()
        self._at_work -= 1
        if str(order.inputs["text"]).startswith("bad"):
            raise ChildRunError("StoryRun x has ended as Failed: no")
        return self._output or {"text": f"{order.inputs['text']}!"}

    def end(self, *texts: str) -> None:
        for each in texts:
            self._end(each).set()

    def _end(self, text: Any) -> trio.Event:
        return self._ends.setdefault(text, trio.Event())


def job_step(delivery: DeliverySettings = JOBS, **more: Any) -> StreamStep:
    return StreamStep("work", ("emit",), delivery, runs_jobs=True, **more)


def send(stage: Stage, *texts: str, **metadata: Any) -> None:
    stage.send("emit", *(json_packet({"text": each}, message_id=f"m-{each}", **metadata) for each in texts))


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_each_packet_starts_a_job_whose_output_goes_on_as_a_packet_of_the_step() -> None:
    runs = Runs()
    async with staged(EMIT, job_step(), sink(needs=["work"]), child_runs=runs) as stage:
        send(stage, "a", **{"bubu.join.key": "k"})
        await settled()
        (order,) = runs.orders
        assert (order.step, order.inputs, order.runs_step, order.waits) == ("work", {"text": "a"}, True, True)
        assert stage.run.outstanding("work") == 1

        runs.end("a")
        await settled()

        (message,) = stage.links["sink"].sent
        assert received(message) == ({"text": "a!"}, None)
        found = metadata_of(message)
        assert (found["bubu.envelope.message_id"], found["bubu.join.key"]) == ("m-a", "k")
        assert (found["current-step-id"], found["storyrun-name"]) == ("sink", "run-1")
        step = stage.run.steps["work"]
        assert (step.received, step.delivery.counts.delivered, stage.run.outstanding("work")) == (1, 1, 0)


async def test_its_inputs_are_those_of_runtime_over_its_with() -> None:
    runs = Runs()
    runtime = {"text": "{{ packet.text | upper }}", "deep": {"b": 2}}
    step = job_step(runtime=runtime, parameters={"lang": "{{ inputs.lang }}", "deep": {"a": 1}, "text": "x"})
    async with staged(EMIT, step, child_runs=runs, inputs={"lang": "de"}) as stage:
        send(stage, "a")
        await settled()
        assert runs.orders[0].inputs == {"lang": "de", "deep": {"a": 1, "b": 2}, "text": "A"}


async def test_outputs_go_on_in_the_order_of_their_packets_and_a_bounded_number_of_jobs_is_at_work() -> None:
    runs, texts = Runs(), [f"t{number}" for number in range(2 * MAX_CHILDREN)]
    async with staged(EMIT, job_step(), sink(needs=["work"]), child_runs=runs) as stage:
        send(stage, *texts)
        await settled()
        runs.end(*texts[1:])
        await settled()
        assert stage.texts("sink") == []
        assert len(runs.orders) == runs.most == MAX_CHILDREN

        runs.end(texts[0])
        await settled()

        assert stage.texts("sink") == [f"{each}!" for each in texts]
        assert runs.most == MAX_CHILDREN


async def test_with_partitions_only_outputs_of_the_same_partition_wait_for_each_other() -> None:
    partitioning = PartitionSettings(PartitionMode.PRESERVE)
    by_key = delivery_to_jobs(replace(OPEN, ordering=Ordering.PER_PARTITION, partitioning=partitioning))
    runs = Runs()
    async with staged(EMIT, job_step(by_key), sink(needs=["work"]), child_runs=runs) as stage:
        for text, key in (("a1", "a"), ("b1", "b"), ("a2", "a")):
            send(stage, text, partition_key=key)
        await settled()
        runs.end("b1", "a2")
        await settled()
        assert stage.texts("sink") == ["b1!"]
        runs.end("a1")
        await settled()
        assert stage.texts("sink") == ["b1!", "a1!", "a2!"]


async def test_a_job_that_fails_costs_its_own_packet_and_is_counted() -> None:
    runs = Runs()
    async with staged(EMIT, job_step(), sink(needs=["work"]), child_runs=runs) as stage:
        send(stage, "bad", "good")
        runs.end("bad", "good")
        await settled()
        assert stage.texts("sink") == ["good!"]
        step = stage.run.steps["work"]
        assert step.refused == {PacketRefusal.JOB: 1}
        assert step.trouble == "job: StoryRun x has ended as Failed: no"
        assert stage.run.outstanding("work") == 0


async def test_inputs_that_break_the_schema_start_no_job_and_are_counted() -> None:
    runs = Runs()
    schema = {"required": ["text", "size"], "properties": {"text": {"type": "string"}, "size": {"default": 1}}}
    step = job_step(parameters={"size": 2}, runtime={"text": "{{ packet.text }}"}, input_schema=schema)
    async with staged(EMIT, step, sink(needs=["work"]), child_runs=runs) as stage:
        stage.send("emit", json_packet({"text": 3}), json_packet({"text": "good"}))
        runs.end("good")
        await settled()
        assert [order.inputs for order in runs.orders] == [{"size": 2, "text": "good"}]
        assert stage.texts("sink") == ["good!"]
        work = stage.run.steps["work"]
        assert work.refused == {PacketRefusal.INPUT_SCHEMA: 1}
        assert work.trouble.startswith("input_schema: step work, inputs.text: ")
        assert stage.run.outstanding("work") == 0


async def test_defaults_of_the_schema_count_and_are_left_to_the_job() -> None:
    runs = Runs()
    schema = {"required": ["text", "size"], "properties": {"size": {"default": 1}}}
    async with staged(EMIT, job_step(input_schema=schema), child_runs=runs) as stage:
        send(stage, "a")
        await settled()
        assert [order.inputs for order in runs.orders] == [{"text": "a"}]


async def test_inputs_with_data_in_object_storage_keep_to_any_schema() -> None:
    runs = Runs()
    runs.end("a")
    schema = {"properties": {"data": {"type": "array"}}}
    async with staged(EMIT, job_step(input_schema=schema), child_runs=runs) as stage:
        stage.send("emit", json_packet({"text": "a", "data": STORED}))
        await settled()
        assert [order.inputs for order in runs.orders] == [{"text": "a", "data": STORED}]


async def test_an_output_in_object_storage_goes_on_as_a_reference_past_the_schema() -> None:
    """The next container gets the reference as data; an expression that needs the data itself has no value."""
    runs = Runs({"text": STORED})
    runs.end("a")
    work = job_step(output_schema={"properties": {"text": {"type": "string"}}})
    reads = sink("reads", needs=["work"], runtime={"whole": "{{ packet.text }}"})
    computes = sink("computes", needs=["work"], runtime={"loud": "{{ packet.text | upper }}"})
    async with staged(EMIT, work, sink(needs=["work"]), reads, computes, child_runs=runs) as stage:
        send(stage, "a")
        await settled()
        assert stage.texts("sink") == [STORED]
        assert stage.inputs("reads") == [{"whole": STORED}]
        assert stage.run.steps["computes"].refused == {PacketRefusal.EXPRESSION: 1}
        assert stage.run.steps["work"].refused == {}


async def test_a_packet_without_an_object_is_lost_with_the_remedy() -> None:
    runs = Runs()
    async with staged(EMIT, job_step(), child_runs=runs) as stage:
        stage.send("emit", json_packet(["a"], with_structs=False))
        await settled()
        assert not runs.orders
        assert stage.run.steps["work"].trouble.endswith("carries none; make one with runtime")


async def test_without_a_cluster_the_packet_is_lost_and_the_stream_lives() -> None:
    async with staged(EMIT, job_step(), sink(), child_runs=None) as stage:
        send(stage, "a", "b")
        await settled()
        assert stage.run.steps["work"].refused == {PacketRefusal.JOB: 2}
        assert stage.texts("sink") == ["a", "b"]


async def test_the_same_packet_has_the_same_run_and_other_inputs_another_one() -> None:
    runs = Runs()
    async with staged(EMIT, job_step(), child_runs=runs) as stage:
        packet = json_packet({"text": "a"}, message_id="m")
        stage.send("emit", packet, packet, json_packet({"text": "b"}, message_id="m"))
        await settled()
        by_text = sorted((order.inputs["text"], order.key) for order in runs.orders)
        assert by_text[0] == by_text[1]
        assert by_text[1][1] != by_text[2][1]


async def test_the_buffer_holds_what_is_not_at_work_and_stops_the_producer() -> None:
    runs = Runs()
    small = delivery_to_jobs(DeliverySettings(max_messages=4))
    async with staged(EMIT, job_step(small), child_runs=runs) as stage:
        send(stage, *(f"t{number}" for number in range(40)))
        await settled()
        assert len(runs.orders) == MAX_CHILDREN
        assert stage.run.is_held("emit")
        runs.end(*(f"t{number}" for number in range(40)))
        await settled()
        assert len(runs.orders) == 40
        assert stage.run.steps["work"].delivery.counts.lost.total() == 0


async def test_a_full_receiver_stops_the_jobs_of_the_step_before_it() -> None:
    runs, texts = Runs(), [f"t{number}" for number in range(40)]
    runs.end(*texts)
    one = DeliverySettings(max_messages=1)
    async with staged(EMIT, job_step(), sink(needs=["work"], delivery=one), child_runs=runs) as stage:
        stage.links["sink"].space = 0
        send(stage, *texts)
        await settled()
        assert len(runs.orders) < 2 * MAX_CHILDREN
        assert stage.run.is_held("work")


async def test_a_finished_step_has_nothing_left_so_that_those_behind_it_can_end() -> None:
    runs = Runs()
    async with staged(EMIT, job_step(), sink(needs=["work"]), child_runs=runs) as stage:
        stage.run.detach("emit", stage.links["emit"])
        assert stage.run.has_left("sink")
        stage.run.finish("work")
        assert not stage.run.has_left("work")
        assert not stage.run.has_left("sink")


async def test_branches_of_a_parallel_step_start_no_jobs_and_packets_pass_through_to_a_step_that_does() -> None:
    branch = {"name": "branch", "ref": {"name": "counts"}}
    split = primitive_step("split", "emit", type_="parallel") | {"with": {"steps": [branch]}}
    story = realtime_story(engram_step("emit"), split, engram_step("work", "split"), engram_step("sink", "work"))
    assert streaming_steps(story) == ("emit", "work", "sink")
    bound = {name: BoundSettings(runs_jobs=name == "work") for name in streaming_steps(story)}
    runs = Runs()
    runs.end("a")
    steps = routes_of(RUN, story, {}, bound).steps
    async with staged(*steps.values(), child_runs=runs) as stage:
        send(stage, "a")
        await settled()
        assert [(order.step, order.inputs) for order in runs.orders] == [("work", {"text": "a"})]
        assert stage.texts("sink") == ["a!"]
