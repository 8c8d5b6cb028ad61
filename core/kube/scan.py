"""Finds where the parts of a JSON text begin and end, without parsing it: by its strings and brackets alone.

For texts that the parser refuses. Nothing here recurses, and each byte is read once for each requested level. So time
grows only linearly with size and depth: about 0.1 s for 1.35 MB of nothing but brackets. The parts that are found need
not be valid JSON. Pure.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from itertools import accumulate
from typing import Final, NamedTuple

from core.api.sizes import values_in

_WHOLE_STRING: Final = rb'"(?:[^"]*+(?<!\\)"|[^"\\]*+(?:\\.[^"\\]*+)*+")'
"""A string. Most end at the first quote, which is found many times as fast as what is neither quote nor backslash."""
_BRACKET: Final = re.compile(
    rb'[^"{}\[\]]*+(?:' + _WHOLE_STRING + rb'[^"{}\[\]]*+)*+([{}\[\]"]|\Z)',
    re.DOTALL,
)
"""The next bracket outside strings; a quote means a string without an end. It always matches, so that a search never
starts again at the next byte.
"""
_STRING: Final = re.compile(_WHOLE_STRING, re.DOTALL)
_STRING_OR_REST: Final = re.compile(_WHOLE_STRING + rb'|"[^"\\]*+(?:\\.[^"\\]*+)*+\\?\Z', re.DOTALL)
"""A string, or the rest of the text after a quote without an end, so that nothing is searched twice."""
_CHUNK: Final = re.compile(rb'(?:[^"]{1,64}+|' + _WHOLE_STRING + rb"){1,512}+", re.DOTALL)
"""A part of the text that ends outside strings."""
_STEPS: Final = bytes.maketrans(b"[{]}", b"\1\1\xff\xff")
"""The change of depth at a bracket, as a signed byte."""
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_SCALAR: Final = re.compile(rb"[^\s,\]}]++")
_BRACKETS: Final = re.compile(rb"[{}\[\]]")
_OPENERS: Final = frozenset((b"{", b"["))
_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_OPENING: Final = frozenset(b"{[")


class ScanError(ValueError):
    """The text does not have this structure; the rest of the text may be fine."""


class ByteSpan(NamedTuple):
    """Bytes ``start`` to ``end`` of a text."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


class Member(NamedTuple):
    """One member of an object; ``key`` is the text between its quotes, with escapes as written."""

    key: bytes
    value: ByteSpan


def members(raw: bytes, start: int = 0) -> Iterator[Member]:
    """The members of the object that begins at ``start``, in order; each is found when the caller asks for it.

    Raises:
        ScanError: it is not an object, or is damaged further on.
    """
    position = first_member(raw, start)
    while position is not None:
        key, value_start = member_at(raw, position)
        value = value_at(raw, value_start)
        yield Member(key, value)
        position = next_member(raw, value.end)


def first_member(raw: bytes, start: int = 0) -> int | None:
    """Where the first member begins in the object that begins at ``start``; None: it has none.

    Raises:
        ScanError: it is not an object.
    """
    position = _past(raw, start, b"{")
    return None if raw[position : position + 1] == b"}" else position


def member_at(raw: bytes, position: int) -> tuple[bytes, int]:
    """The key of the member that begins at ``position``, and where its value begins.

    Raises:
        ScanError: there is none.
    """
    name = _STRING.match(raw, position)
    if name is None:
        raise ScanError(f"no key at byte {position}")
    return raw[name.start() + 1 : name.end() - 1], _past(raw, name.end(), b":")


def next_member(raw: bytes, end: int) -> int | None:
    """Where the member begins that follows on the one that ends at ``end``; None: it was the last one.

    Raises:
        ScanError: neither a member follows nor the end of the object.
    """
    return _next(raw, end, b"}")


def lookup(raw: bytes, *path: bytes) -> ByteSpan | None:
    """The value at ``path``, one key for each object on the way; None when there is none.

    The text after the value is not read, so a value near the beginning is found quickly.
    """
    start = _after_space(raw, 0)
    try:
        for key in path:
            start = _value_of(raw, start, key)
        return value_at(raw, start)
    except ScanError:
        return None


def _value_of(raw: bytes, start: int, key: bytes) -> int:
    """Where the value of ``key`` begins, in the object that begins at ``start``."""
    position = first_member(raw, start)
    while position is not None:
        name, value = member_at(raw, position)
        if name == key:
            return value
        position = next_member(raw, value_at(raw, value).end)
    raise ScanError(f"no member {key.decode(errors='replace')!r}")


def elements(raw: bytes, start: int = 0) -> Iterator[ByteSpan]:
    """The elements of the list that begins at ``start``, in order; each is found when the caller asks for it.

    Raises:
        ScanError: it is not a list, or is damaged further on.
    """
    position = first_element(raw, start)
    while position is not None:
        value = value_at(raw, position)
        yield value
        position = next_element(raw, value.end)


def first_element(raw: bytes, start: int = 0) -> int | None:
    """Where the first element begins in the list that begins at ``start``; None: it has none.

    Raises:
        ScanError: it is not a list.
    """
    position = _past(raw, start, b"[")
    return None if raw[position : position + 1] == b"]" else position


def next_element(raw: bytes, end: int) -> int | None:
    """Where the element begins that follows on the one that ends at ``end``; None: it was the last one.

    Raises:
        ScanError: neither an element follows nor the end of the list.
    """
    return _next(raw, end, b"]")


def closed(raw: bytes, end: int) -> int:
    """Where the list or object ends that is closed after ``end``."""
    return _after_space(raw, end) + 1


def without_strings(raw: bytes) -> bytes:
    """The text without its strings."""
    return _STRING_OR_REST.sub(b"", raw)


def has_more_values(raw: bytes, than: int) -> bool:
    """Whether a text has more values than ``than``, counted by commas, lists and objects outside strings."""
    return len(raw) > than and values_in(raw) > than and values_in(without_strings(raw)) > than


def depth_of(raw: bytes) -> int:
    """The nesting depth of lists and objects in a JSON text."""
    depth = deepest = 0
    for bracket in _BRACKETS.findall(without_strings(raw)):
        depth += 1 if bracket in _OPENERS else -1
        deepest = max(deepest, depth)
    return deepest


def value_at(raw: bytes, start: int) -> ByteSpan:
    """The value that begins at ``start``, whatever it contains.

    Raises:
        ScanError: there is no value, or it does not end.
    """
    first = raw[start : start + 1]
    if first in (b"{", b"["):
        return ByteSpan(start, _end_of_brackets(raw, start))
    found = (_STRING if first == b'"' else _SCALAR).match(raw, start)
    if found is None:
        raise ScanError(f"no value at byte {start}")
    return ByteSpan(start, found.end())


def _end_of_brackets(raw: bytes, start: int) -> int:
    """Chunk by chunk: brackets are checked one by one only in the chunk in which the depth returns to zero."""
    depth, position = 0, start
    while position < len(raw):
        chunk = _CHUNK.match(raw, position)
        if chunk is None:
            break
        steps = array("b", without_strings(chunk.group()).translate(_STEPS, _NO_BRACKETS))
        if depth + min(accumulate(steps), default=0) <= 0 and (end := _walk(raw, position, chunk.end(), depth)):
            return end
        depth += sum(steps)
        position = chunk.end()
    raise ScanError(f"the value at byte {start} does not end")


def _walk(raw: bytes, start: int, until: int, depth: int) -> int:
    """Where the depth returns to zero before ``until``; 0: nowhere."""
    for found in _BRACKET.finditer(raw, start, until):
        if not found.group(1):
            break
        end = found.end()
        depth += 1 if raw[end - 1] in _OPENING else -1
        if depth == 0:
            return end
    return 0


def _next(raw: bytes, end: int, closing: bytes) -> int | None:
    """Where the value begins after the comma that follows on ``end``; None: the list or object is closed there."""
    position = _after_space(raw, end)
    return None if raw[position : position + 1] == closing else _past(raw, position, b",")


def _past(raw: bytes, start: int, sign: bytes) -> int:
    """Where the next token begins after ``sign``, which must be the first one from ``start`` on."""
    position = _after_space(raw, start)
    if raw[position : position + 1] != sign:
        raise ScanError(f"no {sign.decode()!r} at byte {position}")
    return _after_space(raw, position + 1)


def _after_space(raw: bytes, start: int) -> int:
    found = _SPACE.match(raw, start)
    assert found is not None
    return found.end()
