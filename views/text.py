"""Makes text of other programs fit for output: in one line, or with escapes for what moves the cursor. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_NOT_ASCII: Final = re.compile(r"[^ -~\n\t]")


def one_line(text: object) -> str:
    """The text without characters that move the cursor, because other programs wrote it.

    An error of an expression ends in a line of its text and a caret below the place. In one line the caret would point
    nowhere, so it is left out.
    """
    words = "".join(letter if letter.isprintable() else " " for letter in _without_caret(str(text))).split()
    return " ".join(words)


def visible(text: str) -> str:
    """The text with an escape, such as ``\\x1b`` or ``\\u202e``, for each character that a terminal could obey.

    Lines, tabs and spaces of every width stay. JSON needs other escapes: ``cli.render.output``.
    """
    return _NOT_ASCII.sub(lambda found: _shown(found[0]), text)


def _shown(letter: str) -> str:
    is_harmless = letter.isprintable() or unicodedata.category(letter) == "Zs"
    return letter if is_harmless else letter.encode("unicode_escape").decode("ascii")


def _without_caret(text: str) -> str:
    before, _, last = text.rstrip().rpartition("\n")
    message, _, excerpt = before.rpartition("\n")
    return f"{message}, in: {excerpt}" if message and last.strip() == "^" else text
