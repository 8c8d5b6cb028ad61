"""Measures the wire of streams: a relay of 400-byte packets in one process, beside the same relay on grpc-go.

Both are loaded by one client on grpc-go. The rate per core is what the CPU time of the relay alone allows, so it does
not depend on how fast the client is. The relays take turns, and the ratios are of one run.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.process import cpu_seconds, peak_resident_bytes
from bench.report import Row
from bubu_wire.codec import encode
from bubu_wire.messages import BinaryFrame, DataRequest, StreamEnvelope
from tools.control_plane.binaries import find_go

SOURCES: Final = Path(__file__).parent / "wire_peer"
PACKETS: Final = 100_000
ROUNDS: Final = 5
PACKET_BYTES: Final = 400
_BUILD_SECONDS: Final = 600
_RUN_SECONDS: Final = 120


@dataclass(frozen=True, slots=True)
class _Run:
    per_second: float
    per_core: float
    resident_bytes: int


def packet() -> bytes:
    """A packet of 400 bytes as a Go engram sends it, with the place that the hub replaces."""
    frame = BinaryFrame(bytes(320), "application/octet-stream", 1_700_000_000_000)
    encoded = encode(DataRequest(frame, {"type": "chat.message.v1"}, envelope=StreamEnvelope("upstream", 70_000)))
    assert abs(len(encoded) - PACKET_BYTES) < PACKET_BYTES / 10, len(encoded)
    return encoded


def measure() -> list[Row]:
    go = find_go()
    if go is None:
        return [Row("relay", "not measured: the client needs Go on PATH")]
    peer = built_peer(go)
    python = [sys.executable, "-m", "bench.wire_relay"]
    relays = {"bubu_wire": python, "bubu_wire, stamped": [*python, "stamp"], "grpc-go": [str(peer), "relay"]}
    before = os.getloadavg()[0]
    runs: dict[str, list[_Run]] = {name: [] for name in relays}
    for _ in range(ROUNDS):
        for name, command in relays.items():
            runs[name].append(_measure_once(command, peer))
    rows = []
    for name, found in runs.items():
        rate, core = (
            statistics.median(values) for values in zip(*((r.per_second, r.per_core) for r in found), strict=True)
        )
        memory = max(run.resident_bytes for run in found) / 1024 / 1024
        text = f"{core:,.0f} packets/s per core ({rate:,.0f}/s on this machine); at most {memory:.0f} MiB resident"
        rows.append(Row(f"relay of {len(packet())}-byte packets: {name}", text))
    ratios = [ours.per_core / go.per_core for ours, go in zip(runs["bubu_wire"], runs["grpc-go"], strict=True)]
    rows.append(Row("bubu_wire to grpc-go, per core, in each round", ", ".join(f"{ratio:.2f}" for ratio in ratios)))
    rows.append(Row("load average of the machine", f"{before:.1f} before, {os.getloadavg()[0]:.1f} after"))
    return rows


def _measure_once(command: Sequence[str], peer: Path) -> _Run:
    with running_relay(command) as (pid, port):
        _load(peer, port, PACKETS // 10)  # warm
        begun = cpu_seconds([pid])
        seconds = _load(peer, port, PACKETS)
        used = cpu_seconds([pid]) - begun
        return _Run(PACKETS / seconds, PACKETS / used, peak_resident_bytes(pid))


def _load(peer: Path, port: str, count: int) -> float:
    command = [str(peer), "load", port, str(count), packet().hex()]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_RUN_SECONDS)
    return float(done.stdout)


@contextmanager
def running_relay(command: Sequence[str]) -> Iterator[tuple[int, str]]:
    """A relay, and its port. It ends when its input is closed."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.pid, process.stdout.readline().strip()
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def built_peer(go: Path) -> Path:
    """The program of ``bench/wire_peer``; built once for its sources."""
    content = b"".join(path.read_bytes() for path in sorted(SOURCES.iterdir()))
    program = Path(tempfile.gettempdir()) / f"bobrapet-wire-peer-{hashlib.sha256(content).hexdigest()[:12]}"
    if not program.exists():
        partial = program.with_suffix(f".{os.getpid()}")
        command = [str(go), "build", "-mod=readonly", "-o", str(partial), "."]
        subprocess.run(command, cwd=SOURCES, check=True, timeout=_BUILD_SECONDS)
        partial.rename(program)
    return program
