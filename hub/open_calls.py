"""The calls of one session: how long each was open, and with which code it has ended. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bubu_wire.status import StatusCode


@dataclass(slots=True)
class OpenCalls:
    """``on_end`` gets path, code and seconds of each call, once."""

    on_end: Callable[[str, StatusCode, float], None]
    _open: dict[int, tuple[str, float]] = field(default_factory=dict)

    def began(self, call: int, path: str, now: float) -> None:
        self._open[call] = path, now

    def ended(self, call: int, code: StatusCode, now: float) -> None:
        """It has ended, by whichever side; what is not open is left out."""
        if (known := self._open.pop(call, None)) is not None:
            path, since = known
            self.on_end(path, code, max(0.0, now - since))

    def all_ended(self, code: StatusCode, now: float) -> None:
        for call in tuple(self._open):
            self.ended(call, code, now)
