"""The only entry point to expressions and schemas for code that runs on the event loop.

A template first runs on the loop with a small grant of steps and time; nearly all templates need only a fraction of it.
When the grant is used up, the same evaluation starts again in a thread with the full limits. A thread is enough for
templates: the interpreter is our own, counts its steps, checks for cancellation and lets the loop run in between. CEL
and JSON Schemas run in native libraries that do none of this. They run on the loop only when a static bound says that
they take a few milliseconds at most, otherwise in a process, see ``pool``.

All tenants share the threads and processes: namespaces take turns with work that does not run on the loop, see
``lane``, and their budgets are charged for it. Analysing a Story has a lane of its own: its cost is bounded by the size
of the Story, and the start of a run must not wait for the expressions of other runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias, TypeVar

import trio

from core.caches.recently_used import CacheInfo
from core.evaluation.asker import NOBODY, Asker
from core.evaluation.budget import Budget
from core.evaluation.lane import WaitNotifier, WorkerLane
from core.evaluation.pool import OverLimitError, WorkerPool
from core.evaluation.schema import Json, SchemaProblem
from core.evaluation.validation import SchemaValidator
from core.expressions.cel.blame import Blame
from core.expressions.cel.condition import CelQuestion, CompiledCondition, ConditionOutcome, compile_condition
from core.expressions.cel.condition import cache_info as condition_cache_info
from core.expressions.errors import (
    BlockedError,
    ExpressionError,
    Fault,
    LimitExceededError,
    OffloadedDataError,
    Position,
    bounded,
)
from core.expressions.expression import compile_template
from core.expressions.limits import EvaluationLimits, Meter, Slice, SliceSpentError
from core.expressions.resolve import DEFAULT_LIMITS, Resolver, is_cel, truth
from core.expressions.template.functions import Context
from core.telemetry import catalogue, metrics

EXPRESSION_FAILED: Final = "ExpressionFailed"
# Parsing and using up the grant take 20 ms together in the worst case, most of it for texts that are made to be slow.
LOOP_GRANT: Final = Slice(steps=1_000, seconds=0.004, text=4_096)
MAX_LOOP_CHARACTERS: Final = 2_048  # of template text: parsing cannot be interrupted
MAX_LOOP_TICKS: Final = 100_000  # of CEL, about 5 ms

_MAX_THREADS: Final = 2
_MAX_ANALYSES: Final = 2
_CACHES: Final[Mapping[str, Callable[[], CacheInfo]]] = {
    "template": compile_template.cache_info,
    "cel": condition_cache_info,
}
"""Caches of compiled expressions; they count their hits since the process started."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Value:
    """The result of the expression."""

    value: Json


@dataclass(frozen=True, slots=True)
class FailureCause:
    """Why there is no value, in parts, for callers that display it in their own form.

    Attributes:
        kind: a class of templating contract 14, or ``offloaded``.
        field: JSON path, starting with the evaluated field.
        message: without field, place and remedy.
        excerpt: the line of the text, with a caret below the error.
    """

    kind: str
    field: str
    message: str
    remedy: str = ""
    position: Position | None = None
    excerpt: str = ""

    @classmethod
    def of(cls, error: ExpressionError) -> FailureCause:
        """The cause in ``error``."""
        kind = "offloaded" if isinstance(error, OffloadedDataError) else str(error.fault)
        return cls(
            kind, bounded(error.field), bounded(error.message), bounded(error.remedy), error.position, error.excerpt
        )


@dataclass(frozen=True, slots=True)
class NotYet:
    """Upstream data does not exist yet. ``steps`` names the steps to wait for; empty when they are unknown."""

    steps: frozenset[str]
    reason: str
    cause: FailureCause | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """There will be no value; ``reason`` is a status reason, ``message`` names field, place and remedy.

    ``offloaded``: the cause is that a template that is more than a path uses data that is in object storage.
    """

    reason: str
    message: str
    offloaded: bool = False
    cause: FailureCause | None = None


Answer: TypeAlias = Value | NotYet | Failure


@dataclass(frozen=True, slots=True)
class EvaluationPolicy:
    """The limits of an evaluation, whether functions whose result depends on time or chance are refused, and whether a
    missing key renders text instead of being an error.
    """

    limits: EvaluationLimits = DEFAULT_LIMITS
    deterministic: bool = False
    budget_seconds: float = 0.0
    """The time of threads and processes that one namespace may use in a minute, in seconds; zero: no limit."""
    missing_as_text: bool = False


class Evaluator:
    """Evaluates expressions and validates documents without blocking the event loop for long."""

    def __init__(
        self,
        policy: Callable[[], EvaluationPolicy] = EvaluationPolicy,
        *,
        now: Callable[[], datetime] | None = None,
        pool: WorkerPool | None = None,
    ) -> None:
        """
        Args:
            policy: called before each evaluation, so that a change takes effect from the next one.
            now: the clock for ``{{ now }}``; without one, an expression that uses the time fails.
            pool: runs costly evaluations and validations.
        """
        self._policy = policy
        self._now = now
        self._pool = pool or WorkerPool()
        notifier, budget = WaitNotifier(), Budget(lambda: policy().budget_seconds)
        self._threads = WorkerLane("thread", lambda: _MAX_THREADS, notifier, budget)
        self._processes = WorkerLane("process", lambda: self._pool.processes, notifier, budget)
        self._analyses = WorkerLane("analysis", lambda: _MAX_ANALYSES, notifier)
        self._schemas = SchemaValidator(self._pool, self._processes, self._analyses)
        self._room = trio.CapacityLimiter(math.inf)  # the lanes bound their number
        self._hits = {kind: cache_info().hits for kind, cache_info in _CACHES.items()}

    async def keep_warm(self) -> None:
        """Keep processes ready for costly evaluations, until cancelled; otherwise each evaluation starts its own."""
        await self._pool.keep_warm()

    async def resolve(
        self,
        value: Json,
        variables: Mapping[str, Json],
        *,
        field: str,
        finished: bool = False,
        whole: Mapping[str, Json] | None = None,
        stored: frozenset[str] = frozenset(),
        asker: Asker = NOBODY,
    ) -> Answer:
        """``value`` with every template in it evaluated.

        Args:
            field: JSON path of the value, for messages.
            asker: the namespace whose turn a costly evaluation takes.
            finished: every step is terminal, so missing data will never arrive: it is a failure instead of ``NotYet``.
            whole: the variables including the data from object storage, for all templates except plain paths.
            stored: roots with a part in object storage; without ``whole`` only plain paths may read them.
        """
        work = lambda context: Resolver(context, whole, stored).value(value, variables)  # noqa: E731 - used once
        return await self._answer(work, _template_characters(value), field, asker, finished=finished)

    async def condition(
        self,
        text: str,
        variables: Mapping[str, Json],
        *,
        field: str,
        finished: bool = False,
        stored: frozenset[str] = frozenset(),
        asker: Asker = NOBODY,
    ) -> Answer:
        """Whether the condition is true, in either dialect: a ``Value`` of a bool; arguments as for ``resolve``."""
        if is_cel(text):
            evaluate = lambda: self._cel(text, variables, finished, asker)  # noqa: E731 - used once
            return await self._concluded(evaluate, field, "cel", finished=finished)
        work = lambda context: Resolver(context, None, stored).condition(text, variables)  # noqa: E731 - as above
        return await self._answer(work, len(text), field, asker, finished=finished)

    async def validate_schema(
        self, schema: Mapping[str, Json], document: Json, *, asker: Asker = NOBODY
    ) -> list[SchemaProblem]:
        """The violations of the schema in ``document``, at most ``MAX_PROBLEMS``; empty when it is valid.

        An unusable schema, and one that takes too long, are reported as problems of the whole document.
        """
        return await self._schemas.problems(schema, document, asker)

    async def analyse(self, look: Callable[[Json], _T], manifest: Json, *, asker: Asker = NOBODY) -> _T:
        """``look(manifest)``, which compiles the expressions of ``manifest``, without blocking the loop for long."""
        await trio.lowlevel.checkpoint()
        if _text_characters(manifest) <= MAX_LOOP_CHARACTERS:
            return look(manifest)
        async with self._analyses.turn(asker):
            return await trio.to_thread.run_sync(look, manifest, limiter=self._room)

    # Expressions

    async def _answer(
        self, work: Callable[[Context], _T], characters: int, field: str, asker: Asker, *, finished: bool
    ) -> Answer:
        evaluate = lambda: self._evaluate(work, characters, finished, asker)  # noqa: E731 - as above
        return await self._concluded(evaluate, field, "template", finished=finished)

    async def _concluded(
        self, evaluate: Callable[[], Awaitable[Json]], field: str, dialect: str, *, finished: bool
    ) -> Answer:
        answer: Answer
        began = time.perf_counter()
        try:
            answer, result = Value(await evaluate()), "value"
        except BlockedError as error:
            error.inside(field)
            if finished or error.settled:
                answer, result = Failure(EXPRESSION_FAILED, str(error), cause=FailureCause.of(error)), "error"
            else:
                answer, result = NotYet(error.steps, str(error), FailureCause.of(error)), "blocked"
        except ExpressionError as error:
            error.inside(field)
            offloaded = isinstance(error, OffloadedDataError)
            result = "limit" if isinstance(error, LimitExceededError) else "offloaded" if offloaded else "error"
            answer = Failure(EXPRESSION_FAILED, str(error), offloaded=offloaded, cause=FailureCause.of(error))
        metrics.count(catalogue.CEL_EVALUATION, expression_type=dialect, result=result)
        metrics.observe(catalogue.CEL_EVALUATION_DURATION, time.perf_counter() - began, expression_type=dialect)
        self._count_reuse()
        return answer

    def _count_reuse(self) -> None:
        for kind, cache_info in _CACHES.items():
            hits = cache_info().hits
            if hits > self._hits[kind]:
                metrics.count(catalogue.CEL_CACHE_HITS, hits - self._hits[kind], cache_type=kind)
            self._hits[kind] = hits

    async def _evaluate(self, work: Callable[[Context], _T], characters: int, finished: bool, asker: Asker) -> _T:
        await trio.lowlevel.checkpoint()
        policy, clock = self._policy(), self._steady_clock()

        def on(meter: Meter) -> _T:
            context = Context(
                meter,
                now=clock,
                deterministic=policy.deterministic,
                finished=finished,
                missing_as_text=policy.missing_as_text,
            )
            return work(context)

        if characters <= MAX_LOOP_CHARACTERS:
            try:
                return on(Meter(policy.limits, grant=LOOP_GRANT))
            except SliceSpentError:
                pass  # too much for the loop; evaluation has no effects, so it starts again
        return await self._in_thread(on, policy.limits, asker)

    async def _cel(self, text: str, variables: Mapping[str, Json], finished: bool, asker: Asker) -> bool:
        await trio.lowlevel.checkpoint()
        condition = compile_condition(text)
        question = await self._ask(condition, variables, finished, asker)
        if question.ticks <= MAX_LOOP_TICKS:
            return truth(text, question.answer())
        try:
            async with self._processes.turn(asker):
                reply = await self._pool.ask({"kind": "cel", "text": text, "data": question.bindings.data})
        except OverLimitError as error:
            raise _over(question, error) from None
        return truth(text, question.conclude(_outcome(reply)))

    async def _ask(
        self, condition: CompiledCondition, variables: Mapping[str, Json], finished: bool, asker: Asker
    ) -> CelQuestion:
        limits = self._policy().limits
        try:
            return condition.ask(variables, Meter(limits, grant=LOOP_GRANT), finished=finished)
        except SliceSpentError:
            pass  # too much data for the loop
        return await self._in_thread(lambda meter: condition.ask(variables, meter, finished=finished), limits, asker)

    async def _in_thread(self, work: Callable[[Meter], _T], limits: EvaluationLimits, asker: Asker) -> _T:
        async with self._threads.turn(asker):
            return await trio.to_thread.run_sync(
                lambda: work(Meter(limits, interrupt=trio.from_thread.check_cancelled)), limiter=self._room
            )

    def _steady_clock(self) -> Callable[[], datetime] | None:
        """One instant for the whole evaluation, so that starting again does not change it."""
        if self._now is None:
            return None
        read: list[datetime] = []

        def steady() -> datetime:
            if not read:
                read.append(_call(self._now))
            return read[0]

        return steady


def _call(now: Callable[[], datetime] | None) -> datetime:
    assert now is not None  # only called when there is a clock
    return now()


def _outcome(reply: Json) -> ConditionOutcome:
    blame = reply["blame"]
    if blame is not None:
        blame = Blame(**{**blame, "fault": Fault(blame["fault"])})
    return ConditionOutcome(reply["value"], reply["kind"], blame)


def _over(question: CelQuestion, error: OverLimitError) -> LimitExceededError:
    over = LimitExceededError(f"worker_{error.limit}", error.allowed, f"the expression {error}")
    over.remedy = "; ".join(filter(None, (over.remedy, "read less data, or compute it in a step")))
    over.locate(question.condition.text)
    return over


def _template_characters(value: Json) -> int:
    """The number of characters of template text to parse."""
    return _characters(value, only="{{")


def _text_characters(value: Json) -> int:
    """The number of characters of text that may be an expression."""
    return _characters(value, only="")


def _characters(value: Json, *, only: str) -> int:
    total, pending = 0, [value]
    while pending and total <= MAX_LOOP_CHARACTERS:
        item = pending.pop()
        if isinstance(item, str):
            if only in item:
                total += len(item)
        elif isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return total
