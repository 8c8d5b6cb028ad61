"""The clients of the measurement of the hub, or of another relay: pairs of a source and a sink, in one process.

``python -m bench.hub_load rate PORT COUNT SOURCE SINK …`` sends COUNT packets through each pair, prints the seconds;
``rate-json`` does it with JSON packets as SDKs send them, with the payload in the frame and again in the Struct.
``latency PORT PER_SECOND SECONDS SOURCE RELAY … SINK`` prints the milliseconds from sending to receiving, one in a
line; a RELAY answers each packet with one of its own. SOURCE, RELAY and SINK are tokens with their namespace. Each
packet is acknowledged by itself, as the Go SDK does; by a relay after it has answered.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import orjson
import trio

from bench.wire import PACKET_BYTES, packet
from bubu_wire.codec import encode
from bubu_wire.forwarding import envelope_of
from bubu_wire.inspection import PACKET_MIME
from bubu_wire.messages import (
    BINDING_HEADER,
    CONTROL_METHOD,
    DATA_METHOD,
    PROTOCOL_HEADER,
    PROTOCOL_VERSION,
    BinaryFrame,
    ControlRequest,
    DataRequest,
)
from bubu_wire.protobuf import with_length
from tests.e2e.wire.rig import RigCall, RigClient, open_client

SMALLEST: Final = 200
"""Bytes of a message, heartbeats excluded."""
_PAYLOAD: Final = slice(6, 14)
"""Where a packet has the time of its sending: the first bytes of the payload of ``packet``."""
_ROUND: Final = time.time_ns().to_bytes(8, "big")
"""Marks the packets of this process: those of a former one may still be on their way."""
_JSON_ROUND: Final = f"round-{time.time_ns():x}".encode()
_FAREWELL: Final = 0.4
"""So long the hub keeps acknowledged packets for a client that connects again."""
_BATCH: Final = 64
_BACKLOG: Final = 128 * 1024


async def main(arguments: list[str]) -> None:
    mode, port, *rest = arguments
    with trio.fail_after(300):
        if mode in ("rate", "rate-json"):
            packets = _json_packet() if mode == "rate-json" else _marked(_ROUND)
            await _rate(int(port), int(rest[0]), rest[1:], packets)
        else:
            await _latency(int(port), int(rest[0]), int(rest[1]), rest[2:])


async def _rate(port: int, count: int, tokens: list[str], packets: bytes) -> None:
    begun = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for source, sink in zip(tokens[::2], tokens[1::2], strict=True):
            nursery.start_soon(_relay, port, count, source, sink, packets)
    sys.stdout.write(f"{time.perf_counter() - begun}\n")


async def _relay(port: int, count: int, source: str, sink: str, packets: bytes) -> None:
    async with open_client(port) as receiver, open_client(port) as sender:
        sinking, receipts = await _open(receiver, sink)
        sending, _ = await _open(sender, source)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_acknowledge, receiver, sinking, receipts, count)
            await _send(sender, sending, count, packets)


async def _open(client: RigClient, token: str) -> tuple[RigCall, RigCall]:
    version = (PROTOCOL_HEADER, PROTOCOL_VERSION)
    data = client.open_call(DATA_METHOD, (version,))
    control = client.open_call(CONTROL_METHOD, (version, (BINDING_HEADER, token)))
    assert await control.receive(), "ready"
    return data, control


async def _send(client: RigClient, call: RigCall, count: int, packets: bytes) -> None:
    connection, batch = client.connection, [packets] * _BATCH
    left = count
    while left:
        connection.send_messages(call.number, batch[:left] if left < _BATCH else batch)
        left -= min(left, _BATCH)
        client.wire.poke()
        while connection.backlog(call.number) > _BACKLOG:
            await client.wire.news()
    while connection.backlog(call.number):
        await client.wire.news()


async def _acknowledge(client: RigClient, data: RigCall, control: RigCall, count: int) -> None:
    """Until ``count`` packets of this round have come, and their receipts have left."""
    receipts, left = _Receipts(), count
    while left:
        while not data.messages:
            await client.wire.news()
        batch, data.messages = data.messages, []
        client.connection.consumed(data.number, len(batch))
        control.messages.clear()
        client.connection.send_messages(control.number, receipts.of(batch))
        client.wire.poke()
        left -= sum(message[_PAYLOAD] == _ROUND or _JSON_ROUND in message for message in batch)
    while client.connection.backlog(control.number):
        await client.wire.news()
    await trio.sleep(_FAREWELL)


async def _latency(port: int, per_second: int, seconds: int, tokens: list[str]) -> None:
    count = per_second * seconds
    waits: list[float] = []
    first = time.perf_counter_ns()

    def note(marks: list[bytes]) -> None:
        now = time.perf_counter_ns()
        sent = [int.from_bytes(mark, "big") for mark in marks]
        waits.extend((now - each) / 1e6 for each in sent if each > first)

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(open_client(port)) for _ in tokens]
        calls = [await _open(client, token) for client, token in zip(clients, tokens, strict=True)]
        async with trio.open_nursery() as nursery:
            for client, (data, control) in zip(clients[1:-1], calls[1:-1], strict=True):
                nursery.start_soon(_answer, client, data, control, partial(_send_marked, client, data))
            nursery.start_soon(_answer, clients[-1], *calls[-1], note)
            begun = trio.current_time()
            for number in range(count):
                await trio.sleep_until(begun + number / per_second)
                _send_marked(clients[0], calls[0][0], [time.perf_counter_ns().to_bytes(8, "big")])
            while len(waits) < count:
                await clients[-1].wire.news()
            await trio.sleep(_FAREWELL)
            nursery.cancel_scope.cancel()
    sys.stdout.writelines(f"{wait}\n" for wait in waits[per_second // 2 :])  # the first half second is warming up


def _send_marked(client: RigClient, data: RigCall, marks: list[bytes]) -> None:
    client.connection.send_messages(data.number, [_marked(mark) for mark in marks])
    client.wire.poke()


async def _answer(client: RigClient, data: RigCall, control: RigCall, take: Callable[[list[bytes]], None]) -> None:
    """Give the marks of packets to ``take``, then acknowledge them."""
    receipts = _Receipts()
    while True:
        while not data.messages:
            await client.wire.news()
        batch, data.messages = data.messages, []
        client.connection.consumed(data.number, len(batch))
        control.messages.clear()
        take([message[_PAYLOAD] for message in batch if len(message) > SMALLEST])
        client.connection.send_messages(control.number, receipts.of(batch))
        client.wire.poke()


def _marked(mark: bytes) -> bytes:
    """A packet whose payload begins with these eight bytes."""
    encoded = packet()
    return encoded[: _PAYLOAD.start] + mark + encoded[_PAYLOAD.stop :]


def _json_packet() -> bytes:
    """A packet of 400 bytes as an SDK sends it."""
    text = "What is the weather in Bern, and will it rain there this afternoon?"
    payload = {"round": _JSON_ROUND.decode(), "text": text}
    content = {"version": "v1", "kind": "data", "messageId": "m-12345678", "payload": payload}
    metadata = {"type": "chat.message.v1", "bubu.envelope.message_id": "m-12345678"}
    encoded = encode(DataRequest(BinaryFrame(orjson.dumps(content), PACKET_MIME), metadata, payload))
    assert abs(len(encoded) - PACKET_BYTES) < PACKET_BYTES / 10, len(encoded)
    return encoded


class _Receipts:
    """Makes receipts. The packets of a stream have the numbers one after the other, so only the first is decoded."""

    def __init__(self) -> None:
        self.count = 0
        self._next = 0
        self._rest = b""

    def of(self, batch: list[bytes]) -> list[bytes]:
        made = []
        for message in batch:
            if len(message) < SMALLEST:  # a heartbeat
                continue
            if not self.count:
                place = envelope_of(message)
                assert place is not None
                self._next = place.sequence
                metadata = {"stream_id": place.stream_id, "partition": "", "size_bytes": "400"}
                self._rest = encode(ControlRequest(metadata=metadata, custom_action="downstream.delivered"))
            digits = str(self._next).encode()
            made.append(with_length(2, with_length(1, b"sequence") + with_length(2, digits)) + self._rest)
            self.count += 1
            self._next += 1
        return made


if __name__ == "__main__":
    trio.run(main, sys.argv[1:])
