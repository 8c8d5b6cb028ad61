"""Who asks: the namespace whose turn a costly evaluation takes, and whom to tell that it waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


def _tell_nobody(_: float | None) -> None:
    """For whoever shows no waiting."""


@dataclass(frozen=True, slots=True)
class Asker:
    """``tell_waiting`` is called with the seconds that the evaluation has waited for its turn, once that is noticeably
    long, and then with None when it no longer waits. It must neither block nor raise.
    """

    namespace: str = ""
    tell_waiting: Callable[[float | None], None] = _tell_nobody


NOBODY: Final = Asker()
"""For programs in which nobody shares the evaluator."""
