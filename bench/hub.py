"""Measures the hub: a relay of 400-byte packets with a receipt for each, in a process of its own.

Clients and hub share the machine. The rate per core is what the CPU time of the hub alone allows, so it does not depend
on how fast the clients are. A relay on grpc-go that does the same for each packet (``bench/wire_peer/hub.go``) takes
turns with it, under the same load. The delay is from sending to receiving, with all clients in one process: through one
hop, and from a source through two steps that answer each packet to a sink, which is three hops.
"""

from __future__ import annotations

import os
import re
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson

from bench.process import cpu_seconds, peak_resident_bytes, resident_bytes
from bench.report import MIB, Row, Unit, Value, percentiles_row
from bench.wire import built_peer, packet, running_relay
from core.workloads.binding_token import issue_token
from tools.control_plane.binaries import find_go

PAIRS: Final = 4
RUNTIME: Final = {"question": "{{ packet.text }}", "user": "{{ inputs.user }}"}
"""Inputs that are evaluated for each packet in the third measurement."""
OUTPUTS: Final = {
    "type": "object",
    "required": ["text"],
    "properties": {"text": {"type": "string", "minLength": 1}, "user": {"type": "string"}},
}
INPUTS: Final = {
    "type": "object",
    "required": ["question"],
    "properties": {"question": {"type": "string"}, "user": {"type": "string"}, "tone": {"default": "friendly"}},
}
"""Schemas of the last measurement, about as large as those of small templates."""
PACKETS: Final = 25_000
"""For each pair."""
ROUNDS: Final = 3
WINDOW: Final = 64
HOPS: Final = {1: 2_000, 3: 1_000}
"""Packets a second through so many hops, whose delay is measured."""
_DELAYS: Final = {1: 0.003, 3: 0.01}
"""Seconds that the 99th percentile may take through so many hops."""
LATENCY_SECONDS: Final = 6
_START_SECONDS: Final = 20
_RUN_SECONDS: Final = 240
_REST: Final = 0.5
"""Longer than the hub keeps acknowledged packets for a client that connects again."""


_WAYS: Final = {
    f"relay of {len(packet())}-byte packets, {PAIRS} pairs, a receipt for each": ("rate", 0),
    "the same with JSON packets as SDKs send them": ("rate-json", 0),
    "JSON packets, runtime evaluated for each": ("rate-json", 2 * PAIRS),
}
"""What is measured: the mode of the load, and the first token."""
_TARGETS: Final = dict(zip(_WAYS, (35_000, None, 20_000), strict=True))
"""Packets a second and core."""
_PER_CORE: Final = Unit(" packets/s per core")
_MOST_BYTES_AT_REST: Final = 60 << 20
_PEER_TOKENS: Final = [f"{step}-{pair}" for pair in range(2 * PAIRS) for step in ("source", "sink")]
_CHECKED: Final = "the same, checked against outputSchema and inputSchema"


@dataclass(frozen=True, slots=True)
class _Rounds:
    per_core: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)

    def measure(self, pid: int, mode: str, port: str, tokens: Sequence[str]) -> None:
        time.sleep(_REST)
        begun = cpu_seconds([pid])
        seconds = float(_load(mode, port, str(PACKETS), *tokens))
        self.per_core.append(PAIRS * PACKETS / (cpu_seconds([pid]) - begun))
        self.per_second.append(PAIRS * PACKETS / seconds)

    def rows(self, name: str, at_least: float | None = None) -> tuple[Row, Row]:
        core, rate = statistics.median(self.per_core), statistics.median(self.per_second)
        value = Value(core, _PER_CORE, at_least=at_least, note=f" ({rate:,.0f}/s on this machine, clients in Python)")
        return Row(name, value), Row("… in each round", ", ".join(f"{each:,.0f}" for each in self.per_core))


@dataclass(frozen=True, slots=True)
class _Stand:
    """A running hub."""

    pid: int
    port: str
    tokens: list[str]
    """Of a source and a sink for each pair, then for the pairs with ``runtime``."""
    chain: list[str]
    """Of a source, two steps, and a sink, one behind the other."""


def measure() -> list[Row]:
    before = os.getloadavg()[0]
    delays = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bobrapet-hub-")))
        hub = stack.enter_context(_running(folder))
        at_rest = resident_bytes(hub.pid)
        go = find_go()
        peer = stack.enter_context(running_relay([str(built_peer(go)), "hub"])) if go is not None else None
        for mode, first in _WAYS.values():
            _load(mode, hub.port, str(PACKETS // 5), *hub.tokens[first : first + 2 * PAIRS])  # warm
        rounds = {name: _Rounds() for name in _WAYS}
        beside = {name: _Rounds() for name in _WAYS}
        for _ in range(ROUNDS):
            for name, (mode, first) in _WAYS.items():
                rounds[name].measure(hub.pid, mode, hub.port, hub.tokens[first : first + 2 * PAIRS])
                if peer is not None:
                    beside[name].measure(peer[0], mode, peer[1], _PEER_TOKENS[first : first + 2 * PAIRS])
        for hops, per_second in HOPS.items():
            delays += _measure_delay(hub, hops, per_second)
        peak = peak_resident_bytes(hub.pid)
    checked, with_schemas = _measure_schemas()
    return [
        *(
            row
            for name, target in _TARGETS.items()
            for row in (*rounds[name].rows(name, target), *_rows_beside(beside[name]))
        ),
        *checked.rows(_CHECKED),
        *delays,
        Row("resident at rest; peak", (Value(at_rest, MIB, at_most=_MOST_BYTES_AT_REST), Value(peak, MIB))),
        Row("resident at rest, with schemas", Value(with_schemas, MIB, at_most=_MOST_BYTES_AT_REST)),
        Row("load average of the machine", f"{before:.1f} before, {os.getloadavg()[0]:.1f} after"),
    ]


def _rows_beside(found: _Rounds) -> Sequence[Row]:
    name = "… a relay on grpc-go that does the same, in the same run"
    return found.rows(name) if found.per_core else [Row(name, "not measured: it needs Go on PATH")]


def _measure_delay(hub: _Stand, hops: int, per_second: int) -> list[Row]:
    time.sleep(_REST)
    tokens = hub.tokens[:2] if hops == 1 else hub.chain
    begun = cpu_seconds([hub.pid])
    printed = _load("latency", hub.port, str(per_second), str(LATENCY_SECONDS), *tokens)
    used = (cpu_seconds([hub.pid]) - begun) / LATENCY_SECONDS
    waits = [float(each) / 1000 for each in printed.split()]
    what = f"{hops} hop{'s' if hops > 1 else ''} at {per_second:,}/s"
    return [
        percentiles_row(f"delay of {what}", waits, p99_at_most=_DELAYS[hops]),
        Row(f"CPU for {what}", f"{used:.0%} of a core"),
    ]


def _measure_schemas() -> tuple[_Rounds, int]:
    """The rate with schemas, and the memory before it, of a hub that has no other run."""
    found = _Rounds()
    with tempfile.TemporaryDirectory(prefix="bobrapet-hub-") as folder, _running(Path(folder), True) as hub:
        at_rest = resident_bytes(hub.pid)
        tokens = hub.tokens[2 * PAIRS :]
        _load("rate-json", hub.port, str(PACKETS // 5), *tokens)  # warm
        for _ in range(ROUNDS):
            found.measure(hub.pid, "rate-json", hub.port, tokens)
    return found, at_rest


def _load(*arguments: str) -> str:
    command = [sys.executable, "-m", "bench.hub_load", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=_RUN_SECONDS).stdout


@contextmanager
def _running(folder: Path, with_schemas: bool = False) -> Iterator[_Stand]:
    """A hub with pairs of steps, and a chain of four."""
    key = secrets.token_hex(32)
    steps: list[dict[str, object]] = []

    def step(name: str, needs: list[str], more: Mapping[str, object]) -> str:
        """Declare a step; returns its token."""
        at_least_once = {"delivery": {"semantics": "at_least_once"}}
        binding = {"name": name, "uid": name}
        declared = {"name": name, "needs": needs, "binding": binding, "channelBuffer": WINDOW, **more}
        steps.append({**declared, "streaming": at_least_once})
        return f"bench/{issue_token(key.encode(), 'bench', name, name, 1)}"

    tokens = []
    for pair in range(2 * PAIRS):
        evaluated: dict[str, object] = {}
        if pair >= PAIRS:
            evaluated = {"runtime": RUNTIME, **({"inputSchema": INPUTS} if with_schemas else {})}
        checked = {"outputSchema": OUTPUTS} if with_schemas and pair >= PAIRS else {}
        tokens.append(step(f"source-{pair}", [], checked))
        tokens.append(step(f"sink-{pair}", [f"source-{pair}"], evaluated))
    chain = [step(f"hop-{place}", [f"hop-{place - 1}"] if place else [], {}) for place in range(max(HOPS) + 1)]
    topology = {
        "runs": [{"namespace": "bench", "name": "run", "story": "relay", "inputs": {"user": "u-1"}, "steps": steps}]
    }
    (folder / "topology.json").write_bytes(orjson.dumps(topology))
    (folder / "keys").write_text(key)
    files = ["--topology", str(folder / "topology.json"), "--key-file", str(folder / "keys")]
    command = [sys.executable, "-m", "cli", "hub", *files, "--bind-address", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            started = re.search(r'"port":(\d+)', process.stderr.readline())
            assert started is not None, "the hub has not started"
            yield _Stand(process.pid, started[1], tokens, chain)
        finally:
            process.terminate()
            try:
                process.wait(_START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
