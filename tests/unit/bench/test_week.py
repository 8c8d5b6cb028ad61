"""The figures of a week of runs must be flat: the last day is compared with the first one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from bench.week import Count, rows

FIRST = Count(
    created=10_000,
    resident=388.0,
    python_objects=900_000,
    database=53.0,
    stored=Counter({"storyruns": 10_048}),
    tasks=547,
    runs_alive=50,
    steps_at_work=3,
    series=1_430,
    held=Counter({"WorkQueue._due": 70}),
)


def missed(last: Count) -> list[str]:
    found = rows([FIRST, FIRST, last], 30_000)
    return [row.what for row in found if any(value.is_missed for value in row.values)]


def test_days_that_end_like_the_first_one_are_flat() -> None:
    assert missed(replace(FIRST, resident=394.0, runs_alive=63)) == []


@pytest.mark.parametrize(
    ("last", "what"),
    [
        (replace(FIRST, resident=420.0), "memory of operator and API server in one process, MiB"),
        (replace(FIRST, database=60.0), "database of the embedded cluster, MiB"),
        (replace(FIRST, stored=Counter({"storyruns": 11_000})), "objects in the API server: storyruns"),
        (replace(FIRST, tasks=700), "tasks of the process"),
    ],
)
def test_what_has_grown_by_the_last_day_is_missed(last: Count, what: str) -> None:
    assert missed(last) == [what]


def test_each_day_is_printed_and_the_last_one_has_the_target() -> None:
    (row,) = (row for row in rows([FIRST, FIRST], 20_000) if row.what == "tasks of the process")
    assert (row.text, row.target) == ("547, 547", "last day 594")
