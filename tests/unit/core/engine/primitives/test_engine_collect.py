"""How long a result that cannot be read is waited for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from core.api.objects import Object
from core.engine.context.step_context import StepContext
from core.engine.errors import DeniedError, ResultLostError, UnavailableError
from core.engine.ports import StepError
from core.engine.primitives.collect import RESULT_PATIENCE_SECONDS, ResultReader

STEP_RUN: Object = {"metadata": {"name": "run-a"}}


class Unsteady:
    """The part of a step's context that ``ResultReader`` needs, and the executors in it. It raises what it is told to;
    without an error it has an output.
    """

    def __init__(self) -> None:
        self.engine = self.executors = self
        self.error: Exception | None = None

    async def read_result(self, step_run: Object) -> Mapping[str, Any]:
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        return {"n": 1}


def unsteady() -> tuple[ResultReader, Unsteady]:
    executors = Unsteady()
    return ResultReader(cast("StepContext", executors)), executors


async def read(reader: ResultReader, executors: Unsteady, error: Exception | None) -> Mapping[str, Any] | StepError:
    executors.error = error
    return await reader.read(STEP_RUN, None)


async def test_the_patience_begins_anew_after_an_answer_and_for_the_next_attempt(autojump_clock: MockClock) -> None:
    (reader, executors), away = unsteady(), UnavailableError("away")
    for ends_with in (None, away):
        with pytest.raises(UnavailableError):
            await read(reader, executors, away)
        await trio.sleep(RESULT_PATIENCE_SECONDS - 1)
        with pytest.raises(UnavailableError):
            await read(reader, executors, away)
        if ends_with is None:
            assert await read(reader, executors, None) == {"n": 1}
        else:
            await trio.sleep(1)
            with pytest.raises(ResultLostError, match="120 s, the last error was: away"):
                await read(reader, executors, away)
    with pytest.raises(UnavailableError):
        await read(reader, executors, away)


async def test_what_a_person_can_fix_is_waited_for_without_a_limit(autojump_clock: MockClock) -> None:
    reader, executors = unsteady()
    for _ in range(3):
        with pytest.raises(DeniedError):
            await read(reader, executors, DeniedError("may not get pods/log"))
        await trio.sleep(RESULT_PATIENCE_SECONDS)
    with pytest.raises(UnavailableError):
        await read(reader, executors, UnavailableError("away"))
