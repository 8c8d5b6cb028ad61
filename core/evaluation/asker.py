"""Who asks: the namespace whose turn a costly evaluation takes, and whom to tell that it waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


def _report_to_nobody(_: float | None) -> None:
    """For whoever shows no waiting."""


@dataclass(frozen=True, slots=True)
class Asker:
    """``report_waiting`` is called with the seconds that the evaluation has waited for its turn, once that is long
    enough to notice, and then with None when it no longer waits. It must neither block nor raise.
    """

    namespace: str = ""
    report_waiting: Callable[[float | None], None] = _report_to_nobody


NOBODY: Final = Asker()
"""For programs in which nobody shares the evaluator."""
