"""The one door to expressions and schemas for everything that runs on the event loop.

A template first runs on the loop with a small grant of steps and time, of which nearly all need a fraction. When the
grant is used up, the same evaluation starts again in a thread with the full limits. A thread is enough for templates:
the interpreter is ours, counts its steps, hears about cancellation and lets the loop run in between. A JSON Schema
runs in a native library that does none of this; see ``validation``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias, TypeVar

import trio

from core.evaluation.schema import Json, SchemaProblem
from core.evaluation.validation import SCHEMA_SECONDS, SchemaValidator
from core.expressions.errors import BlockedError, ExpressionError, OffloadedDataError
from core.expressions.limits import Limits, Meter, Slice, SliceSpentError
from core.expressions.resolve import DEFAULT_LIMITS, Resolver
from core.expressions.template.functions import Context

EXPRESSION_FAILED: Final = "ExpressionFailed"
LOOP_GRANT: Final = Slice(steps=4_000, seconds=0.005)
MAX_LOOP_CHARACTERS: Final = 8_192  # of template text: parsing is not sliced

_MAX_THREADS: Final = 2

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Value:
    """What the expression evaluated to."""

    value: Json


@dataclass(frozen=True, slots=True)
class NotYet:
    """Upstream data is not there yet. ``steps`` names the steps to wait for; empty when it cannot be told which."""

    steps: frozenset[str]
    reason: str


@dataclass(frozen=True, slots=True)
class Failure:
    """There will be no value; ``reason`` is a status reason, ``message`` names field, place and remedy.

    ``offloaded``: the failure is that a larger template uses data that lives in object storage.
    """

    reason: str
    message: str
    offloaded: bool = False


Answer: TypeAlias = Value | NotYet | Failure


class Evaluator:
    """Evaluates expressions and validates documents without ever holding the event loop for long."""

    def __init__(
        self,
        *,
        limits: Limits = DEFAULT_LIMITS,
        now: Callable[[], datetime] | None = None,
        deterministic: bool = False,
        schema_seconds: float = SCHEMA_SECONDS,
    ) -> None:
        """
        Args:
            now: the clock behind ``{{ now }}``; without one, asking for the time is a failure.
            deterministic: refuse functions whose result depends on time or chance.
            schema_seconds: how long one validation may take in its own process.
        """
        self._limits = limits
        self._now = now
        self._deterministic = deterministic
        self._schemas = SchemaValidator(seconds=schema_seconds)
        self._threads = trio.CapacityLimiter(_MAX_THREADS)

    async def resolve(
        self, value: Json, variables: Mapping[str, Json], *, field: str, finished: bool = False
    ) -> Answer:
        """``value`` with every template in it evaluated.

        Args:
            field: JSON path of the value, for messages.
            finished: every step is terminal, so what is missing now stays missing: a failure instead of ``NotYet``.
        """
        work = lambda context: Resolver(context).value(value, variables)  # noqa: E731 - one expression, used once
        return await self._answer(work, _template_characters(value), field, finished=finished)

    async def condition(
        self, text: str, variables: Mapping[str, Json], *, field: str, finished: bool = False
    ) -> Answer:
        """Whether the condition holds: a ``Value`` of ``True`` or ``False``; arguments as for ``resolve``."""
        work = lambda context: Resolver(context).condition(text, variables)  # noqa: E731 - as above
        return await self._answer(work, len(text), field, finished=finished)

    async def validate_schema(self, schema: Mapping[str, Json], document: Json) -> list[SchemaProblem]:
        """What about ``document`` the schema does not allow, at most ``MAX_PROBLEMS``; empty when it is valid.

        An unusable schema, and one that takes too long, are problems of the whole document.
        """
        return await self._schemas.problems(schema, document)

    # Expressions

    async def _answer(self, work: Callable[[Context], _T], characters: int, field: str, *, finished: bool) -> Answer:
        try:
            return Value(await self._evaluate(work, characters))
        except BlockedError as error:
            error.inside(field)
            if finished or error.settled:
                return Failure(EXPRESSION_FAILED, str(error))
            return NotYet(error.steps, str(error))
        except ExpressionError as error:
            error.inside(field)
            return Failure(EXPRESSION_FAILED, str(error), offloaded=isinstance(error, OffloadedDataError))

    async def _evaluate(self, work: Callable[[Context], _T], characters: int) -> _T:
        await trio.lowlevel.checkpoint()
        clock = self._steady_clock()
        if characters <= MAX_LOOP_CHARACTERS:
            try:
                return work(self._context(Meter(self._limits, grant=LOOP_GRANT), clock))
            except SliceSpentError:
                pass  # too much for the loop; evaluation has no effects, so it simply starts again
        return await trio.to_thread.run_sync(
            lambda: work(self._context(Meter(self._limits, interrupt=trio.from_thread.check_cancelled), clock)),
            limiter=self._threads,
        )

    def _context(self, meter: Meter, clock: Callable[[], datetime] | None) -> Context:
        return Context(meter, now=clock, deterministic=self._deterministic)

    def _steady_clock(self) -> Callable[[], datetime] | None:
        """One instant for the whole evaluation, so that starting again cannot change it."""
        if self._now is None:
            return None
        read: list[datetime] = []

        def steady() -> datetime:
            if not read:
                read.append(_call(self._now))
            return read[0]

        return steady


def _call(now: Callable[[], datetime] | None) -> datetime:
    assert now is not None  # only asked for when there is a clock
    return now()


def _template_characters(value: Json) -> int:
    """How much template text would have to be parsed."""
    total, pending = 0, [value]
    while pending and total <= MAX_LOOP_CHARACTERS:
        item = pending.pop()
        if isinstance(item, str):
            if "{{" in item:
                total += len(item)
        elif isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return total
