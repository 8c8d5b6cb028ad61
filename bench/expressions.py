"""Measures templates: compiled, cold, and as a block of many; compared with Go's text/template alone."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.report import A_SECOND, Row, Unit, Value
from core.expressions import EvaluationLimits, compile_template, resolve_value
from core.expressions.limits import Meter
from core.expressions.template.functions import Context
from fuzz.expressions import oracle

_ROUND_SECONDS: Final = 0.2
_ROUNDS: Final = 7
_GO_SECONDS: Final = 120
_MICROSECONDS: Final = Unit(" µs", 1e6, 1)

_ITEMS: Final = [{"id": n, "title": f"item {n}", "tags": ["a", "b"]} for n in range(3)]
_OUTPUT: Final = {"items": _ITEMS, "status": 200, "body": "hello", "meta": {"next": "abc"}}
VARIABLES: Final[dict[str, Any]] = {
    "inputs": {"city": "Paris", "count": 5, "tags": ["x", "y"], "ready": True, "name": "Ada Lovelace"},
    "steps": {name: {"output": _OUTPUT, "outputs": _OUTPUT} for name in ("fetch", "parse")},
}
COUNT: Final = "{{ steps.fetch.output.items | len }}"
_SHOWN: Final = COUNT.replace("|", r"\|")  # escaped for a Markdown table
TYPICAL: Final = (
    "Report for {{ inputs.city | upper }}: {{ if gt (len steps.fetch.output.items) 2 }}"
    '{{ index steps.fetch.output.items 0 | toJson }}{{ else }}{{ inputs.name | default "nobody" }}{{ end }}'
)
TEN_PIPELINES: Final = (
    "{{ inputs.city | upper }} {{ inputs.name | lower }} {{ inputs.count | int }} {{ inputs.tags | len }} "
    "{{ steps.fetch.output.status | int }} {{ steps.fetch.output.body | trunc 3 }} "
    '{{ steps.parse.output.items | len }} {{ inputs.name | replace "a" "b" }} {{ inputs.zone | default "none" }} '
    "{{ steps.parse.output.body | title }}"
)
BLOCK: Final[dict[str, str]] = {
    **{f"path{n}": "{{ steps.fetch.output.items }}" for n in range(8)},
    **{f"input{n}": "{{ inputs.city }}" for n in range(8)},
    **{f"text{n}": "hello {{ inputs.name }}, {{ inputs.count | int }} of them" for n in range(6)},
    **{f"count{n}": COUNT for n in range(4)},
    **{f"json{n}": "{{ steps.parse.output.meta | toJson }}" for n in range(4)},
}


@dataclass(frozen=True, slots=True)
class _Go:
    """The seconds of one round of a workload."""

    cold: float
    warm: float


def measure() -> list[Row]:
    go = _go_seconds([[COUNT], [TEN_PIPELINES], list(BLOCK.values()), [TYPICAL]])
    shared = Context(Meter(EvaluationLimits(steps=1 << 40, wall_seconds=0)))
    count, ten, typical = (compile_template(text) for text in (COUNT, TEN_PIPELINES, TYPICAL))
    assert count.evaluate(VARIABLES, shared) == len(_ITEMS)
    block = resolve_value(BLOCK, VARIABLES)
    assert block["path0"] is _ITEMS
    assert block["text0"] == "hello Ada Lovelace, 5 of them"
    seconds = {
        "count": _seconds_per(lambda: count.evaluate(VARIABLES, shared)),
        "count alone": _seconds_per(lambda: resolve_value(COUNT, VARIABLES)),
        "ten": _seconds_per(lambda: ten.evaluate(VARIABLES, Context(Meter(EvaluationLimits())))),
        "block": _seconds_per(lambda: resolve_value(BLOCK, VARIABLES)),
        "cold": _seconds_per(lambda: compile_template.__wrapped__(TYPICAL)),
        "typical": _seconds_per(lambda: typical.evaluate(VARIABLES, Context(Meter(EvaluationLimits())))),
    }
    return [
        Row(f"`{_SHOWN}`, compiled, one of many in a block", _rate(seconds["count"], go, 0, at_least=300_000)),
        Row("… as an evaluation of its own, with limits and look-up", _rate(seconds["count alone"])),
        Row("a template with 10 pipelines, compiled", _rate(seconds["ten"], go, 1, at_least=30_000)),
        Row(f"a `with` block of {len(BLOCK)} keys", _micros(seconds["block"], go and go[2].warm, at_most=100e-6)),
        Row("a typical template of 5 actions, cold", _micros(seconds["cold"], go and go[3].cold, at_most=300e-6)),
        Row("… compiled", _rate(seconds["typical"], go, 3)),
    ]


def _seconds_per(work: Callable[[], object]) -> float:
    """Returns the processor time of one call in the fastest round."""
    started, calls = time.process_time(), 0
    while time.process_time() - started < _ROUND_SECONDS:
        work()
        calls += 1
    best = float("inf")
    for _ in range(_ROUNDS):
        started = time.process_time()
        for _ in range(calls):
            work()
        best = min(best, (time.process_time() - started) / calls)
    return best


def _go_seconds(workloads: Sequence[Sequence[str]]) -> list[_Go]:
    """Returns Go's time for each workload; empty if Go is not installed."""
    try:
        program = oracle.built()
    except oracle.NoOracleError:
        return []
    asked = [{"templates": templates, "vars": VARIABLES} for templates in workloads]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "workloads.json"
        path.write_text(json.dumps(asked), encoding="utf-8")
        command = [str(program), "bench", str(path)]
        answer = subprocess.run(command, env=oracle.ENVIRONMENT, capture_output=True, timeout=_GO_SECONDS, check=True)
    return [_Go(each["coldNanos"] / 1e9, each["warmNanos"] / 1e9) for each in json.loads(answer.stdout)]


def _rate(seconds: float, go: Sequence[_Go] = (), index: int = 0, *, at_least: float | None = None) -> Value:
    beside = f" (Go {A_SECOND.text(1 / go[index].warm)})" if go else ""
    return Value(1 / seconds, A_SECOND, at_least=at_least, note=beside)


def _micros(seconds: float, go: float | list[_Go], *, at_most: float) -> Value:
    beside = f" (Go {_MICROSECONDS.text(go)})" if isinstance(go, float) else ""
    return Value(seconds, _MICROSECONDS, at_most=at_most, note=beside)
