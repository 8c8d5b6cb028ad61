"""Regular expressions, on an engine of linear time (RE2). Source: templating contract 11.

The reference documentation promises these functions, but the reference engine lacks them. A pattern holds at most 1
KiB, a text 64 KiB.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final

from core.expressions.template import values
from core.expressions.template.functions import INT, STRING, Context, FunctionTable
from core.expressions.template.values import NilStrings, Strings, Value, from_bytes, to_bytes

FUNCTIONS: Final = FunctionTable()
MAX_PATTERN_BYTES: Final = 1 << 10
MAX_TEXT_BYTES: Final = 1 << 16

_CACHED_PATTERNS: Final = 64
_PROGRAM_BYTES: Final = 1 << 20


@FUNCTIONS.add("regexMatch", takes=(STRING, STRING), with_context=True)
def _regex_match(context: Context, pattern: str, text: str) -> bool:
    try:
        return _compiled(pattern).search(_admitted(context, text)) is not None
    except _engine().error:
        return False


@FUNCTIONS.add("mustRegexMatch", takes=(STRING, STRING), with_context=True)
def _must_regex_match(context: Context, pattern: str, text: str) -> bool:
    return _pattern(pattern).search(_admitted(context, text)) is not None


@FUNCTIONS.add("regexFind", "mustRegexFind", takes=(STRING, STRING), with_context=True)
def _regex_find(context: Context, pattern: str, text: str) -> str:
    found = _pattern(pattern).search(_admitted(context, text))
    return values.from_bytes(found[0]) if found else ""


@FUNCTIONS.add("regexFindAll", "mustRegexFindAll", takes=(STRING, STRING, INT), with_context=True)
def _regex_find_all(context: Context, pattern: str, text: str, count: int) -> list[Value]:
    found = Strings()
    for match in _matches(_pattern(pattern), _admitted(context, text)):
        if 0 <= count <= len(found):
            break
        context.meter.spend(1)
        found.append(values.from_bytes(match[0]))
    return found or NilStrings()


@FUNCTIONS.add("regexReplaceAll", "mustRegexReplaceAll", takes=(STRING, STRING, STRING), with_context=True)
def _regex_replace_all(context: Context, pattern: str, text: str, replacement: str) -> str:
    parts = _template_parts(values.to_bytes(replacement))
    return _replaced(context, pattern, text, lambda match: b"".join(_expand(part, match) for part in parts))


@FUNCTIONS.add(
    "regexReplaceAllLiteral", "mustRegexReplaceAllLiteral", takes=(STRING, STRING, STRING), with_context=True
)
def _regex_replace_all_literal(context: Context, pattern: str, text: str, replacement: str) -> str:
    literal = values.to_bytes(replacement)
    return _replaced(context, pattern, text, lambda _match: literal)


@FUNCTIONS.add("regexSplit", "mustRegexSplit", takes=(STRING, STRING, INT), with_context=True)
def _regex_split(context: Context, pattern: str, text: str, count: int) -> list[Value]:
    compiled, data = _pattern(pattern), _admitted(context, text)
    if count == 0:
        return NilStrings()
    if pattern and not data:
        return Strings([""])
    parts: list[bytes] = []
    start = end = 0
    for match in _matches(compiled, data):
        if 0 < count <= len(parts) + 1:
            break
        end = match.start()
        if match.end() != 0:
            parts.append(data[start:end])
        start = match.end()
        context.meter.spend(1)
    if end != len(data):
        parts.append(data[start:])
    return Strings(map(values.from_bytes, parts))


@FUNCTIONS.add("regexQuoteMeta", "mustRegexQuoteMeta", takes=(STRING,), with_context=True)
def _regex_quote_meta(context: Context, text: str) -> str:
    context.meter.admit_text(2 * len(text))
    context.meter.spend(len(text))
    return "".join(f"\\{char}" if char in r"\.+*?()|[]{}^$" else char for char in text)


@lru_cache(maxsize=1)
def _engine() -> Any:
    """RE2. It takes more than 2 MiB, and most processes never see a pattern, so it is loaded for the first one."""
    import re2

    return re2


@lru_cache(maxsize=1)
def _references() -> Any:
    return _engine().compile(rb"\$(?:\$|\{([\pL\p{Nd}_]+)\}|([\pL\p{Nd}_]+))")


@lru_cache(maxsize=_CACHED_PATTERNS)
def _compiled(pattern: str) -> Any:
    data = values.to_bytes(pattern)
    if len(data) > MAX_PATTERN_BYTES:
        raise ValueError(f"a pattern holds at most {MAX_PATTERN_BYTES} bytes")
    options = _engine().Options()
    options.max_mem = _PROGRAM_BYTES
    options.log_errors = False
    return _engine().compile(data, options)


def _pattern(pattern: str) -> Any:
    try:
        return _compiled(pattern)
    except _engine().error as error:
        raise ValueError("the pattern is not a regular expression; see the syntax of RE2") from error


def _admitted(context: Context, text: str) -> bytes:
    data = values.to_bytes(text)
    if len(data) > MAX_TEXT_BYTES:
        raise ValueError(f"a searched string may have at most {MAX_TEXT_BYTES} bytes")
    context.meter.spend(1 + (len(data) >> 3))  # working on a byte costs far more than copying one
    return data


def _inside_of_characters(data: bytes) -> Container[int]:
    """Offsets inside characters; a byte that is not UTF-8 counts as one character."""
    if data.isascii():
        return ()
    starts = accumulate((len(to_bytes(char)) for char in from_bytes(data)), initial=0)
    return frozenset(range(len(data))).difference(starts)


def _matches(compiled: Any, data: bytes) -> Iterator[Any]:
    """All matches; an empty match is neither inside a character nor directly after another match."""
    previous_end = -1
    inside = _inside_of_characters(data)
    for match in compiled.finditer(data):
        start, end = match.span()
        if start == end and (start == previous_end or end in inside):
            continue
        previous_end = end
        yield match


def _replaced(context: Context, pattern: str, text: str, replace: Any) -> str:
    compiled, data = _pattern(pattern), _admitted(context, text)
    parts: list[bytes] = []
    start = length = 0
    for match in _matches(compiled, data):
        new = replace(match)
        parts += [data[start : match.start()], new]
        start = match.end()
        length += len(new)
        context.meter.admit_text(length)
    return values.from_bytes(b"".join([*parts, data[start:]]))


def _template_parts(replacement: bytes) -> list[bytes | int | str]:
    """Literal bytes, group numbers and group names of ``$1``, ``${name}`` and ``$$``."""
    parts: list[bytes | int | str] = []
    position = 0
    for match in _references().finditer(replacement):
        parts.append(replacement[position : match.start()])
        name = (match[1] or match[2] or b"").decode()
        parts.append(int(name) if _GROUP_NUMBER.fullmatch(name) else name or b"$")
        position = match.end()
    parts.append(replacement[position:])
    return parts


def _expand(part: bytes | int | str, match: Any) -> bytes:
    if isinstance(part, bytes):
        return part
    group = part if isinstance(part, int) else match.re.groupindex.get(part.encode(), -1)
    return match[group] or b"" if 0 <= group <= match.re.groups else b""


_GROUP_NUMBER: Final = re.compile("0|[1-9][0-9]{0,7}")
