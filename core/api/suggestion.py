"""The known word a misspelt one most likely stood for."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Iterable
from itertools import islice
from typing import Final

_LIKENESS: Final = 0.7
_MAX_CHARACTERS: Final = 64  # names of people's making are shorter
_MAX_KNOWN: Final = 240
_COMPARED: Final = 4  # in earnest, which takes time quadratic in their length


def closest(word: str, known: Iterable[str]) -> str | None:
    """The most similar of ``known``, or None when none is similar; case, dashes and underscores do not count.

    Takes a few milliseconds at most: long words are similar to nothing, and of very many only the first count.
    """
    if len(word) > _MAX_CHARACTERS:
        return None
    candidates = (candidate for candidate in islice(known, _MAX_KNOWN) if len(candidate) <= _MAX_CHARACTERS)
    by_folded = {_folded(candidate): candidate for candidate in candidates}
    matcher = difflib.SequenceMatcher()
    matcher.set_seq2(_folded(word))
    roughly: list[tuple[float, str]] = []
    for candidate in by_folded:
        matcher.set_seq1(candidate)
        if matcher.real_quick_ratio() >= _LIKENESS and (ratio := matcher.quick_ratio()) >= _LIKENESS:
            roughly.append((ratio, candidate))
    likely = [candidate for _, candidate in heapq.nlargest(_COMPARED, roughly)]
    matches = difflib.get_close_matches(_folded(word), likely, n=1, cutoff=_LIKENESS)
    return by_folded[matches[0]] if matches else None


def _folded(word: str) -> str:
    return word.replace("_", "").replace("-", "").lower()
