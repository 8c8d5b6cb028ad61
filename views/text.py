"""Makes text of other programs fit into one line of output. Pure."""

from __future__ import annotations


def one_line(text: object) -> str:
    """The text without characters that move the cursor, because other programs wrote it.

    An error of an expression ends in a line of its text and a caret below the place. In one line the caret would point
    nowhere, so it is left out.
    """
    words = "".join(letter if letter.isprintable() else " " for letter in _without_caret(str(text))).split()
    return " ".join(words)


def _without_caret(text: str) -> str:
    before, _, last = text.rstrip().rpartition("\n")
    message, _, excerpt = before.rpartition("\n")
    return f"{message}, in: {excerpt}" if message and last.strip() == "^" else text
