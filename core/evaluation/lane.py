"""Turns by namespace in front of a few workers that all tenants share.

Of several workers one namespace never has all, so that another one's question finds one free; when others are ahead, it
comes after one question of each. Within a namespace it is first come, first served. Whoever waits noticeably long is
told, at a pace that a flood of questions cannot raise.
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

TOLD_AFTER_SECONDS: Final = 1.0
"""Who has waited for so long is told."""
TOLD_EVERY_SECONDS: Final = 0.25
"""The pause between two that are told: each may be a write to the API server."""


class Teller:
    """Tells askers that they wait: one after the other, namespaces in turn, and only those that still do."""

    def __init__(self) -> None:
        self._turns = Turns(1)

    async def tell(self, asker: Asker, told: trio.Event) -> None:
        """Say that ``asker`` waits, once it has for long enough, and set ``told``; cancelled when it goes on."""
        began = trio.current_time()
        await trio.sleep(TOLD_AFTER_SECONDS)
        async with self._turns.turn(asker.namespace):
            told.set()
            asker.report_waiting(trio.current_time() - began)
            await trio.sleep(TOLD_EVERY_SECONDS)


class WorkerLane:
    """The way to one kind of worker."""

    def __init__(self, name: str, workers: Callable[[], int], teller: Teller, budget: Budget | None = None) -> None:
        """
        Args:
            name: for metrics.
            workers: how many there are, asked before each question.
            budget: how much of their time a namespace may use; None: as much as its turns give.
        """
        self._name = name
        self._workers = workers
        self._teller = teller
        self._budget = budget
        self._turns = Turns(*_shares(workers()))
        self._heads = Turns(inf, 1)
        """Of each namespace one question at a time waits for the budget and for a worker; the others wait behind it."""

    def __repr__(self) -> str:
        return f"<Lane {self._name}: {self._turns!r}>"

    @property
    def waiting(self) -> int:
        """Questions that have no worker yet."""
        return self._heads.waiting + self._turns.waiting

    @asynccontextmanager
    async def turn(self, asker: Asker) -> AsyncIterator[None]:
        """The block is the turn, during which a worker is free; its time is charged to the namespace."""
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
        """Whether nobody was ahead: then its turn has begun."""
        if self._seconds_to_pay(namespace) > 0 or not self._heads.take_nowait(namespace):
            return False
        try:
            return self._turns.take_nowait(namespace)
        finally:
            self._heads.give_back(namespace)

    async def _wait(self, asker: Asker) -> None:
        told = trio.Event()
        begun = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._teller.tell, asker, told)
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
            if told.is_set():
                asker.report_waiting(None)

    async def _pay(self, namespace: str) -> None:
        """Wait until the namespace is within its budget; a question that ends meanwhile makes that longer."""
        while True:
            seconds = self._seconds_to_pay(namespace)
            if seconds <= 0:
                return
            await trio.sleep(seconds)

    def _seconds_to_pay(self, namespace: str) -> float:
        return self._budget.seconds_until_free(namespace) if self._budget is not None else 0.0


def _shares(workers: int) -> tuple[int, int]:
    """Of all namespaces together, and of one."""
    return workers, max(1, workers - 1)
