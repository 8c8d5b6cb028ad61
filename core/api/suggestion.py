"""The known word that is most similar to an unknown one."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Iterable
from itertools import islice
from typing import Final

_LIKENESS: Final = 0.7
_MAX_CHARACTERS: Final = 64  # names that people choose are shorter
_MAX_KNOWN: Final = 240
_COMPARED: Final = 4  # compared exactly, which takes time quadratic in their length


def closest(word: str, known: Iterable[str]) -> str | None:
    """The most similar of ``known``, or None when none is similar; case, dashes and underscores are ignored.

    Takes a few milliseconds at most: long words match nothing, and of very many known words only the first are
    compared.
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
