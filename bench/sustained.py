"""The search for the highest rate that a system keeps up with. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

_STEP: Final = 0.9
_SLACK_SECONDS: Final = 0.5
"""The backlog may vary by what arrives in this time."""


def keeps_up(backlog: Sequence[int], per_second: float) -> bool:
    """Whether the backlog did not grow, given its size once a second: the mean of the last third against the first."""
    third = max(1, len(backlog) // 3)
    growth = statistics.mean(backlog[-third:]) - statistics.mean(backlog[:third])
    return growth <= per_second * _SLACK_SECONDS


@dataclass
class RateSearch:
    """Tries ``per_second``, which begins at an estimate, and goes down by a tenth until a rate is kept up with."""

    per_second: float
    too_high: list[float] = field(default_factory=list)
    is_over: bool = False

    def note(self, kept_up: bool) -> None:
        """How the try ended."""
        if kept_up:
            self.is_over = True
        else:
            self.too_high.append(self.per_second)
            self.per_second *= _STEP
