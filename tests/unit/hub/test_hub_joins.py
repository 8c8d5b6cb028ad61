"""Joins fire once, count what they lose, and are bounded, whatever comes. (hub/joins.py)"""

from __future__ import annotations

import math

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hub import joins as module
from hub.envelope import PacketReading
from hub.joins import JoinBranch, JoinTable
from hub.packets import PacketChecker
from hub.refusal import PacketRefusal, PacketSkip
from hub.settings import JoinMode, JoinSettings
from tests.unit.hub.json_packets import json_packet

NEEDS = ("a", "b", "c")


def branch(need: str, text: str = "x") -> JoinBranch:
    reading = PacketReading(*PacketChecker().read(json_packet({"text": text}, with_structs=False)))
    return JoinBranch(reading, {need: reading.outputs}, len(reading.packet.body))


class JoinMachine(RuleBasedStateMachine):
    """A join, beside what it should do."""

    @initialize(mode=st.sampled_from(JoinMode), entries=st.integers(1, 3), seconds=st.sampled_from([None, 10.0]))
    def begin(self, mode: JoinMode, entries: int, seconds: float | None) -> None:
        quorum = 2 if mode is JoinMode.QUORUM else 0
        self.enough = {JoinMode.ALL: 3, JoinMode.ANY: 1, JoinMode.QUORUM: 2}[mode]
        self.seconds = seconds
        self.entries = entries
        self.table = JoinTable(JoinSettings(mode, quorum, seconds, entries), (NEEDS,))
        self.now = 0.0
        self.added = self.fired = 0
        self.groups: dict[str, tuple[float, set[str]]] = {}
        self.fired_at: dict[str, float] = {}

    @rule(need=st.sampled_from(NEEDS), group=st.sampled_from("xyz"))
    def add(self, need: str, group: str) -> None:
        self._expire()
        self.added += 1
        joined = self.table.add(need, group, branch(need), self.now)
        if group in self.fired_at:
            assert joined is None
            return
        _, needs = self.groups.setdefault(group, (self.now, set()))
        needs.add(need)
        if len(needs) < self.enough:
            assert joined is None
            while len(self.groups) > self.entries:
                del self.groups[next(iter(self.groups))]
            return
        del self.groups[group]
        self.fired += 1
        self.fired_at[group] = self.now
        while len(self.fired_at) > self.entries:
            del self.fired_at[next(iter(self.fired_at))]
        assert joined is not None
        assert joined.steps.keys() == needs
        assert joined.reading.outputs is joined.steps[min(needs, key=NEEDS.index)]

    @rule(seconds=st.sampled_from([1.0, 9.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self._expire()
        self.table.expire(self.now)

    @invariant()
    def every_packet_is_somewhere(self) -> None:
        if not hasattr(self, "table"):
            return
        table = self.table
        assert self.added == self.fired + table.lost.total() + table.skipped.total() + table.waiting
        assert table.waiting == sum(len(needs) for _, needs in self.groups.values())
        assert (table.size > 0) == bool(table.waiting)
        first = next(iter(self.groups.values()), None)
        assert table.due() == (math.inf if first is None or self.seconds is None else first[0] + self.seconds)

    def _expire(self) -> None:
        if self.seconds is not None:
            self.groups = {name: group for name, group in self.groups.items() if group[0] + self.seconds > self.now}
            self.fired_at = {name: at for name, at in self.fired_at.items() if at + self.seconds > self.now}


TestJoins = JoinMachine.TestCase


def test_memory_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 300)
    table = JoinTable(JoinSettings(), (("a", "b"),))
    for number in range(10):
        table.add("a", str(number), branch("a", "x" * 50), 0.0)
    assert table.size <= 300
    assert table.lost == {PacketRefusal.JOIN_FULL: 10 - table.waiting}
    assert table.add("a", "huge", branch("a", "x" * 500), 0.0) is None
    assert (table.waiting, table.size) == (0, 0)


def test_without_a_group_one_branch_is_enough_only_for_any() -> None:
    every, one = JoinTable(JoinSettings(), (("a", "b"),)), JoinTable(JoinSettings(JoinMode.ANY), (("a", "b"),))
    assert every.add("a", "", branch("a"), 0.0) is None
    assert one.add("a", "", branch("a"), 0.0) is not None
    assert (every.lost, one.lost) == ({PacketRefusal.NO_JOIN_KEY: 1}, {})


def test_a_branch_that_says_something_again_replaces_itself_and_that_is_counted() -> None:
    table = JoinTable(JoinSettings(), (("a", "b"),))
    table.add("a", "g", branch("a", "old"), 0.0)
    table.add("a", "g", branch("a", "new"), 0.0)
    joined = table.add("b", "g", branch("b"), 0.0)
    assert joined is not None
    assert joined.steps["a"] == {"text": "new"}
    assert (table.lost, table.skipped) == ({PacketRefusal.JOIN_REPLACED: 1}, {PacketSkip.JOINED: 1})
