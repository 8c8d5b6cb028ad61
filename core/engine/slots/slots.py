"""Slots for Engram steps: a step waits for one before its StepRun is created, and keeps it until the StepRun has ended.

One ``Slots`` serves all runs of a process. It has no task of its own: the task that releases a slot also grants it to
the next step, without a pause. The StepRuns that exist at start are counted before any slot is granted.
Source: StoryRun contract 13.

A limit holds within one process: only the steps of runs that the process owns count (core.ownership). A run that comes
from another process brings its running steps along, whatever the limits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from math import inf
from typing import Any, Final

import trio

from core.api import keys
from core.api.objects import NamespacedName, Object, controller_of, step_path
from core.engine.ports import Clock
from core.engine.slots.queueing import Demand, Held, Ledger, Occupant, Owner, SlotLimits
from core.engine.slots.scheduling import story_key
from core.engine.wakeup import WakeUp
from core.policy.settings import DEFAULT_QUEUE
from core.telemetry import catalogue, metrics

TELL_AGAIN_SECONDS: Final = 10.0
"""Shortest time between two messages of a waiting step. Further back in the queue it is one second for each position,
so that all steps that wait together record only a few messages a second, however many they are."""
LONGEST_SILENCE_SECONDS: Final = 600.0
LONGEST_LOOK_SECONDS: Final = 60.0
"""Longest time between two looks at the position of a step."""


class Slots:
    """``limits`` is called at every decision, so that changed settings count at once.

    After ``acquire`` has returned True, the slot belongs to the run and step until ``release`` or ``forget``.
    """

    def __init__(self, limits: Callable[[], SlotLimits], clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._ledger = Ledger()
        self._waiting: dict[Owner, WakeUp] = {}
        """Steps that wait, and the wake-up to call when a slot is granted."""
        self._loaded = trio.Event()
        self._unclaimed: set[Owner] = set()
        self._ended_early: set[Owner] = set()

    def load(self, occupants: Iterable[Object]) -> None:
        """Count the unfinished StepRuns of this process's runs, by a consistent read; no slot is granted before.

        ``occupants``: those whose steps take a slot.
        """
        for step_run in occupants:
            occupant = occupant_of(step_run)
            if occupant is None or occupant.owner in self._ended_early or self._ledger.has_slot(occupant.owner):
                continue
            self._ledger.occupy(occupant)
            self._unclaimed.add(occupant.owner)
        self._ended_early.clear()
        self._loaded.set()
        self._grant()

    async def acquire(
        self, demand: Demand, report: Callable[[str], None], wakeup: WakeUp, gives_up: Callable[[], Awaitable[bool]]
    ) -> bool:
        """Return when the step has its slot; at once, after a checkpoint, if it has it already or one is free.

        Args:
            report: called with the reason if the step has to wait, and again when the reason has changed, at most every
                ten seconds.
            wakeup: the wake-up that the step waits for; other tasks may call it, too.
            gives_up: called after another task has woken the step: whether the step needs no slot from here any more.
                Then this returns False, and no slot has been granted. Cancellation leaves no trace: neither a position
                in the queue nor a slot.

        Raises:
            RuntimeError: this step waits already.
        """
        owner = demand.owner
        if not self._loaded.is_set():
            report("Queued while the running steps are counted")
        await self._loaded.wait()
        if self._ledger.has_slot(owner):
            self._unclaimed.discard(owner)
            return True
        if self._is_unlimited(demand):
            self._ledger.occupy(Occupant(owner, demand.story, demand.queue))
            return True
        self._ledger.add(demand)
        self._waiting[owner] = wakeup
        given = False
        try:
            # Steps that become ready together arrive in any order: decide after all of them have arrived.
            await trio.lowlevel.checkpoint()
            self._grant()
            given = owner not in self._waiting or await self._wait(demand, report, wakeup, gives_up)
        finally:
            if not given:
                self._waiting.pop(owner, None)
                if not self._ledger.withdraw(owner):
                    self._ledger.release(owner)  # granted when it was no longer wanted
                self._grant()
        return given

    def hold(self, run_uid: str, step: str, story: str, queue: str) -> None:
        """A StepRun of the run exists and has not ended: it has a slot, whatever the limits. Idempotent."""
        owner = Owner(run_uid, step)
        self._unclaimed.discard(owner)
        self._ledger.occupy(Occupant(owner, story, queue))
        self._grant()  # it may have been counted for another queue

    def release(self, run_uid: str, step: str) -> None:
        """The StepRun has ended, or was never created: its slot goes to the next step. Idempotent."""
        owner = Owner(run_uid, step)
        self._unclaimed.discard(owner)
        if self._ledger.release(owner):
            self._grant()

    def holds(self, run_uid: str, step: str) -> bool:
        """Whether a step, given by its full name, has a slot."""
        return self._ledger.has_slot(Owner(run_uid, step))

    def steps_holding(self, run_uid: str) -> frozenset[str]:
        """Full names of the steps of a run that have slots."""
        return frozenset(owner.step for owner in self._ledger.occupied_by(run_uid))

    def forget(self, run_uid: str) -> None:
        """Nothing of the run needs a slot any more. Idempotent."""
        owners = self._ledger.occupied_by(run_uid)
        for owner in owners:
            self._unclaimed.discard(owner)
            self._ledger.release(owner)
        if owners:
            self._grant()

    def step_run_ended(self, step_run: Object) -> None:
        """The caller, which watches StepRuns, has seen that this one has ended or is gone.

        This counts only for StepRuns that ``load`` has counted and that no live run has claimed, such as a StepRun that
        outlives its run: live runs release their own slots.
        """
        occupant = occupant_of(step_run)
        if occupant is None:
            return
        if not self._loaded.is_set():
            self._ended_early.add(occupant.owner)
        elif occupant.owner in self._unclaimed:
            self.release(*occupant.owner)

    def limits_changed(self) -> None:
        """Decide again at once: a step may start under the new limits."""
        self._grant()

    def running(self) -> Mapping[str, int]:
        """Number of slots taken, by queue."""
        return self._ledger.running()

    def waiting(self) -> Mapping[tuple[NamespacedName, str], int]:
        """Number of waiting steps, by run and queue."""
        return Counter((demand.run, demand.queue) for demand in self._ledger.waiting())

    def longest_waits(self) -> Mapping[str, float]:
        """For how many seconds the oldest step has waited, by queue; queues without waiting steps are left out."""
        now, oldest = self._clock.now(), dict[str, float]()
        for demand in self._ledger.waiting():
            waited = max((now - demand.queued_at).total_seconds(), 0.0)
            oldest[demand.queue] = max(waited, oldest.get(demand.queue, 0.0))
        return oldest

    async def _wait(
        self, demand: Demand, report: Callable[[str], None], wakeup: WakeUp, gives_up: Callable[[], Awaitable[bool]]
    ) -> bool:
        reported: Held | None = None
        reported_at = -inf
        while demand.owner in self._waiting:
            pause = TELL_AGAIN_SECONDS
            held = self._ledger.why(demand.owner, self._limits(), self._clock.now())
            if held is None:
                self._grant()  # the limits have changed without a call of limits_changed
            else:
                pause = min(max(pause, held.place / 10), LONGEST_LOOK_SECONDS)
                silence = min(max(TELL_AGAIN_SECONDS, held.place), LONGEST_SILENCE_SECONDS)
                if held != reported and trio.current_time() >= reported_at + silence:
                    reported, reported_at = held, trio.current_time()
                    report(held.message)
            with trio.move_on_after(pause) as timeout:
                await wakeup.wait()
            if demand.owner in self._waiting and not timeout.cancelled_caught and await gives_up():
                return False
        waited = max((self._clock.now() - demand.queued_at).total_seconds(), 0.0)
        metrics.observe(catalogue.STORY_RUN_QUEUE_AGE, waited, namespace=demand.run.namespace, queue=demand.queue)
        return True

    def _is_unlimited(self, demand: Demand) -> bool:
        limits = self._limits()
        return max(demand.story_limit, limits.everywhere, limits.of(demand.queue).concurrency) <= 0

    def _grant(self) -> None:
        """Grant every slot that may be granted."""
        if not self._loaded.is_set():
            return
        for demand in self._ledger.grant(self._limits(), self._clock.now()):
            self._waiting.pop(demand.owner).wake()


def occupant_of(step_run: Object) -> Occupant | None:
    """The slot of a StepRun; None if no run controls it: nothing would release the slot."""
    metadata: dict[str, Any] = step_run["metadata"]
    run_uid = (controller_of(step_run) or {}).get("uid")
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    step = step_path(step_run)
    if not run_uid or not step:
        return None
    namespace = annotations.get(keys.ANNOTATION_STORY_NAMESPACE) or metadata.get("namespace") or ""
    story = story_key(namespace, labels.get(keys.LABEL_STORY_NAME) or "")
    return Occupant(Owner(run_uid, step), story, labels.get(keys.LABEL_QUEUE) or DEFAULT_QUEUE)
