"""Namespaces take turns in front of a few workers that all tenants share.

One namespace never uses all workers, so a question of another namespace finds a free one. When other namespaces are
ahead, it waits for one question of each of them. Within a namespace the order is first come, first served. An asker
that waits noticeably long is notified, at a rate that many questions cannot increase.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import Final

import trio

from core.evaluation.asker import Asker
from core.evaluation.budget import Budget
from core.fairness.turns import Turns
from core.telemetry import catalogue, metrics

NOTIFIED_AFTER_SECONDS: Final = 1.0
"""How long an asker waits before it is notified."""
NOTIFIED_EVERY_SECONDS: Final = 0.25
"""The pause between two notifications: each may be a write to the API server."""


class WaitNotifier:
    """Notifies askers that they wait: one at a time, namespaces in turn, and only askers that still wait."""

    def __init__(self) -> None:
        self._turns = Turns(1)

    async def notify(self, asker: Asker, notified: trio.Event) -> None:
        """Notify ``asker`` when it has waited long enough, and set ``notified``; cancelled when the wait is over."""
        began = trio.current_time()
        await trio.sleep(NOTIFIED_AFTER_SECONDS)
        async with self._turns.turn(asker.namespace):
            notified.set()
            asker.report_waiting(trio.current_time() - began)
            await trio.sleep(NOTIFIED_EVERY_SECONDS)


class WorkerLane:
    """The queue for one kind of worker."""

    def __init__(
        self, name: str, workers: Callable[[], int], notifier: WaitNotifier, budget: Budget | None = None
    ) -> None:
        """
        Args:
            name: for metrics.
            workers: returns their number; called before each question.
            budget: the part of their time that a namespace may use; None: as much as its turns give.
        """
        self._name = name
        self._workers = workers
        self._notifier = notifier
        self._budget = budget
        self._turns = Turns(*_shares(workers()))
        self._heads = Turns(inf, 1)
        """One question per namespace waits for the budget and for a worker; the other questions wait behind it."""

    def __repr__(self) -> str:
        return f"<Lane {self._name}: {self._turns!r}>"

    @property
    def waiting(self) -> int:
        """The number of questions that have no worker yet."""
        return self._heads.waiting + self._turns.waiting

    @asynccontextmanager
    async def turn(self, asker: Asker) -> AsyncIterator[None]:
        """The block holds the turn, with a free worker; its time is charged to the namespace."""
        self._turns.resize(*_shares(self._workers()))
        began = trio.current_time()
        if not self._begins_at_once(asker.namespace):
            await self._wait(asker)
        metrics.observe(catalogue.EVALUATION_WAIT, trio.current_time() - began, lane=self._name)
        began = trio.current_time()
        try:
            yield
        finally:
            self._turns.give_back(asker.namespace)
            if self._budget is not None:
                self._budget.charge(asker.namespace, trio.current_time() - began)

    def _begins_at_once(self, namespace: str) -> bool:
        """Whether no other question was ahead; then this turn has started."""
        if self._seconds_to_pay(namespace) > 0 or not self._heads.take_nowait(namespace):
            return False
        try:
            return self._turns.take_nowait(namespace)
        finally:
            self._heads.give_back(namespace)

    async def _wait(self, asker: Asker) -> None:
        notified = trio.Event()
        begun = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._notifier.notify, asker, notified)
                async with self._heads.turn(asker.namespace):
                    await self._pay(asker.namespace)
                    await self._turns.take(asker.namespace)
                begun = True
                nursery.cancel_scope.cancel()
        except BaseException:
            if begun:
                self._turns.give_back(asker.namespace)
            raise
        finally:
            if notified.is_set():
                asker.report_waiting(None)

    async def _pay(self, namespace: str) -> None:
        """Wait until the namespace is within its budget; a question that ends meanwhile makes the wait longer."""
        while True:
            seconds = self._seconds_to_pay(namespace)
            if seconds <= 0:
                return
            await trio.sleep(seconds)

    def _seconds_to_pay(self, namespace: str) -> float:
        return self._budget.seconds_until_free(namespace) if self._budget is not None else 0.0


def _shares(workers: int) -> tuple[int, int]:
    """The number of workers for all namespaces together, and for one."""
    return workers, max(1, workers - 1)
