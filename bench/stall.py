"""Measures how long expressions block the event loop: adversarial expressions, and each function on long texts, lists
and maps.

A watching task notes how long the loop's thread computed without letting the task run, and how late the task woke by
the clock. The clock also counts work of other threads that hold the interpreter lock, and other work of the machine.
The smallest value of several tries counts.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import trio

from bench.report import MILLISECONDS, Row, Value
from core.evaluation.evaluator import Evaluator
from core.evaluation.pool import WorkerLimits, WorkerPool
from core.expressions.expression import FUNCTIONS
from tests.unit.core.evaluation import adversarial_corpus as corpus

_TRIES: Final = 3
_CONVINCING_SECONDS: Final = 0.005
_MOST_SECONDS: Final = 0.02
_TEXT: Final = "aB-cd " * 150_000  # nearly the limit for results of functions
_LIST: Final = [f"key {number * 7919 % 99_991}" for number in range(99_991)]
_VARIABLES: Final[dict[str, Any]] = {
    "inputs": {"s": _TEXT, "l": _LIST, "m": dict.fromkeys(_LIST, 1)},
    "steps": {},
}


def measure() -> list[Row]:
    """Returns rows for the report."""
    return trio.run(_measure)


async def _measure() -> list[Row]:
    evaluator = Evaluator(pool=WorkerPool(lambda: WorkerLimits(seconds=2, memory_bytes=512 << 20)))
    rows = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(evaluator.keep_warm)
        for what, questions in (("poison", _poison(evaluator)), ("a function", _functions(evaluator))):
            held = [await _held(ask) for ask in questions]
            for kind, seconds in zip(("computing", "on the clock"), map(max, zip(*held, strict=True)), strict=True):
                name = f"the loop held by {what}, {kind}, the longest of {len(held)}"
                bound = _MOST_SECONDS if kind == "computing" else None
                rows.append(Row(name, Value(seconds, MILLISECONDS, at_most=bound)))
        nursery.cancel_scope.cancel()
    return rows


async def _held(ask: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Returns seconds of processor time, and seconds on the clock."""
    computing, late = await _longest(ask)
    for _ in range(_TRIES - 1):
        if max(computing, late) > _CONVINCING_SECONDS:
            again = await _longest(ask)
            computing, late = min(computing, again[0]), min(late, again[1])
    return computing, late


async def _longest(ask: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    longest, is_done = (0.0, 0.0), False

    async def watch() -> None:
        nonlocal longest
        before = time.thread_time(), time.perf_counter()
        while not is_done:
            await trio.lowlevel.checkpoint()
            now = time.thread_time(), time.perf_counter()
            longest = max(longest[0], now[0] - before[0]), max(longest[1], now[1] - before[1])
            before = now

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await trio.lowlevel.checkpoint()
        await ask()
        is_done = True
    return longest


def _poison(evaluator: Evaluator) -> Iterator[Callable[[], Awaitable[object]]]:
    for ask, poisons in ((evaluator.condition, corpus.CONDITIONS), (evaluator.resolve, corpus.TEMPLATES)):
        for poison in poisons:
            variables = {"inputs": poison.inputs(), "steps": {}}
            yield functools.partial(ask, poison.text, variables, field="if")
    for schema in corpus.SCHEMAS:
        yield functools.partial(evaluator.validate_schema, schema.schema(), schema.document())


def _functions(evaluator: Evaluator) -> Iterator[Callable[[], Awaitable[object]]]:
    """Each function on a long text, a large list and a large map, alone and after other arguments."""
    for name in sorted(FUNCTIONS):
        for value in ("inputs.s", "inputs.l", "inputs.m"):
            for arguments in (value, f"`a` {value}", f"2 {value}", f"`a` `b` {value}"):
                text = f"x{{{{ {name} {arguments} | kindOf }}}}"
                yield functools.partial(evaluator.resolve, text, _VARIABLES, field="with")
