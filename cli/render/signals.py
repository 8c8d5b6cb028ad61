"""The signals of steps in a pipe: one line for each new one, in a form for grep. Pure but for what was printed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from bubu_contract.instants import format_instant
from views.run_view import RunView
from views.sign import word_of
from views.signals import SignalView

SIGNAL_EVERY: Final = timedelta(seconds=1)
"""Between two lines about the signals of one step; the newest one is printed."""


class SignalLines:
    """A line for each step that has sent another signal since its last line."""

    def __init__(self) -> None:
        self._printed: dict[str, tuple[datetime, SignalView]] = {}

    def lines(self, view: RunView, now: datetime) -> list[str]:
        """The lines that are due; a step that has ended does not wait for its turn."""
        found = []
        for step in view.steps:
            signal = step.signal
            printed_at, printed = self._printed.get(step.name, (None, None))
            if signal is None or signal == printed:
                continue
            if step.at_work and printed_at is not None and now - printed_at < SIGNAL_EVERY:
                continue
            self._printed[step.name] = now, signal
            stamp = format_instant(signal.at or now)
            found.append(f"{stamp} {view.name} {step.name} {word_of(step.phase)}  {signal}")
        return found
