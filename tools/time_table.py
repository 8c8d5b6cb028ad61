"""Where the time of a run of suites went, and which suite took more CPU than its budget allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tools.cpu_time import Times

DEAREST: Final = 10
"""How many tests are listed."""


@dataclass(frozen=True)
class Spent:
    """The time that one suite took."""

    name: str
    wall: float
    """In seconds."""
    times: Times
    budget: float | None
    """CPU seconds on the reference machine. None: no limit."""

    @property
    def too_much(self) -> bool:
        return self.budget is not None and self.times.reference > self.budget


def table(spent: Sequence[Spent]) -> list[str]:
    """The table: suites with wall time, CPU, CPU on the reference machine and budget; then the dearest tests."""
    lines = [f"{'suite':<58} {'wall s':>7} {'CPU s':>7} {'ref. s':>7} {'budget':>7}"]
    for one in sorted(spent, key=lambda one: -one.times.total):
        budget = f"{one.budget:.0f}" if one.budget is not None else ""
        lines.append(f"{one.name:<58} {one.wall:7.0f} {one.times.total:7.1f} {one.times.reference:7.1f} {budget:>7}")
    tests = [(seconds, name) for one in spent for name, seconds in one.times.tests.items()]
    lines.append("the dearest tests, CPU s")
    lines += [f"{seconds:7.1f} {name}" for seconds, name in sorted(tests, reverse=True)[:DEAREST]]
    return lines


def complaints(spent: Sequence[Spent]) -> list[str]:
    """One for each suite that exceeded its budget: by how much, and what to do."""
    return [
        f"{one.name} took {one.times.reference:.0f} reference seconds of CPU; its budget is {one.budget:.0f} s."
        " Make the tests cheaper, or raise the budget where the suite is defined and say in the commit why."
        for one in spent
        if one.too_much
    ]
