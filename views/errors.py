"""Requests that a view cannot answer. Pure; each surface adds its own remedy if the remedy is a flag or a button."""

from __future__ import annotations

from collections.abc import Sequence


class ViewError(Exception):
    """The run or its Story does not have the requested part. ``remedy`` says what to do, in one sentence."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class NoFailedStepError(ViewError):
    """No step of the run has failed."""


class SeveralFailedStepsError(ViewError):
    """Several steps have failed independently. ``steps`` names them, in spec order."""

    def __init__(self, steps: Sequence[str]) -> None:
        super().__init__(f"{len(steps)} steps failed independently: {', '.join(steps)}; a retry starts at one step")
        self.steps = tuple(steps)
