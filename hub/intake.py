"""Packets on their way to one step: judged at once, or one after the other when that takes long.

Most answers come at once. When one does not, the packet waits in a queue with all that follow it, so the order stays,
and the owner works the queue off with answers from processes. A full queue makes producers wait, as a full buffer does.
After an answer that was slow, the next packets are not even tried on the event loop: a step whose expressions are
always costly takes nothing from the others.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bubu_wire.errors import MessageError
from bubu_wire.inspection import Inspected
from hub.questions import NotNowError, Question
from hub.refusal import PacketRefusal, PacketRefusedError, PacketSkippedError
from hub.troubles import Troubles
from hub.work import Asked, PacketFate, PacketRejectedError, Passage, StepWork

MAX_QUEUED: Final = 64
"""Packets that wait for answers."""
MAX_QUEUED_BYTES: Final = 10 * 1024 * 1024
SLOW_SECONDS: Final = 0.002
"""An evaluation on the loop that takes longer is slow."""
MAX_UNTRIED: Final = 1_024
"""After slow evaluations in a row, so many packets are given to processes without trying."""

Answer = Callable[[Question, Any], Awaitable[Any]]


@dataclass(slots=True)
class Queued:
    """A packet in the queue. ``judgement`` is None once it is over and only room is missing."""

    passage: Passage
    judgement: Generator[Asked, Any, Passage | None] | None
    asked: Asked | None = None
    """The question that waits for its answer; None if the judgement has not begun."""


class Intake:
    """Packets to one step, before they are delivered."""

    def __init__(self, work: StepWork, now: Callable[[], datetime], troubles: Troubles, *, blocks: bool = True) -> None:
        """
        Args:
            now: the wall clock, for templates.
            blocks: whether producers wait for a full queue; if not, packets are dropped.
        """
        self.work = work
        self.queue: deque[Queued] = deque()
        self.skipped: Counter[str] = Counter()
        """Packets that are not meant for the step."""
        self.troubles = troubles
        self.arrived = 0
        self.admitted = 0
        self.rejected = 0
        """Packets that their own step has broken its promise with."""
        self._now = now
        self._blocks = blocks
        self._size = 0
        self._slow_in_a_row = 0
        self._untried = 0

    @property
    def is_full(self) -> bool:
        """Whether producers must wait."""
        return self._blocks and self._is_over

    @property
    def held(self) -> int:
        """Packets that are in no counter yet."""
        joins = self.work.joins
        return len(self.queue) + (joins.waiting if joins is not None else 0)

    def fill(self) -> float:
        """How full the queue is, in percent."""
        return 100.0 * max(len(self.queue) / MAX_QUEUED, self._size / MAX_QUEUED_BYTES) if self.queue else 0.0

    def at_once(self, passage: Passage) -> Inspected | None:
        """The packet as the step receives it, in the usual case of ``runtime``; None: ``offer`` decides."""
        if self.queue or passage.heard is not None:
            return None
        try:
            made = self.work.at_once(passage)
        except (PacketRefusedError, MessageError):
            return None
        if made is not None:
            self.arrived += 1
            self.admitted += 1
        return made

    def offer(self, passage: Passage) -> Passage | None:
        """Judge a packet; returns it if it goes to the step at once. Else look at ``queue``."""
        self.arrived += 1
        if self._is_over and not self._blocks:
            self.troubles.note(PacketRefusal.BUFFER_FULL, "")
            _tell(passage, PacketFate.REFUSED, PacketRefusal.BUFFER_FULL)
            return None
        if self.queue:
            self._queue(Queued(passage, self.work.judge(passage)))
            return None
        judgement = self.work.judge(passage)
        asked: Asked | None = None
        try:
            asked = next(judgement)
            while True:
                asked = self._next(judgement, asked)
        except NotNowError:
            self._queue(Queued(passage, judgement, asked))
            return None
        except StopIteration as over:
            return self._admitted(passage, over.value)
        except (PacketSkippedError, PacketRefusedError, PacketRejectedError, MessageError) as why:
            self._not_admitted(passage, why)
            return None

    def wait_for_room(self, passage: Passage) -> None:
        """An admitted packet that the step has no room for becomes the first of the queue."""
        self.queue.appendleft(Queued(passage, None))
        self._size += passage.size

    async def first(self, answer: Answer) -> Passage | None:
        """Judge the first packet of the queue; returns it if it goes to the step. It stays in the queue until ``done``.

        ``answer`` answers what takes too long for the loop; its refusals are those of the packet.
        """
        entry = self.queue[0]
        if entry.judgement is None:
            return entry.passage
        judgement, is_slow = entry.judgement, entry.asked is not None
        try:
            asked = entry.asked or next(judgement)
            while True:
                if not is_slow:
                    try:
                        asked = self._next(judgement, asked)
                        continue
                    except NotNowError:
                        pass  # a process answers
                is_slow = False
                try:
                    answered = await answer(*asked)
                except PacketRefusedError as refused:
                    asked = judgement.throw(refused)
                else:
                    asked = judgement.send(answered)
        except StopIteration as over:
            admitted = self._admitted(entry.passage, over.value)
        except (PacketSkippedError, PacketRefusedError, PacketRejectedError, MessageError) as why:
            self._not_admitted(entry.passage, why)
            return None
        if admitted is not None:
            self._size += admitted.size - entry.passage.size
            entry.passage, entry.judgement = admitted, None
        return admitted

    def done(self) -> None:
        """The first packet of the queue has gone on, or goes nowhere."""
        self._size -= self.queue.popleft().passage.size

    def expire(self, now: float) -> None:
        """Give up what has waited too long for others."""
        if self.work.joins is not None:
            self.work.joins.expire(now)
            self._note_joins()

    def give_up_joins(self, has_more: Callable[[int], bool]) -> None:
        """Give up what waits for others, if nothing is left that it could wait for.

        ``has_more`` says whether there is more for the step than a number of packets.
        """
        joins = self.work.joins
        if joins is not None and (waiting := joins.waiting) and not has_more(waiting):
            joins.give_up()
            self._note_joins()

    def abandon(self) -> int:
        """The run has ended; returns how many packets were held."""
        held = len(self.queue) + (self.work.joins.abandon() if self.work.joins is not None else 0)
        self.queue.clear()
        self._size = 0
        return held

    # Details.

    @property
    def _is_over(self) -> bool:
        return len(self.queue) >= MAX_QUEUED or self._size >= MAX_QUEUED_BYTES

    def _queue(self, entry: Queued) -> None:
        self.queue.append(entry)
        self._size += entry.passage.size

    def _next(self, judgement: Generator[Asked, Any, Passage | None], asked: Asked) -> Asked:
        """Answer on the loop, and take the next question. Raises ``StopIteration`` at the end of the judgement."""
        if self._untried:
            self._untried -= 1
            raise NotNowError
        begun = time.perf_counter()
        try:
            answer = asked[0].quick(asked[1], self._now)
        except NotNowError:
            self._note_slow()
            raise
        except PacketRefusedError as refused:
            if time.perf_counter() - begun > SLOW_SECONDS:
                self._note_slow()
            return judgement.throw(refused)
        if time.perf_counter() - begun > SLOW_SECONDS:
            self._note_slow()
        else:
            self._slow_in_a_row = 0
        return judgement.send(answer)

    def _note_slow(self) -> None:
        """The first slow evaluation may be chance: the machine was busy."""
        self._slow_in_a_row += 1
        self._untried = min((1 << min(self._slow_in_a_row - 1, 10)) - 1, MAX_UNTRIED)

    def _admitted(self, passage: Passage, made: Passage | None) -> Passage | None:
        if self.work.joins is not None:
            self._note_joins()
        if made is not None:
            self.admitted += 1
        _tell(passage, PacketFate.JOINING if made is None else PacketFate.ADMITTED)
        return made

    def _not_admitted(self, passage: Passage, why: Exception) -> None:
        match why:
            case PacketSkippedError():
                self.skipped[why.reason] += 1
                _tell(passage, PacketFate.SKIPPED, why.reason)
            case PacketRefusedError():
                self.troubles.note(why.reason, str(why))
                _tell(passage, PacketFate.REFUSED, why.reason, str(why))
            case PacketRejectedError():
                self.rejected += 1
                _tell(passage, PacketFate.REFUSED, PacketRefusal.OUTPUT_SCHEMA)
            case _:
                self.troubles.note(PacketRefusal.INVALID, str(why))
                _tell(passage, PacketFate.REFUSED, PacketRefusal.INVALID, str(why))
        if self.work.joins is not None:
            self._note_joins()

    def _note_joins(self) -> None:
        joins = self.work.joins
        assert joins is not None
        if joins.skipped:
            self.skipped.update(joins.skipped)
            joins.skipped.clear()
        for reason, count in joins.lost.items():
            self.troubles.note(reason, _ABOUT_JOINS[reason] + joins.by_default, count)
        joins.lost.clear()


def _tell(passage: Passage, fate: PacketFate, reason: str = "", why: str = "") -> None:
    if passage.heard is not None:
        passage.heard(fate, reason, why)


_ABOUT_JOINS: Final = {
    PacketRefusal.NO_JOIN_KEY: "the step joins packets, but the packet has neither bubu.join.key nor "
    "bubu.envelope.message_id in its metadata; let the sending step keep the metadata",
    PacketRefusal.JOIN_TIMEOUT: "packets of the other branches did not arrive within fanIn.timeoutSeconds, or until "
    "their steps had finished",
    PacketRefusal.JOIN_FULL: "more than fanIn.maxEntries incomplete groups, or 10 MiB of them",
    PacketRefusal.JOIN_REPLACED: "one branch has sent several packets of one group; only one of them is joined",
}
