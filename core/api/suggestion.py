"""The known word a misspelt one most likely stood for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LIKENESS = 0.7


def closest(word: str, known: Iterable[str]) -> str | None:
    """The most similar of ``known``, or None when none is similar; case, dashes and underscores do not count."""
    by_folded = {_folded(candidate): candidate for candidate in known}
    matches = difflib.get_close_matches(_folded(word), by_folded, n=1, cutoff=_LIKENESS)
    return by_folded[matches[0]] if matches else None


def _folded(word: str) -> str:
    return word.replace("_", "").replace("-", "").lower()
