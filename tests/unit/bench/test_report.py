"""A missed target is marked in the table, named at the end, and decides the exit code."""

from __future__ import annotations

from math import nan

import pytest

from bench.__main__ import PARTS, main
from bench.plane.figure import Figure, as_rows
from bench.report import A_SECOND, MIB, MILLISECONDS, Row, Unit, Value, exactly, percentiles_row, report


def printed(capsys: pytest.CaptureFixture[str], row: Row) -> tuple[int, str, str]:
    """The exit code, the line of the table, and what is said at the end."""
    code = report([("title", [row])])
    out, err = capsys.readouterr()
    return code, out.splitlines()[-1], err


def test_a_met_target_ends_with_zero(capsys: pytest.CaptureFixture[str]) -> None:
    row = Row("step → Job", Value(0.0124, MILLISECONDS, at_most=0.02))
    assert printed(capsys, row) == (0, "| step → Job | 12.4 ms | 20 ms |", "")


def test_a_missed_target_ends_with_one_and_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, line, said = printed(capsys, Row("step → Job", Value(0.0224, MILLISECONDS, at_most=0.02)))
    assert (code, line) == (1, "| step → Job | 22.4 ms | 20 ms, **missed** |")
    assert "title: step → Job: 22.4 ms, must be at most 20 ms" in said


def test_what_must_be_high_is_missed_when_it_is_low(capsys: pytest.CaptureFixture[str]) -> None:
    high, low = (Value(rate, A_SECOND, at_least=300_000, note=" (Go 1/s)") for rate in (498_000, 211_000))
    assert printed(capsys, Row("rate", high)) == (0, "| rate | 498,000/s (Go 1/s) | 300,000/s |", "")
    code, line, said = printed(capsys, Row("rate", low))
    assert (code, line) == (1, "| rate | 211,000/s (Go 1/s) | 300,000/s, **missed** |")
    assert "rate: 211,000/s, must be at least 300,000/s" in said


def test_a_number_that_equals_its_target_meets_it() -> None:
    assert not Value(0.6, at_most=0.6).is_missed
    assert not Value(0.6, at_least=0.6).is_missed


@pytest.mark.parametrize(("number", "code"), [(149, 1), (150, 0), (151, 1)])
def test_a_count_must_be_as_expected(capsys: pytest.CaptureFixture[str], number: int, code: int) -> None:
    found, _, said = printed(capsys, Row("StepRuns", exactly(number, 150)))
    assert found == code
    assert ("must be exactly 150" in said) is bool(code)


def test_a_number_that_was_not_measured_meets_no_target() -> None:
    assert Value(nan, at_most=1).is_missed
    assert Value(nan, at_least=1).is_missed
    assert not Value(nan).is_missed


def test_each_value_of_a_row_has_its_own_target(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = [0.01] * 90 + [0.2] * 10
    code, line, said = printed(capsys, percentiles_row("delay", seconds, median_at_most=0.02, p99_at_most=0.15))
    assert code == 1
    assert line == "| delay, p50 / p99 | 10.0 ms / 200.0 ms | p50 20 ms / p99 150 ms, **missed** |"
    assert said.count("must be") == 1
    assert "p99 200.0 ms, must be at most 150 ms" in said


def test_values_without_a_target_have_none_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    row = percentiles_row("delay", [0.01, 0.01], p99_at_most=0.003)
    assert printed(capsys, row)[1].endswith("| p99 3 ms, **missed** |")
    assert printed(capsys, Row("memory", (Value(1 << 20, MIB), Value(2 << 20, MIB))))[:2] == (
        0,
        "| memory | 1 MiB; 2 MiB |  |",
    )


def test_a_target_that_all_values_share_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    values = tuple(Value(mib << 20, MIB, at_most=768 << 20) for mib in (253, 610))
    assert printed(capsys, Row("peak", values)) == (0, "| peak | 253 MiB; 610 MiB | 768 MiB |", "")


def test_a_text_has_no_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, Row("load", "1.2 before, 1.3 after")) == (0, "| load | 1.2 before, 1.3 after |  |", "")


@pytest.mark.parametrize(
    ("unit", "bound", "expected"),
    [
        (Unit(" s", digits=2), 0.6, "0.6 s"),
        (Unit(digits=3), 1.1, "1.1"),
        (Unit(" %", 100, 4), 0.01, "1 %"),
        (Unit(), 10_000, "10,000"),
        (Unit(digits=1), 0, "0"),
    ],
)
def test_a_target_is_printed_without_zeros_at_the_end(unit: Unit, bound: float, expected: str) -> None:
    assert Value(0, unit, at_least=bound, at_most=bound).target.removesuffix(", **missed**") == expected


def test_the_missed_rows_of_all_tables_are_named_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    late, lost = Row("late", Value(2.0, at_most=1.0)), Row("lost", exactly(1, 0))
    assert report([("first", [late]), ("second", [Row("fine", exactly(0, 0))]), ("third", [lost])]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in said if "must be" in line] == ["first", "third"]


def test_a_figure_of_the_control_plane_keeps_its_target_beside_its_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    figure = Figure("share", "runs / Jobs", 0.36, ratio=True, at_least=0.6)
    (row,) = as_rows([figure], {"share": 0.35})
    assert printed(capsys, row)[:2] == (1, "| runs / Jobs | 0.36 (baseline 0.35) | 0.6, **missed** |")


@pytest.mark.parametrize(("late", "code"), [(0.5, 0), (1.5, 1)])
def test_the_command_ends_with_one_if_a_measurement_misses_a_target(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], late: float, code: int
) -> None:
    monkeypatch.setitem(PARTS, "wakes", lambda: [Row("late", Value(late, MILLISECONDS, at_most=1.0))])
    assert main(["wakes"]) == code
    assert ("wakes: late" in capsys.readouterr().err) is bool(code)
