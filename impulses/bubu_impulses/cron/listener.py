"""The loop of a cron Impulse: one task for each schedule, which sleeps until the next start and submits it.

A schedule keeps nothing but the instant that it has dealt with last. After a restart it finds that instant among the
StoryTriggers that exist: a start whose StoryTrigger exists was made. If none of the schedule is left, because it is new
or because they were all removed, it looks back five minutes. Runs of earlier starts are found in the same way, by name.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

import trio

from bubu_impulses.cron.ports import Starter, WallClock
from bubu_impulses.cron.schedule import MAX_MISSED, UNKNOWN_PAST, Concurrency, Schedule, Start
from bubu_sdk import (
    EngramError,
    TriggerConflictError,
    TriggerPendingError,
    TriggerRejectedError,
)
from bubu_sdk.kube import KubeError

_FIRST_PAUSE: Final = timedelta(seconds=1)
_LAST_PAUSE: Final = timedelta(seconds=30)

T = TypeVar("T")


async def listen(schedules: Sequence[Schedule], starter: Starter, clock: WallClock, log: logging.Logger) -> None:
    """Follow all schedules until cancelled."""
    async with trio.open_nursery() as nursery:
        for schedule in schedules:
            nursery.start_soon(Follower(schedule, starter, clock, log).run, name=f"schedule {schedule.name}")


class Follower:
    """Follows one schedule."""

    def __init__(self, schedule: Schedule, starter: Starter, clock: WallClock, log: logging.Logger) -> None:
        self._schedule = schedule
        self._starter = starter
        self._clock = clock
        self._log = log
        self._perhaps_active: list[Start] = []
        """Earlier starts whose runs may be active, oldest first: made by this process, or by another one."""

    async def run(self) -> None:
        """Submit every start that is due, until cancelled, or until the schedule has no further instant."""
        done = await self._resume()
        schedule = self._schedule
        while (upcoming := schedule.next_after(done)) is not None:
            await self._clock.sleep_until(schedule.due_at(upcoming))
            now = self._clock.now()
            done = max(done, schedule.earliest(now))
            due = schedule.due(done, now)
            plan = schedule.plan(due, now)
            if plan.dropped:
                self._log.warning("%d starts were missed", plan.dropped, extra=self._fields())
            for one in plan.starts:
                await self._make(one)
            done = max([done, *due])
        self._log.warning("the schedule has no further start", extra=self._fields())

    async def _resume(self) -> datetime:
        """The instant that was dealt with last, by this process or an earlier one."""
        schedule, now = self._schedule, self._clock.now()
        if schedule.concurrency is not Concurrency.ALLOW:
            instants = await self._persisted("reading the active runs", lambda: self._starter.active_instants(schedule))
            self._perhaps_active = [schedule.start(one) for one in instants or ()]
        created = await self._persisted("reading the Impulse", self._starter.created_at)
        floor = schedule.earliest(now) if created is None else max(schedule.earliest(now), created)
        newest = schedule.newest(floor, now)
        for one in reversed(newest):
            if await self._was_made(one):
                return one
        if len(newest) == MAX_MISSED:
            # Too many to look at all of them: a few earlier ones show whether the schedule was followed at all.
            for one in schedule.samples(newest[0], floor):
                if await self._was_made(one):
                    return newest[0] - timedelta(microseconds=1)
        return max(floor, now - UNKNOWN_PAST - schedule.jitter)

    async def _was_made(self, instant: datetime) -> bool:
        look = partial(self._starter.was_submitted, self._schedule.start(instant))
        return bool(await self._persisted("reading the earlier starts", look))

    async def _make(self, instant: datetime) -> None:
        start, due_at = self._schedule.start(instant), self._schedule.due_at(instant)
        made = await self._persisted(
            f"the start of {start.key}", lambda: self._attempt(start), until=due_at + self._schedule.deadline
        )
        if made is not False and self._schedule.concurrency is not Concurrency.ALLOW:
            # Also a start that was skipped: another replica may have made it.
            self._perhaps_active.append(start)

    async def _attempt(self, start: Start) -> bool:
        """Make one start, as far as earlier runs allow. False if it cannot be made at all."""
        if not await self._has_room(start):
            self._log.info("skipped: the run of an earlier start is active", extra=self._fields(start))
            return True
        try:
            decision = await self._starter.submit(start)
        except TriggerPendingError:
            self._log.warning("submitted, but still undecided", extra=self._fields(start))
        except TriggerConflictError:
            self._log.warning("was submitted before, with other inputs", extra=self._fields(start))
        except TriggerRejectedError as error:
            self._log.error("rejected: %s: %s", error.reason, error, extra=self._fields(start))
            return False
        else:
            fields = self._fields(start) | {"storyRun": decision.story_run, "outcome": str(decision.outcome)}
            self._log.info("started", extra=fields)
        return True

    async def _has_room(self, start: Start) -> bool:
        """Whether the start may be made; forgets earlier runs that have ended, and stops them if they are replaced."""
        active: list[Start] = []
        later = [one for one in self._perhaps_active if one.instant >= start.instant]
        for earlier in self._perhaps_active:
            if earlier.instant < start.instant and await self._starter.is_active(earlier):
                active.append(earlier)  # noqa: PERF401 - a list that is complete only after the last answer
        self._perhaps_active = [*active, *later]
        if self._schedule.concurrency is Concurrency.REPLACE:
            for earlier in active:
                self._log.info("stopping the run of an earlier start", extra=self._fields(earlier))
                await self._starter.stop(earlier)
            return True
        return not active or self._schedule.concurrency is Concurrency.ALLOW

    async def _persisted(
        self, what: str, action: Callable[[], Awaitable[T]], *, until: datetime | None = None
    ) -> T | None:
        """The result of ``action``, repeated with growing pauses while it fails for a reason that may pass.

        ``None`` after a failure that stays, or at ``until``; the log says so.
        """
        pause = _FIRST_PAUSE
        while True:
            try:
                return await action()
            except (EngramError, KubeError) as error:
                again = self._clock.now() + pause
                if not error.retryable or (until is not None and again > until):
                    self._log.error("%s failed: %s", what, error, extra=self._fields())
                    return None
                self._log.warning("%s failed and will be repeated: %s", what, error, extra=self._fields())
            await self._clock.sleep_until(again)
            pause = min(pause * 2, _LAST_PAUSE)

    def _fields(self, start: Start | None = None) -> dict[str, str]:
        return {"schedule": self._schedule.name} | ({} if start is None else {"key": start.key})
