"""Sorts in pieces, so that other threads can run in between.

``sorted`` over a hundred thousand strings holds the interpreter, and with it the event loop, for tens of milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import Any, Final

_PIECE: Final = 8_192


def ordered(texts: Iterable[str], key: Callable[[str], Any] | None = None) -> list[str]:
    """``sorted(texts, key=key)``."""
    rest = iter(texts)
    runs: list[list[str]] = []
    while piece := list(islice(rest, _PIECE)):
        runs.append(sorted(piece, key=key))
    while len(runs) > 1:  # merging two sorted lists takes linear time; equal items keep their order
        runs = [sorted(chain(*runs[place : place + 2]), key=key) for place in range(0, len(runs), 2)]
    return runs[0] if runs else []
