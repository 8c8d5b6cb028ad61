"""Text of other programs in one line."""

from __future__ import annotations

from core.expressions.errors import Position, excerpt
from views.text import one_line, visible


def test_nothing_moves_the_cursor() -> None:
    assert one_line("a\x1b[2J\r\n  b\t c\u202e") == "a [2J b c"


def test_what_a_terminal_could_obey_is_shown_as_an_escape() -> None:
    assert visible("a\x1b[2J\r\x07\x7f\x85\x9b\u202e\u2028\ufeff\U000e0001\ud800") == (
        r"a\x1b[2J\r\x07\x7f\x85\x9b\u202e\u2028\ufeff\U000e0001\ud800"
    )
    assert visible("é\t日\u3000本\xa0\\x1b\n") == "é\t日\u3000本\xa0\\x1b\n"


def test_the_place_of_an_error_is_shown_without_a_caret_that_would_point_nowhere() -> None:
    text = "hello {{ inputs.x.y }}"
    message = "with.x: a string has no field .y (line 1, column 18)\n" + excerpt(text, Position(1, 18))

    assert one_line(message) == "with.x: a string has no field .y (line 1, column 18), in: hello {{ inputs.x.y }}"


def test_a_caret_elsewhere_is_a_part_of_the_text() -> None:
    for text in ("^", "a\n^", "2 ^ 3", "a\nb ^"):
        assert one_line(text) == " ".join(text.split())
