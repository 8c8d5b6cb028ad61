"""Workers of a queue: one reconcile per key at a time, with a deadline; errors are classified in one place.

A reconcile gets a key and *no event*: it reads the current state. The error that it raises decides what follows: the
object changed or the server is not available (retry with back-off), it is gone (done), the server refuses permanently
(done until the object changes). Any other error is a bug: it is logged, and the key is retried with back-off, so one
bad object never stops the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeAlias

import trio

from core.api.objects import NamespacedName
from core.engine.errors import GoneError, PortError, RejectedError, StaleError, UnavailableError
from core.ownership.acting import acting_for
from core.ownership.ownership import WHOLE_CLUSTER, Ownership
from core.telemetry.logs import get_logger, log_fields
from reconcilers.runtime.controller_meter import ControllerMeter
from reconcilers.runtime.outcome import After, Done, Outcome, RetryLater, Terminal
from reconcilers.runtime.queue import WorkQueue

Key: TypeAlias = NamespacedName
"""Of an object of the controller's kind. Those of finished runs are the informer's own: there may be many thousands."""
DRAIN_SECONDS: Final = 2.0
"""How long a reconcile may continue when the process stops: shorter than the remaining life of any lease."""
GLANCES_AT_ONCE: Final = 25
"""Less than half a millisecond."""
PAUSE_SECONDS: Final = 0.002
"""Between glances at once: the start, or the takeover from another process, begins with all that is at rest, and those
with work to do must not wait for it.
"""

HEAD_START_SECONDS: Final = 1.0
"""For those with work to do, before the first glance."""

Reconcile = Callable[[Key], Awaitable[Outcome]]
Glance = Callable[[Key], Outcome | None]
"""The outcome of a reconcile that would do nothing; None: reconcile. It must not wait."""
Observer = Callable[[str, str, float], None]
"""Called with controller name, outcome and seconds after each reconcile (metrics)."""


@dataclass(frozen=True, slots=True)
class ControllerOptions:
    workers: int
    base_delay: timedelta
    max_delay: timedelta
    reconcile_timeout: Callable[[], timedelta] = lambda: timedelta(seconds=30)
    """Returns how long the next reconcile may take; zero: no deadline."""


class Controller:
    """Owns the queue of one kind. ``run()`` keeps its workers until it is cancelled.

    A key that this process does not own is dropped when its turn comes.
    """

    def __init__(
        self,
        name: str,
        reconcile: Reconcile,
        options: ControllerOptions,
        *,
        glance: Glance | None = None,
        observe: Observer | None = None,
        ownership: Ownership = WHOLE_CLUSTER,
        of_runs: bool = False,
    ) -> None:
        """
        Args:
            glance: asked first, for each key, because a reconcile costs more.
            of_runs: keys are those of StoryRuns, so records of the log have them as ``run``, too.
        """
        self.name = name
        self.queue: WorkQueue[Key] = WorkQueue(
            base_delay=options.base_delay,
            max_delay=options.max_delay,
            tenant_of=lambda key: key.namespace or key,
            of_one_tenant=max(1, options.workers - max(1, options.workers // 4)),
            after_long=self._wake_for,
        )
        self._unread: list[Callable[[], Iterable[Key]]] = []
        self._unseen: deque[Key] = deque()
        self._is_unseen = trio.Event()
        self._reconcile = reconcile
        self._glance = glance
        self._options = options
        self._observe = observe
        self._ownership = ownership
        self._of_runs = of_runs
        self.meter = ControllerMeter(name, self.queue, options.workers)
        self._log = get_logger(f"controller.{name}")

    def enqueue(self, key: Key) -> None:
        """From event handlers; never blocks."""
        self.queue.add(key)

    def look_at(self, keys: Callable[[], Iterable[Key]]) -> None:
        """Like ``enqueue``, for many keys of which most need nothing: each gets a glance, and only the others get into
        the queue.

        A glance costs half of a turn in the queue, and those with work to do need not wait behind the rest. So
        ``keys`` is called only after the head start.
        """
        if self._glance is None:
            for key in keys():
                self.queue.add(key)
        else:
            self._unread.append(keys)
            self._is_unseen.set()

    def _wake_for(self, key: Key) -> None:
        """The time of ``key`` has come, after a long wait; many may wait for the same time."""
        if self._glance is None:
            self.queue.add(key)
        else:
            self._unseen.append(key)
            self._is_unseen.set()

    async def release(self, key: Key) -> None:
        """Return once no worker has ``key``, which this process does not own any more: none begins with it again.

        A reconcile that is under way ends by itself: the fence refuses what it has not sent yet.
        """
        await self.queue.until_done(key)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(self._options.workers):
                nursery.start_soon(self._work, name=f"controller {self.name}")
            if self._glance is not None:
                nursery.start_soon(self._look, name=f"glances of controller {self.name}")

    async def _look(self) -> None:
        await trio.sleep(HEAD_START_SECONDS)
        while True:
            await self._is_unseen.wait()
            while self._unread:
                self._unseen.extend(self._unread.pop(0)())
            for _ in range(min(GLANCES_AT_ONCE, len(self._unseen))):
                self._look_at(self._unseen.popleft())
            if not self._unseen:
                self._is_unseen = trio.Event()
            await trio.sleep(PAUSE_SECONDS if self._unseen else 0)

    def _look_at(self, key: Key) -> None:
        if not self._ownership.owns(key):
            return
        match self._at_a_glance(key):
            case Done():
                pass
            case After(delay):
                self.queue.add_after(key, delay)
            case _:
                self.queue.add(key)

    async def _work(self) -> None:
        while True:
            key = await self.queue.take()
            try:
                if self._ownership.owns(key):
                    started = trio.current_time()
                    outcome = self._at_a_glance(key) or await self._to_its_end(key)
                    self._settle(key, outcome, trio.current_time() - started)
                else:
                    self.queue.forget(key)
            finally:
                self.queue.done(key)

    def _at_a_glance(self, key: Key) -> Outcome | None:
        try:
            return None if self._glance is None else self._glance(key)
        except Exception as error:  # noqa: BLE001 - the reconcile edge: recorded by _settle, retried with back-off
            return RetryLater(error)

    async def _to_its_end(self, key: Key) -> Outcome:
        """When the process stops, a running reconcile gets ``DRAIN_SECONDS`` to end, and is then cancelled."""
        graceful = trio.CancelScope(shield=True)
        outcome: Outcome = Done()

        async def limit_when_stopping() -> None:
            try:
                await trio.sleep_forever()
            finally:
                graceful.deadline = trio.current_time() + DRAIN_SECONDS

        async with trio.open_nursery() as nursery:
            nursery.start_soon(limit_when_stopping)
            with graceful:
                outcome = await self._outcome_of(key)
            nursery.cancel_scope.cancel()
        await trio.lowlevel.checkpoint_if_cancelled()
        return outcome

    async def _outcome_of(self, key: Key) -> Outcome:
        seconds = self._options.reconcile_timeout().total_seconds() or float("inf")
        try:
            with acting_for(key), log_fields(**self._run_of(key)), trio.fail_after(seconds):
                return await self._reconcile(key)
        except GoneError:
            return Done()
        except RejectedError as error:
            return Terminal(error)
        except UnavailableError as error:
            wish = error.retry_after_seconds
            return RetryLater(error, timedelta(seconds=wish) if wish is not None else None)
        except (PortError, trio.TooSlowError) as error:
            return RetryLater(error)
        except Exception as error:  # noqa: BLE001 - the reconcile edge: recorded below, retried with back-off
            return RetryLater(error)

    def _settle(self, key: Key, outcome: Outcome, seconds: float) -> None:
        match outcome:
            case Done():
                self.queue.forget(key)
                word = "success"
            case After(delay):
                self.queue.forget(key)
                self.queue.add_after(key, delay)
                word = "requeue_after"
            case RetryLater(error, after):
                delay = self.queue.retry(key) if after is None else after
                if after is not None:
                    self.queue.add_after(key, after)
                word = "error"
                self._report(key, error, delay)
            case Terminal(error):
                self.queue.forget(key)
                word = "terminal"
                log = self._log.bind(key=str(key), **self._run_of(key))
                log.error("reconcile refused; waiting for a change", cause=str(error))
        self.meter.settled(word, seconds, is_bug=isinstance(outcome, RetryLater) and not _is_expected(outcome.error))
        if self._observe is not None:
            self._observe(self.name, word, seconds)

    def _run_of(self, key: Key) -> dict[str, str]:
        """A field for records of the log. A run that is adopted in a reconcile keeps it for all of its tasks."""
        return {"run": str(key)} if self._of_runs else {}

    def _report(self, key: Key, error: BaseException, delay: timedelta) -> None:
        """An error of the API server is one line, a conflict only a debug record; a bug is logged with its stack
        trace.
        """
        fields = {"key": str(key), **self._run_of(key), "retry_in_seconds": round(delay.total_seconds(), 3)}
        if isinstance(error, StaleError):
            self._log.debug("the object changed meanwhile; trying again", cause=str(error), **fields)
        elif _is_expected(error):
            cause = str(error) or "the reconcile took too long"
            self._log.warning("reconcile failed; trying again", cause=cause, **fields)
        else:
            self._log.error("reconcile failed; trying again", error=error, **fields)


def _is_expected(error: BaseException) -> bool:
    """Whether the API server or time is the cause, and no bug."""
    return isinstance(error, PortError | trio.TooSlowError)
