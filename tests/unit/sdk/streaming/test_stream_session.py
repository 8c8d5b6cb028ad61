"""The handshake, directives, heartbeats, and how a connection ends and begins again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bubu_sdk.streaming import client
from bubu_sdk.streaming.settings import Pace, Reconnect
from bubu_sdk.testing.stream_hub import StreamHub
from bubu_wire.messages import ControlAction
from bubu_wire.status import StatusCode
from tests.unit.sdk.streaming.stream_line import SETTINGS, Line, encoded


def connected(hub: StreamHub | None = None, pace: Pace | None = None, reconnect: Reconnect | None = None) -> Line:
    settings = replace(SETTINGS, pace=pace or Pace(), reconnect=reconnect or Reconnect())
    line = Line(hub or StreamHub(), settings)
    line.connect()
    line.move()
    return line


def test_the_handshake_names_the_binding_and_is_acknowledged() -> None:
    line = connected()

    assert line.ready()
    assert line.hub.bindings == ["default/binding"]
    assert line.hub.acknowledgements == [{"handled": "true", "reason": "startup", "type": "connector.ready"}]


@pytest.mark.parametrize("value", ["", "later"])
def test_a_greeting_without_capabilities_is_final(value: str) -> None:
    line = connected(StreamHub(greets=False))

    line.hub.send_directive(ControlAction.CONNECTOR_READY, metadata={"startup.capabilities": value})
    line.move()

    assert "startup.capabilities" in str(line.failure())


def test_required_capabilities_are_waited_for() -> None:
    line = connected(StreamHub(greets=False))

    line.hub.send_directive(ControlAction.CONNECTOR_READY, metadata={"startup.capabilities": "required"})
    line.move()
    assert not line.ready()
    line.hub.send_directive(ControlAction.CONNECTOR_CAPABILITIES, metadata={"audio.codec": "opus"})
    line.move()

    assert line.ready()
    assert [each["reason"] for each in line.hub.acknowledgements] == ["startup", "capabilities"]


def test_a_hub_that_does_not_greet_is_final() -> None:
    line = connected(StreamHub(greets=False), Pace(message_seconds=30))

    line.tick(29.9)
    assert line.failure() is None
    line.tick(0.2)

    assert "BUBU_GRPC_MESSAGE_TIMEOUT" in str(line.failure())


@pytest.mark.parametrize(
    ("action", "custom", "answer"),
    [
        (ControlAction.NOOP, "", {"handled": "false", "reason": "noop", "type": "noop"}),
        (ControlAction.HANDOFF_DRAINING, "", {"handled": "true", "reason": "handoff", "type": "handoff.draining"}),
        (ControlAction.STOP, "", {"handled": "false", "reason": "no_control_handler", "type": "stop"}),
        (0, "brew.coffee", {"handled": "false", "reason": "no_control_handler", "type": "brew.coffee"}),
        (77, "", {"handled": "false", "reason": "no_control_handler", "type": "77"}),
    ],
)
def test_directives_are_answered(action: int, custom: str, answer: dict[str, str]) -> None:
    line = connected()

    line.hub.send_directive(action, custom)
    line.move()

    assert line.hub.acknowledgements[1:] == [answer]


def test_acknowledgements_and_acceptances_are_not_answered() -> None:
    line = connected()

    line.hub.send_directive(ControlAction.ACK, metadata={"handled": "true"})
    line.hub.send_directive(custom="upstream.accepted", metadata={"packets": "0"})
    line.hub.send_directive(custom="upstream.accepted", metadata={"packets": "many"})
    line.move()

    assert len(line.hub.acknowledgements) == 1
    assert [remark for remark in line.remarks if "many" in remark]


def test_heartbeats_are_sent_while_nothing_else_is() -> None:
    line = connected(pace=Pace(data_heartbeat_seconds=10, control_heartbeat_seconds=30))

    for _ in range(6):
        line.tick(5)
    assert (line.hub.data_heartbeats, line.hub.control_heartbeats) == (3, 1)
    for number in range(6):
        line.client.put([encoded({"n": number})], None)
        line.tick(5)

    assert (line.hub.data_heartbeats, line.hub.control_heartbeats) == (3, 2)
    assert len(line.hub.outputs) == 6


def test_a_silent_hub_is_left_after_the_hang_timeout() -> None:
    line = connected(pace=Pace(hang_seconds=25))

    line.tick(24)
    assert line.is_up
    assert line.client.next_tick() <= 49
    line.now += 25
    line.client.tick(line.now)

    assert line.client.session is None
    assert line.client.dial_at is not None


@pytest.mark.parametrize("code", [StatusCode.OK, StatusCode.UNAVAILABLE, StatusCode.UNKNOWN])
def test_an_end_of_data_leads_to_another_connection(code: StatusCode) -> None:
    line = connected()
    assert line.far is not None

    line.far.end_data(code)
    line.move()

    assert line.failure() is None
    assert line.client.dial_at == pytest.approx(0.5)
    line.connect()
    line.move()
    assert line.hub.connections == 2


@pytest.mark.parametrize(
    "code", [StatusCode.FAILED_PRECONDITION, StatusCode.PERMISSION_DENIED, StatusCode.UNAUTHENTICATED]
)
def test_a_refusal_is_final(code: StatusCode) -> None:
    line = connected()
    assert line.far is not None

    line.far.end_data(code, "generation 1 is over")
    line.move()

    assert line.client.dial_at is None
    assert "generation 1 is over" in str(line.failure())


def test_pauses_double_and_end_after_the_last_retry() -> None:
    line = Line(settings=replace(SETTINGS, reconnect=Reconnect(max_retries=4, base_seconds=0.5, max_seconds=2)))
    pauses = []
    while line.failure() is None:
        assert line.client.dial_at is not None
        pauses.append(line.client.dial_at - line.now)
        line.now = line.client.dial_at
        line.client.dial_failed("refused", line.now)

    assert pauses == pytest.approx([0, 0.5, 1, 2, 2])
    assert "gave up after 4 retries" in str(line.failure())


@pytest.mark.parametrize(("seconds", "next_pause"), [(29, 1.0), (31, 0.5)])
def test_a_connection_that_held_refills_the_retries(seconds: float, next_pause: float) -> None:
    line = Line()
    line.client.dial_failed("refused", 0)
    line.connect()
    line.move()

    line.now += seconds
    line.drop()

    assert line.client.dial_at is not None
    assert line.client.dial_at - line.now == pytest.approx(next_pause)


def test_jitter_stays_within_a_fifth() -> None:
    pauses = []
    for chance in (0.0, 1.0):
        line = Line()
        line.client._chance = lambda chance=chance: chance  # type: ignore[misc]  # the default binds the loop's value
        line.client.dial_failed("refused", 0)
        pauses.append(line.client.dial_at)

    assert pauses == pytest.approx([0.4, 0.6])


def test_a_hub_that_accepts_more_than_it_got_is_left() -> None:
    line = connected()

    line.hub.send_directive(custom="upstream.accepted", metadata={"packets": "7"})
    line.hub.send(encoded({"n": 1}))  # in the same bytes
    line.move()

    assert line.client.dial_at is not None
    assert any("accepted 7 packets" in remark for remark in line.remarks)


def test_the_end_waits_for_acceptance_and_for_the_hub() -> None:
    line = connected()
    line.hub.accepts_outputs = False
    line.client.put([encoded({"n": 1})], None)
    line.client.close(line.now)
    line.move()
    assert not line.closed()

    line.hub.accept()
    line.move()

    assert line.closed()
    assert line.failure() is None


def test_without_a_connection_the_end_needs_one_for_what_is_left() -> None:
    line = connected()
    line.drop()
    line.client.put([encoded({"n": 1})], None)
    line.client.close(line.now)
    assert not line.closed()

    line.settle()

    assert line.closed()
    assert [output.payload for output in line.hub.outputs] == [{"n": 1}]


def test_without_a_connection_and_anything_to_send_the_end_is_here() -> None:
    line = connected()
    line.drop()

    line.client.close(line.now)

    assert line.closed()
    assert line.client.dial_at is None


def test_a_hub_that_does_not_end_its_side_is_not_waited_for_long() -> None:
    line = connected()
    assert line.far is not None
    far, line.far = line.far, None  # the hub gets nothing any more
    line.client.close(line.now)
    assert line.session is not None
    line.session.data_to_send()
    line.client.tick(line.now + 4.9)
    assert not line.closed()
    assert line.client.next_tick() <= 5

    line.client.tick(line.now + 5)

    assert line.closed()
    assert far.wire.calls == 2


def test_a_hub_that_sends_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_UNFINISHED", 3)
    line = connected()

    for number in range(5):
        line.hub.send(encoded({"n": number}))
        line.move()

    assert len(line.deliveries) == 4
    assert line.client.dial_at is not None
