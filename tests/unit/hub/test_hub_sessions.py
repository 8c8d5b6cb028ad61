"""Who may connect, and what a session promises its client, over sockets. (listener.py, session.py, service.py)"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest
import trio

from bubu_wire.client import ClientConnection
from bubu_wire.codec import encode
from bubu_wire.messages import (
    BINDING_HEADER,
    CONTROL_METHOD,
    DATA_METHOD,
    PROTOCOL_HEADER,
    ControlAction,
    ControlRequest,
)
from core.telemetry import metrics
from core.telemetry.hub_catalogue import HUB_CATALOGUE
from hub.listener import HubListenerRules
from hub.metrics import HubMetrics
from hub.routes import StreamStep
from hub.session import SessionTimeouts
from hub.settings import DeliverySettings, Ordering
from tests.e2e.wire.rig import CallError, RigCall, open_client
from tests.unit.hub.modelled_client import ModelledEngram, collecting, echo, emitting, forever, text_packet
from tests.unit.hub.stand import RUN, identity, open_hub, topology_of, until
from tests.unit.stream_tls import stream_contexts

ALO = DeliverySettings(at_least_once=True, ordering=Ordering.PER_STREAM)
CHAIN = (StreamStep("emit"), StreamStep("echo", ("emit",), ALO), StreamStep("sink", ("echo",), ALO))
IMPATIENT = HubListenerRules(timeouts=SessionTimeouts(admission=0.2))
VERSION = (PROTOCOL_HEADER, "1.0.0")


@pytest.fixture(scope="module")
def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return stream_contexts()


@pytest.mark.parametrize("encrypted", [False, True])
async def test_packets_pass_three_steps(encrypted: bool, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server_side, client_side = tls if encrypted else (None, None)
    sent = [f"message {number}" for number in range(100)]
    received: list[str] = []
    async with open_hub(CHAIN, context=server_side) as stand, trio.open_nursery() as nursery:
        programs = {"emit": emitting(sent), "echo": echo, "sink": collecting(received)}
        for step, program in programs.items():
            engram = ModelledEngram(stand.port, identity(step), program, context=client_side)
            nursery.start_soon(engram.run)
        await until(lambda: len(received) == len(sent))
        nursery.cancel_scope.cancel()

    assert received == sent


async def test_a_client_learns_how_many_of_its_packets_were_accepted() -> None:
    async with open_hub(CHAIN[:1]) as stand, trio.open_nursery() as nursery:
        engram = ModelledEngram(stand.port, identity("emit"), emitting(["a"] * 200))
        nursery.start_soon(engram.run)
        await until(lambda: _accepted(engram)[-1:] == [200])
        nursery.cancel_scope.cancel()

    assert engram.directives[0].metadata["upstream.accepts"] == "1"
    told = _accepted(engram)
    assert told == sorted(set(told))
    assert len(told) < 150, "several packets are confirmed together; how many depends on the machine"


def _accepted(engram: ModelledEngram) -> list[int]:
    return [int(each.metadata["packets"]) for each in engram.directives if each.custom_action == "upstream.accepted"]


@pytest.mark.parametrize(
    "binding",
    [
        identity("emit", key=bytes(32)),
        identity("emit").replace("-emit-", "-echo-"),
        "team/run-1-emit-transport",
        "",
    ],
)
async def test_a_wrong_token_ends_the_process(binding: str) -> None:
    async with open_hub(CHAIN) as stand:
        engram = ModelledEngram(stand.port, binding, forever)

        assert await engram.run() == 1
        assert (engram.sessions, stand.hub.sessions) == (0, 0)
        assert "FAILED_PRECONDITION" in engram.ends[0]


async def test_a_binding_that_is_not_known_yet_is_tried_again() -> None:
    async with open_hub(CHAIN) as stand:
        engram = ModelledEngram(stand.port, identity("later"), forever, max_retries=2)

        assert await engram.run() == 1
        assert len(engram.ends) == 3
        assert "UNAVAILABLE" in engram.ends[0]


async def test_a_newer_generation_replaces_an_older_one_and_fences_it_off() -> None:
    async with open_hub(CHAIN) as stand, trio.open_nursery() as nursery:
        old = ModelledEngram(stand.port, identity("echo", generation=1), forever)
        new = ModelledEngram(stand.port, identity("echo", generation=2), forever)
        codes: list[int] = []

        async def run_old() -> None:
            codes.append(await old.run())

        nursery.start_soon(run_old)
        await old.ready.wait()
        nursery.start_soon(new.run)
        await until(lambda: codes == [1])
        again = ModelledEngram(stand.port, identity("echo", generation=1), forever)
        assert await again.run() == 1
        assert "generation 1 was replaced" in again.ends[0]

        new.kill()
        await until(lambda: stand.hub.sessions == 0)
        late = ModelledEngram(stand.port, identity("echo", generation=1), forever)
        assert await late.run() == 1  # also when the newer one is gone


async def test_a_newer_connection_of_the_same_generation_replaces_the_older_one() -> None:
    async with open_hub(CHAIN) as stand, trio.open_nursery() as nursery:
        old, new = (ModelledEngram(stand.port, identity("echo"), forever) for _ in range(2))
        codes: list[int] = []

        async def run_old() -> None:
            codes.append(await old.run())

        nursery.start_soon(run_old)
        await old.ready.wait()
        nursery.start_soon(new.run)
        await until(lambda: codes == [1])
        assert stand.hub.sessions == 1
        nursery.cancel_scope.cancel()


async def test_a_replaced_client_that_has_not_read_learns_on_both_calls_that_it_was_replaced() -> None:
    """A connection that breaks instead makes the Go SDK connect again, and take the step from the newer client."""
    async with open_hub(CHAIN) as stand, open_client(stand.port) as old, trio.open_nursery() as nursery:
        data = old.open_call(DATA_METHOD, (VERSION,))
        control = old.open_call(CONTROL_METHOD, (VERSION, (BINDING_HEADER, identity("echo"))))
        assert await control.receive()
        nursery.start_soon(ModelledEngram(stand.port, identity("emit"), emitting(["x" * 20_000] * 8)).run)
        await until(lambda: len(data.messages) == 3)  # the window has no room for the next
        await until(lambda: stand.counts("echo").offered == 8)
        nursery.start_soon(ModelledEngram(stand.port, identity("echo"), forever).run)
        for call in (control, data):
            with pytest.raises(CallError, match="FAILED_PRECONDITION: another client serves the step now"):
                await _read_to_the_end(call)
        nursery.cancel_scope.cancel()


async def _read_to_the_end(call: RigCall) -> None:
    while await call.receive() is not None:
        pass


async def test_a_binding_that_moves_on_ends_the_sessions_of_its_former_generation() -> None:
    async with open_hub(CHAIN) as stand, trio.open_nursery() as nursery:
        engram = ModelledEngram(stand.port, identity("echo"), forever)
        codes: list[int] = []

        async def run() -> None:
            codes.append(await engram.run())

        nursery.start_soon(run)
        await engram.ready.wait()
        routes = stand.hub.runs[RUN].routes
        stand.topology.set(topology_of(routes, generation=2))
        await until(lambda: codes == [1])


async def test_a_binding_that_was_made_anew_ends_the_sessions_of_the_former_one() -> None:
    async with open_hub(CHAIN) as stand:
        engram = ModelledEngram(stand.port, identity("echo"), forever)
        codes: list[int] = []

        async def run() -> None:
            codes.append(await engram.run())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await engram.ready.wait()
            stand.topology.set(topology_of(stand.hub.runs[RUN].routes, uid="another"))
            await until(lambda: codes == [1])  # the token belongs to the former UID


async def test_the_end_of_a_run_ends_its_sessions() -> None:
    async with open_hub(CHAIN) as stand, trio.open_nursery() as nursery:
        engram = ModelledEngram(stand.port, identity("echo"), forever)
        nursery.start_soon(engram.run)
        await engram.ready.wait()
        stand.topology.set(topology_of())
        await until(lambda: len(engram.ends) > 1)
        assert not stand.hub.runs
        nursery.cancel_scope.cancel()

    assert "UNAVAILABLE" in engram.ends[0]


async def test_data_alone_is_not_routed_and_refused_after_a_deadline() -> None:
    async with open_hub(CHAIN, rules=IMPATIENT) as stand, open_client(stand.port) as client:
        data = client.open_call(DATA_METHOD, (VERSION,))
        await data.send(encode(text_packet("early")))
        with pytest.raises(CallError, match="FAILED_PRECONDITION"):
            await data.receive()
        assert stand.step("emit").received == 0


async def test_control_alone_is_refused_after_a_deadline() -> None:
    async with open_hub(CHAIN, rules=IMPATIENT) as stand, open_client(stand.port) as client:
        control = client.open_call(CONTROL_METHOD, (VERSION, (BINDING_HEADER, identity("emit"))))
        assert await control.receive()
        with pytest.raises(CallError, match="FAILED_PRECONDITION"):
            await control.receive()


async def test_a_client_that_says_nothing_is_let_go() -> None:
    async with open_hub(CHAIN, rules=IMPATIENT) as stand:
        stream = await trio.open_tcp_stream("127.0.0.1", stand.port)
        while await stream.receive_some(1_000):
            pass
        await stream.aclose()


async def test_what_came_on_data_before_control_is_routed_after_it() -> None:
    async with open_hub(CHAIN[:2]) as stand, open_client(stand.port) as client:
        data = client.open_call(DATA_METHOD, (VERSION,))
        await data.send(*(encode(text_packet(str(number))) for number in range(5)))
        await trio.sleep(0.05)
        assert stand.step("emit").received == 0
        client.open_call(CONTROL_METHOD, (VERSION, (BINDING_HEADER, identity("emit"))))
        await until(lambda: stand.counts("echo").offered == 5)


async def test_a_stranger_fills_two_windows_at_most() -> None:
    """One, and what came in the same read as the call."""
    async with open_hub(CHAIN[:2]) as stand, open_client(stand.port) as client:
        data = client.open_call(DATA_METHOD, (VERSION,))
        large = encode(text_packet("x" * 2_000_000))
        client.connection.send_messages(data.number, [large])
        client.wire.poke()
        await until(lambda: client.connection.backlog(data.number) < len(large))
        await trio.sleep(0.2)
        assert len(large) - client.connection.backlog(data.number) <= 2 * 65_535
        client.open_call(CONTROL_METHOD, (VERSION, (BINDING_HEADER, identity("emit"))))
        await until(lambda: stand.counts("echo").offered == 1)


@pytest.mark.parametrize("method", [DATA_METHOD, CONTROL_METHOD])
@pytest.mark.parametrize("version", [(), ((PROTOCOL_HEADER, "2.0.0"),)])
async def test_another_protocol_is_refused(method: str, version: tuple[tuple[str, str], ...]) -> None:
    async with open_hub(CHAIN) as stand, open_client(stand.port) as client:
        call = client.open_call(method, (*version, (BINDING_HEADER, identity("emit"))))
        with pytest.raises(CallError, match="bubu-transport-protocol must be 1"):
            await call.receive()


async def test_a_client_that_has_said_everything_is_let_go_when_it_was_accepted() -> None:
    async with open_hub(CHAIN[:2]) as stand, open_client(stand.port) as client:
        data = client.open_call(DATA_METHOD, (VERSION,))
        control = client.open_call(CONTROL_METHOD, (VERSION, (BINDING_HEADER, identity("emit"))))
        await data.send(*(encode(text_packet(str(number))) for number in range(5)))
        client.finish(data)
        assert await data.receive() is None
        last = [message async for message in _messages(control)][-1]
        assert b"upstream.accepted" in last
        assert stand.counts("echo").offered == 5


async def _messages(call: RigCall) -> AsyncIterator[bytes]:
    while (message := await call.receive()) is not None:
        yield message


@pytest.fixture
def counted() -> Iterator[None]:
    with metrics.recording(HUB_CATALOGUE):
        yield


@pytest.mark.usefixtures("counted")
async def test_heartbeats_go_both_ways_and_a_client_without_them_is_let_go() -> None:
    timeouts = SessionTimeouts(heartbeat=0.05, control=0.5)
    async with open_hub(CHAIN, rules=HubListenerRules(timeouts=timeouts)) as stand:
        assert metrics.sample("bobravoz_hub_heartbeat_interval_seconds") == 0.05
        beating = ModelledEngram(stand.port, identity("emit"), forever, heartbeat=0.05, control_heartbeat=0.1)
        silent = ModelledEngram(stand.port, identity("echo"), forever, max_retries=0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beating.run)
            assert await silent.run() == 1
            await until(lambda: stand.step("emit").heartbeats > 3)
            HubMetrics().collect(stand.hub.runs.values())
            nursery.cancel_scope.cancel()

    labels = {"namespace": "team", "story": "story"}
    found = [metrics.sample("bobravoz_hub_heartbeat_failures_total", step=step, **labels) for step in ("emit", "echo")]
    assert found == [0, 1]

    assert "no heartbeat on Control" in silent.ends[0]
    assert beating.ends == []
    statuses = [each.metadata.get("status") for each in beating.directives if each.action is ControlAction.ACK]
    assert "alive" in statuses


async def test_a_client_whose_machine_is_gone_is_let_go() -> None:
    timeouts = SessionTimeouts(ping=0.1, answer=0.1)
    async with open_hub(CHAIN, rules=HubListenerRules(timeouts=timeouts)) as stand, open_client(stand.port) as client:
        client.open_call(DATA_METHOD, (VERSION,))
        client.open_call(CONTROL_METHOD, (VERSION, (BINDING_HEADER, identity("emit"))))
        gone = ClientConnection("localhost")
        gone.open_call(DATA_METHOD, (VERSION,))
        gone.open_call(CONTROL_METHOD, (VERSION, (BINDING_HEADER, identity("echo"))))
        stream = await trio.open_tcp_stream("127.0.0.1", stand.port)
        await stream.send_all(gone.data_to_send())
        await until(lambda: stand.hub.sessions == 2)
        await until(lambda: stand.hub.sessions == 1)
        assert (stand.step("echo").silences, stand.step("emit").silences) == (1, 0)
        await trio.sleep(0.3)
        assert stand.step("emit").link is not None  # its HTTP/2 answers pings
        await trio.aclose_forcefully(stream)


@pytest.mark.usefixtures("counted")
async def test_each_call_is_counted_once_with_the_code_with_which_it_has_ended() -> None:
    def ended(method: str, code: str) -> float | None:
        return metrics.sample("bobravoz_grpc_requests_total", method=method, code=code)

    known = (VERSION, (BINDING_HEADER, identity("emit")))
    async with open_hub(CHAIN, rules=IMPATIENT) as stand:
        async with open_client(stand.port) as client:  # it finishes
            data = client.open_call(DATA_METHOD, (VERSION,))
            client.open_call(CONTROL_METHOD, known)
            await until(lambda: stand.hub.sessions == 1)
            client.finish(data)
            assert await data.receive() is None
        assert (ended("Data", "OK"), ended("Control", "OK")) == (1, 1)
        async with open_client(stand.port) as client:  # its connection ends
            client.open_call(DATA_METHOD, (VERSION,))
            client.open_call(CONTROL_METHOD, known)
            await until(lambda: stand.hub.sessions == 1)
        await until(lambda: (ended("Data", "UNAVAILABLE"), ended("Control", "UNAVAILABLE")) == (1, 1))
        async with open_client(stand.port) as client:  # it is refused after a deadline
            client.open_call(DATA_METHOD, (VERSION,))
            await until(lambda: ended("Data", "FAILED_PRECONDITION") == 1)
        async with open_client(stand.port) as client:  # it resets a call
            data = client.open_call(DATA_METHOD, (VERSION,))
            client.open_call(CONTROL_METHOD, known)
            await until(lambda: stand.hub.sessions == 1)
            client.connection.cancel(data.number)
            client.wire.poke()
            await until(lambda: ended("Data", "CANCELLED") == 1)
        await until(lambda: ended("Control", "UNAVAILABLE") == 2)
    assert metrics.sample("bobravoz_grpc_request_duration_seconds_count", method="Data") == 4
    assert metrics.sample("bobravoz_grpc_request_duration_seconds_count", method="Control") == 3
    seconds = metrics.sample("bobravoz_grpc_request_duration_seconds_sum", method="Data") or 0
    assert seconds >= 0.2, "the one that was refused had waited for its deadline"


async def test_directives_are_answered_as_a_connector_does() -> None:
    asked = [
        ControlRequest(ControlAction.HEARTBEAT),
        ControlRequest(),
        ControlRequest(ControlAction.STOP_DOWNSTREAM),
        ControlRequest(custom_action="pause"),
        ControlRequest(custom_action="mine"),
        ControlRequest(ControlAction.HANDOFF_READY),
        ControlRequest(77),
        ControlRequest(ControlAction.ACK),
    ]
    async with open_hub(CHAIN) as stand, open_client(stand.port) as client:
        client.open_call(DATA_METHOD, (VERSION,))
        control = client.open_call(CONTROL_METHOD, (VERSION, (BINDING_HEADER, identity("emit"))))
        await control.send(*(encode(each) for each in asked), b"\xff")
        found: list[bytes] = []
        while len(found) < len(asked) + 1:
            message = await control.receive()
            assert message is not None
            found.append(message)
    text = b"\n".join(found[1:])

    assert [name in text for name in (b"alive", b"empty", b"unsupported", b"unknown")] == [True] * 4
    assert text.count(b"unsupported") == 2
    assert [word in text for word in (b"stop-downstream", b"handoff.ready", b"mine", b"77")] == [True] * 4


async def test_a_second_session_on_one_connection_is_refused_and_the_first_goes_on() -> None:
    async with open_hub(CHAIN) as stand, open_client(stand.port) as client:
        data = client.open_call(DATA_METHOD, (VERSION,))
        client.open_call(CONTROL_METHOD, (VERSION, (BINDING_HEADER, identity("emit"))))
        second = client.open_call(DATA_METHOD, (VERSION,))
        with pytest.raises(CallError, match="a connection for each session"):
            await second.receive()
        await data.send(encode(text_packet("a")))
        await until(lambda: stand.step("emit").received == 1)


async def test_strangers_cannot_take_all_places() -> None:
    rules = HubListenerRules(connections=6, strangers=3)
    async with open_hub(CHAIN, rules=rules) as stand, trio.open_nursery() as nursery:
        known = ModelledEngram(stand.port, identity("emit"), forever)
        nursery.start_soon(known.run)
        await known.ready.wait()
        strangers = [await trio.open_tcp_stream("127.0.0.1", stand.port) for _ in range(10)]
        other = ModelledEngram(stand.port, identity("echo"), forever)
        nursery.start_soon(other.run)
        await other.ready.wait()
        assert known.ends == []
        nursery.cancel_scope.cancel()
        for stream in strangers:
            stream.socket.close()


async def test_a_flood_of_one_address_ends_no_connection_of_another() -> None:
    rules = HubListenerRules(connections=9, strangers=3)
    async with open_hub(CHAIN, rules=rules) as stand:
        elsewhere = await trio.open_tcp_stream("127.0.0.1", stand.port, local_address="127.0.0.2")
        flood = [await trio.open_tcp_stream("127.0.0.1", stand.port) for _ in range(10)]
        for stream in flood[:8]:
            assert await ended(stream)
        with trio.move_on_after(0.1) as waited:
            await ended(elsewhere)
        for stream in (elsewhere, *flood):
            stream.socket.close()
    assert waited.cancelled_caught, "the hub has closed the connection of somebody else"


async def ended(stream: trio.SocketStream) -> bool:
    """Read until the other side has closed the connection."""
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some(1_000):
            pass
    return True


async def test_garbage_ends_its_connection_alone() -> None:
    async with open_hub(CHAIN) as stand, trio.open_nursery() as nursery:
        known = ModelledEngram(stand.port, identity("emit"), forever)
        nursery.start_soon(known.run)
        await known.ready.wait()
        stream = await trio.open_tcp_stream("127.0.0.1", stand.port)
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n" + bytes(1_000))
        while await stream.receive_some(1_000):
            pass
        await stream.aclose()
        assert (known.ends, stand.hub.sessions) == ([], 1)
        nursery.cancel_scope.cancel()
