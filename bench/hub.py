"""Measures the hub: a relay of 400-byte packets with a receipt for each, in a process of its own.

Clients and hub share the machine. The rate per core is what the CPU time of the hub alone allows, so it does not depend
on how fast the clients are. The delay is from sending to receiving, through one hop, with both ends in one process.
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from bench.process import cpu_seconds, peak_resident_bytes, resident_bytes
from bench.report import Row, percentile
from bench.wire import packet
from core.workloads.binding_token import issue_token

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
PER_SECOND: Final = 2_000
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
_TARGETS: Final = dict(zip(_WAYS, ("35,000", "", "20,000"), strict=True))
_CHECKED: Final = "the same, checked against outputSchema and inputSchema"


@dataclass(frozen=True, slots=True)
class _Rounds:
    per_core: list[float]
    per_second: list[float]

    def rows(self, name: str, target: str) -> tuple[Row, Row]:
        core, rate = statistics.median(self.per_core), statistics.median(self.per_second)
        text = f"{core:,.0f} packets/s per core ({rate:,.0f}/s on this machine, clients in Python)"
        return Row(name, text, target), Row("… in each round", ", ".join(f"{each:,.0f}" for each in self.per_core))


def measure() -> list[Row]:
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bobrapet-hub-") as folder, _running(Path(folder)) as (pid, port, tokens):
        at_rest = resident_bytes(pid)
        for mode, first in _WAYS.values():
            _load(mode, port, str(PACKETS // 5), *tokens[first : first + 2 * PAIRS])  # warm
        rounds = {name: _Rounds([], []) for name in _WAYS}
        for _ in range(ROUNDS):
            for name, (mode, first) in _WAYS.items():
                time.sleep(_REST)
                begun = cpu_seconds([pid])
                seconds = float(_load(mode, port, str(PACKETS), *tokens[first : first + 2 * PAIRS]))
                rounds[name].per_core.append(PAIRS * PACKETS / (cpu_seconds([pid]) - begun))
                rounds[name].per_second.append(PAIRS * PACKETS / seconds)
        time.sleep(_REST)
        begun = cpu_seconds([pid])
        waits = [
            float(each) for each in _load("latency", port, str(PER_SECOND), str(LATENCY_SECONDS), *tokens[:2]).split()
        ]
        used = (cpu_seconds([pid]) - begun) / LATENCY_SECONDS
        peak = peak_resident_bytes(pid)
    checked, with_schemas = _measure_schemas()
    p50, p99 = percentile(waits, 50), percentile(waits, 99)
    return [
        *(row for name, target in _TARGETS.items() for row in rounds[name].rows(name, target)),
        *checked.rows(_CHECKED, ""),
        Row(f"delay of one hop at {PER_SECOND:,}/s, p50 / p99", f"{p50:.1f} ms / {p99:.1f} ms", "p99 3 ms"),
        Row(f"CPU at {PER_SECOND:,}/s", f"{used:.0%} of a core"),
        Row("resident at rest; peak", f"{at_rest >> 20} MiB; {peak >> 20} MiB", "60 MiB"),
        Row("resident at rest, with schemas", f"{with_schemas >> 20} MiB"),
        Row("load average of the machine", f"{before:.1f} before, {os.getloadavg()[0]:.1f} after"),
    ]


def _measure_schemas() -> tuple[_Rounds, int]:
    """The rate with schemas, and the memory before it, of a hub that has no other run."""
    found = _Rounds([], [])
    with tempfile.TemporaryDirectory(prefix="bobrapet-hub-") as folder, _running(Path(folder), True) as running:
        pid, port, tokens = running
        at_rest = resident_bytes(pid)
        _load("rate-json", port, str(PACKETS // 5), *tokens[2 * PAIRS :])  # warm
        for _ in range(ROUNDS):
            time.sleep(_REST)
            begun = cpu_seconds([pid])
            seconds = float(_load("rate-json", port, str(PACKETS), *tokens[2 * PAIRS :]))
            found.per_core.append(PAIRS * PACKETS / (cpu_seconds([pid]) - begun))
            found.per_second.append(PAIRS * PACKETS / seconds)
    return found, at_rest


def _load(*arguments: str) -> str:
    command = [sys.executable, "-m", "bench.hub_load", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=_RUN_SECONDS).stdout


@contextmanager
def _running(folder: Path, with_schemas: bool = False) -> Iterator[tuple[int, str, list[str]]]:
    """A hub: its process, its port, and the tokens of its pairs."""
    key = secrets.token_hex(32)
    steps, tokens = [], []
    for pair in range(2 * PAIRS):
        evaluated: dict[str, object] = {}
        if pair >= PAIRS:
            evaluated = {"runtime": RUNTIME, **({"inputSchema": INPUTS} if with_schemas else {})}
        checked = {"outputSchema": OUTPUTS} if with_schemas and pair >= PAIRS else {}
        for name, needs, more in ((f"source-{pair}", [], checked), (f"sink-{pair}", [f"source-{pair}"], evaluated)):
            step = {"name": name, "needs": needs, "binding": {"name": name, "uid": name}, "channelBuffer": WINDOW}
            steps.append({**step, **more, "streaming": {"delivery": {"semantics": "at_least_once"}}})
            tokens.append(f"bench/{issue_token(key.encode(), 'bench', name, name, 1)}")
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
            yield process.pid, started[1], tokens
        finally:
            process.terminate()
            try:
                process.wait(_START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
