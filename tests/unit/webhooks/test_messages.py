"""Warnings stay within the limits of the API server."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from webhooks import messages
from webhooks.finding import Finding, Rule, Severity

RULE = Rule("story/some", "1.4", severity=Severity.WARNING)


def one(path: str, message: str, remedy: str = "", excerpt: str = "") -> str:
    (line,) = messages.warnings([RULE.at(path, message, remedy, excerpt)])
    return line


def test_a_short_warning_is_told_as_it_is() -> None:
    assert one("spec.x", "is odd", "look again", "  x\n  ^") == "spec.x: is odd (look again)"


def test_what_is_too_long_loses_its_remedy_first() -> None:
    assert one("spec.x", "is odd", "y" * 300) == "spec.x: is odd"


def test_a_long_path_loses_its_beginning() -> None:
    line = one("spec." + "a." * 200 + "end", "is odd", "look again")

    assert line.startswith("…")
    assert line.endswith(".a.end: is odd")
    assert len(line.encode()) <= 256


def test_a_long_message_loses_its_end() -> None:
    line = one("spec.x", "is odd " * 100)

    assert line.startswith("spec.x: is odd is odd")
    assert line.endswith("…")


def test_no_header_is_broken() -> None:
    assert one("spec.x", "two\nlines\x00", "a\tb") == "spec.x: two lines  (a b)"


def test_of_too_many_the_last_says_how_many_are_missing() -> None:
    told = messages.warnings([RULE.at(f"spec.steps[{number}]", "is odd " * 20) for number in range(100)])

    assert sum(len(line.encode()) for line in told) <= 3_840
    assert told[-1] == f"and {100 - len(told) + 1} more warnings; `bobrapet lint FILE` shows all"


@given(st.lists(st.builds(RULE.at, st.text(max_size=400), st.text(max_size=400), st.text(max_size=300)), max_size=40))
def test_warnings_are_always_within_bounds(findings: list[Finding]) -> None:
    told = messages.warnings(findings)

    assert all(len(line.encode("utf-8", "replace")) <= 256 and line.isprintable() for line in told)
    assert sum(len(line.encode("utf-8", "replace")) for line in told) <= 4_096
