"""Measures the streaming SDK: messages a second through an engram that answers each, and the start of its process.

The hub is a loop on Trio in this process that sends encoded packets and counts what comes back, so that it is not what
limits. It offers ``upstream.accepts``; a message counts when its receipt has come, which is after its output was
accepted. The rate per core is what the CPU time of the engram's process allows.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from bench.process import cpu_seconds, peak_resident_bytes
from bench.report import A_SECOND, MILLISECONDS, Row, Value
from bubu_wire.codec import encode
from bubu_wire.events import CallStarted, Event, MessagesReceived
from bubu_wire.forwarding import stamp
from bubu_wire.messages import (
    CONTROL_METHOD,
    DATA_METHOD,
    BinaryFrame,
    ControlAction,
    ControlResponse,
    DataRequest,
    StreamEnvelope,
)
from bubu_wire.server import ServerConnection

MESSAGES: Final = 30_000
WARM: Final = 3_000
ROUNDS: Final = 3
WINDOW: Final = 256
STARTS: Final = 10
STYLES: Final = ("plain", "typed", "asyncio", "trio")
_SECONDS: Final = 120
_PAYLOAD: Final = {"text": "hello world, " * 8, "number": 7, "user": {"id": "u-17", "name": "Ann"}}
_READY: Final = {"startup.capabilities": "none", "upstream.accepts": "1"}


def packet() -> bytes:
    """A message with a JSON payload, as engrams send it."""
    envelope = {"version": "v1", "kind": "data", "messageId": "m-1", "timestampMs": 1_700_000_000_000}
    body = json.dumps({**envelope, "payload": _PAYLOAD}).encode()
    metadata = {"bubu.envelope.kind": "data", "type": "chat.message.v1"}
    frame = BinaryFrame(body, "application/vnd.bubu.packet+json", 1_700_000_000_000)
    return encode(DataRequest(frame, metadata, payload=_PAYLOAD, envelope=StreamEnvelope("up", 1)))


@dataclass
class _Hub:
    """One connection: sends ``total`` messages, at most ``WINDOW`` without a receipt."""

    packets: list[bytes]
    wire: ServerConnection = field(default_factory=lambda: ServerConnection([DATA_METHOD, CONTROL_METHOD]))
    data: int = 0
    control: int = 0
    sent: int = 0
    answers: int = 0
    told: int = 0
    receipts: int = 0
    acknowledged: float = 0.0
    """When the engram has answered ``connector.ready``."""
    warm: float = 0.0
    warm_cpu: float = 0.0
    finished: float = 0.0
    pid: int = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        while self.receipts < len(self.packets) or not self.acknowledged:
            received = await stream.receive_some(64 * 1024)
            if not received:
                raise RuntimeError("the engram has ended")
            for event in self.wire.receive(bytes(received), time.perf_counter()):
                self._take(event)
            self._move()
            while data := self.wire.data_to_send():
                await stream.send_all(data)
        self.finished = time.perf_counter()

    def _take(self, event: Event) -> None:
        match event:
            case CallStarted() if event.path == DATA_METHOD:
                self.data = event.call
                self.wire.accept(event.call)
            case CallStarted():
                self.control = event.call
                ready = encode(ControlResponse(ControlAction.CONNECTOR_READY, _READY))
                self.wire.send_messages(event.call, [ready])
            case MessagesReceived() if event.call == self.data:
                self.answers += len(event.messages)
                self.wire.consumed(event.call, len(event.messages))
            case MessagesReceived():
                count = len(event.messages)
                if not self.acknowledged:
                    self.acknowledged, count = time.perf_counter(), count - 1
                self.receipts += count
                self.wire.consumed(event.call, len(event.messages))
                if self.receipts >= WARM and not self.warm:
                    self.warm, self.warm_cpu = time.perf_counter(), cpu_seconds([self.pid])

    def _move(self) -> None:
        if self.answers > self.told:
            self.told = self.answers
            metadata = {"packets": str(self.told)}
            accepted = ControlResponse(custom_action="upstream.accepted", metadata=metadata)
            self.wire.send_messages(self.control, [encode(accepted)])
        if self.acknowledged and self.sent < len(self.packets):
            upto = min(len(self.packets), self.receipts + WINDOW)
            if upto > self.sent:
                self.wire.send_messages(self.data, self.packets[self.sent : upto])
                self.sent = upto


@dataclass(frozen=True)
class _Run:
    per_second: float
    per_core: float
    resident_bytes: int
    start_seconds: float


@contextmanager
def _engram(style: str, port: int) -> Iterator[int]:
    binding = {"endpoint": f"127.0.0.1:{port}", "protocolVersion": "1.0.0"}
    environ = {
        **os.environ,
        "BUBU_EXECUTION_MODE": "realtime",
        "BUBU_STEP_NAME": "step",
        "BUBU_STORYRUN_ID": "run",
        "BUBU_STEPRUN_NAMESPACE": "team",
        "BUBU_TRANSPORT_BINDING": json.dumps({"name": "binding", "namespace": "team", "binding": binding}),
    }
    command = [sys.executable, "-m", "bench.stream_engram", style]
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL) as process:
        try:
            yield process.pid
        finally:
            process.kill()


async def _run(style: str, packets: list[bytes]) -> _Run:
    hub = _Hub(packets)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    began = time.perf_counter()
    with _engram(style, listeners[0].socket.getsockname()[1]) as hub.pid, trio.fail_after(_SECONDS):
        async with await listeners[0].accept() as stream:
            await hub.serve(stream)
            cpu = cpu_seconds([hub.pid]) - hub.warm_cpu
            resident = peak_resident_bytes(hub.pid)
    await listeners[0].aclose()
    count = len(packets) - WARM
    if not packets:
        return _Run(0, 0, resident, hub.acknowledged - began)
    return _Run(count / (hub.finished - hub.warm), count / cpu, resident, hub.acknowledged - began)


def measure() -> list[Row]:
    plain = packet()
    packets = [stamp(plain, "team/run/step", number) for number in range(1, MESSAGES + 1)]
    before = os.getloadavg()[0]
    runs: dict[str, list[_Run]] = {style: [] for style in STYLES}
    for _ in range(ROUNDS):
        for style in STYLES:
            runs[style].append(trio.run(_run, style, packets))
    rows = []
    for style, found in runs.items():
        rate = statistics.median(run.per_second for run in found)
        core = statistics.median(run.per_core for run in found)
        memory = max(run.resident_bytes for run in found) / 1024 / 1024
        note = f" ({core:,.0f}/s per core of the engram); at most {memory:.0f} MiB resident"
        value = Value(rate, A_SECOND, at_least=10_000, note=note)
        rows.append(Row(f"messages of {len(plain)} bytes through an engram: {style}", value))
    starts = [trio.run(_run, "plain", []).start_seconds for _ in range(STARTS)]
    values = (Value(statistics.median(starts), MILLISECONDS, at_most=0.15), Value(min(starts), MILLISECONDS))
    rows.append(Row("start of the process until the handshake: median; best", values))
    rows.append(Row("load average of the machine", f"{before:.1f} before, {os.getloadavg()[0]:.1f} after"))
    return rows
