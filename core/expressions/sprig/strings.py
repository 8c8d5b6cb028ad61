"""Strings: trimming, cutting, searching, joining, quoting. Lengths and positions are in bytes, as in the reference.

Source: templating contract 10.1; also ``repeat`` and ``swapcase`` of 11, within the limits.
"""

from __future__ import annotations

import base64
import string
from typing import Final

from core.expressions.sprig.conversion import to_texts
from core.expressions.template import formatting, printing, values
from core.expressions.template.characters import SPACES, category, to_lower, to_title, to_upper, words
from core.expressions.template.functions import ANY, INT, STRING, Context, FunctionTable
from core.expressions.template.values import StringMap, Strings, Value

FUNCTIONS: Final = FunctionTable()
MAX_RANDOM_CHARACTERS: Final = 4096

_SHORTEST_ABBREVIATION: Final = 4
_SHORTEST_MIDDLE: Final = 7
_ELLIPSIS: Final = "..."


@FUNCTIONS.add("trim", takes=(STRING,))
def _trim(text: str) -> str:
    return text.strip(SPACES)


@FUNCTIONS.add("trimAll", "trimall", takes=(STRING, STRING))
def _trim_all(characters: str, text: str) -> str:
    return text.strip(characters) if characters else text


@FUNCTIONS.add("trimPrefix", takes=(STRING, STRING))
def _trim_prefix(prefix: str, text: str) -> str:
    return text.removeprefix(prefix)


@FUNCTIONS.add("trimSuffix", takes=(STRING, STRING))
def _trim_suffix(suffix: str, text: str) -> str:
    return text.removesuffix(suffix)


@FUNCTIONS.add("upper", takes=(STRING,), per_character=1)
def _upper(text: str) -> str:
    return text.upper() if text.isascii() else "".join(map(to_upper, text))


@FUNCTIONS.add("lower", takes=(STRING,), per_character=1)
def _lower(text: str) -> str:
    return text.lower() if text.isascii() else "".join(map(to_lower, text))


@FUNCTIONS.add("contains", takes=(STRING, STRING))
def _contains(part: str, text: str) -> bool:
    return part in text


@FUNCTIONS.add("hasPrefix", takes=(STRING, STRING))
def _has_prefix(prefix: str, text: str) -> bool:
    return text.startswith(prefix)


@FUNCTIONS.add("hasSuffix", takes=(STRING, STRING))
def _has_suffix(suffix: str, text: str) -> bool:
    return text.endswith(suffix)


@FUNCTIONS.add("replace", takes=(STRING, STRING, STRING), with_context=True)
def _replace(context: Context, old: str, new: str, text: str) -> str:
    occurrences = text.count(old)
    context.meter.admit_text(len(text) + occurrences * (len(new) - len(old)))
    return text.replace(old, new)


@FUNCTIONS.add("repeat", takes=(INT, STRING), with_context=True)
def _repeat(context: Context, count: int, text: str) -> str:
    if count < 0:
        raise ValueError("the count must not be negative")
    context.meter.admit_text(len(text) * count)
    return text * int(count)


@FUNCTIONS.add("trunc", takes=(INT, STRING))
def _trunc(length: int, text: str) -> str:
    data = values.to_bytes(text)
    if abs(length) > len(data):
        return text
    return values.from_bytes(data[length:] if length < 0 else data[:length])


@FUNCTIONS.add("substr", takes=(INT, INT, STRING))
def _substr(start: int, end: int, text: str) -> str:
    data = values.to_bytes(text)
    if start < 0:
        start = 0
    elif end < 0 or end > len(data):
        end = len(data)
    if not 0 <= start <= end <= len(data):
        raise ValueError(f"[{start}:{end}] is outside a string of {len(data)} bytes")
    return values.from_bytes(data[start:end])


@FUNCTIONS.add("abbrev", takes=(INT, STRING))
def _abbrev(width: int, text: str) -> str:
    if width < _SHORTEST_ABBREVIATION:
        return text
    return _abbreviated(0, width, text)


@FUNCTIONS.add("abbrevboth", takes=(INT, INT, STRING))
def _abbrev_both(left: int, right: int, text: str) -> str:
    if right < _SHORTEST_ABBREVIATION or (left > 0 and right < _SHORTEST_MIDDLE):
        return text
    return _abbreviated(left, right, text)


@FUNCTIONS.add("quote", rest=ANY, with_context=True)
def _quote(context: Context, *given: Value) -> str:
    meter = context.meter
    parts = [formatting.quoted(printing.default_text(value, meter), meter) for value in given if value is not None]
    return _joined(context, " ", parts)


@FUNCTIONS.add("squote", rest=ANY, with_context=True)
def _squote(context: Context, *given: Value) -> str:
    return _joined(
        context, " ", [f"'{printing.default_text(value, context.meter)}'" for value in given if value is not None]
    )


@FUNCTIONS.add("cat", rest=ANY, with_context=True)
def _cat(context: Context, *given: Value) -> str:
    parts = [printing.default_text(value, context.meter) for value in given if value is not None]
    return _joined(context, " ", parts)


@FUNCTIONS.add("indent", takes=(INT, STRING), with_context=True)
def _indent(context: Context, spaces: int, text: str) -> str:
    if spaces < 0:
        raise ValueError("the number of spaces must not be negative")
    context.meter.admit_text(len(text) + (text.count("\n") + 1) * spaces)
    pad = " " * spaces
    return pad + text.replace("\n", "\n" + pad)


@FUNCTIONS.add("nindent", takes=(INT, STRING), with_context=True)
def _nindent(context: Context, spaces: int, text: str) -> str:
    return "\n" + _indent(context, spaces, text)


@FUNCTIONS.add("nospace", takes=(STRING,), per_character=1)
def _nospace(text: str) -> str:
    return "".join(words(text))


@FUNCTIONS.add("swapcase", takes=(STRING,), per_character=1)
def _swapcase(text: str) -> str:
    parts: list[str] = []
    at_start = True
    for char in text:
        kind = category(char)
        if kind in ("Lu", "Lt"):
            parts.append(to_lower(char))
        elif kind == "Ll":
            parts.append(to_title(char) if at_start else to_upper(char))
        else:
            parts.append(char)
        at_start = char in SPACES
    return "".join(parts)


@FUNCTIONS.add("plural", takes=(STRING, STRING, INT))
def _plural(one: str, many: str, count: int) -> str:
    return one if count == 1 else many


# Splitting and joining


@FUNCTIONS.add("join", takes=(STRING, ANY), with_context=True)
def _join(context: Context, separator: str, items: Value) -> str:
    return _joined(context, separator, to_texts(items, context))


@FUNCTIONS.add("splitList", takes=(STRING, STRING), with_context=True)
def _split_list(context: Context, separator: str, text: str) -> Strings:
    return Strings(_split_parts(context, separator, text, None))


@FUNCTIONS.add("split", takes=(STRING, STRING), with_context=True)
def _split(context: Context, separator: str, text: str) -> StringMap:
    return _numbered(_split_parts(context, separator, text, None))


@FUNCTIONS.add("splitn", takes=(STRING, INT, STRING), with_context=True)
def _splitn(context: Context, separator: str, parts: int, text: str) -> StringMap:
    return _numbered(_split_parts(context, separator, text, parts))


# Chance


@FUNCTIONS.add("randAlpha", takes=(INT,), with_context=True, deterministic=False)
def _rand_alpha(context: Context, count: int) -> str:
    return _random_text(context, count, string.ascii_letters)


@FUNCTIONS.add("randAlphaNum", takes=(INT,), with_context=True, deterministic=False)
def _rand_alpha_num(context: Context, count: int) -> str:
    return _random_text(context, count, string.ascii_letters + string.digits)


@FUNCTIONS.add("randAscii", takes=(INT,), with_context=True, deterministic=False)
def _rand_ascii(context: Context, count: int) -> str:
    return _random_text(context, count, "".join(map(chr, range(32, 127))))


@FUNCTIONS.add("randNumeric", takes=(INT,), with_context=True, deterministic=False)
def _rand_numeric(context: Context, count: int) -> str:
    return _random_text(context, count, string.digits)


@FUNCTIONS.add("randBytes", takes=(INT,), with_context=True, deterministic=False)
def _rand_bytes(context: Context, count: int) -> str:
    """Random bytes, in base 64."""
    if not 0 <= count <= MAX_RANDOM_CHARACTERS:
        raise ValueError(f"the number of bytes must be between 0 and {MAX_RANDOM_CHARACTERS}")
    return base64.b64encode(context.random.randbytes(count)).decode()


@FUNCTIONS.add("hello")
def _hello() -> str:
    return "Hello!"


def _random_text(context: Context, count: int, alphabet: str) -> str:
    if not 0 <= count <= MAX_RANDOM_CHARACTERS:
        raise ValueError(f"the number of characters must be between 0 and {MAX_RANDOM_CHARACTERS}")
    return "".join(context.random.choices(alphabet, k=count))


def _joined(context: Context, separator: str, parts: list[str]) -> str:
    context.meter.admit_text(sum(map(len, parts)) + len(separator) * len(parts))
    return separator.join(parts)


def _split_parts(context: Context, separator: str, text: str, limit: int | None) -> list[str]:
    if limit == 0:
        return []
    if separator:
        most = -1 if limit is None or limit < 0 else limit - 1
        context.meter.admit_items(text.count(separator) + 1)
        return text.split(separator, most)
    context.meter.admit_items(len(text))
    if limit is None or limit < 0 or limit >= len(text):
        return list(text)
    return [*text[: limit - 1], text[limit - 1 :]]


def _numbered(parts: list[str]) -> StringMap:
    return StringMap({f"_{index}": part for index, part in enumerate(parts)})


def _abbreviated(offset: int, width: int, text: str) -> str:
    data = values.to_bytes(text)
    if len(data) <= width:
        return text
    offset = min(offset, len(data))
    if len(data) - offset < width - len(_ELLIPSIS):
        offset = len(data) - (width - len(_ELLIPSIS))
    if offset <= _SHORTEST_ABBREVIATION:
        return values.from_bytes(data[: width - len(_ELLIPSIS)]) + _ELLIPSIS
    if width < _SHORTEST_MIDDLE:
        raise ValueError("the width is too small")
    if offset + (width - len(_ELLIPSIS)) < len(data):
        return _ELLIPSIS + _abbreviated(0, width - len(_ELLIPSIS), values.from_bytes(data[offset:]))
    return _ELLIPSIS + values.from_bytes(data[len(data) - (width - len(_ELLIPSIS)) :])
