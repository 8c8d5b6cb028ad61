"""Go durations in fields. Source: admission contract 3.2."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from core.api.duration_field import duration_problem
from core.api.objects import ReadOnlyObject
from webhooks.finding import Finding, Rule


def check(
    rule: Rule, parent: ReadOnlyObject, key: str, path: str, *, zero: bool = False, least: timedelta | None = None
) -> Iterator[Finding]:
    """A finding if ``parent[key]`` is not valid: see ``duration_problem``."""
    if problem := duration_problem(parent, key, path, zero=zero, least=least):
        yield rule.at(problem.path, problem.message, problem.remedy)
