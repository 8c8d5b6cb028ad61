"""Waiting for one's turn among the runs of a Story (core.engine.turns decides).

A waiting run looks again when the one before it has ended, so that an end wakes one run, however many wait; and now and
then to tell its place. One ``Turns`` serves all runs of a process.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import trio

from core.engine.calls import Pace, committed, patiently
from core.engine.errors import GoneError, StaleError
from core.engine.ports import Object, RunKey, RunStore
from core.engine.turns import Begin, CancelFirst, parent_of, takes_turns, turn_of

LOOK_AGAIN_SECONDS: Final = 10.0
"""Shortest time between two looks of a run that waits; further back it is a second for each place."""
LONGEST_PAUSE_SECONDS: Final = 600.0
_LONGEST_CHAIN: Final = 64


class Turns:
    """``ended`` is told of every run that has ended or is gone, by whoever comes to know it."""

    def __init__(self, runs: RunStore) -> None:
        self._runs = runs
        self._begun: set[str] = set()
        """Told to begin, whether or not it is stored yet: two looks within that time must not let two begin."""
        self._waiting: defaultdict[str, list[trio.Event]] = defaultdict(list)
        self._ends = 0

    async def wait(self, run: Object, story: Object, tell: Callable[[str], None], pace: Pace) -> None:
        """Return when ``run`` may begin. ``tell`` hears what it waits for, and again when that has changed.

        Older runs are asked to end where the Story says so. Cancellation leaves no trace.

        Raises:
            RejectedError: admission forbids to ask an older run to end.
        """
        if not takes_turns(story):
            await trio.lowlevel.checkpoint()
            return
        namespace, name = story["metadata"]["namespace"], story["metadata"]["name"]
        above = await self._ancestors(run, pace)
        told = ""
        while True:
            ends = self._ends
            live = await patiently(self._runs.live_runs_of_story, namespace, name, pace=pace)
            turn = turn_of(run, live, story, begun=self._begun, ancestors=above)
            if isinstance(turn, Begin):
                self._begun.add(str(run["metadata"]["uid"]))
                return
            if turn.message != told:
                told = turn.message
                tell(told)
            if isinstance(turn, CancelFirst):
                await self._cancel(turn.runs, pace)
                until, place = str(turn.runs[-1]["metadata"]["uid"]), 1
            else:
                until, place = turn.until, turn.place
            if ends == self._ends:  # else somebody ended while we looked
                await self._until_ended(until, min(max(LOOK_AGAIN_SECONDS, place), LONGEST_PAUSE_SECONDS))

    def ended(self, run_uid: str) -> None:
        """The run has ended or is gone: whoever is next looks. Again and again is fine."""
        self._ends += 1
        self._begun.discard(run_uid)
        for event in self._waiting.pop(run_uid, ()):
            event.set()

    async def _cancel(self, rivals: Iterable[Object], pace: Pace) -> None:
        for rival in rivals:
            with suppress(StaleError, GoneError):  # it has changed, perhaps ended: the next look tells
                await patiently(self._ask_to_end, rival, pace=pace)

    async def _ask_to_end(self, rival: Object) -> None:
        await committed(self._runs.request_cancel, rival)

    async def _until_ended(self, run_uid: str, at_most_seconds: float) -> None:
        event = trio.Event()
        self._waiting[run_uid].append(event)
        try:
            with trio.move_on_after(at_most_seconds):
                await event.wait()
        finally:
            if not event.is_set():
                self._waiting[run_uid].remove(event)
                if not self._waiting[run_uid]:
                    del self._waiting[run_uid]

    async def _ancestors(self, run: Object, pace: Pace) -> list[str]:
        """UIDs of all runs above ``run``, of whatever Story, nearest first."""
        found: list[str] = []
        one: Object | None = run
        while one is not None and len(found) < _LONGEST_CHAIN:
            parent = parent_of(one)
            if parent is None:
                break
            found.append(str(parent.get("uid")))
            key = RunKey(str(one["metadata"]["namespace"]), str(parent.get("name")))
            one = await patiently(self._runs.read_run, key, pace=pace)
            if one is not None and one["metadata"]["uid"] != found[-1]:
                break
        return found
