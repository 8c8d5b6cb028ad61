"""Words: case styles, titles, initials, wrapping. Source: templating contract 10.1."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Final

from core.expressions.template.functions import INT, STRING, Context, FunctionTable

FUNCTIONS: Final = FunctionTable()

_DELIMITERS: Final = "_- \t\r\n."
_WORD_CHARACTER: Final = re.compile(r"[\w]")


@FUNCTIONS.add("title", takes=(STRING,))
def _title(text: str) -> str:
    parts: list[str] = []
    at_start = True
    for char in text:
        parts.append(char.title() if at_start and len(char.title()) == 1 else char)
        at_start = not _WORD_CHARACTER.match(char)
    return "".join(parts)


@FUNCTIONS.add("untitle", takes=(STRING,))
def _untitle(text: str) -> str:
    parts: list[str] = []
    at_start = True
    for char in text:
        parts.append(char.lower() if at_start and len(char.lower()) == 1 else char)
        at_start = char.isspace()
    return "".join(parts)


@FUNCTIONS.add("initials", takes=(STRING,))
def _initials(text: str) -> str:
    return "".join(word[0] for word in text.split())


@FUNCTIONS.add("snakecase", takes=(STRING,))
def _snakecase(text: str) -> str:
    return _delimited(text, "_")


@FUNCTIONS.add("kebabcase", takes=(STRING,))
def _kebabcase(text: str) -> str:
    return _delimited(text, "-")


@FUNCTIONS.add("camelcase", takes=(STRING,))
def _camelcase(text: str) -> str:
    """Pascal case: capitals survive at word starts and after lower-case letters only."""
    body = text.lstrip(_DELIMITERS[:3])
    lead, parts = text[: len(text) - len(body)], []
    upper_next, previous_lower = True, False
    for char in body:
        if char in "_- ":
            upper_next = True
            previous_lower = False
            continue
        if upper_next:
            parts.append(char.upper())
        elif char.isupper() and not previous_lower:
            parts.append(char.lower())
        else:
            parts.append(char)
        previous_lower = char.islower()
        upper_next = False
    return lead + "".join(parts)


@FUNCTIONS.add("wrap", takes=(INT, STRING))
def _wrap(width: int, text: str) -> str:
    return _wrapped(width, "\n", text, cut=False)


@FUNCTIONS.add("wrapWith", takes=(INT, STRING, STRING), with_context=True)
def _wrap_with(context: Context, width: int, separator: str, text: str) -> str:
    context.meter.admit_text(len(text) + (len(text) // max(width, 1) + 1) * len(separator))
    return _wrapped(width, separator, text, cut=True)


def _wrapped(width: int, separator: str, text: str, *, cut: bool) -> str:
    width = max(width, 1)
    lines: list[str] = []
    position, length = 0, len(text)
    while length - position > width:
        if text[position] == " ":
            position += 1
            continue
        space = text.rfind(" ", position, position + width + 1)
        if space >= position:
            lines.append(text[position:space])
            position = space + 1
        elif cut:
            lines.append(text[position : position + width])
            position += width
        else:
            space = text.find(" ", position + width)
            if space < 0:
                break
            lines.append(text[position:space])
            position = space + 1
    lines.append(text[position:])
    return separator.join(lines)


def _delimited(text: str, delimiter: str) -> str:
    words: list[str] = []
    for is_delimiter, run in groupby(text, lambda char: char in "_- "):
        if is_delimiter:
            continue
        words.extend(_split_words("".join(run)))
    return delimiter.join(word.lower() for word in words)


def _split_words(run: str) -> list[str]:
    """Borders: lower or digit before upper; the last of several capitals before a lower; letter before digit."""
    words, current = [], run[0]
    for index in range(1, len(run)):
        char, before = run[index], run[index - 1]
        after = run[index + 1] if index + 1 < len(run) else ""
        border = (
            (char.isupper() and not before.isupper())
            or (char.isupper() and before.isupper() and after.islower())
            or (char.isdigit() and not before.isdigit())
        )
        if border:
            words.append(current)
            current = char
        else:
            current += char
    words.append(current)
    return words
