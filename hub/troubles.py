"""Lost packets of one step: counted by reason, and logged without filling the log."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import count as count_up
from typing import Final

from core.telemetry.logs import get_logger

_log = get_logger("hub")
_order: Final = count_up(1)


@dataclass(slots=True)
class Troubles:
    """Packets of one step that were lost, by reason, and the last cause in words."""

    place: str
    counts: Counter[str] = field(default_factory=Counter)
    last: str = ""
    noted: int = 0
    """When ``last`` came: a later cause, of any step, has a larger number."""

    def note(self, reason: str, why: str, count: int = 1) -> None:
        before = self.counts[reason]
        self.counts[reason] = now = before + count
        if why:
            self.last, self.noted = f"{reason}: {why}", next(_order)
        if why and before.bit_length() != now.bit_length():
            # the 1st, 2nd, 4th, 8th …: a producer of garbage must not fill the log
            _log.warning("a packet was refused", step=self.place, reason=str(reason), cause=why, count=now)
