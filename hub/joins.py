"""Joins: packets of one origin that come to a step from several of its needs become one packet.

Packets of one origin have the same group (``PacketReading.group``). The joined packet is that of the first branch in
the order of ``needs`` that is there; expressions see all branches as ``steps``. A group is remembered for a time after
it has fired, so that a branch that comes later does not fire it again. Sets of needs that are joined apart from each
other share the bounds: the number of groups, and the bytes that wait. Without time and I/O.
Source: streaming contract 12.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from hub.envelope import MESSAGE_ID, PacketReading
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


_BY_DEFAULT: Final = (
    "; {} are joined because they have the same sources: set fanIn, or put a condition without if before the step, "
    "which then gets each packet by itself"
)
_Key = tuple[str, str]
"""The first need of the set, and the group."""


@dataclass(slots=True)
class _Group:
    enough: int
    """Branches that complete it."""
    begun_at: float
    branches: dict[str, JoinBranch] = field(default_factory=dict)


class _Fired(NamedTuple):
    at: float
    ids: Mapping[str, str | None]
    """The message id from each need, where all of them were joined."""


class JoinTable:
    """The incomplete groups of one step. ``lost`` and ``skipped`` count packets that are in no group any more."""

    def __init__(self, settings: JoinSettings, sets: Iterable[tuple[str, ...]]) -> None:
        """``sets``: needs whose packets are joined with each other, in the order of ``needs``."""
        self.lost: Counter[PacketRefusal] = Counter()
        self.skipped: Counter[PacketSkip] = Counter()
        self.size = 0
        """Bytes that wait."""
        self._settings = settings
        sets = tuple(sets)
        self.by_default = "" if settings.needs_key else _BY_DEFAULT.format("; ".join(map(" and ".join, sets)))
        """Why it joins, and how to change that, behind the reason of a loss; empty if its settings say it."""
        self._sets = {need: needs for needs in sets for need in needs}
        self._groups: dict[_Key, _Group] = {}
        """Incomplete ones, the oldest first."""
        self._fired: dict[_Key, _Fired] = {}
        """Groups that were joined; the oldest first."""

    @property
    def waiting(self) -> int:
        """Packets that wait for others."""
        return sum(len(group.branches) for group in self._groups.values())

    def add(self, need: str, group: str, branch: JoinBranch, now: float) -> JoinBranch | None:
        """The packet of ``group`` that the branch from ``need`` completes; None if it waits, or came too late.

        Without ``group`` the packet is complete if one branch is enough, or no key is needed, and lost otherwise.
        """
        self.expire(now)
        needs = self._sets.get(need)
        if needs is None:
            return branch
        enough = self._enough(len(needs))
        if not group:
            if enough > 1 and self._settings.needs_key:
                self.lost[PacketRefusal.NO_JOIN_KEY] += 1
                return None
            return branch
        key = (needs[0], group)
        if key in self._fired:
            self._note_late(self._fired[key], need, branch)
            return None
        if enough == 1:
            self._remember(key, {need: branch}, now)
            return branch
        found = self._groups.setdefault(key, _Group(enough, now))
        former = found.branches.get(need)
        if former is not None:
            self.lost[PacketRefusal.JOIN_REPLACED] += 1
            self.size -= former.weight
        found.branches[need] = branch
        self.size += branch.weight
        if len(found.branches) < enough:
            self._bound(key)
            return None
        del self._groups[key]
        self.size -= sum(each.weight for each in found.branches.values())
        self.skipped[PacketSkip.JOINED] += len(found.branches) - 1
        self._remember(key, found.branches, now)
        return _joined([found.branches[each] for each in needs if each in found.branches])

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
        while self._fired and self._fired[name := next(iter(self._fired))].at + seconds <= now:
            del self._fired[name]

    def give_up(self) -> None:
        """No branch will come any more."""
        for key in list(self._groups):
            self._give_up(key, PacketRefusal.JOIN_TIMEOUT)

    def abandon(self) -> int:
        """The run has ended; returns how many packets have waited."""
        waiting = self.waiting
        self._groups.clear()
        self.size = 0
        return waiting

    def _enough(self, needs: int) -> int:
        match self._settings.mode:
            case JoinMode.ALL:
                return needs
            case JoinMode.ANY:
                return 1
            case JoinMode.QUORUM:
                return self._settings.quorum or needs

    def _bound(self, newest: _Key) -> None:
        while len(self._groups) > self._settings.max_entries or (
            self.size > MAX_WAITING_BYTES and len(self._groups) > 1
        ):
            self._give_up(next(name for name in self._groups if name != newest), PacketRefusal.JOIN_FULL)
        if self.size > MAX_WAITING_BYTES:
            self._give_up(newest, PacketRefusal.JOIN_FULL)

    def _give_up(self, name: _Key, why: PacketRefusal) -> None:
        group = self._groups.pop(name)
        self.size -= sum(branch.weight for branch in group.branches.values())
        self.lost[why] += len(group.branches)

    def _note_late(self, fired: _Fired, need: str, branch: JoinBranch) -> None:
        """Beyond the branches that were enough, and what comes again, one branch has sent several packets."""
        if self._settings.mode is JoinMode.ALL and fired.ids.get(need) != branch.reading.metadata.get(MESSAGE_ID):
            self.lost[PacketRefusal.JOIN_REPLACED] += 1
        else:
            self.skipped[PacketSkip.JOIN_LATE] += 1

    def _remember(self, key: _Key, branches: Mapping[str, JoinBranch], now: float) -> None:
        is_all = self._settings.mode is JoinMode.ALL
        ids = {need: each.reading.metadata.get(MESSAGE_ID) for need, each in branches.items()} if is_all else {}
        self._fired[key] = _Fired(now, ids)
        if len(self._fired) > self._settings.max_entries:
            del self._fired[next(iter(self._fired))]


def _joined(branches: Sequence[JoinBranch]) -> JoinBranch:
    steps: dict[str, Any] = {}
    for branch in reversed(branches):
        steps.update(branch.steps)
    return JoinBranch(branches[0].reading, steps, sum(branch.weight for branch in branches))
