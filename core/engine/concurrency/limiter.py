"""Lets a run wait for its turn among the runs of a Story (core.engine.concurrency.rules decides).

A waiting run looks again when the run before it has ended, so an end wakes one run, however many wait; it also looks
from time to time to report its place. A run starts only after a look at all runs of the Story at that moment. A run
that has to wait may get its place from the line that the look of another run has left
(core.engine.concurrency.wait_line), so the number of looks does not grow with the number of runs. One
``ConcurrencyLimiter`` serves all runs of a process. It reads the runs of other processes as they are stored, but does
not know which runs these have just let start: the runs of a Story whose turns must hold belong to one process.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Protocol

import trio

from core.api.objects import NamespacedName, Object
from core.engine.calls import Pace, committed, patiently
from core.engine.concurrency.rules import (
    LONGEST_CHAIN,
    Begin,
    CancelFirst,
    Turn,
    WaitFor,
    parent_of,
    takes_turns,
    turn_of,
)
from core.engine.concurrency.wait_line import WaitLine
from core.engine.errors import GoneError, StaleError

LOOK_AGAIN_SECONDS: Final = 10.0
"""Shortest time between two looks of a waiting run; further back in the line it is one second for each place."""
LONGEST_PAUSE_SECONDS: Final = 600.0
KEPT_SECONDS: Final = 1.0
"""How long a line is kept at least; changes that it missed are seen after that. A long line is kept longer, up to
``LOOK_AGAIN_SECONDS``, so that building lines takes the same small share of the time, however many runs wait."""
_KEPT_SECONDS_FOR_EACH: Final = 0.001


class StoredRuns(Protocol):
    """The part of ``RunStore`` that waiting for a turn needs; with the same guarantees and errors."""

    async def read_run(self, key: NamespacedName) -> Object | None: ...

    async def read_story(self, namespace: str, name: str) -> Object | None: ...

    async def live_runs_of_story(self, namespace: str, name: str) -> list[Object]: ...

    async def request_cancel(self, run: Object) -> None: ...


class ConcurrencyLimiter:
    """``ended`` must be called for every run that has ended or is gone; any task that sees that may call it."""

    def __init__(self, runs: StoredRuns) -> None:
        self._runs = runs
        self._started: set[str] = set()
        """UIDs of runs that may start, also before their start is stored: else two looks could let two runs start."""
        self._waiting: defaultdict[str, list[trio.Event]] = defaultdict(list)
        self._ends = 0
        self._lines: dict[tuple[object, ...], tuple[float, WaitLine]] = {}
        """For each Story and scope: until when the line may be used, and the line."""
        self._looks: dict[tuple[object, ...], trio.Lock] = {}

    async def wait(
        self, run: Object, story: Object, report: Callable[[str], None], pace: Pace, *, outlives: bool = False
    ) -> bool:
        """True when ``run`` may start; False when ``story`` is no longer the live one: the run must wait by the new
        one.

        Two runs that wait by different rules could wait for each other. ``report`` is called with what the run waits
        for, and again when that has changed. ``outlives``: the run can continue, and waits by the same rules, if the
        Story is deleted.

        Older runs are asked to end if the Story says so. Cancellation leaves no trace.

        Raises:
            RejectedError: admission does not allow to ask an older run to end.
        """
        if not takes_turns(story):
            return await self.is_current(story, pace, outlives)
        above = await self._ancestors(run, pace)
        reported: tuple[object, ...] | None = None
        while True:
            ends = self._ends
            turn = self._place_in_line(run, story, above) or await self._look(run, story, above, pace)
            if isinstance(turn, Begin):
                if await self.is_current(story, pace, outlives):
                    return True
                self.ended(str(run["metadata"]["uid"]))
                return False
            if turn.what != reported:
                reported = turn.what
                report(turn.message)
            if isinstance(turn, CancelFirst):
                await self._cancel(turn.runs, pace)
                until, place = str(turn.runs[-1]["metadata"]["uid"]), 1
            else:
                until, place = turn.until, turn.place
            if ends == self._ends:  # else a run has ended during the look
                await self._until_ended(until, min(max(LOOK_AGAIN_SECONDS, place), LONGEST_PAUSE_SECONDS))
            if not await self.is_current(story, pace, outlives):
                return False

    async def is_current(self, story: Object, pace: Pace, outlives: bool = False) -> bool:
        """Whether ``story`` is the live version of the Story; ``outlives``: the answer if there is no live one."""
        current = await patiently(self._runs.read_story, *_place_of(story), pace=pace)
        return outlives if current is None else _version_of(current) == _version_of(story)

    def ended(self, run_uid: str) -> None:
        """The run has ended or is gone: the next run looks. May be called any number of times."""
        self._ends += 1
        self._started.discard(run_uid)
        for _, line in self._lines.values():
            line.ended(run_uid)
        for event in self._waiting.pop(run_uid, ()):
            event.set()

    async def _look(self, run: Object, story: Object, above: list[str], pace: Pace) -> Turn:
        """Look at all runs of the Story at this moment; if many want to, only one does, and the others use its line.

        A run that may start is noted before this returns.
        """
        async with self._look_of(_line_key(story)):
            known = self._place_in_line(run, story, above)
            if known is not None:
                return known
            ends = self._ends
            live = await patiently(self._runs.live_runs_of_story, *_place_of(story), pace=pace)
            turn = turn_of(run, live, story, begun=self._started, ancestors=above)
            if isinstance(turn, Begin):
                self._note_start(run, story)
            elif ends == self._ends:
                self._keep_line(live, story)
            return turn

    def _look_of(self, line_key: tuple[object, ...]) -> trio.Lock:
        look = self._looks.get(line_key)
        if look is None:
            self._looks = {key: other for key, other in self._looks.items() if other.locked()}
            look = self._looks[line_key] = trio.Lock()
        return look

    def _note_start(self, run: Object, story: Object) -> None:
        self._started.add(str(run["metadata"]["uid"]))
        for story_key, (_, line) in self._lines.items():
            if story_key[:2] == _place_of(story):
                line.began(run)

    def _place_in_line(self, run: Object, story: Object, above: list[str]) -> WaitFor | None:
        kept_until, line = self._lines.get(_line_key(story), (0.0, None))
        return line.place_of(run, above) if line is not None and trio.current_time() < kept_until else None

    def _keep_line(self, live: Iterable[Object], story: Object) -> None:
        """Keep the line until it is too old to be used; then only a new look makes a new one."""
        if story["spec"]["concurrency"]["mode"] != "serial":
            return
        now = trio.current_time()
        self._lines = {key: kept for key, kept in self._lines.items() if now < kept[0]}
        line = WaitLine(live, story, self._started)
        seconds = min(max(KEPT_SECONDS, len(line) * _KEPT_SECONDS_FOR_EACH), LOOK_AGAIN_SECONDS)
        self._lines[_line_key(story)] = (now + seconds, line)

    async def _cancel(self, rivals: Iterable[Object], pace: Pace) -> None:
        for rival in rivals:
            with suppress(StaleError, GoneError):  # it has changed, perhaps ended: the next look shows it
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
        """UIDs of all runs above ``run``, of any Story, nearest first."""
        found: list[str] = []
        one: Object | None = run
        while one is not None and len(found) < LONGEST_CHAIN:
            parent = parent_of(one)
            if parent is None:
                break
            found.append(str(parent.get("uid")))
            key = NamespacedName(str(one["metadata"]["namespace"]), str(parent.get("name")))
            one = await patiently(self._runs.read_run, key, pace=pace)
            if one is not None and one["metadata"]["uid"] != found[-1]:
                break
        return found


def _place_of(story: Object) -> tuple[str, str]:
    return str(story["metadata"]["namespace"]), str(story["metadata"]["name"])


def _version_of(story: Object) -> tuple[object, object]:
    metadata = story["metadata"]
    return metadata.get("uid"), metadata.get("generation")


def _line_key(story: Object) -> tuple[object, ...]:
    """Runs wait by the Story as they have read it; runs that have read the same rules are in one line."""
    concurrency = story["spec"]["concurrency"]
    return *_place_of(story), concurrency["mode"], concurrency.get("scope")
