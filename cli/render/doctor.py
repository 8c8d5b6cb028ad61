"""The results of ``bobrapet doctor`` for people. Pure."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from cli.render.progress import Styled
from views.doctor.diagnosis import CheckResult, Diagnosis, Health

_COLOURS: Final = {
    Health.OK: "green",
    Health.WARNING: "yellow",
    Health.PROBLEM: "red",
    Health.SKIPPED: "bright_black",
}
_WIDTH: Final = max(len(health.value) for health in Health)


def lines_of(results: Sequence[CheckResult], *, width: int) -> list[Styled]:
    """The lines, at most ``width`` columns wide, except for commands and other long words."""
    margin = max((len(result.check) for result in results), default=0) + _WIDTH + 4
    lines: list[Styled] = []
    for result in _with_skipped_together(results):
        for number, diagnosis in enumerate(result.diagnoses):
            lines += _lines(result.check if not number else "", diagnosis, margin, max(width, margin + 30))
    return [*lines, ("", ""), _summary(results)]


def _with_skipped_together(results: Sequence[CheckResult]) -> Iterator[CheckResult]:
    """The results; those that were skipped one after the other for the same reason count as one."""
    for diagnoses, group in groupby(results, key=lambda result: result.diagnoses):
        alike = list(group)
        if len(alike) > 1 and all(each.health is Health.SKIPPED for each in diagnoses):
            yield CheckResult(f"{len(alike)} others", diagnoses)
        else:
            yield from alike


def _lines(check: str, diagnosis: Diagnosis, margin: int, width: int) -> Iterator[Styled]:
    lead = f"{diagnosis.health.value:<{_WIDTH}}  {check:<{margin - _WIDTH - 4}}  "
    for line in _wrapped(diagnosis.text, lead, " " * margin, width):
        yield line, _COLOURS[diagnosis.health] if diagnosis.health is not Health.OK else ""
    if diagnosis.remedy:
        for line in _wrapped(diagnosis.remedy, f"{' ' * margin}do: ", " " * (margin + 4), width):
            yield line, "bold"
    for command in diagnosis.commands:  # never broken: it is copied
        yield f"{' ' * margin}{'    ' if diagnosis.remedy else 'do: '}{command}", "bold"


def _wrapped(text: str, lead: str, rest: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=lead, subsequent_indent=rest, break_on_hyphens=False, break_long_words=False
    )


def _summary(results: Sequence[CheckResult]) -> Styled:
    count = Counter(each.health for result in results for each in result.diagnoses)
    parts = [
        f"{count[health]} {word if count[health] == 1 else words}"
        for health, word, words in (
            (Health.PROBLEM, "problem", "problems"),
            (Health.WARNING, "warning", "warnings"),
            (Health.OK, "ok", "ok"),
            (Health.SKIPPED, "skipped", "skipped"),
        )
        if count[health]
    ]
    return ", ".join(parts), "bold"
