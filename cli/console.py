"""Where text goes: results to standard output, notes to standard error, colour only where the user wants it.

A terminal gets ``views.text.visible`` text, whoever wrote it; a pipe gets it as it is.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import Final, TextIO

from cli.options import Colour, CommonOptions
from views.text import visible

_CODES: Final = {
    "bold": "1",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "magenta": "35",
    "cyan": "36",
    "bright_black": "90",
}
_COLOURED: Final = re.compile(rf"(\x1b\[(?:0|{'|'.join(_CODES.values())})m)")
"""What ``styled`` adds to a text."""
_LINE_BYTES: Final = 64 * 1024


def for_stream(text: str, stream: TextIO) -> str:
    """The text as it is written to ``stream``: for a terminal, no character of it moves the cursor."""
    return visible(text) if stream.isatty() else text


class Console:
    """The two streams of one command."""

    def __init__(self, options: CommonOptions) -> None:
        self._options = options
        self.interactive = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        """Whether a person watches: progress goes to standard error, even if the result goes into a pipe."""

    @property
    def reader_is_person(self) -> bool:
        """Whether standard output is a terminal: a person reads the result, not a program."""
        return sys.stdout.isatty()

    @property
    def size(self) -> os.terminal_size:
        """Size of the terminal that shows progress."""
        try:
            size = os.get_terminal_size(sys.stderr.fileno())
        except OSError:
            return shutil.get_terminal_size((100, 40))
        return os.terminal_size((size.columns or 100, size.lines or 40))

    def result(self, text: str) -> None:
        """Print the result of the command."""
        if text:
            self._write(text, sys.stdout)

    def line(self, text: str, colour: str) -> None:
        """Print one line of the result; it may be empty."""
        self._write(self.styled(text, colour), sys.stdout)

    def note(self, text: str) -> None:
        """Print text for a person, which must not go into a pipe."""
        if not self._options.quiet:
            self._write(text, sys.stderr)

    def _write(self, text: str, stream: TextIO) -> None:
        parts = _COLOURED.split(text) if self._coloured(stream) else [text]
        parts[::2] = [for_stream(part, stream) for part in parts[::2]]
        stream.write("".join([*parts, "\n"]))
        stream.flush()

    def wipe_echo(self) -> None:
        """Remove the ``^C`` that a terminal shows when the user types it."""
        if self.interactive:
            sys.stderr.write("\r\x1b[K")

    def styled(self, text: str, colour: str, *, stream: TextIO | None = None) -> str:
        """``text`` in a colour, as ``stream`` gets it; the default is standard output."""
        stream, code = stream or sys.stdout, _CODES.get(colour)
        text = for_stream(text, stream)
        return f"\x1b[{code}m{text}\x1b[0m" if code and self._coloured(stream) else text

    def _coloured(self, stream: TextIO) -> bool:
        match self._options.colour:
            case Colour.ALWAYS:
                return True
            case Colour.NEVER:
                return False
            case Colour.AUTO:
                return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")

    @property
    def says_yes(self) -> bool:
        """Whether the user has answered questions in advance."""
        return self._options.yes

    @property
    def can_ask(self) -> bool:
        """Whether a person can answer."""
        return not self._options.yes and sys.stdin.isatty() and sys.stderr.isatty()

    async def ask(self, question: str) -> str | None:
        """The typed line; None if the user ended the input (Ctrl-D). Ctrl-C ends the command as always."""
        # Costly, and help and completion have a console, too.
        import trio

        sys.stderr.write(for_stream(question, sys.stderr))
        sys.stderr.flush()
        # Not readline: it would block everything else, including the handling of Ctrl-C.
        await trio.lowlevel.wait_readable(sys.stdin.fileno())
        line = os.read(sys.stdin.fileno(), _LINE_BYTES)
        return line.decode(errors="replace").strip() if line else None

    async def confirm(self, question: str) -> bool:
        """True without a question under ``--yes``; False in a pipe, where no person can answer."""
        if self._options.yes:
            return True
        answer = await self.ask(f"{question} [y/N] ") if self.can_ask else None
        return (answer or "").lower() in ("y", "yes")
