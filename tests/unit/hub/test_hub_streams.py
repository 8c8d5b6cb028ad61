"""What happens to packets while clients die, stall, mix up their receipts and send garbage. (hub/run.py)"""

from __future__ import annotations

import random
from dataclasses import replace

import trio

from bubu_wire.codec import encode
from bubu_wire.messages import (
    BINDING_HEADER,
    CONTROL_METHOD,
    DATA_METHOD,
    PROTOCOL_HEADER,
    BinaryFrame,
    DataRequest,
    StreamEnvelope,
)
from core.api.objects import NamespacedName
from hub.delivery import Loss
from hub.routes import StreamStep, compile_routes
from hub.settings import DeliverySettings, Ordering
from tests.e2e.wire.rig import open_client
from tests.unit.hub.modelled_client import (
    EngramIO,
    Incoming,
    ModelledEngram,
    Program,
    careful_echo,
    collecting,
    emitting,
)
from tests.unit.hub.stand import RUN, HubStand, identity, open_hub, until

ALO = DeliverySettings(at_least_once=True, ordering=Ordering.PER_STREAM)
EMIT = StreamStep("emit")
SINK = StreamStep("sink", ("emit",), ALO)
VERSION = (PROTOCOL_HEADER, "1.0.0")


def balance(stand: HubStand, step: str, run: NamespacedName = RUN) -> int:
    delivery = stand.step(step, run).delivery
    counts = delivery.counts
    return counts.offered - counts.delivered - sum(counts.lost.values()) - delivery.pending


async def test_a_consumer_that_is_killed_again_and_again_loses_nothing() -> None:
    sent = [str(number) for number in range(600)]
    received: list[str] = []
    steps = (EMIT, StreamStep("echo", ("emit",), ALO), StreamStep("sink", ("echo",), ALO))
    async with open_hub(steps) as stand, trio.open_nursery() as nursery:
        source = ModelledEngram(stand.port, identity("emit"), emitting(sent))
        nursery.start_soon(source.run)
        nursery.start_soon(ModelledEngram(stand.port, identity("sink"), collecting(received)).run)
        kills = 0
        while len(set(received)) < len(sent):
            victim = ModelledEngram(stand.port, identity("echo"), careful_echo)
            nursery.start_soon(victim.run)
            await victim.ready.wait()
            enough = len(set(received)) + 60
            await until(lambda enough=enough: len(set(received)) >= min(enough, len(sent)))  # type: ignore[misc]  # binds
            victim.kill()
            kills += 1
        assert kills > 6
        assert (source.ends, stand.counts("echo").lost, stand.counts("sink").lost) == ([], {}, {})
        assert (balance(stand, "echo"), balance(stand, "sink")) == (0, 0)
        nursery.cancel_scope.cancel()

    assert set(received) == set(sent)


async def test_a_producer_that_is_killed_loses_nothing_that_has_arrived() -> None:
    """What the dead client has sent, and a full consumer has not yet taken, is still routed."""
    received: list[str] = []
    small = replace(ALO, max_messages=4, window_messages=2)
    async with open_hub((EMIT, replace(SINK, delivery=small))) as stand, trio.open_nursery() as nursery:
        source = ModelledEngram(stand.port, identity("emit"), emitting([str(number) for number in range(50)]))
        nursery.start_soon(source.run)
        await until(lambda: len(stand.step("emit").inbox) == 46)
        source.kill()
        await until(lambda: stand.step("emit").link is None)
        nursery.start_soon(ModelledEngram(stand.port, identity("sink"), collecting(received)).run)
        await until(lambda: len(received) == 50)
        nursery.cancel_scope.cancel()

    assert received == [str(number) for number in range(50)]


async def test_receipts_may_come_in_any_order() -> None:
    sent = [str(number) for number in range(300)]
    received: list[str] = []

    async def mixed_up(io: EngramIO) -> None:
        held: list[Incoming] = []
        chance = random.Random(1)
        async for message in io.incoming():
            received.append(message.text)
            held.append(message)
            if len(held) == 8 or len(received) > 290:
                chance.shuffle(held)
                while held:
                    held.pop().done()

    async with open_hub((EMIT, SINK)) as stand, trio.open_nursery() as nursery:
        nursery.start_soon(ModelledEngram(stand.port, identity("emit"), emitting(sent)).run)
        sink = ModelledEngram(stand.port, identity("sink"), mixed_up)
        nursery.start_soon(sink.run)
        await until(lambda: stand.counts("sink").delivered == 300)
        assert stand.step("sink").delivery.acknowledged() == 300
        assert sink.lost_receipts == 0
        nursery.cancel_scope.cancel()

    assert received == sent


async def test_receipts_that_the_client_has_dropped_are_asked_for_again() -> None:
    """A window that is larger than the client's queue of receipts, and an engram that acknowledges in bursts."""
    sent = [str(number) for number in range(160)]
    received: list[str] = []

    async def in_bursts(io: EngramIO) -> None:
        held: list[Incoming] = []
        async for message in io.incoming():
            received.append(message.text)
            held.append(message)
            if len(held) == 32:
                while held:
                    held.pop(0).done()
            if len(set(received)) == len(sent):
                for each in held:
                    each.done()
                    await trio.lowlevel.checkpoint()
                held.clear()

    eager = replace(ALO, window_messages=64, redeliver_seconds=0.1, max_attempts=None)
    async with open_hub((EMIT, replace(SINK, delivery=eager))) as stand, trio.open_nursery() as nursery:
        nursery.start_soon(ModelledEngram(stand.port, identity("emit"), emitting(sent)).run)
        sink = ModelledEngram(stand.port, identity("sink"), in_bursts)
        nursery.start_soon(sink.run)
        await until(lambda: stand.counts("sink").delivered == len(sent))
        assert sink.lost_receipts > 0
        nursery.cancel_scope.cancel()

    assert set(received) == set(sent)


async def test_a_stalled_consumer_holds_its_source_and_nobody_else() -> None:
    """emit → stalled; other → free, in the same run; and a second run. The stalled buffer does not grow."""
    steps = (EMIT, replace(SINK, name="stalled"), StreamStep("other"), StreamStep("free", ("other",), ALO))
    second = compile_routes(NamespacedName("team", "run-2"), "story", (EMIT, SINK))
    free: list[str] = []
    elsewhere: list[str] = []
    emitted: list[int] = []
    go_on = trio.Event()

    async def stalled(io: EngramIO) -> None:
        await go_on.wait()
        async for message in io.incoming():
            message.done()

    async def busy(io: EngramIO) -> None:
        for number in range(800):
            await io.emit("x" * 400)
            emitted.append(number)
        await trio.sleep_forever()

    async with open_hub(compile_routes(RUN, "story", steps), second) as stand, trio.open_nursery() as nursery:

        def start(step: str, program: Program, run: NamespacedName = RUN) -> ModelledEngram:
            engram = ModelledEngram(stand.port, identity(step, run=run), program)
            nursery.start_soon(engram.run)
            return engram

        sent = [str(number) for number in range(400)]
        source = start("emit", busy)
        start("stalled", stalled)
        delivery = stand.step("stalled").delivery
        await until(lambda: stand.step("emit").inbox_bytes > 25_000)  # a window of 65,535 bytes, renewed by halves
        start("other", emitting(sent))
        start("free", collecting(free))
        start("emit", emitting(sent), second.run)
        start("sink", collecting(elsewhere), second.run)
        await until(lambda: len(free) == len(elsewhere) == len(sent))

        assert len(emitted) < 400
        assert delivery.in_flight == 16
        assert 90 <= delivery.waiting <= 100
        assert delivery.kept_bytes + stand.step("emit").inbox_bytes < 65_535 + 116 * 500
        go_on.set()
        await until(lambda: delivery.counts.delivered == 800)
        assert (delivery.counts.lost, source.ends) == ({}, [])
        nursery.cancel_scope.cancel()


async def test_garbage_from_one_producer_is_counted_and_no_stream_ends() -> None:
    """A Go SDK would end its session on each of these."""
    received: list[str] = []
    steps = (EMIT, SINK)
    document = "application/vnd.bubu.packet+json"
    garbage = [
        b"\xff\xff\xff",
        b"\x22\x07\x0a\x01a\x12\x02\xff\xfe",  # metadata that is no UTF-8
        encode(DataRequest(BinaryFrame(b"{", document))),
        encode(DataRequest(BinaryFrame(b"[]", document))),
        encode(DataRequest(BinaryFrame(b'{"kind":"a b"}', document))),
        encode(DataRequest(BinaryFrame(b'{"version":"v2"}', document))),
        encode(DataRequest(BinaryFrame(b'{"timestampMs":-1}', document))),
        encode(DataRequest(BinaryFrame(b'{"metadata":{"a":1}}', document))),
        encode(DataRequest(BinaryFrame(b"x", "a/b"), {f"k{number}": "" for number in range(98)})),
        encode(DataRequest(BinaryFrame(b"x", "a/b"), envelope=StreamEnvelope("s", 1, "", "c", 0, 2, 9))),
    ]
    async with open_hub(steps) as stand, trio.open_nursery() as nursery, open_client(stand.port) as client:
        sink = ModelledEngram(stand.port, identity("sink"), collecting(received))
        nursery.start_soon(sink.run)
        data = client.open_call(DATA_METHOD, (VERSION,))
        client.open_call(CONTROL_METHOD, (VERSION, (BINDING_HEADER, identity("emit"))))
        good = encode(DataRequest(BinaryFrame(b"good", "text/plain")))
        await data.send(good, *garbage, encode(DataRequest()), good)
        await until(lambda: len(received) == 2)
        step = stand.step("emit")

        assert step.refused == {"invalid": 10, "empty": 1}
        assert (step.received, stand.counts("sink").offered) == (13, 2)
        assert (data.ended, sink.ends) == (None, [])
        nursery.cancel_scope.cancel()


async def test_a_packet_in_chunks_arrives_as_a_whole_also_at_a_full_receiver() -> None:
    received: list[str] = []
    small = replace(ALO, max_messages=2, window_messages=1)
    async with (
        open_hub((EMIT, replace(SINK, delivery=small))) as stand,
        trio.open_nursery() as nursery,
        open_client(stand.port) as client,
    ):
        data = client.open_call(DATA_METHOD, (VERSION,))
        client.open_call(CONTROL_METHOD, (VERSION, (BINDING_HEADER, identity("emit"))))
        for number in range(5):
            for index, text in enumerate((f"a{number}", "-", "b")):
                place = StreamEnvelope("s", 1, "", f"c{number}", index, 3)
                await data.send(encode(DataRequest(BinaryFrame(text.encode(), "text/plain"), envelope=place)))
        await until(lambda: len(stand.step("emit").inbox) == 7)
        assert stand.step("emit").chunks.held == 3
        nursery.start_soon(ModelledEngram(stand.port, identity("sink"), collecting(received)).run)
        await until(lambda: len(received) == 5)
        assert (stand.step("emit").received, stand.step("emit").chunks.held) == (5, 0)
        nursery.cancel_scope.cancel()

    assert received == [f"a{number}-b" for number in range(5)]


async def test_a_packet_without_a_frame_gets_the_one_that_sdks_read() -> None:
    found: list[Incoming] = []

    async def note(io: EngramIO) -> None:
        async for message in io.incoming():
            found.append(message)
            message.done()

    async with open_hub((EMIT, SINK)) as stand, trio.open_nursery() as nursery, open_client(stand.port) as client:
        nursery.start_soon(ModelledEngram(stand.port, identity("sink"), note).run)
        data = client.open_call(DATA_METHOD, (VERSION,))
        client.open_call(CONTROL_METHOD, (VERSION, (BINDING_HEADER, identity("emit"))))
        metadata = {"kind": "chat", "bubu.envelope.message_id": "m1"}
        await data.send(encode(DataRequest(metadata=metadata, payload={"text": "ä"}, inputs={"a": 1})))
        await until(lambda: len(found) == 1)
        nursery.cancel_scope.cancel()

    frame = found[0].packet.frame
    assert isinstance(frame, BinaryFrame)
    assert frame.mime_type == "application/vnd.bubu.packet+json"
    assert b'"kind":"chat"' in frame.payload
    assert b'"messageId":"m1"' in frame.payload
    assert found[0].packet.metadata["current-step-id"] == "sink"
    assert found[0].packet.payload == {"text": "ä"}


async def test_a_packet_that_kills_its_receiver_is_given_up_and_the_rest_arrives() -> None:
    received: list[str] = []

    async def fragile(io: EngramIO) -> None:
        async for message in io.incoming():
            if message.text == "poison":
                raise trio.BrokenResourceError("the process dies")
            received.append(message.text)
            message.done()

    sent = [*(str(number) for number in range(20)), "poison", *(str(number) for number in range(20, 60))]
    async with open_hub((EMIT, SINK)) as stand, trio.open_nursery() as nursery:
        nursery.start_soon(ModelledEngram(stand.port, identity("emit"), emitting(sent)).run)
        nursery.start_soon(ModelledEngram(stand.port, identity("sink"), fragile, max_retries=50).run)
        await until(lambda: stand.counts("sink").delivered == 60)
        assert stand.counts("sink").lost == {Loss.RETRY_EXHAUSTED: 1}
        assert balance(stand, "sink") == 0
        nursery.cancel_scope.cancel()

    assert set(received) == set(sent) - {"poison"}


async def test_best_effort_packets_go_to_all_who_need_them() -> None:
    left: list[str] = []
    right: list[str] = []
    steps = (EMIT, StreamStep("left", ("emit",)), StreamStep("right", ("emit",)))
    sent = [str(number) for number in range(200)]
    async with open_hub(steps) as stand, trio.open_nursery() as nursery:
        for step, into in (("left", left), ("right", right)):
            engram = ModelledEngram(stand.port, identity(step), collecting(into))
            nursery.start_soon(engram.run)
            await engram.ready.wait()
        nursery.start_soon(ModelledEngram(stand.port, identity("emit"), emitting(sent)).run)
        await until(lambda: len(left) == len(right) == len(sent))
        assert [stand.counts(step).delivered for step in ("left", "right")] == [200, 200]
        nursery.cancel_scope.cancel()

    assert left == right == sent


async def test_a_run_that_fails_starts_again_and_the_others_do_not_notice() -> None:
    second = compile_routes(NamespacedName("team", "run-2"), "story", (EMIT, SINK))
    received: list[str] = []
    async with (
        open_hub(compile_routes(RUN, "story", (EMIT, SINK)), second) as stand,
        trio.open_nursery() as nursery,
    ):
        broken = ModelledEngram(stand.port, identity("sink"), collecting([]), max_retries=-1)
        healthy = ModelledEngram(stand.port, identity("sink", run=second.run), collecting(received))
        nursery.start_soon(broken.run)
        nursery.start_soon(healthy.run)
        await broken.ready.wait()
        await healthy.ready.wait()
        first = stand.hub.runs[RUN]

        del first.steps["sink"].delivery._in_flight  # a fault
        first.steps["sink"].news.set()
        await until(lambda: stand.hub.runs.get(RUN) not in (None, first))
        await until(lambda: broken.sessions == 2)
        nursery.start_soon(ModelledEngram(stand.port, identity("emit", run=second.run), emitting(["a"])).run)
        await until(lambda: received == ["a"])
        assert healthy.ends == []
        nursery.cancel_scope.cancel()
