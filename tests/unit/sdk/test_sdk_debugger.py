"""The function of the user under Python's debugger. (debugger.py)"""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from bubu_sdk import AsyncContext, Context, engram
from bubu_sdk.debugger import under_debugger
from bubu_sdk.testing import EngramEnvironment
from bubu_sdk.testing.environment import EngramOutcome


def debugged(
    monkeypatch: pytest.MonkeyPatch, function: Any, *typed: str, backend: Any = None
) -> tuple[EngramOutcome, str]:
    """The outcome, and what the debugger printed."""
    said = io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in typed)))
    monkeypatch.setattr(sys, "stdout", said)
    environment = EngramEnvironment(environ={"BUBU_DEBUGGER": "pdb"})
    work = engram(backend=backend)(function) if backend else engram(function)
    return environment.run(work, {"n": 3}), said.getvalue()


def plain(ctx: Context[Any], inputs: dict[str, Any]) -> dict[str, Any]:
    return {"n": inputs["n"]}


async def slow(ctx: AsyncContext[Any], inputs: dict[str, Any]) -> dict[str, Any]:
    return {"n": inputs["n"]}


def broken(ctx: Context[Any], inputs: dict[str, Any]) -> None:
    number = inputs["n"] + 1
    raise ValueError(f"bad {number}")


@pytest.mark.parametrize(("function", "backend"), [(plain, None), (slow, "asyncio"), (slow, "trio")])
def test_it_stops_at_the_first_line_of_the_function(
    monkeypatch: pytest.MonkeyPatch, function: Any, backend: Any
) -> None:
    outcome, said = debugged(monkeypatch, function, "p 'n is', inputs['n']", "inputs['n'] = 5", "c", backend=backend)

    assert "('n is', 3)" in said
    assert '-> return {"n": inputs["n"]}' in said
    assert (outcome.exit_code, outcome.output) == (0, {"n": 5})


def test_it_stops_again_where_an_error_was_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, said = debugged(monkeypatch, broken, "c", "p 'number is', number", "q")

    assert "('number is', 4)" in said
    assert outcome.error is not None
    assert outcome.error["message"] == "ValueError: bad 4"
    (trace,) = [line["stacktrace"] for line in outcome.logs if "stacktrace" in line]
    assert trace.count('File "') == 1


def test_leaving_the_debugger_fails_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, _ = debugged(monkeypatch, plain, "q")

    assert outcome.error is not None
    assert outcome.error["message"] == "the step was ended in the debugger"


def test_without_the_variable_the_function_stays_as_it_is() -> None:
    assert under_debugger(plain, {}) is plain
    assert under_debugger(plain, {"BUBU_DEBUGGER": "other"}) is plain
