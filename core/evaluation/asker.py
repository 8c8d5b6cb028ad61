"""The asker of an evaluation: the namespace whose turn it takes, and the function to call while it waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


def _report_to_nobody(_: float | None) -> None:
    """For askers that do not show that they wait."""


@dataclass(frozen=True, slots=True)
class Asker:
    """``report_waiting`` is called with the seconds that the evaluation has waited for its turn, when the wait is long
    enough to notice, and later with None when the wait is over. It must neither block nor raise.
    """

    namespace: str = ""
    report_waiting: Callable[[float | None], None] = _report_to_nobody


NOBODY: Final = Asker()
"""For programs in which the evaluator is not shared between namespaces."""
