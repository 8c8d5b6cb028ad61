"""What etcd has stored of StoryTriggers and StoryRuns: how often each was created, answered, and ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import trio

from core.workloads.trigger import FINAL_DECISIONS
from tests.integration.operator_cluster import NAMESPACE_NAME, status_of
from tools.control_plane.history import Write, following

_RUNS: Final = f"runs.bubustack.io/storyruns/{NAMESPACE_NAME}/"
_TRIGGERS: Final = f"runs.bubustack.io/storytriggers/{NAMESPACE_NAME}/"


class StoredAnswer(NamedTuple):
    """The final answer of a StoryTrigger, as far as it must never change."""

    decision: str
    run: str
    run_uid: str
    completed_at: str


@dataclass
class Ledger:
    """Everything by name. Nothing of an object is kept, so ten thousand take little memory."""

    runs_created: Counter[str] = field(default_factory=Counter)
    runs_ended: set[str] = field(default_factory=set)
    triggers_created: Counter[str] = field(default_factory=Counter)
    deleted: list[str] = field(default_factory=list)
    """Keys of deleted objects."""
    answers: dict[str, list[StoredAnswer]] = field(default_factory=dict)
    """StoryTrigger → its answers, one after the other; a write that leaves the answer as it is counts for none."""
    _changed: trio.Event = field(default_factory=trio.Event)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return when ``holds`` is true; it is asked whenever something was written, and by ``wake``."""
        while not holds():
            await self._changed.wait()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        self._changed.set()
        self._changed = trio.Event()

    def note(self, write: Write) -> None:
        prefix, _, name = write.key.rpartition("/")
        if write.content is None:
            self.deleted.append(write.key)
        elif f"{prefix}/" == _RUNS:
            self.runs_created[name] += write.created
            if status_of(write.content).get("finishedAt"):
                self.runs_ended.add(name)
        elif f"{prefix}/" == _TRIGGERS:
            self.triggers_created[name] += write.created
            self._note_answer(name, status_of(write.content))
        self.wake()

    def _note_answer(self, name: str, status: dict[str, object]) -> None:
        if status.get("decision") not in FINAL_DECISIONS:
            return
        run = status.get("storyRunRef") or {}
        assert isinstance(run, dict)
        values = (status["decision"], run.get("name"), run.get("uid"), status.get("completedAt"))
        answer = StoredAnswer(*(str(value or "") for value in values))
        known = self.answers.setdefault(name, [])
        if known[-1:] != [answer]:
            known.append(answer)


@asynccontextmanager
async def open_ledger(etcd_url: str) -> AsyncIterator[Ledger]:
    """Follows the writes from now on, during the block. etcd itself reports them, and is not killed."""
    ledger = Ledger()
    async with following(etcd_url, ledger.note, under="runs.bubustack.io/story"):
        yield ledger
