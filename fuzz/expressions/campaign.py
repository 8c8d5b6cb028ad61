"""Runs many cases of one seed, and finds for each disagreement the simplest case that still shows it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from fuzz.expressions import comparison, grammar, laws
from fuzz.expressions.choices import Choices
from fuzz.expressions.coverage import Coverage
from fuzz.expressions.grammar import Case
from fuzz.expressions.oracle import Answer, Oracle

_BATCH: Final = 250
_MAX_REDUCTIONS: Final = 3000


@dataclass(frozen=True)
class Disagreement:
    """A case with different answers of the engine and Go that no known difference explains."""

    seed: int
    index: int
    case: Case
    mine: Answer
    go: Answer

    def __str__(self) -> str:
        return (
            f"seed {self.seed}, case {self.index}\n  template  {self.case.template!r}\n"
            + (f"  for Go    {self.case.for_go!r}\n" if self.case.for_go != self.case.template else "")
            + f"  variables {json.dumps(self.case.variables, ensure_ascii=False)}\n"
            f"  ours      {_shown(self.mine)}\n  Go        {_shown(self.go)}"
        )


@dataclass
class Report:
    """The results of a run; ``kinds`` counts Go's answers by kind, ``excused`` counts by the name of the difference.

    ``coverage`` counts templates that have a value.
    """

    cases: int = 0
    coverage: Coverage = field(default_factory=Coverage)
    kinds: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    disagreements: list[Disagreement] = field(default_factory=list)
    broken_laws: list[str] = field(default_factory=list)


def run(oracle: Oracle, seed: int, cases: int, *, start: int = 0, stop_after: int = 10, reduce: bool = True) -> Report:
    """Compare ``cases`` cases of ``seed``, from ``start`` on; reproducible by seed and number."""
    report = Report()
    for numbers in _batches(range(start, start + cases)):
        made = [grammar.from_seed(seed, number) for number in numbers]
        answers = oracle.ask([(case.for_go, case.variables) for case, _taken in made])
        for number, (case, taken), go in zip(numbers, made, answers, strict=True):
            report.cases += 1
            mine, broken = _answered(case)
            if broken:
                report.broken_laws.append(f"seed {seed}, case {number}: {broken}")
            if go.kind == "value":
                report.coverage.add(case.template)
            report.kinds[go.kind if go.kind == "value" else go.fault.split(" ")[0]] += 1
            if comparison.same(mine, go):
                continue
            if difference := comparison.excused_by(case, mine, go):
                report.excused[difference.name] += 1
                continue
            found = Disagreement(seed, number, case, mine, go)
            report.disagreements.append(_reduced(oracle, found, taken) if reduce else found)
            if len(report.disagreements) >= stop_after:
                return report
    return report


def _answered(case: Case) -> tuple[Answer, str]:
    """Our answer, and the law about templates that the case breaks, if any."""
    steps = laws.Watched(case.variables["steps"])
    mine = comparison.ours(case.template, {**case.variables, "steps": steps})
    touched = (
        set() if mine.fault.startswith("missing") else set(steps.touched)
    )  # an error about a missing step is compared with all names
    if unnamed := laws.unnamed_steps(case.template, touched):
        return mine, f"{case.template!r} has read {', '.join(sorted(unnamed))}, which its analysis does not name"
    if printed := laws.changed_by_printing(case.template):
        return mine, f"{case.template!r} means something else when it is printed as {printed!r}"
    return mine, ""


def _batches(numbers: range) -> Iterator[range]:
    for first in range(numbers.start, numbers.stop, _BATCH):
        yield range(first, min(first + _BATCH, numbers.stop))


def _reduced(oracle: Oracle, found: Disagreement, taken: Sequence[int]) -> Disagreement:
    """The same disagreement with the shortest list of the smallest decisions."""
    best, best_taken = found, list(taken)
    tried = 0
    improved = True
    while improved and tried < _MAX_REDUCTIONS:
        improved = False
        for candidate in _simpler(best_taken):
            tried += 1
            choices = Choices(candidate)
            case = grammar.generate(choices)
            if _cost(choices.taken) < _cost(best_taken) and (shown := _disagreement(oracle, found, case)):
                best, best_taken, improved = shown, choices.taken, True
                break
            if tried >= _MAX_REDUCTIONS:
                break
    return best


def _disagreement(oracle: Oracle, found: Disagreement, case: Case) -> Disagreement | None:
    mine = comparison.ours(case.template, case.variables)
    (go,) = oracle.ask([(case.for_go, case.variables)])
    if comparison.same(mine, go) or comparison.excused_by(case, mine, go):
        return None
    if (mine.kind, go.kind) != (found.mine.kind, found.go.kind):
        return None
    return Disagreement(found.seed, found.index, case, mine, go)


def _simpler(taken: Sequence[int]) -> Iterator[list[int]]:
    """Simpler lists of decisions: first shorter lists, then smaller numbers."""
    size = len(taken) // 2
    while size:
        for start in range(0, len(taken), size):
            yield [*taken[:start], *taken[start + size :]]
        size //= 2
    for position, choice in enumerate(taken):
        for smaller in {0, choice // 2, choice - 1}:
            if 0 <= smaller < choice:
                yield [*taken[:position], smaller, *taken[position + 1 :]]


def _cost(taken: Sequence[int]) -> tuple[int, int]:
    while taken and taken[-1] == 0:
        taken = taken[:-1]
    return len(taken), sum(taken)


def _shown(answer: Answer) -> str:
    if answer.kind == "value":
        return f"value {answer.value!r}"
    return f"{answer.kind}, {answer.fault}: {answer.message}"
