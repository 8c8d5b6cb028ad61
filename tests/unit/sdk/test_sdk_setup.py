"""``@engram(setup=…)``: what is loaded once in a process, before its first step."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio

from bubu_sdk import AsyncContext, Context, engram
from bubu_sdk.testing import EngramEnvironment


def test_the_function_gets_what_setup_has_loaded() -> None:
    calls: list[str] = []

    def load() -> dict[str, int]:
        calls.append(threading.current_thread().name)
        return {"weight": 3}

    @engram(setup=load)
    def main(ctx: Context, inputs: dict[str, Any]) -> dict[str, Any]:
        assert len(calls) == 1
        return {"product": ctx.setup["weight"] * inputs["n"]}

    outcome = EngramEnvironment().run(main, {"n": 2})

    assert outcome.output == {"product": 6}
    assert calls == ["bubu-setup"]  # not in the thread of the supervisor, which watches the deadline


def test_without_setup_there_is_nothing() -> None:
    @engram
    def main(ctx: Context) -> dict[str, Any]:
        return {"setup": ctx.setup}

    assert EngramEnvironment().run(main).output == {"setup": None}


def test_setup_may_be_asynchronous_and_runs_under_the_backend_of_the_function() -> None:
    async def load() -> str:
        await trio.lowlevel.checkpoint()
        return "trio"

    @engram(setup=load, backend="trio")
    async def main(ctx: AsyncContext) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        return {"setup": ctx.setup}

    @engram(setup=load)
    def plain(ctx: Context) -> dict[str, Any]:
        return {"setup": ctx.setup}

    assert EngramEnvironment().run(main).output == {"setup": "trio"}
    assert EngramEnvironment().run(plain).output == {"setup": "trio"}


def test_a_setup_that_fails_fails_the_step_before_its_function() -> None:
    @engram(setup=lambda: 1 / 0)
    def main() -> None:
        raise AssertionError("not reached")

    outcome = EngramEnvironment().run(main)

    assert outcome.exit_code == 1
    assert outcome.error is not None
    assert outcome.error["type"] == "initialization_error"
    assert "division by zero" in outcome.error["message"]


def test_a_setup_that_does_not_end_times_out() -> None:
    blocked = threading.Event()

    @engram(setup=blocked.wait)
    def main() -> None:
        raise AssertionError("not reached")

    outcome = EngramEnvironment(step_timeout="50ms", grace="10ms").run(main)
    blocked.set()

    assert outcome.phase == "Timeout"


def test_setup_is_called_without_arguments() -> None:
    def load(path: str) -> str:
        return path

    with pytest.raises(TypeError, match="setup=load: it is called without arguments, so 'path' needs a default"):
        engram(setup=load)(lambda: None)  # type: ignore[arg-type]
