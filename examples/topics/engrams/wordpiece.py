"""Splits text into the tokens of an uncased BERT model: words, then the longest pieces that the vocabulary has."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_LONGEST_WORD = 100


def read_vocabulary(file: Path) -> dict[str, int]:
    return {word: number for number, word in enumerate(file.read_text(encoding="utf-8").splitlines())}


def encode(text: str, vocabulary: Mapping[str, int], most: int) -> list[int]:
    """At most ``most`` tokens, with the two that frame every text."""
    found = [vocabulary["[CLS]"]]
    for word in _words(text):
        found += _pieces(word, vocabulary)
        if len(found) >= most:
            break
    return [*found[: most - 1], vocabulary["[SEP]"]]


def _words(text: str) -> Iterator[str]:
    """Lower case, without accents; every punctuation mark is a word."""
    letters = unicodedata.normalize("NFD", text.lower())
    plain = "".join(letter for letter in letters if unicodedata.category(letter) != "Mn")
    word = ""
    for letter in plain:
        if letter.isspace() or _is_mark(letter) or unicodedata.category(letter) in ("Cc", "Cf"):
            if word:
                yield word
            word = ""
            if _is_mark(letter):
                yield letter
        else:
            word += letter
    if word:
        yield word


def _is_mark(letter: str) -> bool:
    return unicodedata.category(letter).startswith("P") or letter in "$+<=>^`|~" or 0x4E00 <= ord(letter) <= 0x9FFF


def _pieces(word: str, vocabulary: Mapping[str, int]) -> Sequence[int]:
    unknown = [vocabulary["[UNK]"]]
    if len(word) > _LONGEST_WORD:
        return unknown
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = f"##{word[start:end]}" if start else word[start:end]
            if piece in vocabulary:
                found.append(vocabulary[piece])
                start = end
                break
        else:
            return unknown
    return found
