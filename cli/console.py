"""Where text goes: results to standard output, notes to standard error, colour only where the user wants it."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Final, TextIO

from cli.options import Colour, CommonOptions

_CODES: Final = {
    "bold": "1",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "magenta": "35",
    "cyan": "36",
    "bright_black": "90",
}


_LINE_BYTES: Final = 64 * 1024


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
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def line(self, text: str, colour: str) -> None:
        """Print one line of the result; it may be empty."""
        sys.stdout.write(f"{self.styled(text, colour)}\n")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Print text for a person, which must not go into a pipe."""
        if not self._options.quiet:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def wipe_echo(self) -> None:
        """Remove the ``^C`` that a terminal shows when the user types it."""
        if self.interactive:
            sys.stderr.write("\r\x1b[K")

    def styled(self, text: str, colour: str, *, stream: TextIO | None = None) -> str:
        """``text`` in a colour that suits ``stream``; the default is standard output."""
        code = _CODES.get(colour)
        return f"\x1b[{code}m{text}\x1b[0m" if code and self._coloured(stream or sys.stdout) else text

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
        import trio

        sys.stderr.write(question)
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
