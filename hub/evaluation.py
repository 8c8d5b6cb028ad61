"""Answers to questions about packets that take too long for the event loop: in processes, within limits.

A process is killed when it exceeds its time or memory; only its packet is refused. Namespaces take turns, and each has
a budget, so none can use the processes alone. See ``core.evaluation``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from core.evaluation.asker import Asker
from core.evaluation.budget import Budget
from core.evaluation.lane import WaitNotifier, WorkerLane
from core.evaluation.pool import OverLimitError, WorkerLimits, WorkerPool
from hub import evaluation_worker
from hub.questions import Question
from hub.refusal import PacketRefusal, PacketRefusedError

SECONDS: Final = 2.0
"""Processor time of one question."""
BUDGET_SECONDS: Final = 30.0
"""Time of processes that one namespace may use in a minute."""


class PacketEvaluator:
    """Puts questions to processes."""

    def __init__(self, pool: WorkerPool | None = None) -> None:
        program = str(Path(evaluation_worker.__file__).resolve())
        self._pool = pool or WorkerPool(lambda: WorkerLimits(seconds=SECONDS), program)
        self._lane = WorkerLane("process", lambda: self._pool.processes, WaitNotifier(), Budget(lambda: BUDGET_SECONDS))

    async def keep_warm(self) -> None:
        """Keep processes for the next question, until cancelled; otherwise each question starts its own."""
        await self._pool.keep_warm()

    async def answer(self, question: Question, subject: Any, namespace: str) -> Any:
        """The answer to ``question``.

        Raises:
            PacketRefusedError: there is none.
        """
        request = question.request(subject)
        try:
            async with self._lane.turn(Asker(namespace)):
                answer = await self._pool.ask(request)
        except OverLimitError as error:
            raise PacketRefusedError(PacketRefusal.LIMIT, f"{request['field']}: the evaluation {error}") from None
        if "value" not in answer:
            raise PacketRefusedError(PacketRefusal(answer["reason"]), answer["text"])
        return answer["value"]
