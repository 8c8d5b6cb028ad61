"""Case styles: ``snake_case``, ``kebab-case``, ``PascalCase``.

Word boundaries are those of the library that Sprig uses, including numbers: ``Bld4Floor3rd`` is ``bld4_floor_3rd``.
Source: templating contract 10.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto
from functools import lru_cache
from typing import Final

from core.expressions.template.characters import SPACES, category, to_lower, to_upper
from core.expressions.template.functions import STRING, FunctionTable

FUNCTIONS: Final = FunctionTable()


class _Word(Enum):
    NONE = auto()
    NUMBER = auto()
    UPPER = auto()
    LETTERS = auto()
    CONNECTOR = auto()
    PUNCTUATION = auto()
    OTHER = auto()


_ALWAYS_JOINED: Final = (_Word.CONNECTOR, _Word.PUNCTUATION)
_CACHED_CHARACTERS: Final = 4096
_DASHES: Final = "-_"  # which are punctuation as well
_CONNECTORS: Final = _DASHES + SPACES
_IDEOGRAPHS: Final = (range(0x4E00, 0x9FCD), range(0x3400, 0x4D86), range(0x20000, 0x2B81E))  # letters of no alphabet
_PIECE: Final = 16_384
_END: Final = (_Word.NONE, "")


@FUNCTIONS.add("snakecase", takes=(STRING,), per_character=1)
def _snakecase(text: str) -> str:
    return _Joiner(text, "_").run()


@FUNCTIONS.add("kebabcase", takes=(STRING,), per_character=1)
def _kebabcase(text: str) -> str:
    return _Joiner(text, "-").run()


@FUNCTIONS.add("camelcase", takes=(STRING,), per_character=1)
def _camelcase(text: str) -> str:
    """Upper case at the start of words; a run of upper-case letters after one becomes lower-case."""
    body = text.lstrip(_CONNECTORS)
    if not body:
        return text + text[-1:]  # the library does the same
    parts = [text[: len(text) - len(body)]]
    in_capitals = category(body[0]) == "Lu"
    current = to_upper(body[0])
    for char in body[1:]:
        before, current = current, char
        if char in _CONNECTORS and before in _CONNECTORS:
            parts.append(before)
            continue
        if before in _CONNECTORS:
            in_capitals = category(char) == "Lu"
            current = to_upper(char)
            continue
        if in_capitals and category(char) == "Lu":
            current = to_lower(char)
        else:
            in_capitals = False
        parts.append(before)
    return "".join([*parts, current])


class _Joiner:
    """Lower-cases words and inserts the connector between two words."""

    def __init__(self, text: str, connector: str) -> None:
        self._words = _split(text)
        self._ahead = next(self._words, None)
        self._connector = connector
        self._parts: list[str] = []

    def run(self) -> str:
        kind, word = self._next()
        while self._ahead is not None:
            if kind is not _Word.CONNECTOR:
                self._add(kind, word)
            before, last = kind, word
            kind, word = self._next()
            if before is _Word.NUMBER:
                kind, word = self._glue(kind, word)
            elif before is _Word.CONNECTOR:
                self._add(before, last)
            elif before is not _Word.PUNCTUATION:
                kind, word = self._after_letters(kind, word)
        self._add(kind, word)
        return "".join(self._parts)

    def _after_letters(self, kind: _Word, word: str) -> tuple[_Word, str]:
        if kind is not _Word.NUMBER:
            self._separate(kind)
            return kind, word
        if self._ahead is None:
            return kind, word
        number = word
        kind, word = self._next()
        if kind is not _Word.LETTERS:  # the number belongs to the word before it
            self._add(_Word.NUMBER, number)
            self._separate(kind)
            return kind, word
        self._parts.append(self._connector)  # the number starts a word of its own, as in http_2xx
        self._add(_Word.NUMBER, number)
        return self._glue(kind, word)

    def _glue(self, kind: _Word, word: str) -> tuple[_Word, str]:
        while kind in (_Word.LETTERS, _Word.NUMBER):
            self._add(kind, word)
            kind, word = self._next()
        if kind is not _Word.NONE:
            self._separate(kind)
        return kind, word

    def _separate(self, following: _Word) -> None:
        if following not in _ALWAYS_JOINED:
            self._parts.append(self._connector)

    def _add(self, kind: _Word, word: str) -> None:
        if kind is _Word.CONNECTOR:
            self._parts.append(self._connector * len(word))
        else:
            self._parts.append("".join(map(_small, word)) if kind is _Word.UPPER else word)

    def _next(self) -> tuple[_Word, str]:
        found, self._ahead = self._ahead or _END, next(self._words, None)
        return found


def _split(text: str) -> Iterator[tuple[_Word, str]]:
    kinds: list[_Word] = []
    for start in range(0, len(text), _PIECE):  # other threads can run between two pieces
        kinds += map(_kind, text[start : start + _PIECE])
    position = 0
    while position < len(text):
        kind = kinds[position]
        end = _end_of_capitals(kinds, position) if kind is _Word.UPPER else _end_of(kinds, position)
        if kind is _Word.PUNCTUATION:
            while end < len(text) and (kinds[end] is kind or text[end] in _DASHES):
                end += 1
        yield kind, text[position:end]
        position = end


def _end_of_capitals(kinds: list[_Word], start: int) -> int:
    """``HTTPStatus`` ends before ``S``; ``Http`` ends after its lower-case letters."""
    end = _end_of(kinds, start)
    if end == len(kinds) or kinds[end] is not _Word.LETTERS:
        return end
    return _end_of(kinds, end) if end - start == 1 else end - 1


def _end_of(kinds: list[_Word], start: int) -> int:
    """Where the run of one kind ends."""
    kind, end = kinds[start], start + 1
    while end < len(kinds) and kinds[end] is kind:
        end += 1
    return end


@lru_cache(maxsize=_CACHED_CHARACTERS)
def _kind(char: str) -> _Word:
    if char in _CONNECTORS:
        return _Word.CONNECTOR
    kind = category(char)
    if kind.startswith("P"):
        return _Word.PUNCTUATION
    if kind == "Lu":
        return _Word.UPPER
    if kind.startswith("L") and not any(ord(char) in ideographs for ideographs in _IDEOGRAPHS):
        return _Word.LETTERS
    return _Word.NUMBER if kind.startswith("N") else _Word.OTHER


def _small(char: str) -> str:
    return to_lower(char) if category(char) == "Lu" else char
