"""Makes text of other programs fit into one line of output. Pure."""

from __future__ import annotations


def one_line(text: object) -> str:
    """The text without characters that move the cursor, because other programs wrote it."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())
