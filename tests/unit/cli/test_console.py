"""What reaches a terminal, and what reaches a pipe. (cli/console.py, cli/boundary.py)"""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cli.boundary import report
from cli.console import Console
from cli.options import Colour, CommonOptions
from cli.problem import CommandError

HOSTILE = "a\x1b[2J\x1b[8mb\r\x9b1A\u202e é\tc\x1b]0;title\x07"
SHOWN = "a\\x1b[2J\\x1b[8mb\\r\\x9b1A\\u202e é\tc\\x1b]0;title\\x07"


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Standard output and error are one terminal inside the block; then the list has what was written to it."""
    ours, theirs = pty.openpty()
    written: list[str] = []
    with monkeypatch.context() as patched, os.fdopen(theirs, "w", encoding="utf-8") as stream:
        patched.setenv("TERM", "xterm")
        patched.delenv("NO_COLOR", raising=False)
        patched.setattr(sys, "stdout", stream)
        patched.setattr(sys, "stderr", stream)
        yield written
        stream.write("the end\n")
        stream.flush()
        shown = b""
        while not shown.endswith(b"the end\r\n"):
            shown += os.read(ours, 4096)
        written.append(shown.decode().replace("\r\n", "\n").removesuffix("the end\n"))
    os.close(ours)


def test_on_a_terminal_no_text_moves_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as written:
        console = Console(CommonOptions())
        console.result(HOSTILE)
        console.line(HOSTILE, "")
        console.line(HOSTILE, "red")
        console.note(f"{HOSTILE}\n{HOSTILE}")

    assert written == [f"{SHOWN}\n{SHOWN}\n\x1b[31m{SHOWN}\x1b[0m\n{SHOWN}\n{SHOWN}\n"]


def test_colours_of_ours_stay_inside_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as written:
        console = Console(CommonOptions())
        console.result(f"a: {console.styled(HOSTILE, 'yellow')} {HOSTILE}")
        console.note(f"b: {console.styled('x', 'bold')}")

    assert written == [f"a: \x1b[33m{SHOWN}\x1b[0m {SHOWN}\nb: \x1b[1mx\x1b[0m\n"]


def test_without_colours_a_text_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as written:
        Console(CommonOptions(colour=Colour.NEVER)).result("\x1b[31mred\x1b[0m")

    assert written == ["\\x1b[31mred\\x1b[0m\n"]


def test_an_error_moves_no_cursor_either(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as written:
        report(CommandError(HOSTILE, remedy=HOSTILE), debug=False)
        report(ZeroDivisionError(HOSTILE), debug=True)

    [shown] = written
    assert shown.startswith("error: a\\x1b[2J\\x1b[8mb\n\\x9b1A")
    assert shown.count("ZeroDivisionError") == 2
    assert "\x1b" not in shown
    assert "\x9b" not in shown


def test_a_pipe_gets_every_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(CommonOptions())

    console.result(HOSTILE)
    console.line(HOSTILE, "red")
    console.note(HOSTILE)

    assert capsys.readouterr() == (f"{HOSTILE}\n{HOSTILE}\n", f"{HOSTILE}\n")
