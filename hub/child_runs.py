"""StoryRuns that packets start: the port of ``executeStory`` steps in a stream. Source: streaming contract 12."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from core.api.objects import NamespacedName


class ChildRunError(Exception):
    """The StoryRun could not be started, or has not succeeded. The message says why; the packet is lost."""


@dataclass(frozen=True, slots=True)
class ChildOrder:
    """A StoryRun that a packet asks for."""

    parent: NamespacedName
    step: str
    key: str
    """The same for the same packet, whenever it comes: the name of the StoryRun is made of it."""
    story: Mapping[str, Any]
    """``storyRef``: ``name``, perhaps ``namespace`` and ``version``."""
    inputs: Mapping[str, Any]
    waits: bool
    """Whether its end is waited for."""
    parent_uid: str = ""
    """UID of the parent; empty if it is unknown."""
    timeout: float | None = None
    """Seconds until the packet is given up; None: as long as is usual."""
    runs_step: bool = False
    """Whether the StoryRun executes ``step`` itself, as a Job, and not another Story: then ``story`` is empty."""


class StreamChildRuns(Protocol):
    """Starts StoryRuns, each at most once."""

    async def run(self, order: ChildOrder) -> Mapping[str, Any]:
        """Start the StoryRun, unless one of that key exists; returns its output if its end was waited for.

        Raises:
            ChildRunError: it could not be started, or has not succeeded.
            Cancellation: the StoryRun goes on; the same order finds it again.
        """
        ...
