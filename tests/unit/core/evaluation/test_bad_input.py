"""Mistakes and attacks: each gives an error with its kind and place, within a second and 64 MiB."""

from __future__ import annotations

import gc
import resource
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.evaluation.evaluator import Answer, Evaluator, Failure, FailureCause, Value

MAX_SECONDS = 1.0
MAX_BYTES = 64 << 20

_INPUTS = {"n": 1, "s": "text", "nul": None, "long": "a" * 60_000 + "!", "l": [1] * 1_000}
_EXPONENTIAL = "{{ $x := list 1 }}{{ range 60 }}{{ $x = list $x $x }}{{ end }}{{ $x | toJson | len }}"


@dataclass
class Cost:
    seconds: float = 0.0
    bytes: int = 0


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure processor time and memory.

    The time is that of this process and of those it starts, so that a busy machine has no influence. The memory is the
    peak of this process during the measurement, less what it had before.
    """
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak to the present value
    before, began, cost = _memory("VmRSS"), _processor_seconds(), Cost()
    yield cost
    cost.seconds, cost.bytes = _processor_seconds() - began, _memory("VmHWM") - before


def _processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _memory(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) << 10


async def _answer_within_bounds(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer. The cheaper of two tries counts, because the first may also load a library."""
    costs = []
    for _ in range(2):
        with measured() as cost:
            answer = await ask()
        costs.append(cost)
        if cost.seconds < MAX_SECONDS and cost.bytes < MAX_BYTES:
            break
    assert min(cost.seconds for cost in costs) < MAX_SECONDS
    assert min(cost.bytes for cost in costs) < MAX_BYTES
    return answer


def _cause(answer: Answer) -> FailureCause:
    assert isinstance(answer, Failure)
    assert answer.cause is not None
    return answer.cause


@pytest.mark.parametrize(
    ("text", "kind", "place"),
    [
        pytest.param("a\n{{ inputs.n", "parse", (2, 1), id="unclosed action"),
        pytest.param("{{ nope 1 }}", "parse", (1, 4), id="unknown function"),
        pytest.param("{{ getHostByName `x` }}", "denied-function", (1, 4), id="forbidden function"),
        pytest.param("{{ upper }}", "arity", (1, 4), id="too few arguments"),
        pytest.param("{{ upper `a` `b` }}", "arity", (1, 4), id="too many arguments"),
        pytest.param("{{ upper inputs.n }}", "arg-type", (1, 10), id="wrong type"),
        pytest.param("{{ inputs.gone }}", "missing", (1, 1), id="missing key"),
        pytest.param("{{ inputs.nul.a.b }}", "path-type", (1, 1), id="nil in a path"),
        pytest.param("x {{ inputs.nul.a.b }}", "nil-field", (1, 6), id="nil in a larger template"),
        pytest.param("x" * 10_000_000 + "{{ inputs.n }}", "parse", (1, 1), id="10 MB of text"),
        pytest.param("{{ inputs.n }}" * 700_000, "parse", (1, 1), id="10 MB of actions"),
        pytest.param("{{" + "(" * 10_000_000, "parse", (1, 1), id="10 MB of parentheses"),
        pytest.param("{{ " + "(" * 2_000 + "1" + ")" * 2_000 + " }}", "parse", (1, 104), id="nested parentheses"),
        pytest.param("{{ if 1 }}" * 1_500 + "{{ end }}" * 1_500, "parse", (1, 1001), id="nested blocks"),
        pytest.param("{{ range 1000000000 }}x{{ end }}", "limit", (1, 1), id="huge range"),
        pytest.param("{{ range $i := until 10000 }}{{ range 10000 }}{{ end }}{{ end }}", "limit", None, id="loops"),
        pytest.param("{{ regexMatch `(a+)+$` (repeat 40 inputs.long) }}", "limit", None, id="regex on a long text"),
        pytest.param("{{ regexFind `((a{100}){100}){100}` inputs.s }}", "call", (1, 4), id="exploding regex"),
        pytest.param(_EXPONENTIAL, "limit", None, id="exponential value"),
        pytest.param("{{ repeat 1000000000 `x` }}", "limit", (1, 4), id="repeat"),
        pytest.param("{{ until 1000000000 | len }}", "limit", (1, 4), id="until"),
        pytest.param("{{ seq 1 1000000000 }}", "limit", (1, 4), id="seq"),
    ],
)
async def test_a_bad_template_is_answered_with_kind_and_place(
    text: str, kind: str, place: tuple[int, int] | None
) -> None:
    variables = {"inputs": _INPUTS, "steps": {}}

    answer = await _answer_within_bounds(lambda: Evaluator().resolve(text, variables, field="with"))

    cause = _cause(answer)
    assert cause.kind == kind
    assert cause.position is not None
    assert place is None or (cause.position.line, cause.position.column) == place
    assert cause.excerpt.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "kind", "place"),
    [
        pytest.param("inputs.n ==", "parse", (1, 12), id="unfinished"),
        pytest.param("nope(inputs.n)", "parse", (1, 1), id="unknown function"),
        pytest.param("size(inputs.n, 2) > 0", "parse", (1, 1), id="wrong number of arguments"),
        pytest.param("inputs.s > 1", "arg-type", (1, 10), id="wrong type"),
        pytest.param("inputs.gone > 1", "missing", (1, 7), id="missing key"),
        pytest.param("inputs.nul.a.b == 1", "path-type", (1, 11), id="null in a path"),
        pytest.param("inputs.s == '" + "x" * 10_000_000 + "'", "limit", (1, 1), id="10 MB"),
        pytest.param("(" * 10_000 + "true" + ")" * 10_000, "limit", (1, 1), id="nested parentheses"),
        pytest.param("inputs.l.all(x, inputs.l.all(y, inputs.l.all(z, true)))", "limit", (1, 13), id="loops"),
        pytest.param("inputs.s.matches('((a{100}){100}){100}')", "call", (1, 17), id="exploding regex"),
    ],
)
async def test_a_bad_condition_is_answered_with_kind_and_place(text: str, kind: str, place: tuple[int, int]) -> None:
    variables = {"inputs": _INPUTS, "steps": {}}

    answer = await _answer_within_bounds(lambda: Evaluator().condition(text, variables, field="if"))

    cause = _cause(answer)
    assert cause.kind == kind
    assert cause.position is not None
    assert (cause.position.line, cause.position.column) == place


@pytest.mark.parametrize(
    "text", ["{{ regexMatch `(a+)+$` inputs.long }}", "inputs.long.matches('(a+)+$')"], ids=["template", "CEL"]
)
async def test_a_pattern_that_backtracks_elsewhere_takes_linear_time(text: str) -> None:
    variables = {"inputs": _INPUTS, "steps": {}}

    answer = await _answer_within_bounds(lambda: Evaluator().condition(text, variables, field="if"))

    assert answer == Value(False)
