"""Whole impulses in memory: plain, asyncio and Trio functions, configuration, readiness, the end.

(impulses.py, impulse_run.py, impulse_context.py, readiness.py)
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - users' functions may be asyncio
import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import trio

import bubu_sdk
from bubu_sdk import (
    AsyncContext,
    AsyncImpulseContext,
    Impulse,
    ImpulseContext,
    TriggerPendingError,
    hosting,
    impulse,
)
from bubu_sdk.errors import ContextError
from bubu_sdk.readiness import ReadinessServer, port_of
from bubu_sdk.testing import ImpulseEnvironment, VirtualClock


class RealClock(VirtualClock):
    """Waits until the event, in real time."""

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        return event.wait(10)


@dataclass
class Config:
    city: str
    every: timedelta = timedelta(seconds=60)
    inputs: dict[str, Any] = field(default_factory=dict)


@impulse
def plain(ctx: ImpulseContext[Config]) -> None:
    number = 0
    while not ctx.cancelled.is_set():
        ctx.trigger(inputs={"city": ctx.config.city}, key=f"{ctx.name}-{number}")
        number += 1


@impulse(backend="asyncio")
async def on_asyncio(ctx: AsyncImpulseContext[Config]) -> None:
    for number in range(3):
        await ctx.trigger(inputs={"city": ctx.config.city}, key=f"{ctx.name}-{number}")
    await asyncio.sleep(3600)


@impulse
async def on_trio(ctx: AsyncImpulseContext[Config]) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(ctx.trigger, None, {"city": ctx.config.city}, f"{ctx.name}-{number}")
    await trio.sleep_forever()


@pytest.mark.parametrize("work", [plain, on_asyncio, on_trio], ids=["plain", "asyncio", "trio"])
def test_a_function_starts_stories_until_it_is_stopped(work: Impulse) -> None:
    environment = ImpulseEnvironment(config={"city": "Oslo"})

    outcome = environment.run(work, until=lambda: len(environment.story_runs) >= 3)

    assert (outcome.exit_code, outcome.hung, outcome.timed_out) == (0, False, False)
    assert [trigger["spec"]["inputs"] for trigger in environment.triggers[:3]] == [{"city": "Oslo"}] * 3
    assert {line["impulse"] for line in outcome.logs} == {"impulse"}


def test_the_context_knows_its_impulse() -> None:
    environment = ImpulseEnvironment(
        config={"unit": "C"},
        secrets={"api": {"token": "t-1"}},
        story="forecast",
        story_namespace="weather",
        environ={"BUBU_CONFIG_unit": "F"},
    )

    def main(ctx: ImpulseContext) -> None:
        assert (ctx.name, ctx.namespace, ctx.story, ctx.story_namespace) == (
            "impulse",
            "default",
            "forecast",
            "weather",
        )
        assert ctx.config == {"unit": "F"}
        assert ctx.secrets["token"] == "t-1"
        assert ctx.log is ctx.logger
        assert "t-1" not in repr(ctx)
        ctx.log.info("hello", extra={"n": 1})

    outcome = environment.run(main)

    assert outcome.exit_code == 0, outcome.logs
    assert [(line["msg"], line["n"]) for line in outcome.logs if line["logger"] == "impulse"] == [("hello", 1)]


def test_braces_in_the_configuration_are_data() -> None:
    environment = ImpulseEnvironment(config={"city": "Oslo", "inputs": {"text": "{{ start.time }} {{"}})

    def main(ctx: ImpulseContext[Config]) -> None:
        ctx.trigger(inputs=ctx.config.inputs)

    environment.run(main)
    assert environment.triggers[0]["spec"]["inputs"] == {"text": "{{ start.time }} {{"}


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"BUBU_STEP_CONFIG": "{"}, "BUBU_STEP_CONFIG"),
        ({"BUBU_STEP_CONFIG": '{"every": "soon"}'}, "config.city"),
        ({"BUBU_TRIGGER_RETRY_BACKOFF": "never"}, "BUBU_TRIGGER_RETRY_BACKOFF"),
        ({"BUBU_TRIGGER_THROTTLE_BURST": "-1"}, "BUBU_TRIGGER_THROTTLE_BURST"),
        ({"BUBU_READINESS_PORT": "http"}, "BUBU_READINESS_PORT"),
    ],
)
def test_a_wrong_setting_ends_the_process_before_its_function_starts(environ: dict[str, str], named: str) -> None:
    outcome = ImpulseEnvironment(environ=environ).run(plain)

    assert outcome.exit_code == 1
    assert [line["level"] for line in outcome.logs] == ["error"]
    assert named in outcome.logs[0]["msg"]


@pytest.mark.parametrize(
    ("work", "code"),
    [
        (lambda: None, 0),
        (lambda ctx: ctx.missing, 1),
    ],
)
def test_a_function_that_returns_ends_the_process(work: Callable[..., Any], code: int) -> None:
    assert ImpulseEnvironment().run(work).exit_code == code


def test_an_exit_code_of_the_function_is_kept() -> None:
    def main() -> None:
        raise SystemExit(7)

    assert ImpulseEnvironment().run(main).exit_code == 7


def test_the_reason_of_an_impulse_that_ends_itself_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def main() -> None:
        raise SystemExit("no credentials")

    assert ImpulseEnvironment().run(main).exit_code == 1
    assert "no credentials" in caplog.text


def test_an_impulse_has_one_parameter_of_its_kind() -> None:
    def two(ctx: ImpulseContext, inputs: dict[str, Any]) -> None: ...
    async def wrong(ctx: ImpulseContext) -> None: ...
    def step(ctx: AsyncContext) -> None: ...

    with pytest.raises(TypeError, match="'inputs' is neither"):
        impulse(two)
    with pytest.raises(TypeError, match="ImpulseContext"):
        impulse(step)
    with pytest.raises(TypeError, match="AsyncImpulseContext"):
        impulse(wrong).signature()


def test_a_decorated_function_is_still_a_function() -> None:
    assert impulse(lambda ctx: ctx + 1)(1) == 2


def test_every_public_name_can_be_imported() -> None:
    assert [name for name in bubu_sdk.__all__ if getattr(bubu_sdk, name) is None] == []
    with pytest.raises(AttributeError):
        _ = bubu_sdk.missing


# The end.


def test_what_was_accepted_is_finished_after_the_signal() -> None:
    environment = ImpulseEnvironment()

    def main(ctx: ImpulseContext) -> None:
        queue = [1, 2, 3]
        environment.stop()
        ctx.cancelled.wait(10)
        for number in queue:
            ctx.accept(inputs={"n": number})

    outcome = environment.run(main)

    assert outcome.exit_code == 0
    assert [trigger["spec"]["inputs"]["n"] for trigger in environment.triggers] == [1, 2, 3]


def test_a_request_that_is_being_sent_is_finished_before_a_cancellation() -> None:
    environment = ImpulseEnvironment(environ={"BUBU_TRIGGER_RETRY_MAX_ATTEMPTS": "1"})
    seen: list[str] = []

    def stop_during_the_post(method: str, *_: Any) -> None:
        if method == "POST":
            environment.stop()
            time.sleep(0.05)

    async def main(ctx: AsyncImpulseContext) -> None:
        try:
            seen.append((await ctx.accept(key="k")).trigger)
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            seen.append("cancelled")
            raise

    environment.cluster.before = stop_during_the_post
    outcome = environment.run(main)

    assert outcome.exit_code == 0
    assert seen == [environment.triggers[0]["metadata"]["name"], "cancelled"]


def test_a_call_that_waits_for_a_decision_is_cancelled_with_its_function() -> None:
    environment = ImpulseEnvironment()
    environment.operator.holds = True
    environment.clock = RealClock()

    async def main(ctx: AsyncImpulseContext) -> None:
        await ctx.trigger(key="k")

    outcome = environment.run(main, until=lambda: bool(environment.triggers))

    assert (outcome.exit_code, outcome.hung) == (0, False)
    assert len(environment.triggers) == 1


def test_a_call_of_a_plain_function_is_cancelled_when_the_grace_period_is_over() -> None:
    environment = ImpulseEnvironment(grace="50ms")
    environment.operator.holds = True
    environment.clock = RealClock()

    def main(ctx: ImpulseContext) -> None:
        ctx.trigger(key="k")

    outcome = environment.run(main, until=lambda: bool(environment.triggers))

    assert (outcome.exit_code, outcome.hung) == (0, False)


def test_a_function_that_ignores_its_cancellation_is_ended_by_force() -> None:
    environment = ImpulseEnvironment(grace="10ms")
    release = threading.Event()

    def main(ctx: ImpulseContext) -> None:
        ctx.accept(key="k")
        release.wait(10)

    outcome = environment.run(main, until=lambda: bool(environment.triggers))
    release.set()

    assert (outcome.exit_code, outcome.hung) == (143, True)
    assert len(environment.triggers) == 1


def test_a_test_gets_its_function_back_when_its_time_is_up() -> None:
    outcome = ImpulseEnvironment().run(lambda ctx: ctx.cancelled.wait(10), timeout_seconds=0.05)

    assert (outcome.exit_code, outcome.timed_out) == (0, True)


def test_pending_is_an_error_that_a_function_may_handle() -> None:
    environment = ImpulseEnvironment()
    environment.operator.holds = True

    def main(ctx: ImpulseContext) -> None:
        with pytest.raises(TriggerPendingError):
            ctx.trigger(key="k", timeout_seconds=1)

    assert environment.run(main).exit_code == 0


# Readiness.


def answer(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path)
    code = connection.getresponse().status
    connection.close()
    return code


def test_the_probe_answers_as_the_impulse_is() -> None:
    ready = [False]
    server = ReadinessServer(0, lambda: ready[0], "127.0.0.1")
    try:
        assert [answer(server.port, path) for path in ("/readyz", "/healthz", "/else")] == [503, 200, 404]
        ready[0] = True
        assert answer(server.port, "/readyz") == 200
    finally:
        server.close()


def test_an_impulse_is_ready_from_its_start_to_its_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    ports: list[int] = []

    class Server(ReadinessServer):
        def __init__(self, port: int, is_ready: Callable[[], bool]) -> None:
            assert port == 8081
            super().__init__(0, is_ready, "127.0.0.1")
            ports.append(self.port)

    monkeypatch.setattr("bubu_sdk.readiness.ReadinessServer", Server)
    environment = ImpulseEnvironment(environ={"BUBU_READINESS_PORT": "8081"})
    codes: list[int] = []

    def main(ctx: ImpulseContext) -> None:
        codes.append(answer(ports[0], "/readyz"))
        ctx.set_ready(False)
        codes.append(answer(ports[0], "/readyz"))
        ctx.set_ready(True)
        environment.stop()
        ctx.cancelled.wait(10)
        codes.append(answer(ports[0], "/readyz"))
        ctx.set_ready(True)
        codes.append(answer(ports[0], "/readyz"))

    assert environment.run(main).exit_code == 0
    assert codes == [200, 503, 503, 503]


def test_the_probe_is_off_by_default() -> None:
    assert port_of(" ") is None
    assert port_of("8081") == 8081
    with pytest.raises(ContextError):
        port_of("70000")


# Calls that can be interrupted.


async def test_an_interrupted_call_under_trio_ends_before_its_caller() -> None:
    ended: list[str] = []

    def call(cancellation: Any) -> None:
        assert cancellation.event.wait(10)
        ended.append("call")
        raise RuntimeError("cancelled")

    with trio.move_on_after(0.01) as scope:
        await hosting.interruptible(call)

    assert scope.cancelled_caught
    assert ended == ["call"]


def test_an_interrupted_call_under_asyncio_ends_before_its_caller() -> None:
    ended: list[str] = []

    def call(cancellation: Any) -> None:
        assert cancellation.event.wait(10)
        ended.append("call")
        raise RuntimeError("cancelled")

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hosting.interruptible(call), 0.01)

    asyncio.run(main())
    assert ended == ["call"]


async def test_an_error_of_a_call_arrives_without_a_group_around_it() -> None:
    def call(_: Any) -> None:
        raise KeyError("k")

    with pytest.raises(KeyError):
        await hosting.interruptible(call)
