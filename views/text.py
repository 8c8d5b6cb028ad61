"""Text of other programs, made fit for a line of ours. Pure."""

from __future__ import annotations


def one_line(text: object) -> str:
    """Nothing in it moves the cursor: messages hold what other programs wrote."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())
