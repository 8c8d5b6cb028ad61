"""Metrics show the sum over the runs of a Story, lose nothing at the end of a run, and then go. (hub/metrics.py)"""

from __future__ import annotations

import trio
import trio.testing

from bubu_wire.codec import encode
from core.api.objects import NamespacedName
from core.telemetry import metrics
from core.telemetry.hub_catalogue import HUB_CATALOGUE
from hub.metrics import HubMetrics
from hub.packets import PacketChecker
from hub.routes import StreamStep, compile_routes
from hub.run import LiveRun
from hub.settings import DeliverySettings, Ordering
from tests.unit.hub.modelled_client import text_packet

ALO = DeliverySettings(at_least_once=True, ordering=Ordering.PER_STREAM)
STEPS = (StreamStep("emit"), StreamStep("sink", ("emit",), ALO))


class Client:
    """A session that notes what is sent."""

    def __init__(self) -> None:
        self.sent = 0

    def room(self) -> int:
        return 1_000_000

    def send(self, messages: object) -> None:
        assert isinstance(messages, list)
        self.sent += len(messages)

    def consumed(self, messages: int, packets: int) -> None:
        pass


def live_run(name: str, *, packets: int) -> LiveRun:
    run = LiveRun(compile_routes(NamespacedName("team", name), "voice", STEPS), "1", PacketChecker())
    client = Client()
    run.attach("emit", client)
    heartbeat = b"\x22\x16\x0a\x0ebubu-heartbeat\x12\x04true"
    run.arrived("emit", client, [encode(text_packet("a"))] * packets + [heartbeat, b"\xff"])
    return run


def shown(name: str, step: str, **labels: str) -> float | None:
    return metrics.sample(name, namespace="team", story="voice", step=step, **labels)


async def test_counts_are_summed_over_runs_and_survive_their_end() -> None:
    with metrics.recording(HUB_CATALOGUE):
        shows = HubMetrics()
        first, second = live_run("run-1", packets=3), live_run("run-2", packets=2)
        shows.collect([first, second])
        assert shown("bobravoz_hub_active_streams", "emit") == 2
        assert shown("bobravoz_hub_buffer_current_size", "sink") == 5
        assert shown("bobravoz_hub_buffer_max_messages_config", "sink") == 2 * ALO.max_messages
        assert shown("bobravoz_hub_buffer_max_bytes_config", "sink") == 2 * ALO.max_bytes
        assert shown("bobravoz_grpc_messages_received_total", "emit") == 7
        assert shown("bobravoz_hub_heartbeats_received_total", "emit") == 2
        assert shown("bobravoz_hub_messages_dropped_total", "emit", reason="invalid") == 2

        for step in first.steps.values():
            step.delivery.abandon()
        shows.ended(first)
        shows.collect([second])
        assert shown("bobravoz_hub_active_streams", "emit") == 1
        assert shown("bobravoz_grpc_messages_received_total", "emit") == 7
        assert shown("bobravoz_hub_messages_dropped_total", "sink", reason="context_done") == 3

        shows.ended(second)
        shows.collect([])
        assert shown("bobravoz_hub_active_streams", "emit") == 0
        assert shown("bobravoz_grpc_messages_received_total", "emit") == 7
        shows.collect([])
        assert shown("bobravoz_grpc_messages_received_total", "emit") is None
        assert shown("bobravoz_hub_active_streams", "emit") is None


async def test_a_story_that_runs_again_begins_with_new_series() -> None:
    with metrics.recording(HUB_CATALOGUE):
        shows = HubMetrics()
        shows.ended(live_run("run-1", packets=3))
        shows.collect([])
        second = live_run("run-2", packets=1)
        shows.collect([second])
        assert shown("bobravoz_grpc_messages_received_total", "emit") == 6
        shows.collect([])  # it has not reported its end
        assert shown("bobravoz_grpc_messages_received_total", "emit") == 6
        shows.ended(second)
        shows.collect([second])
        shows.collect([])
        shows.collect([])
        shows.collect([live_run("run-3", packets=1)])
        assert shown("bobravoz_grpc_messages_received_total", "emit") == 2


async def test_held_steps_are_shown() -> None:
    with metrics.recording(HUB_CATALOGUE):
        run = live_run("run-1", packets=150)
        shows = HubMetrics()
        shows.collect([run])
        assert shown("bobrapet_hub_held_steps", "emit") == 1
        async with trio.open_nursery() as nursery:
            client = Client()
            run.attach("sink", client)
            nursery.start_soon(run.serve)
            await trio.testing.wait_all_tasks_blocked()
            shows.collect([run])
            nursery.cancel_scope.cancel()
        shows.ended(run)
        shows.collect([])
        assert shown("bobravoz_hub_messages_dropped_total", "sink", reason="context_done") == 100
        assert shown("bobravoz_hub_messages_dropped_total", "emit", reason="context_done") == 52
        assert shown("bobravoz_grpc_messages_sent_total", "sink") == client.sent == 16
