"""Joins: packets of one origin that come to a step from several of its needs become one packet.

Packets of one origin have the same group (``PacketReading.group``). The joined packet is that of the first branch in
the order of ``needs`` that is there; expressions see all branches as ``steps``. A group is remembered for a time after
it has fired, so that a branch that comes later does not fire it again. Everything is bounded: the number of groups, and
the bytes that wait. Without time and I/O. Source: streaming contract 12.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hub.envelope import PacketReading
from hub.refusal import PacketRefusal, PacketSkip
from hub.settings import JoinMode, JoinSettings

MAX_WAITING_BYTES: Final = 10 * 1024 * 1024
"""Packets of incomplete groups of one step."""


@dataclass(frozen=True, slots=True)
class JoinBranch:
    """A packet that waits for others of its group."""

    reading: PacketReading
    steps: Mapping[str, Any]
    """What expressions see of the steps that it came through."""
    weight: int
    """Bytes of both."""


@dataclass(slots=True)
class _Group:
    begun_at: float
    branches: dict[str, JoinBranch] = field(default_factory=dict)


class JoinTable:
    """The incomplete groups of one step. ``lost`` and ``skipped`` count packets that are in no group any more."""

    def __init__(self, settings: JoinSettings, needs: tuple[str, ...]) -> None:
        self.lost: Counter[PacketRefusal] = Counter()
        self.skipped: Counter[PacketSkip] = Counter()
        self.size = 0
        """Bytes that wait."""
        self._settings = settings
        self._needs = needs
        match settings.mode:
            case JoinMode.ALL:
                self._enough = len(needs)
            case JoinMode.ANY:
                self._enough = 1
            case JoinMode.QUORUM:
                self._enough = settings.quorum or len(needs)
        self._groups: dict[str, _Group] = {}
        """Incomplete ones, the oldest first."""
        self._fired: dict[str, float] = {}
        """Groups that were joined, with the time; the oldest first."""

    @property
    def waiting(self) -> int:
        """Packets that wait for others."""
        return sum(len(group.branches) for group in self._groups.values())

    def add(self, need: str, group: str, branch: JoinBranch, now: float) -> JoinBranch | None:
        """The packet of ``group`` that the branch from ``need`` completes; None if it waits, or came too late.

        Without ``group`` the packet is complete if one branch is enough, and lost otherwise.
        """
        self.expire(now)
        if not group:
            if self._enough > 1:
                self.lost[PacketRefusal.NO_JOIN_KEY] += 1
                return None
            return branch
        if group in self._fired:
            self.skipped[PacketSkip.JOIN_LATE] += 1
            return None
        if self._enough == 1:
            self._remember(group, now)
            return branch
        found = self._groups.setdefault(group, _Group(now))
        former = found.branches.get(need)
        if former is not None:
            self.lost[PacketRefusal.JOIN_REPLACED] += 1
            self.size -= former.weight
        found.branches[need] = branch
        self.size += branch.weight
        if len(found.branches) < self._enough:
            self._bound(group)
            return None
        del self._groups[group]
        self.size -= sum(each.weight for each in found.branches.values())
        self.skipped[PacketSkip.JOINED] += len(found.branches) - 1
        self._remember(group, now)
        return self._joined(found)

    def due(self) -> float:
        """When ``expire`` has something to do; infinite without."""
        first = next(iter(self._groups.values()), None)
        seconds = self._settings.seconds
        return math.inf if first is None or seconds is None else first.begun_at + seconds

    def expire(self, now: float) -> None:
        """Give up the groups whose time is over, and forget what was joined long ago."""
        seconds = self._settings.seconds
        if seconds is None:
            return
        while self._groups and (name := next(iter(self._groups))) and self._groups[name].begun_at + seconds <= now:
            self._give_up(name, PacketRefusal.JOIN_TIMEOUT)
        while self._fired and self._fired[name := next(iter(self._fired))] + seconds <= now:
            del self._fired[name]

    def abandon(self) -> int:
        """The run has ended; returns how many packets have waited."""
        waiting = self.waiting
        self._groups.clear()
        self.size = 0
        return waiting

    def _joined(self, group: _Group) -> JoinBranch:
        ordered = [group.branches[need] for need in self._needs if need in group.branches]
        steps: dict[str, Any] = {}
        for branch in reversed(ordered):
            steps.update(branch.steps)
        return JoinBranch(ordered[0].reading, steps, sum(branch.weight for branch in ordered))

    def _bound(self, newest: str) -> None:
        while len(self._groups) > self._settings.max_entries or (
            self.size > MAX_WAITING_BYTES and len(self._groups) > 1
        ):
            self._give_up(next(name for name in self._groups if name != newest), PacketRefusal.JOIN_FULL)
        if self.size > MAX_WAITING_BYTES:
            self._give_up(newest, PacketRefusal.JOIN_FULL)

    def _give_up(self, name: str, why: PacketRefusal) -> None:
        group = self._groups.pop(name)
        self.size -= sum(branch.weight for branch in group.branches.values())
        self.lost[why] += len(group.branches)

    def _remember(self, group: str, now: float) -> None:
        self._fired[group] = now
        if len(self._fired) > self._settings.max_entries:
            del self._fired[next(iter(self._fired))]
