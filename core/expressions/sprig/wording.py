"""Titles, initials, wrapping. Source: templating contract 10.1."""

from __future__ import annotations

from typing import Final

from core.expressions.template import values
from core.expressions.template.characters import SPACES, to_lower, to_title, words
from core.expressions.template.functions import INT, STRING, Context, FunctionTable

FUNCTIONS: Final = FunctionTable()


@FUNCTIONS.add("title", takes=(STRING,), per_character=1)
def _title(text: str) -> str:
    parts: list[str] = []
    at_start = True
    for char in text:
        parts.append(to_title(char) if at_start else char)
        at_start = _separates_words(char)
    return "".join(parts)


def _separates_words(char: str) -> bool:
    """Every ASCII character except letters, digits and the underscore; beyond ASCII, only spaces."""
    if char.isascii():
        return not (char.isalnum() or char == "_")
    return char in SPACES


@FUNCTIONS.add("untitle", takes=(STRING,), per_character=1)
def _untitle(text: str) -> str:
    parts: list[str] = []
    at_start = True
    for char in text:
        parts.append(to_lower(char) if at_start else char)
        at_start = char in SPACES
    return "".join(parts)


@FUNCTIONS.add("initials", takes=(STRING,), per_character=1)
def _initials(text: str) -> str:
    return "".join(word[0] for word in words(text))


@FUNCTIONS.add("wrap", takes=(INT, STRING), per_character=1)
def _wrap(width: int, text: str) -> str:
    return _wrapped(width, "\n", text, cut=False)


@FUNCTIONS.add("wrapWith", takes=(INT, STRING, STRING), with_context=True, per_character=1)
def _wrap_with(context: Context, width: int, separator: str, text: str) -> str:
    separator = separator or "\n"
    context.meter.admit_text(len(text) + (len(text) // max(width, 1) + 1) * len(separator))
    return _wrapped(width, separator, text, cut=True)


def _wrapped(width: int, separator: str, text: str, *, cut: bool) -> str:
    """Lines of at most ``width`` bytes; when a word is cut, a byte counts as a character."""
    width = max(width, 1)
    data = values.to_bytes(text)
    lines: list[bytes] = []
    position, length = 0, len(data)
    while length - position > width:
        if data[position] == ord(" "):
            position += 1
            continue
        space = data.rfind(b" ", position, position + width + 1)
        if space >= position:
            lines.append(data[position:space])
            position = space + 1
        elif cut:
            lines.append(data[position : position + width])
            position += width
        else:
            space = data.find(b" ", position + width)
            if space < 0:
                break
            lines.append(data[position:space])
            position = space + 1
    lines.append(data[position:])
    return values.from_bytes(values.to_bytes(separator).join(lines))
