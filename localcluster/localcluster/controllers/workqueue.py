"""A queue of keys. Each key is processed by one task at a time; a key that fails is retried after a growing delay."""

from __future__ import annotations

import heapq
import math
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

from localcluster.log import get_logger
from localcluster.server.errors import StatusError
from localcluster.server.storage import StorageError

_log = get_logger("localcluster.controllers")
_FIRST_DELAY_SECONDS, _LAST_DELAY_SECONDS = 0.02, 30.0

K = TypeVar("K")


class WorkQueue(Generic[K]):
    """A set of keys and delays. A key that is added while a task processes it is processed once more."""

    def __init__(self, name: str, reconcile: Callable[[K], Awaitable[None]], *, workers: int = 16) -> None:
        self._name = name
        self._reconcile = reconcile
        self._workers = workers
        self._ready: dict[K, None] = {}
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._busy: set[K] = set()
        self._failures: dict[K, int] = {}
        self._sequence = 0
        self._wake = trio.Event()

    def add(self, key: K) -> None:
        """Process ``key`` as soon as possible."""
        self._ready[key] = None
        self._due.pop(key, None)
        self._wake.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Process ``key`` in ``seconds``, or earlier if it is added earlier."""
        due = trio.current_time() + max(seconds, 0.0)
        if self._due.get(key, math.inf) > due:
            self._due[key] = due
            self._sequence += 1
            heapq.heappush(self._later, (due, self._sequence, key))
            self._wake.set()

    async def run(self) -> None:
        """Process keys until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                self._wake = trio.Event()
                self._take_due()
                for key in [key for key in self._ready if key not in self._busy]:
                    if len(self._busy) >= self._workers:
                        break
                    del self._ready[key]
                    self._busy.add(key)
                    nursery.start_soon(self._work, key)
                with trio.move_on_at(self._later[0][0] if self._later else math.inf):
                    await self._wake.wait()

    def _take_due(self) -> None:
        while self._later and self._later[0][0] <= trio.current_time():
            due, _, key = heapq.heappop(self._later)
            if self._due.get(key) == due:
                del self._due[key]
                self._ready[key] = None

    async def _work(self, key: K) -> None:
        try:
            await self._reconcile(key)
            self._failures.pop(key, None)
        except (StatusError, StorageError) as error:
            self._again(key, error)
        except Exception as error:  # noqa: BLE001 - the edge of a reconcile: logged, and the key is tried again
            _log.exception("reconcile_failed", controller=self._name, key=str(key))
            self._again(key, error)
        finally:
            self._busy.discard(key)
            self._wake.set()

    def _again(self, key: K, error: Exception) -> None:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(_FIRST_DELAY_SECONDS * 2**failures, _LAST_DELAY_SECONDS)
        _log.info("reconcile_again", controller=self._name, key=str(key), delay_seconds=delay, why=str(error))
        self.add_after(key, delay)
