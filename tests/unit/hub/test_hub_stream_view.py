"""A hub that follows a cluster: who is refused and why, what a finished step costs, when a step is drained.

(hub/service.py, hub/run.py, hub/stream_view.py)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import trio

from bubu_contract.instants import format_instant
from core.api import keys
from core.api.objects import NamespacedName, Object
from core.workloads.binding_token import issue_token
from hub.attendance import AttendanceBook
from hub.binding_status import StreamState
from hub.bindings import StreamBinding, read_binding
from hub.delivery import Loss
from hub.run import LiveRun
from hub.run_book import PinnedRun, RunBook
from hub.service import Hub
from hub.stream_view import StreamView
from hub.topology import Client, Place, Topology
from tests.unit.hub.cluster_samples import engram_step, realtime_story, transport_binding
from tests.unit.hub.modelled_client import (
    EngramIO,
    ModelledEngram,
    Program,
    careful_echo,
    collecting,
    emitting,
    forever,
)
from tests.unit.hub.stand import KEY, RUN, until

NOW = datetime(2026, 1, 2, tzinfo=UTC)
STORY = realtime_story(engram_step("emit"), engram_step("echo", "emit"), engram_step("sink", "echo"))
STEPS = ("emit", "echo", "sink")
ALO = {"delivery": {"semantics": "at_least_once"}, "backpressure": {"buffer": {"maxMessages": 4}}}


@dataclass
class BookTopology:
    """A topology that changes with its bindings, as the cluster's does."""

    book: RunBook = field(default_factory=RunBook)
    news: trio.Event = field(default_factory=trio.Event)
    now: Topology = field(default_factory=Topology)

    async def changed(self, seen: Topology | None) -> Topology:
        while self.now is seen:
            await self.news.wait()
        return self.now

    def tell(self) -> None:
        self.now = self.book.topology()
        self.news.set()
        self.news = trio.Event()


@dataclass
class ClusterStand:
    hub: Hub
    port: int
    topology: BookTopology
    view: StreamView
    bindings: dict[str, StreamBinding] = field(default_factory=dict)
    nursery: trio.Nursery = field(init=False)

    def bind(self, step: str, **fields: object) -> None:
        given = {"uid": f"uid-{step}", "settings": ALO, **fields}
        binding = self.bindings[step] = read_binding(transport_binding(step, **given))  # type: ignore[arg-type]
        self.topology.book.put(binding)
        self.topology.tell()

    def bind_all(self, *steps: str, story: Object = STORY) -> None:
        for step in steps or STEPS:
            self.bind(step)
        self.read(story)

    def read(self, story: Object = STORY) -> None:
        for life in self.topology.book.unread():
            self.topology.book.pinned(life, PinnedRun(story, {}))
        self.topology.tell()

    def finish(self, step: str) -> None:
        self.topology.book.put(replace(self.bindings[step], is_finished=True))
        self.topology.tell()

    def engram(self, step: str, program: Program, *, generation: int = 1, uid: str = "") -> ModelledEngram:
        name = f"run-1-{step}-transport"
        token = issue_token(KEY, "team", name, uid or f"uid-{step}", generation)
        engram = ModelledEngram(self.port, f"team/{token}", program, max_retries=-1)
        self.nursery.start_soon(engram.run)
        return engram

    async def source_again(self, received: list[str], *, is_finished: bool = False) -> ModelledEngram:
        """The second process of a source that has sent its packet and ended; ``received`` gets what the sink does.

        Args:
            is_finished: whether the operator has said so before it starts.
        """
        self.bind_all()
        self.engram("sink", collecting(received))
        self.engram("echo", careful_echo)
        ended = self.engram("emit", emitting(["a"]))
        await until(lambda: received == ["a"])
        ended.kill()
        if is_finished:
            self.finish("emit")
        return self.engram("emit", emitting(["a"]))

    def see(self, step: str) -> StreamState:
        return self.view.of(NamespacedName("team", f"run-1-{step}-transport"), f"uid-{step}")

    def trouble(self, step: str) -> str:
        traffic = self.see(step).traffic
        return traffic.trouble if traffic is not None else ""

    async def live(self) -> LiveRun:
        """The run, once the hub serves it."""
        await until(lambda: RUN in self.hub.runs)
        return self.hub.runs[RUN]

    async def until_drained(self, step: str) -> None:
        await until(lambda: self.see(step).is_drained)


@asynccontextmanager
async def open_stand() -> AsyncIterator[ClusterStand]:
    """A hub without bindings. Everything must be over within a minute."""
    topology = BookTopology()

    def ended(run: LiveRun) -> None:
        stand.view.ended(run)

    hub = Hub([KEY], attendance=AttendanceBook(lambda: NOW + timedelta(seconds=trio.current_time())), on_end=ended)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(hub.serve, topology, "127.0.0.1", 0)
            stand = ClusterStand(hub, port, topology, StreamView(topology.book, hub, trio.current_time))
            stand.nursery = nursery
            yield stand
            nursery.cancel_scope.cancel()


async def test_a_client_of_a_run_that_is_not_served_is_refused_with_the_reason() -> None:
    async with open_stand() as stand:
        stand.bind("emit")
        stand.read()
        waiting = stand.engram("emit", forever)
        await until(lambda: len(waiting.ends) > 1)
        assert "UNAVAILABLE" in waiting.ends[0]
        assert "the run waits for the bindings of echo, sink" in waiting.ends[0]
        assert stand.see("emit").waits_for == "the run waits for the bindings of echo, sink"

        stand.bind_all()
        await waiting.ready.wait()
        assert stand.see("emit").attendance.is_connected


async def test_a_client_of_a_run_that_cannot_be_served_ends_its_process() -> None:
    async with open_stand() as stand:
        stand.bind_all(story=realtime_story(*(engram_step(step, "nobody") for step in STEPS)))
        refused = stand.engram("emit", forever)
        await until(lambda: bool(refused.ends))
        assert "FAILED_PRECONDITION" in refused.ends[0]
        assert "needs names nobody" in refused.ends[0]
        assert "needs names nobody" in stand.see("emit").problem
        stranger = stand.engram("emit", forever, uid="wrong")
        await until(lambda: bool(stranger.ends))
        assert "is not valid" in stranger.ends[0], "the reason is not for strangers"


async def test_the_end_of_a_source_runs_through_the_steps() -> None:
    received: list[str] = []
    async with open_stand() as stand:
        stand.bind_all()
        sent = [str(number) for number in range(40)]
        source = stand.engram("emit", emitting(sent))
        await source.ready.wait()
        echo, sink = stand.engram("echo", careful_echo), stand.engram("sink", collecting(received))
        live = await stand.live()
        await until(lambda: live.steps["emit"].received == 40)
        assert not stand.see("emit").is_drained
        stand.finish("emit")
        await trio.sleep(0.5)
        assert not stand.see("echo").is_drained, "the source is still connected"
        source.kill()
        await stand.until_drained("emit")
        await stand.until_drained("echo")
        assert not stand.see("sink").is_drained
        echo.kill()
        stand.finish("echo")
        await stand.until_drained("sink")
        assert received == sent
        sink.kill()
        stand.finish("sink")
        await until(lambda: not stand.hub.runs and stand.see("sink").traffic is not None)
        last = stand.see("sink")
        assert last.is_drained
        assert last.traffic is not None
        assert (last.traffic.delivered, last.traffic.lost) == (40, 0)


async def test_a_step_is_not_drained_while_its_packets_wait() -> None:
    async with open_stand() as stand:
        stand.bind_all()
        source = stand.engram("emit", emitting(["a", "b"]))
        live = await stand.live()
        await until(lambda: live.steps["emit"].received == 2)
        source.kill()
        stand.finish("emit")
        await stand.until_drained("emit")
        await trio.sleep(0.5)
        assert not stand.see("echo").is_drained
        assert stand.view.draining() == [NamespacedName("team", "run-1-echo-transport")]


async def test_a_join_does_not_wait_for_branches_that_have_finished() -> None:
    received: list[str] = []

    async def emit(io: EngramIO) -> None:
        for number in range(3):
            key: Any = {"bubu.join.key": str(number)}
            await io.emit(str(number), **key)
        await trio.sleep_forever()

    story = realtime_story(engram_step("emit"), engram_step("echo", "emit"), engram_step("sink", "emit", "echo"))
    async with open_stand() as stand:
        stand.bind_all(story=story)
        source = stand.engram("emit", emit)
        silent, sink = stand.engram("echo", collecting(received)), stand.engram("sink", forever)
        live = await stand.live()
        await until(lambda: len(received) == 3)
        source.kill()
        stand.finish("emit")
        await stand.until_drained("echo")
        assert live.steps["sink"].refused == {}
        silent.kill()
        stand.finish("echo")
        await stand.until_drained("sink")
        assert live.steps["sink"].refused == {"join_timeout": 3}
        assert "emit and echo are joined" in stand.trouble("sink")
        sink.kill()


async def test_nobody_waits_for_a_step_that_has_finished() -> None:
    """Its full buffer would hold its producers for ever."""
    async with open_stand() as stand:
        stand.bind_all("emit", "sink", story=realtime_story(engram_step("emit"), engram_step("sink", "emit")))
        source = stand.engram("emit", emitting([str(number) for number in range(50)]))
        await source.ready.wait()
        live = stand.hub.runs[RUN]
        await until(lambda: live.is_held("emit"))
        assert stand.see("emit").traffic.paused_by == ("sink",)  # type: ignore[union-attr]  # it is served
        stand.finish("sink")
        await until(lambda: live.steps["emit"].received == 50)
        assert not live.is_held("emit")
        assert live.steps["sink"].delivery.waiting == 0
        await stand.until_drained("sink")


async def test_what_a_newer_packet_replaces_by_the_wish_of_the_story_is_not_lost() -> None:
    story = realtime_story(engram_step("emit"), engram_step("sink", "emit"))
    story["spec"]["concurrency"] = {"mode": "cancelPrevious"}
    async with open_stand() as stand:
        stand.bind_all("emit", "sink", story=story)
        stand.engram("emit", emitting(["a", "b", "c"]))
        live = await stand.live()
        await until(lambda: live.steps["emit"].received == 3)
        assert live.steps["sink"].delivery.counts.lost == {Loss.SUPERSEDED: 2}
        assert stand.see("sink").traffic.lost == 0  # type: ignore[union-attr]  # it is served
        stand.finish("sink")
        await until(lambda: live.is_finished("sink"))
        assert stand.see("sink").traffic.lost == 1, "nobody takes the last one"  # type: ignore[union-attr]


async def test_what_goes_wrong_in_a_primitive_is_shown_by_the_steps_that_send_to_it() -> None:
    late = {"name": "late", "type": "sleep", "needs": ["emit"], "with": {"duration": "soon"}}
    only = {"name": "only", "type": "condition", "needs": ["echo"], "if": "{{ packet.nothing > 1 }}"}
    call = {"name": "call", "type": "executeStory", "needs": ["only", "echo"], "with": {"storyRef": {"name": "other"}}}
    story = realtime_story(engram_step("emit"), late, engram_step("echo", "late"), only, call)
    async with open_stand() as stand:
        stand.bind_all("emit", "echo", story=story)
        sources = {"emit": stand.engram("emit", emitting(["a"])), "echo": stand.engram("echo", emitting(["b"]))}
        live = await stand.live()
        await until(lambda: "late" in stand.trouble("emit"))
        assert stand.trouble("emit").startswith("late (1 lost): expression: ")
        assert "with.duration" in stand.trouble("emit")
        await until(lambda: live.node("only").refused.total() == live.node("call").refused.total() == 1)
        texts = {live.node("only").trouble, live.node("call").trouble}
        assert stand.trouble("echo").split(" (1 lost): ")[1] in texts, "two primitives deep, and none of the first step"
        assert "late" not in stand.trouble("echo")
        assert all(engram.ends == [] for engram in sources.values())


async def test_a_step_that_runs_jobs_is_served_by_the_hub_until_it_has_finished() -> None:
    jobs = transport_binding("echo", uid="uid-echo")
    jobs["metadata"]["annotations"][keys.ANNOTATION_STREAM_JOBS] = "true"
    async with open_stand() as stand:
        stand.bind("emit")
        stand.bind("sink")
        stand.bindings["echo"] = read_binding(jobs)
        stand.topology.book.put(stand.bindings["echo"])
        assert not stand.see("echo").attendance.is_connected
        stand.read()
        live = await stand.live()
        stand.engram("emit", emitting(["a"]))
        assert stand.see("echo").attendance.is_connected
        assert stand.see("echo").runs_jobs
        assert not stand.see("sink").runs_jobs
        await until(lambda: stand.trouble("echo").startswith("job: "))
        stand.finish("emit")
        link = live.steps["emit"].link
        assert link is not None
        live.detach("emit", link)
        await stand.until_drained("echo")
        stand.finish("echo")
        assert not stand.see("echo").attendance.is_connected
        await stand.until_drained("sink")


async def test_the_newest_problem_of_a_step_and_its_primitives_is_shown() -> None:
    only = {"name": "only", "type": "condition", "needs": ["emit"], "if": "{{ packet.nothing > 1 }}"}
    async with open_stand() as stand:
        stand.bind_all("emit", "sink", story=realtime_story(engram_step("emit"), only, engram_step("sink", "only")))
        live = await stand.live()
        live.node("only").troubles.note("expression", "first")
        assert stand.trouble("emit") == "only (1 lost): expression: first"
        live.steps["emit"].troubles.note("invalid", "second")
        assert stand.trouble("emit") == "invalid: second"
        live.node("only").troubles.note("expression", "third")
        assert stand.trouble("emit") == "only (2 lost): expression: third"
        assert stand.trouble("sink") == ""


async def test_a_step_that_finishes_before_its_needs_is_drained_when_its_own_packets_have_gone_on() -> None:
    """A worker that has seen enough exits with 0, and its source goes on for ever."""
    async with open_stand() as stand:
        stand.bind_all()
        stand.engram("emit", forever)
        echo = stand.engram("echo", careful_echo)
        await echo.ready.wait()
        await stand.live()
        stand.finish("echo")
        await trio.sleep(0.5)
        assert not stand.see("echo").is_drained, "it is still connected"
        echo.kill()
        await stand.until_drained("echo")
        assert not stand.see("emit").is_drained


async def test_another_binding_of_a_step_counts_its_generations_from_the_start() -> None:
    async with open_stand() as stand:
        stand.bind_all()
        first = stand.engram("echo", forever, generation=3)
        await first.ready.wait()
        stand.topology.book.remove(NamespacedName("team", "run-1-echo-transport"))
        stand.topology.tell()
        await until(lambda: bool(first.ends))
        first.kill()
        stand.bind("echo", uid="new")
        second = stand.engram("echo", forever, uid="new")
        await second.ready.wait()
        assert stand.hub.attendance(Place(RUN, "echo")).client == Client(1)


async def test_a_source_that_was_started_again_sends_nothing_until_the_operator_lets_it() -> None:
    received: list[str] = []
    async with open_stand() as stand:
        again = await stand.source_again(received)
        await until(lambda: stand.see("emit").attendance.returning is not None)
        assert "the operator has not said yet whether the step has finished" in again.ends[-1]
        await trio.sleep(0.1)
        assert (again.sessions, received) == (0, ["a"])
        asked = stand.see("emit").attendance.returning
        assert asked is not None
        stand.topology.book.put(replace(stand.bindings["emit"], may_return=format_instant(asked)))
        stand.topology.tell()
        await until(lambda: received == ["a", "a"])


async def test_a_finished_source_that_was_started_again_ends_for_good() -> None:
    received: list[str] = []
    async with open_stand() as stand:
        again = await stand.source_again(received, is_finished=True)
        await until(lambda: bool(again.ends))
        assert "FAILED_PRECONDITION: the step has finished" in again.ends[0]
        assert (again.sessions, received) == (0, ["a"])


async def test_a_step_with_needs_comes_again_at_once() -> None:
    async with open_stand() as stand:
        stand.bind_all()
        first = stand.engram("echo", careful_echo)
        await first.ready.wait()
        first.kill()
        second = stand.engram("echo", careful_echo)
        await second.ready.wait()
        assert second.ends == []


async def test_a_retry_fences_the_former_container_off_and_goes_on() -> None:
    received: list[str] = []
    async with open_stand() as stand:
        stand.bind_all()
        old = stand.engram("sink", collecting([]))
        await old.ready.wait()
        stand.bind("sink", generation=2)
        await until(lambda: bool(old.ends))
        assert "FAILED_PRECONDITION" in old.ends[0]
        stand.engram("sink", collecting(received), generation=2)
        stand.engram("echo", careful_echo)
        stand.engram("emit", emitting(["a"]))
        await until(lambda: received == ["a"])
        assert stand.see("sink").attendance.client == Client(2)


async def test_a_run_that_begins_again_has_nothing_of_its_former_life() -> None:
    async with open_stand() as stand:
        stand.bind_all()
        former = await stand.live()
        for step in STEPS:
            stand.finish(step)
        stand.bind("echo", uid="uid-2")
        stand.read()
        await until(lambda: stand.hub.runs.get(RUN) not in (None, former))
        assert stand.hub.runs[RUN].is_finished("emit")


async def drain(stand: ClusterStand, seconds: float, found: list[bool]) -> None:
    found.append(await stand.hub.drain(seconds))


async def test_an_orderly_end_lets_receivers_have_what_is_on_its_way() -> None:
    received: list[str] = []
    async with open_stand() as stand, trio.open_nursery() as nursery:
        stand.bind_all()
        slow = trio.Event()

        async def wait_then_take(io: EngramIO) -> None:
            await slow.wait()
            await collecting(received)(io)

        stand.engram("sink", wait_then_take)
        echo = stand.engram("echo", careful_echo)
        await echo.ready.wait()
        texts = [f"{number:06}{'x' * 2_000}" for number in range(500)]
        endless = stand.engram("emit", emitting(texts))
        await endless.ready.wait()
        await until(lambda: stand.hub.runs[RUN].is_held("emit"))
        found: list[bool] = []
        nursery.start_soon(drain, stand, 30.0, found)
        await trio.sleep(0.1)
        late = stand.engram("sink", forever)
        await until(lambda: bool(late.ends))
        assert "the hub is stopping" in late.ends[0]
        late.kill()
        slow.set()
        await until(lambda: bool(found))
        assert found == [True]
        assert received == texts[: len(received)]
        assert 0 < len(received) == stand.hub.runs[RUN].steps["emit"].received < len(texts)


async def test_an_orderly_end_is_bounded() -> None:
    async with open_stand() as stand:
        stand.bind_all()

        async def deaf(io: EngramIO) -> None:
            await trio.sleep_forever()

        stand.engram("echo", deaf)
        stand.engram("emit", emitting(["a"]))
        live = await stand.live()
        await until(lambda: live.steps["echo"].delivery.in_flight == 1)
        assert not await stand.hub.drain(0.3)


async def test_new_keys_are_accepted_beside_the_old_ones() -> None:
    async with open_stand() as stand:
        stand.bind_all()
        stand.hub.accept_keys([b"n" * 32, KEY])
        engram = stand.engram("emit", forever)
        await engram.ready.wait()
        stand.hub.accept_keys([b"n" * 32])
        other = stand.engram("echo", forever)
        await until(lambda: bool(other.ends))
        assert "is not valid" in other.ends[0]
        assert engram.ends == []
