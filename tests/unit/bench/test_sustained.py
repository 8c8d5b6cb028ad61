"""The search for the highest rate that runs keep up with."""

from __future__ import annotations

import pytest

from bench.sustained import RateSearch, keeps_up


@pytest.mark.parametrize(
    ("backlog", "expected"),
    [
        ([4] * 60, True),
        ([0, 9] * 30, True),
        (list(range(60, 0, -1)), True),
        ([round(0.2 * second) for second in range(60)], True),  # a hundredth of the rate: what measurements vary by
        ([round(0.5 * second) for second in range(60)], False),
        (list(range(60)), False),
    ],
)
def test_a_backlog_that_grows_is_told_from_one_that_varies(backlog: list[int], expected: bool) -> None:
    assert keeps_up(backlog, per_second=20.0) is expected


def test_the_search_goes_down_from_the_estimate_until_a_rate_is_kept_up_with() -> None:
    search = RateSearch(50.0)

    search.note(False)
    search.note(False)
    assert not search.is_over
    search.note(True)

    assert (search.is_over, search.too_high) == (True, [50.0, 45.0])
    assert search.per_second == pytest.approx(40.5)
