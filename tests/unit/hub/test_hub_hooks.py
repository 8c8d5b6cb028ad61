"""Hooks say that steps are connected, to the steps whose ``if`` names them. (hub/hooks.py)"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
import trio
import trio.testing

from bubu_wire.codec import decode
from bubu_wire.messages import BinaryFrame, DataResponse
from core.api.objects import NamespacedName
from core.api.streaming import StreamHook
from core.story.kinds import StepKind
from hub.hooks import consumers
from hub.packets import PacketChecker
from hub.routes import StreamStep, compile_routes
from hub.run import LiveRun, RunServices
from hub.settings import DeliverySettings, JoinMode, JoinSettings, Ordering
from hub.taps import TapBook, TapDirection
from hub.topology import Place
from tests.unit.hub.json_packets import json_packet, metadata_of, received
from tests.unit.hub.test_hub_run import RecordedLink

RUN = NamespacedName("team", "run-1")
READY = '{{ eq (default "" packet.type) "storyrun.ready" }}'
STEP_READY = '{{ eq (default "" packet.type) "steprun.ready" }}'
LISTEN = StreamStep("listen")


def greeter(condition: str = READY, needs: Sequence[str] = ("listen",), **more: Any) -> StreamStep:
    return StreamStep("greet", tuple(needs), condition=condition, **more)


class Lobby:
    """A run whose clients come and go."""

    def __init__(self, run: LiveRun) -> None:
        self.run = run
        self.links: dict[str, RecordedLink] = {name: RecordedLink() for name in run.steps}

    async def come(self, *names: str) -> None:
        for name in names:
            self.run.attach(name, self.links[name])
            await trio.testing.wait_all_tasks_blocked()

    def go(self, name: str) -> None:
        self.run.detach(name, self.links[name])

    def hooks(self, step: str = "greet") -> list[str]:
        return [received(message)[0]["type"] for message in self.links[step].sent]

    def skipped(self, step: str = "greet") -> Mapping[str, int]:
        return self.run.steps[step].skipped


@asynccontextmanager
async def lobby(
    *steps: StreamStep, inputs: Mapping[str, Any] | None = None, epoch: str = "e1", taps: TapBook | None = None
) -> AsyncIterator[Lobby]:
    services = RunServices(taps=taps or TapBook())
    run = LiveRun(compile_routes(RUN, "story", steps, inputs=inputs), epoch, PacketChecker(), services)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.serve)
        await trio.testing.wait_all_tasks_blocked()
        yield Lobby(run)
        nursery.cancel_scope.cancel()


async def test_a_step_that_waits_for_the_run_gets_one_packet_when_the_last_step_has_connected() -> None:
    async with lobby(LISTEN, greeter(runtime={"prompt": "say hi to {{ inputs.who }}"}), inputs={"who": "Ada"}) as stage:
        await stage.come("greet")
        assert stage.hooks() == []
        await stage.come("listen")

        (message,) = stage.links["greet"].sent
        payload, inputs = received(message)
        assert inputs == {"prompt": "say hi to Ada"}
        data = payload["hook"]["data"]
        assert data.pop("timestamp").endswith("Z")
        assert payload == {
            "kind": "hook",
            "type": "storyrun.ready",
            "hook": {"version": "v1", "event": "storyrun.ready", "source": "hub", "data": data},
        }
        assert data == {"storyRun": {"name": "run-1", "namespace": "team"}}
        assert dict(metadata_of(message)) == {
            "source": "hub",
            "provider": "hub",
            "type": "storyrun.ready",
            "kind": "hook",
            "hook.event": "storyrun.ready",
            "hook.source": "hub",
            "bubu.envelope.message_id": "team/run-1:storyrun.ready",
            "storyrun-name": "run-1",
            "storyrun-namespace": "team",
            "current-step-id": "greet",
        }
        frame = decode(DataResponse, message).frame
        assert isinstance(frame, BinaryFrame)
        content = orjson.loads(frame.payload)
        assert (content["kind"], content["messageId"]) == ("hook", "team/run-1:storyrun.ready")


async def test_each_step_is_announced_once_to_those_that_name_it() -> None:
    condition = 'packet.type == "steprun.ready" && packet.hook.data.step.name != "greet"'
    async with lobby(LISTEN, greeter(condition)) as stage:
        await stage.come("greet", "listen")
        (message,) = stage.links["greet"].sent
        payload, _ = received(message)
        assert payload["hook"]["data"]["step"] == {"name": "listen"}
        assert metadata_of(message)["hook.step"] == "listen"
        assert metadata_of(message)["bubu.envelope.message_id"] == "team/run-1:steprun.ready:listen"
        assert stage.skipped() == {"if": 1}  # its own


async def test_a_client_that_connects_again_causes_no_second_hook() -> None:
    async with lobby(LISTEN, greeter('packet.type in ["steprun.ready", "storyrun.ready"]')) as stage:
        await stage.come("greet", "listen")
        stage.go("listen")
        await stage.come("listen")
        await stage.come("greet")  # it replaces its former client
        assert stage.hooks() == ["steprun.ready", "steprun.ready", "storyrun.ready"]


async def test_a_hook_waits_for_a_step_that_connects_later_and_is_repeated_by_the_next_life_of_the_run() -> None:
    ids = []
    for epoch in ("e1", "e2"):
        async with lobby(LISTEN, greeter(STEP_READY), epoch=epoch) as stage:
            await stage.come("listen")
            assert stage.run.outstanding("greet") == 1
            await stage.come("greet")
            ids.append([metadata_of(message)["bubu.envelope.message_id"] for message in stage.links["greet"].sent])
    assert ids[0] == ids[1] == ["team/run-1:steprun.ready:listen", "team/run-1:steprun.ready:greet"]


async def test_a_step_without_the_name_in_its_condition_gets_nothing_and_costs_nothing() -> None:
    async with lobby(LISTEN, StreamStep("plain", ("listen",)), greeter("packet.text == 'storyrun ready'")) as stage:
        await stage.come("plain", "greet", "listen")
        assert stage.hooks("plain") == stage.hooks() == []
        assert stage.run.steps["greet"].delivery.counts.offered == 0
        assert stage.skipped() == {}
    async with lobby(LISTEN, StreamStep("plain", ("listen",))) as stage:
        assert stage.run.flow is None


async def test_a_condition_with_a_hook_still_decides_about_other_packets() -> None:
    condition = 'packet.type == "storyrun.ready" || (has(packet.text) && packet.text == "hello")'
    async with lobby(LISTEN, greeter(condition)) as stage:
        await stage.come("greet", "listen")
        packets = [json_packet({"type": "said", "text": text}) for text in ("hello", "other")]
        stage.run.arrived("listen", stage.links["listen"], packets)
        assert stage.hooks() == ["storyrun.ready", "said"]
        assert stage.skipped() == {"if": 1}


async def test_a_hook_reaches_sources_and_passes_joins() -> None:
    join = DeliverySettings(join=JoinSettings(JoinMode.ALL, 2))
    steps = (
        StreamStep("listen", condition=READY),
        StreamStep("other"),
        greeter(needs=("listen", "other"), delivery=join),
    )
    async with lobby(*steps) as stage:
        await stage.come("greet", "listen", "other")
        assert stage.hooks() == stage.hooks("listen") == ["storyrun.ready"]
        intake = stage.run.steps["greet"].intake
        assert intake is not None
        assert intake.held == 0


async def test_expressions_see_no_steps_behind_a_hook() -> None:
    runtime = {"steps": "{{ len steps }}", "type": "{{ packet.type }}"}
    async with lobby(LISTEN, greeter(runtime=runtime)) as stage:
        await stage.come("greet", "listen")
        assert received(stage.links["greet"].sent[0])[1] == {"steps": 0, "type": "storyrun.ready"}


async def test_a_hook_has_a_number_and_is_kept_until_its_receipt() -> None:
    numbered = DeliverySettings(at_least_once=True, ordering=Ordering.PER_STREAM)
    async with lobby(LISTEN, greeter(delivery=numbered)) as stage:
        await stage.come("greet", "listen")
        delivery = stage.run.steps["greet"].delivery
        assert (delivery.counts.offered, delivery.counts.delivered, delivery.pending) == (1, 0, 1)
        stage.go("greet")
        await stage.come("greet")
        first, second = (decode(DataResponse, message) for message in stage.links["greet"].sent)
        assert first.envelope is not None
        assert second.envelope is not None
        assert first.envelope.sequence == second.envelope.sequence == 1
        assert first.metadata == second.metadata
        del stage.links["greet"].sent[0]
        stage.run.receipts("greet", stage.links["greet"].receipts(1))
        assert (delivery.counts.offered, delivery.counts.delivered, delivery.pending) == (1, 1, 0)


async def test_a_step_that_has_finished_is_not_waited_for_and_gets_nothing() -> None:
    last = StreamStep("last", ("greet",), condition=READY)
    async with lobby(LISTEN, greeter(), last) as stage:
        await stage.come("greet", "last")
        stage.run.finish("last")
        assert stage.hooks() == []
        stage.run.finish("listen")
        assert stage.hooks() == ["storyrun.ready"]
        assert stage.hooks("last") == []


def test_a_hook_is_named_in_any_case_by_conditions_of_engrams_only() -> None:
    steps = (
        LISTEN,
        greeter('lower(packet.type) == "StoryRun.Ready"'),
        StreamStep("when", ("listen",), kind=StepKind.CONDITION, condition=READY),
    )
    routes = compile_routes(RUN, "story", steps)
    assert (consumers(routes, StreamHook.RUN_READY), consumers(routes, StreamHook.STEP_READY)) == (("greet",), ())


async def test_primitives_get_no_hooks_and_are_not_waited_for() -> None:
    steps = (LISTEN, StreamStep("when", ("listen",), kind=StepKind.CONDITION, condition=READY), greeter())
    async with lobby(*steps) as stage:
        await stage.come("greet", "listen")
        assert stage.hooks() == ["storyrun.ready"]
        assert stage.run.primitives["when"].skipped == {}


async def test_a_tap_shows_a_hook_as_sent_by_the_hub() -> None:
    taps, now = TapBook(), datetime(2026, 1, 2, tzinfo=UTC)
    async with lobby(LISTEN, greeter(), taps=taps) as stage:
        taps.on_change = lambda place: stage.run.look_at_taps()
        with taps.opened(Place(RUN, "greet"), TapDirection("in"), 50, lambda: now) as tap:
            await stage.come("greet", "listen")
            (line,) = tap.take()[0]
    shown = orjson.loads(line)
    assert (shown["direction"], shown["steps"], shown["kind"]) == ("in", ["hub"], "hook")
    assert (shown["id"], shown["payload"]["type"]) == ("team/run-1:storyrun.ready", "storyrun.ready")
