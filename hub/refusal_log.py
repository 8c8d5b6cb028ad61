"""Clients that were refused: each is counted, and the log has one line in a while for each reason.

Whoever reaches the port of the hub can cause refusals as fast as the network allows; neither the log nor the number of
series grows with that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from core.telemetry import metrics
from core.telemetry.hub_catalogue import REFUSALS
from core.telemetry.logs import get_logger
from hub.client_refusal import PASSING, ClientRefusal, Refused

LINE_SECONDS: Final = 10.0
"""Between two lines about one reason."""

_log = get_logger("hub")


@dataclass(slots=True)
class _Written:
    at: float
    silent: int = 0
    """Refusals since, without a line."""


class RefusalLog:
    """Counts and logs.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._written: dict[ClientRefusal, _Written] = {}

    def note(self, refused: Refused, peer: str) -> None:
        """``peer`` is the address of the client."""
        reason = refused.reason
        metrics.count(REFUSALS, reason=str(reason))
        now, last = self._clock(), self._written.get(reason)
        if last is not None and now - last.at < LINE_SECONDS:
            last.silent += 1
            return
        self._written[reason] = _Written(now)
        fields: dict[str, object] = {"reason": str(reason), "cause": refused.status.message, "client": peer}
        if refused.place is not None:
            fields["step"] = str(refused.place)
        if last is not None and last.silent:
            fields["without_a_line"] = last.silent
        write = _log.info if reason in PASSING else _log.warning
        write("a client was refused", **fields)
