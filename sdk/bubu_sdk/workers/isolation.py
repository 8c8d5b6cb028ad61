"""Where the steps of a worker run: the interface that the supervisor uses. Processes and tasks implement it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bubu_sdk.workers.order import StepOrder
from bubu_sdk.workers.outcome import AttemptOutcome


class RunningStep(Protocol):
    """One attempt that has been started."""

    def wait(self) -> AttemptOutcome:
        """Block until nothing of it runs any more, or until it is known that only the end of the worker ends it."""

    def terminate(self) -> None:
        """Ask the function to end, as SIGTERM does. Any thread may call it, more than once; returns at once."""

    def kill(self) -> None:
        """End it by force. Any thread may call it, more than once; returns at once."""

    def discard(self) -> None:
        """Give back what it used; called once, after ``wait`` has returned and its end is reported."""


class Isolation(Protocol):
    """Starts steps."""

    can_kill: bool
    """Whether ``kill`` ends one step alone; otherwise it ends all of them, so a step is asked first and has its grace.
    """

    def prepare(self, lost: Callable[[str], None]) -> None:
        """Get ready to start steps; blocks.

        Args:
            lost: called, from any thread, with a message for the log if it cannot start steps any more.
        Raises:
            EngramError: the program's ``setup`` failed.
        """

    def start(self, order: StepOrder) -> RunningStep:
        """Start one step.

        Raises:
            OSError: it cannot be started.
        """

    def problem(self) -> str | None:
        """Why it cannot end steps any more, if that is so. The supervisor asks at each look; returns at once."""

    def close(self) -> None:
        """End everything that is left, in limited time."""
