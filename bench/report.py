"""Prints figures as rows of a Markdown table, compares them with their targets, and decides the exit code."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Unit:
    """How a number is printed: multiplied by ``scale``, with so many digits after the point, and ``suffix``."""

    suffix: str = ""
    scale: float = 1.0
    digits: int = 0

    def text(self, number: float) -> str:
        return f"{number * self.scale:,.{self.digits}f}{self.suffix}"

    def bound(self, number: float) -> str:
        """As ``text``, without zeros at the end of the fraction."""
        plain = f"{number * self.scale:,.{self.digits}f}"
        return (plain.rstrip("0").rstrip(".") if "." in plain else plain) + self.suffix


COUNT: Final = Unit()
A_SECOND: Final = Unit("/s")
SECONDS: Final = Unit(" s", digits=1)
MILLISECONDS: Final = Unit(" ms", 1000, 1)
"""Of seconds."""
MIB: Final = Unit(" MiB", 2**-20)
"""Of bytes."""


@dataclass(frozen=True, slots=True)
class Value:
    """A measured number, and the bounds within which it must be, both in the unit of the number before its scale.

    ``name`` tells it from the other values of its row and is printed with its target; ``note`` is printed after the
    number.
    """

    number: float
    unit: Unit = COUNT
    at_most: float | None = field(default=None, kw_only=True)
    at_least: float | None = field(default=None, kw_only=True)
    name: str = field(default="", kw_only=True)
    note: str = field(default="", kw_only=True)

    @property
    def is_missed(self) -> bool:
        """The number as measured counts, not as printed. What is not a number misses each target."""
        return (self.at_most is not None and not self.number <= self.at_most) or (
            self.at_least is not None and not self.number >= self.at_least
        )

    @property
    def text(self) -> str:
        return self.unit.text(self.number) + self.note

    @property
    def target(self) -> str:
        """Empty if there is none."""
        bounds = dict.fromkeys(self.unit.bound(each) for each in (self.at_least, self.at_most) if each is not None)
        if not bounds:
            return ""
        named = f"{self.name} {' to '.join(bounds)}".lstrip()
        return f"{named}, **missed**" if self.is_missed else named

    @property
    def shortfall(self) -> str:
        """For people, how a missed target was missed."""
        if self.at_most == self.at_least:
            words = "exactly"
        elif self.at_most is not None and not self.number <= self.at_most:
            words = "at most"
        else:
            words = "at least"
        bound = self.at_least if words == "at least" else self.at_most
        assert bound is not None, "only a value with a target is missed"
        return f"{self.name} {self.unit.text(self.number)}, must be {words} {self.unit.bound(bound)}".lstrip()


def exactly(number: float, expected: float, *, note: str = "") -> Value:
    """A count that must be as expected."""
    return Value(number, at_most=expected, at_least=expected, note=note)


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured, and the value: a text if it has no target, or numbers; ``between`` stands between them."""

    what: str
    measured: str | Value | tuple[Value, ...]
    between: str = field(default="; ", kw_only=True)

    @property
    def values(self) -> tuple[Value, ...]:
        """Empty if the row is a text."""
        if isinstance(self.measured, str):
            return ()
        return (self.measured,) if isinstance(self.measured, Value) else self.measured

    @property
    def text(self) -> str:
        return self.measured if isinstance(self.measured, str) else self.between.join(each.text for each in self.values)

    @property
    def target(self) -> str:
        """The targets of its values; one that several values share stands there once."""
        return self.between.join(dict.fromkeys(each.target for each in self.values if each.target))


def percentiles_row(
    what: str, seconds: Sequence[float], *, median_at_most: float | None = None, p99_at_most: float | None = None
) -> Row:
    """The median and the 99th percentile in milliseconds; the targets are in seconds."""
    bounds = ((50, median_at_most), (99, p99_at_most))
    values = [
        Value(percentile(seconds, percent), MILLISECONDS, at_most=bound, name=f"p{percent}")
        for percent, bound in bounds
    ]
    return Row(f"{what}, p50 / p99", tuple(values), between=" / ")


def report(measured: Iterable[tuple[str, Sequence[Row]]]) -> int:
    """Prints a table for each title as soon as its rows are there, and at the end names the rows that miss a target.

    Returns:
        The exit code: 1 if a target is missed, otherwise 0.
    """
    missed = []
    for title, rows in measured:
        print(f"\n### {title}\n\n| what | measured | target |\n|---|---|---|")
        for row in rows:
            print(f"| {row.what} | {row.text} | {row.target} |")
            missed += [f"{title}: {row.what}: {each.shortfall}\n" for each in row.values if each.is_missed]
        sys.stdout.flush()
    if missed:
        sys.stderr.write(f"\n{len(missed)} targets are missed:\n{''.join(missed)}")
    return 1 if missed else 0


def percentile(values: Sequence[float], percent: float) -> float:
    """Interpolates linearly; a single value is returned for each percentile."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=1000, method="inclusive")[min(int(percent * 10) - 1, 998)]


def milliseconds(seconds: float) -> str:
    return MILLISECONDS.text(seconds)
