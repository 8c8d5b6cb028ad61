"""What the loop of a cron Impulse needs from outside: a clock, and the cluster. In production both are below.

The cluster is seen through the context of the SDK. No state is stored: the names of the StoryTriggers that exist say
which starts were made, and the name of a run follows from its start.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Protocol

import trio

from bubu_contract import submission
from bubu_impulses.cron.schedule import Schedule, Start
from bubu_sdk import AsyncImpulseContext, TriggerDecision
from bubu_sdk.timing import utc_now

_LONGEST_SLEEP_SECONDS: Final = 60.0
"""A clock that was set, or a machine that was suspended, is noticed after this time."""


class WallClock(Protocol):
    """The time of the world."""

    def now(self) -> datetime:
        """Now, in UTC."""

    async def sleep_until(self, when: datetime) -> None:
        """Return at ``when``, or at once if it has passed."""


class Starter(Protocol):
    """The cluster. Every method may raise an ``EngramError`` or a ``KubeError``; ``retryable`` says what follows."""

    async def submit(self, start: Start) -> TriggerDecision:
        """Submit a start, and wait for the decision."""

    async def was_submitted(self, start: Start) -> bool:
        """Whether the StoryTrigger of a start exists."""

    async def created_at(self) -> datetime | None:
        """When the Impulse was created; ``None`` if that cannot be known."""

    async def active_instants(self, schedule: Schedule) -> list[datetime]:
        """The instants of the schedule whose runs are active. Costly: lists all runs of the namespace."""

    async def is_active(self, start: Start) -> bool:
        """Whether the run of a start has not ended, or may still be created."""

    async def stop(self, start: Start) -> None:
        """Ask the operator to cancel the run of a start."""


class SystemWallClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        return utc_now()

    async def sleep_until(self, when: datetime) -> None:
        while (left := (when - self.now()).total_seconds()) > 0:  # noqa: ASYNC110 - no event reports the time
            await trio.sleep(min(left, _LONGEST_SLEEP_SECONDS))


class ContextStarter:
    """The cluster of an Impulse."""

    def __init__(self, ctx: AsyncImpulseContext) -> None:
        self._ctx = ctx

    async def submit(self, start: Start) -> TriggerDecision:
        return await self._ctx.trigger(start.story, start.inputs, start.key)

    async def was_submitted(self, start: Start) -> bool:
        return await self._ctx.decision_of(start.story, start.inputs, start.key) is not None

    async def created_at(self) -> datetime | None:
        return await self._ctx.created_at()

    async def active_instants(self, schedule: Schedule) -> list[datetime]:
        runs = await self._ctx.active_runs()
        return sorted(filter(None, (schedule.instant_of(run.key) for run in runs)))

    async def is_active(self, start: Start) -> bool:
        run = await self._ctx.find_run(self._run_of(start))
        if run is not None:
            return not run.has_ended
        submitted = await self._ctx.decision_of(start.story, start.inputs, start.key)
        return submitted is not None and submitted.is_pending

    async def stop(self, start: Start) -> None:
        await self._ctx.stop_run(self._run_of(start))

    def _run_of(self, start: Start) -> str:
        namespace = self._ctx.namespace if start.story else self._ctx.story_namespace
        return submission.story_run_name(namespace, start.story or self._ctx.story, start.key)
