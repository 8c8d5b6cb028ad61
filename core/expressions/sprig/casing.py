"""Case styles: ``snake_case``, ``kebab-case``, ``PascalCase``.

The borders of words are those of the library behind Sprig, numbers included: ``Bld4Floor3rd`` is ``bld4_floor_3rd``.
Source: templating contract 10.1.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from enum import Enum, auto
from functools import lru_cache
from typing import Final

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
_END: Final = (_Word.NONE, "")


@FUNCTIONS.add("snakecase", takes=(STRING,), per_character=1)
def _snakecase(text: str) -> str:
    return _Joiner(text, "_").run()


@FUNCTIONS.add("kebabcase", takes=(STRING,), per_character=1)
def _kebabcase(text: str) -> str:
    return _Joiner(text, "-").run()


@FUNCTIONS.add("camelcase", takes=(STRING,), per_character=1)
def _camelcase(text: str) -> str:
    """Capitals at word starts; a run of capitals after one becomes lower-case."""
    body = text.lstrip("".join(char for char in set(text) if _is_connector(char)))
    if not body:
        return text
    parts = [text[: len(text) - len(body)]]
    in_capitals = body[0].isupper()
    current = _upper(body[0])
    for char in body[1:]:
        before, current = current, char
        if _is_connector(before) and _is_connector(char):
            parts.append(before)
            continue
        if _is_connector(before):
            in_capitals = char.isupper()
            current = _upper(char)
            continue
        if in_capitals and char.isupper():
            current = _lower(char)
        else:
            in_capitals = False
        parts.append(before)
    return "".join([*parts, current])


class _Joiner:
    """Lower-cases words and puts the connector where one word ends and the next begins."""

    def __init__(self, text: str, connector: str) -> None:
        self._words = _split(text)
        self._index = 0
        self._connector = connector
        self._parts: list[str] = []

    def run(self) -> str:
        kind, word = self._next()
        while self._index < len(self._words):
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
        if self._index >= len(self._words):
            return kind, word
        number = word
        kind, word = self._next()
        if kind is not _Word.LETTERS:  # the number belongs to the word before it
            self._add(_Word.NUMBER, number)
            self._separate(kind)
            return kind, word
        self._parts.append(self._connector)  # the number begins a word of its own, as in http_2xx
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
            self._parts.append("".join(map(_lower, word)) if kind is _Word.UPPER else word)

    def _next(self) -> tuple[_Word, str]:
        found = self._words[self._index] if self._index < len(self._words) else _END
        self._index += 1
        return found


def _split(text: str) -> list[tuple[_Word, str]]:
    words: list[tuple[_Word, str]] = []
    position = 0
    while position < len(text):
        kind = _kind(text[position])
        end = _end_of_capitals(text, position) if kind is _Word.UPPER else _end_of(text, position, _members(kind))
        words.append((kind, text[position:end]))
        position = end
    return words


def _end_of_capitals(text: str, start: int) -> int:
    """``HTTPStatus`` ends before ``S``, ``Http`` behind its small letters."""
    end = _end_of(text, start, str.isupper)
    if end - start == 1:
        return _end_of(text, start, _is_small_letter)
    followed_by_letter = end < len(text) and text[end].isalpha()
    return end - 1 if followed_by_letter else end


def _end_of(text: str, start: int, belongs: Callable[[str], bool]) -> int:
    end = start + 1
    while end < len(text) and belongs(text[end]):
        end += 1
    return end


def _members(kind: _Word) -> Callable[[str], bool]:
    match kind:
        case _Word.LETTERS:
            return _is_small_letter
        case _Word.NUMBER:
            return str.isnumeric
        case _:
            return lambda char: _kind(char) is kind


@lru_cache(maxsize=_CACHED_CHARACTERS)
def _kind(char: str) -> _Word:
    if _is_connector(char):
        return _Word.CONNECTOR
    if _is_punctuation(char):
        return _Word.PUNCTUATION
    if char.isupper():
        return _Word.UPPER
    if char.isalpha():
        return _Word.LETTERS
    return _Word.NUMBER if char.isnumeric() else _Word.OTHER


def _is_connector(char: str) -> bool:
    return char in "-_" or char.isspace()


def _is_punctuation(char: str) -> bool:
    return unicodedata.category(char).startswith("P")


def _is_small_letter(char: str) -> bool:
    return char.isalpha() and not char.isupper()


def _upper(char: str) -> str:
    return upper if len(upper := char.upper()) == 1 else char


def _lower(char: str) -> str:
    return char.lower()[0]
