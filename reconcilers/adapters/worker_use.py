"""How much of each pool of warm workers was needed lately, and which workers it can do without. Pure.

Instants are arguments: seconds of Trio's clock. What is remembered is of this process; a restarted one begins anew.
Source: StepRun contract 3.5; docs/warm-workers.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

_Pool = tuple[str, str]
"""Namespace and name."""


class WorkerLoad(NamedTuple):
    """One worker, as the choice of those that may go needs it."""

    name: str
    """Of its Pod."""
    uid: str
    steps: int
    """Those that take its room."""
    is_usable: bool
    """Whether it takes steps."""


@dataclass(slots=True)
class PoolUse:
    """What one pool was needed for."""

    since: float
    most: int
    """The most unfinished steps at once since then."""
    used_at: float
    """When it had a step; if it has not had one, when it was first looked at. In the future: a worker is at work."""

    def begin_anew(self, steps: int, now: float) -> None:
        self.since, self.most = now, steps


class PoolUses:
    """Of all pools that have been looked at."""

    def __init__(self) -> None:
        self._uses: dict[_Pool, PoolUse] = {}
        self._retiring: dict[_Pool, frozenset[str]] = {}
        """UIDs of the workers that get no step, because they are to go."""

    def of(self, pool: _Pool, steps: int, now: float) -> PoolUse:
        """Begins now if the pool is new.

        Args:
            steps: that are unfinished now.
        """
        return self._uses.setdefault(pool, PoolUse(now, steps, now))

    def note(self, pool: _Pool, steps: int, now: float) -> None:
        """A step of the pool has begun, waits, or has ended; ``steps`` are unfinished now, or fewer."""
        if (use := self._uses.get(pool)) is not None:
            use.most, use.used_at = max(use.most, steps), now

    def retire(self, pool: _Pool, workers: Iterable[WorkerLoad], replicas: int, wanted: int) -> list[WorkerLoad]:
        """Choose the workers that are to go, so that ``wanted`` of the ``replicas`` stay; returns the idle ones.

        The choice is made anew each time, so whoever becomes idle first goes first.
        """
        chosen = dispensable([*workers], replicas, wanted)
        self._retiring[pool] = frozenset(each.uid for each in chosen)
        return [each for each in chosen if not each.steps]

    def keep_all(self, pool: _Pool) -> bool:
        """No worker of the pool is to go any more; returns whether one was."""
        return bool(self._retiring.pop(pool, None))

    def is_retiring(self, pool: _Pool, uid: str) -> bool:
        return uid in self._retiring.get(pool, ())

    def forget(self, pool: _Pool) -> None:
        """The pool is gone."""
        self._uses.pop(pool, None)
        self._retiring.pop(pool, None)


def dispensable(workers: list[WorkerLoad], replicas: int, wanted: int) -> list[WorkerLoad]:
    """The workers that may go: those that do not work and take nothing first, then those with the fewest steps.

    So many that take steps stay as are ``wanted``. None go while there are more than ``replicas``: they are being
    replaced, and one is about to go already.
    """
    if len(workers) > replicas:
        return []
    useless = [each for each in workers if not each.steps and not each.is_usable][: replicas - wanted]
    usable = sorted((each for each in workers if each.is_usable), key=lambda each: (each.steps, each.name))
    too_many = min(replicas - wanted - len(useless), len(usable) - wanted)
    return useless + usable[: max(too_many, 0)]
