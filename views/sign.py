"""A sign and a colour for each phase. The word of the phase is always shown next to them."""

from __future__ import annotations

from typing import Final

from core.api.phases import Phase

_SIGNS: Final[dict[Phase | None, tuple[str, str]]] = {
    None: ("◷", "bright_black"),
    Phase.PENDING: ("◷", "bright_black"),
    Phase.SCHEDULING: ("◷", "bright_black"),
    Phase.BLOCKED: ("◷", "yellow"),
    Phase.RUNNING: ("●", "cyan"),
    Phase.PAUSED: ("ǁ", "yellow"),
    Phase.SUCCEEDED: ("✔", "green"),
    Phase.SKIPPED: ("○", "bright_black"),
    Phase.FAILED: ("✖", "red"),
    Phase.TIMEOUT: ("✖", "red"),
    Phase.ABORTED: ("✖", "red"),
    Phase.CANCELED: ("✖", "magenta"),
    Phase.FINISHED: ("✖", "magenta"),
    Phase.COMPENSATED: ("↺", "yellow"),
}


def sign_of(phase: Phase | None) -> str:
    return _SIGNS[phase][0]


def colour_of(phase: Phase | None) -> str:
    return _SIGNS[phase][1]


def word_of(phase: Phase | None) -> str:
    """The word for a phase; a step or run that has not begun is Pending."""
    return (phase or Phase.PENDING).value
