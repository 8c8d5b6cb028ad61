"""How many TransportBindings are created or changed at once: so many in a burst, and so many more in each delay.

Each write has its turn in a line, so no step starves, and a step that waits looks again when its turn has come. Writes
that end a stream take no turn. Every process counts for itself: a new leader begins with a new burst.
Source: operator contract 3.8.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import trio

from core.api.objects import Object
from core.engine.errors import ThrottledError
from core.policy.settings import BindingLimit, OperatorSettings
from core.workloads.live_run import is_live_run

_LONGEST_WAIT_SECONDS: Final = 30.0
"""After this time a step looks again: the limit may be another one."""
_REMEMBERED_SECONDS: Final = 60.0
"""How long a line is kept after its last turn and a delay."""


@dataclass(slots=True)
class _Line:
    """The turns of one run, or of one Story."""

    limit: BindingLimit
    recent: deque[float]
    """When the last turns were, or will be; as many as one delay may have."""
    taken: list[float] = field(default_factory=list)
    """The turns of the last delay that were taken."""
    reserved: dict[str, float] = field(default_factory=dict)
    """Claimant → its turn, as long as it has not been taken."""

    @property
    def is_needed_until(self) -> float:
        return (self.recent[-1] if self.recent else 0.0) + self.limit.delay.total_seconds() + _REMEMBERED_SECONDS

    def turn_of(self, claimant: str, now: float) -> float:
        turn = self.reserved.get(claimant)
        if turn is None:
            is_full = len(self.recent) == self.recent.maxlen
            turn = max(now, self.recent[0] + self.limit.delay.total_seconds()) if is_full else now
            self.recent.append(turn)
            self.reserved[claimant] = turn
        return turn

    def take(self, claimant: str, now: float) -> None:
        del self.reserved[claimant]
        self.taken = [turn for turn in self.taken if turn > now - self.limit.delay.total_seconds()] + [now]


class BindingBudget:
    """Asked before each write of a binding that starts a stream."""

    def __init__(self, settings: Callable[[], OperatorSettings]) -> None:
        """
        Args:
            settings: the current ones; a changed limit applies to everybody who waits.
        """
        self._settings = settings
        self._lines: dict[str, _Line] = {}

    def take_turn(self, run: Object, claimant: str) -> None:
        """Return if the binding may be written now.

        Args:
            run: the StoryRun of the step.
            claimant: identifies the write; it has its turn once.

        Raises:
            ThrottledError: it must wait.
        """
        owner, key, limit = self._owner(run)
        if limit.max_mutations == 0:
            self._lines.pop(owner, None)
            return
        now = trio.current_time()
        line = self._line(owner, limit, now)
        turn = line.turn_of(claimant, now)
        if turn <= now:
            line.take(claimant, now)
            return
        raise ThrottledError(
            f"waits for its turn: at most {limit.max_mutations} TransportBindings are created or changed in "
            f"{limit.delay.total_seconds():g} s ({key})",
            retry_after_seconds=min(turn - now, _LONGEST_WAIT_SECONDS),
        )

    def _owner(self, run: Object) -> tuple[str, str, BindingLimit]:
        """Whose line it is, the key of its limit, and the limit."""
        settings, metadata = self._settings(), run["metadata"]
        if is_live_run(run):
            story = f"{metadata['namespace']}/{run['spec']['storyRef']['name']}"
            return story, "story.binding.max-mutations-per-reconcile", settings.story_bindings
        return str(metadata["uid"]), "storyrun.binding.max-mutations-per-reconcile", settings.story_run_bindings

    def _line(self, owner: str, limit: BindingLimit, now: float) -> _Line:
        line = self._lines.get(owner)
        if line is None:
            self._lines = {name: each for name, each in self._lines.items() if each.is_needed_until > now}
            line = self._lines[owner] = _Line(limit, deque(maxlen=limit.max_mutations))
        elif line.limit != limit:  # what has happened counts, what was reserved does not
            line = self._lines[owner] = _Line(limit, deque(line.taken, maxlen=limit.max_mutations), list(line.taken))
        return line
