"""Functions in all three styles, by the harness: outputs, receipts, drain, broken connections."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import anyio
import anyio.lowlevel
import pydantic
import pytest
import trio

from bubu_sdk import (
    AsyncMessages,
    AsyncStreamContext,
    Audio,
    Binary,
    EngramError,
    Message,
    Messages,
    Packet,
    StreamContext,
    StreamFunction,
    stream,
)
from bubu_sdk.streaming.exchange import MAX_PACKETS
from bubu_sdk.testing import StreamHarness


@dataclass
class Word:
    text: str
    times: int = 1


class Loud(TypedDict):
    text: str


@stream
def plain(messages: Messages[Word]) -> Iterator[Loud]:
    for message in messages:
        for _ in range(message.data.times):
            yield {"text": message.data.text.upper()}


@stream(backend="asyncio")
async def in_asyncio(messages: AsyncMessages[Word]) -> AsyncIterator[Loud]:
    async for message in messages:
        for _ in range(message.data.times):
            await anyio.lowlevel.checkpoint()
            yield {"text": message.data.text.upper()}


@stream(backend="trio")
async def in_trio(messages: AsyncMessages[Word]) -> AsyncIterator[Loud]:
    async for message in messages:
        for _ in range(message.data.times):
            await trio.lowlevel.checkpoint()
            yield {"text": message.data.text.upper()}


STYLES = pytest.mark.parametrize("work", [plain, in_asyncio, in_trio], ids=lambda work: work.__name__)


@STYLES
def test_each_message_is_answered_and_then_done(work: StreamFunction) -> None:
    outcome = StreamHarness(work).run([{"text": "a"}, {"text": "b", "times": "2"}, {"text": "c", "times": 0}])

    assert outcome.payloads == [{"text": "A"}, {"text": "B"}, {"text": "B"}]
    assert sorted(outcome.receipts) == [1, 2, 3]
    assert (outcome.exit_code, outcome.hung) == (143, False)


@STYLES
def test_a_message_is_done_when_its_outputs_are_accepted(work: StreamFunction) -> None:
    with StreamHarness(work) as harness:
        harness.hold_acceptance()
        number = harness.send({"text": "a"})
        harness.receive()
        nothing = harness.send({"text": "b", "times": 0})
        harness.wait_done(nothing)
        assert harness.hub.receipts == [nothing]

        harness.accept()
        harness.wait_done(number)


@STYLES
def test_with_another_hub_a_message_is_done_when_its_outputs_are_written(work: StreamFunction) -> None:
    assert StreamHarness(work, accepts=False).run([{"text": "a"}]).receipts == [1]


@STYLES
def test_outputs_that_were_not_accepted_are_sent_again(work: StreamFunction) -> None:
    with StreamHarness(work) as harness:
        harness.hold_acceptance()
        first = harness.send({"text": "a"})
        before = harness.receive()
        harness.drop_connection()
        again = harness.receive()
        harness.accept()
        harness.wait_done(first)

    assert (before.payload, before.message_id) == (again.payload, again.message_id)
    assert harness.outcome.receipts == [first]


@STYLES
def test_a_message_that_is_worked_on_when_the_line_breaks_is_answered_once(work: StreamFunction) -> None:
    with StreamHarness(work, window=8) as harness:
        numbers = []
        for index in range(40):
            numbers.append(harness.send({"text": f"w{index}"}))
            if index % 10 == 9:
                harness.drop_connection()
        harness.wait_done(*numbers)

    assert [output.payload["text"] for output in harness.hub.outputs[:1]] == ["W0"]
    assert {output.payload["text"] for output in harness.hub.outputs} == {f"W{index}" for index in range(40)}
    assert set(harness.outcome.receipts) == set(numbers)


@STYLES
def test_a_message_that_does_not_fit_is_refused_alone(work: StreamFunction) -> None:
    outcome = StreamHarness(work).run([{"text": "a"}, {"times": 3}, b"bytes", {"text": "b"}])

    assert outcome.payloads == [{"text": "A"}, {"text": "B"}]
    assert outcome.receipts == [1, 4]
    assert "payload.text: is required" in outcome.refusals[0]["message"]
    assert "expected an object" in outcome.refusals[1]["message"]
    assert sum("refused" in line["msg"] for line in outcome.logs) == 2


def collecting(*, pause: Callable[[], None]) -> StreamFunction:
    @stream
    def collect(messages: Messages) -> Iterator[dict[str, int]]:
        total = 0
        for message in messages:
            pause()
            total += message.data["n"]
        yield {"total": total}

    return collect


def test_at_sigterm_what_was_received_is_worked_on_and_the_function_may_say_a_last_word() -> None:
    received, all_received, go = [0], threading.Event(), threading.Event()

    def pause() -> None:
        received[0] += 1
        if received[0] == 3:
            all_received.set()
            go.wait(10)

    with StreamHarness(collecting(pause=pause)) as harness:
        for number in (1, 2, 3):
            harness.send({"n": number})
        assert all_received.wait(10)
        harness.terminate()
        go.set()
        outcome = harness.wait()

    assert outcome.exit_code == 143
    assert outcome.payloads[-1]["total"] == 6
    assert outcome.receipts == [1, 2, 3]


# Sources and sinks.


@stream
def counting(ctx: StreamContext) -> Iterator[dict[str, int]]:
    for number in range(ctx.config["count"]):
        yield {"n": number}


@stream(backend="asyncio")
async def counting_in_asyncio(ctx: AsyncStreamContext) -> AsyncIterator[dict[str, int]]:
    for number in range(ctx.config["count"]):
        yield {"n": number}


@stream(backend="trio")
async def counting_in_trio(ctx: AsyncStreamContext) -> AsyncIterator[dict[str, int]]:
    for number in range(ctx.config["count"]):
        yield {"n": number}


SOURCES = pytest.mark.parametrize(
    "work", [counting, counting_in_asyncio, counting_in_trio], ids=lambda work: work.__name__
)


@SOURCES
@pytest.mark.parametrize("accepts", [True, False])
def test_a_source_that_returns_has_sent_everything_and_exits_with_0(work: StreamFunction, accepts: bool) -> None:
    outcome = StreamHarness(work, config={"count": 2500}, accepts=accepts).run()

    assert outcome.exit_code == 0
    assert outcome.payloads == [{"n": number} for number in range(2500)]
    assert len({output.message_id for output in outcome.outputs}) == 2500


@SOURCES
def test_a_source_waits_for_a_hub_that_accepts_nothing_and_ends_at_sigterm(work: StreamFunction) -> None:
    with StreamHarness(work, config={"count": 100_000}, grace="300ms") as harness:
        harness.hold_acceptance()
        harness.wait_until(lambda: len(harness.hub.outputs) == MAX_PACKETS, "not so many outputs")
        outcome = harness.end()

    assert len(outcome.outputs) == MAX_PACKETS
    assert outcome.exit_code == 143


def test_a_function_that_had_returned_before_sigterm_has_finished() -> None:
    with StreamHarness(counting, config={"count": 5}) as harness:
        harness.hold_acceptance()
        harness.wait_until(lambda: len(harness.hub.outputs) == 5, "not five outputs")
        for thread in threading.enumerate():
            if thread.name == "bubu-stream":  # that of the function
                thread.join(30)
        harness.terminate()
        harness.accept()
        outcome = harness.wait()

    assert outcome.exit_code == 0


@stream(backend="asyncio")
async def waiting_in_asyncio() -> AsyncIterator[dict[str, int]]:
    yield {"n": 1}
    await anyio.sleep(60)


@stream(backend="trio")
async def waiting_in_trio() -> AsyncIterator[dict[str, int]]:
    yield {"n": 1}
    await trio.sleep(60)


@stream
def waiting(ctx: StreamContext) -> Iterator[dict[str, int]]:
    yield {"n": 1}
    ctx.cancelled.wait(60)


@pytest.mark.parametrize("work", [waiting, waiting_in_asyncio, waiting_in_trio], ids=lambda work: work.__name__)
def test_a_source_that_waits_ends_at_sigterm(work: StreamFunction) -> None:
    with StreamHarness(work) as harness:
        harness.receive()
        assert harness.end().exit_code == 143


def test_a_sink_has_receipts_and_no_outputs() -> None:
    seen: list[int] = []

    @stream
    def sink(messages: Messages) -> None:
        for message in messages:
            seen.append(message.data["n"])

    outcome = StreamHarness(sink).run([{"n": 1}, {"n": 2}])

    assert (seen, outcome.receipts, outcome.outputs) == ([1, 2], [1, 2], [])


def test_a_function_that_has_seen_enough_exits_with_0() -> None:
    @stream
    def first(messages: Messages) -> Iterator[Any]:
        for message in messages:
            yield message.data
            return

    with StreamHarness(first) as harness:
        harness.send({"n": 1})
        outcome = harness.wait()

    assert (outcome.exit_code, outcome.receipts, outcome.payloads) == (0, [1], [{"n": 1}])


# Several messages at once.


@stream(backend="trio")
async def at_once(ctx: AsyncStreamContext, messages: AsyncMessages) -> None:
    async with trio.open_nursery() as nursery:
        async for message in messages:
            message.hold()
            nursery.start_soon(_answer_later, ctx, message)


async def _answer_later(ctx: AsyncStreamContext, message: Message[Any]) -> None:
    await trio.sleep(0.02 * (3 - message.data["n"]))
    await ctx.send({"n": message.data["n"]}, of=message)
    message.done()


def test_messages_that_are_held_are_done_in_any_order() -> None:
    outcome = StreamHarness(at_once).run([{"n": 1}, {"n": 2}, {"n": 3}])

    assert sorted(output.payload["n"] for output in outcome.outputs) == [1, 2, 3]
    assert sorted(outcome.receipts) == [1, 2, 3]
    assert outcome.exit_code == 143


def test_collected_messages_are_done_with_the_output_that_they_make() -> None:
    @stream
    def pairs(messages: Messages) -> Iterator[Any]:
        held: list[Message[Any]] = []
        for message in messages:
            message.hold()
            held.append(message)
            if len(held) == 2:
                yield {"sum": sum(each.data["n"] for each in held)}
                for each in held:
                    each.done()
                held.clear()

    with StreamHarness(pairs) as harness:
        harness.send({"n": 1})
        harness.send({"n": 2})
        harness.send({"n": 3})
        harness.wait_done(1, 2)

    assert harness.outcome.payloads == [{"sum": 3}]
    assert harness.outcome.receipts == [1, 2], "the third waits for a fourth, and stays with the hub"


def test_threads_may_share_the_messages() -> None:
    @stream
    def pool(ctx: StreamContext, messages: Messages) -> None:
        def work() -> None:
            for message in messages:
                ctx.send({"n": message.data["n"]}, of=message)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    outcome = StreamHarness(pool).run([{"n": number} for number in range(30)])

    assert sorted(output.payload["n"] for output in outcome.outputs) == list(range(30))
    assert sorted(outcome.receipts) == list(range(1, 31))


def test_nothing_can_be_sent_for_a_message_that_is_done() -> None:
    caught: list[str] = []

    @stream
    def late(ctx: StreamContext, messages: Messages) -> None:
        for message in messages:
            message.done()
            try:
                ctx.send({}, of=message)
            except ValueError as error:
                caught.append(str(error))

    StreamHarness(late).run([{"n": 1}])

    assert "done()" in caught[0]


# Failures.


def test_a_function_that_fails_exits_with_1_and_its_message_stays_with_the_hub() -> None:
    @stream
    def fails(messages: Messages) -> Iterator[Any]:
        for message in messages:
            yield message.data
            if message.data["n"] == 2:
                raise RuntimeError("no more paper")

    with StreamHarness(fails) as harness:
        harness.send({"n": 1})
        harness.send({"n": 2})
        outcome = harness.wait()

    assert (outcome.exit_code, outcome.receipts) == (1, [1])
    assert any("no more paper" in line["msg"] for line in outcome.logs)


@STYLES
def test_an_output_that_cannot_be_sent_is_an_error_at_its_yield(work: StreamFunction) -> None:
    caught: list[str] = []

    @stream
    def careless(messages: Messages) -> Iterator[Any]:
        for message in messages:
            try:
                yield {"n": object()}
            except EngramError as error:
                caught.append(str(error))
                yield {"n": message.data["n"]}

    @stream(backend="asyncio")
    async def careless_async(messages: AsyncMessages) -> AsyncIterator[Any]:
        async for message in messages:
            try:
                yield {"n": object()}
            except EngramError as error:
                caught.append(str(error))
                yield {"n": message.data["n"]}

    outcome = StreamHarness(careless_async if work.is_async else careless).run([{"n": 1}])

    assert "payload.n" in caught[0]
    assert outcome.payloads == [{"n": 1}]


@pytest.mark.parametrize("style", ["plain", "asyncio"])
def test_a_function_that_ignores_sigterm_is_ended_by_force(style: str) -> None:
    entered, release = threading.Event(), threading.Event()

    def deaf(messages: Messages) -> None:
        for _ in messages:
            entered.set()
            release.wait(30)

    async def deaf_async(messages: AsyncMessages) -> None:
        async for _ in messages:
            entered.set()
            release.wait(30)

    work = stream(deaf) if style == "plain" else stream(backend="asyncio")(deaf_async)
    with StreamHarness(work, grace="100ms") as harness:
        harness.send({"n": 1})
        assert entered.wait(10)
        outcome = harness.end()
        release.set()

    assert (outcome.exit_code, outcome.hung, outcome.receipts) == (143, True, [])


def test_blocked_code_stops_no_heartbeat() -> None:
    release = threading.Event()

    @stream(backend="asyncio")
    async def blocks(messages: AsyncMessages) -> None:
        async for _ in messages:
            release.wait(30)

    environ = {"BUBU_GRPC_HEARTBEAT_INTERVAL": "20ms", "BUBU_TRANSPORT_HEARTBEAT_INTERVAL": "20ms"}
    with StreamHarness(blocks, environ=environ) as harness:
        harness.send({"n": 1})
        harness.wait_until(lambda: len(harness.hub.delivered) == 1, "not delivered")
        seen = harness.hub.data_heartbeats
        harness.wait_until(
            lambda: harness.hub.data_heartbeats > seen + 3 and harness.hub.control_heartbeats > 3, "no heartbeats"
        )
        release.set()


def test_a_hub_that_refuses_ends_a_running_function() -> None:
    @stream
    def idle(messages: Messages) -> None:
        for _ in messages:
            pass

    with StreamHarness(idle, environ={"BUBU_GRPC_RECONNECT_MAX_RETRIES": "2"}) as harness:
        harness.wait_done(harness.send({"n": 1}))
        harness.drop_connection(reachable=False)
        outcome = harness.wait()

    assert outcome.exit_code == 1
    assert any("gave up after 2 retries" in line["msg"] for line in outcome.logs)


def test_a_hub_that_comes_back_finds_what_was_meant_for_it() -> None:
    with StreamHarness(plain, environ={"BUBU_GRPC_RECONNECT_MAX_RETRIES": "-1"}) as harness:
        harness.hold_acceptance()
        number = harness.send({"text": "a"})
        harness.receive()
        harness.drop_connection(reachable=False)
        time.sleep(0.02)
        harness.accept()
        harness.reach()
        harness.wait_done(number)

    assert harness.outcome.receipts == [1]


# What a message and its answer carry.


def test_answers_inherit_what_belongs_to_the_message() -> None:
    @stream
    def relay(messages: Messages) -> Iterator[Any]:
        for message in messages:
            yield Packet(message.data, metadata={"own": "1"})

    with StreamHarness(relay) as harness:
        metadata = {"participant": "ann", "traceparent": "00-1-2-03", "other": "x"}
        harness.send({"n": 1}, metadata=metadata, message_id="m-1")
        output = harness.receive()

    assert output.metadata["participant"] == "ann"
    assert output.metadata["traceparent"] == "00-1-2-03"
    assert output.metadata["own"] == "1"
    assert output.metadata["bubu.join.key"] == "m-1"
    assert "other" not in output.metadata
    assert output.message_id == "m-1:step.1"


def test_sound_and_bytes_arrive_with_their_metadata() -> None:
    @stream
    def louder(messages: Messages[Audio]) -> Iterator[Any]:
        for message in messages:
            yield Audio(message.data.pcm * 2, message.data.sample_rate_hz, codec="pcm16")
            yield Packet(frame=Binary(message.data.pcm, "application/x-peak"), metadata={"type": "peak"})

    outcome = StreamHarness(louder).run([Audio(b"ab", 16_000, codec="pcm16"), {"not": "sound"}])

    assert outcome.outputs[0].frame == Audio(b"abab", 16_000, codec="pcm16")
    assert outcome.outputs[1].frame == Binary(b"ab", "application/x-peak")
    assert outcome.outputs[1].metadata["type"] == "peak"
    assert "no Audio frame" in outcome.refusals[0]["message"]


def test_a_large_output_arrives_whole() -> None:
    @stream
    def large(messages: Messages) -> Iterator[Any]:
        for message in messages:
            yield Binary(b"\x01" * message.data["size"], "image/png")

    with StreamHarness(large) as harness:
        number = harness.send({"size": 9 * 1024 * 1024})
        output = harness.receive()
        harness.wait_done(number)

    assert output.payload == b"\x01" * (9 * 1024 * 1024)


def test_messages_tell_where_they_come_from() -> None:
    found: list[Message[Any]] = []

    @stream
    def look(messages: Messages) -> None:
        found.extend(messages)

    outcome = StreamHarness(look).run([Packet({"p": 1}, inputs={"i": 1}, kind="hook", message_id="m-9")])

    (message,) = found
    assert (message.data, message.payload, message.inputs) == ({"i": 1}, {"p": 1}, {"i": 1})
    assert (message.kind, message.id, message.sequence, message.partition) == ("hook", "m-9", 1, "")
    assert message.timestamp is not None
    assert outcome.receipts == [1]


def test_the_context_has_configuration_secrets_and_signals() -> None:
    @dataclass
    class Config:
        lang: str

    def greet(ctx: StreamContext[Config], messages: Messages) -> Iterator[Any]:
        ctx.emit_signal("ready", {"ok": True})
        for _ in messages:
            yield {"lang": ctx.config.lang, "token": ctx.secrets["token"], "step": ctx.step}

    greet.__annotations__["ctx"] = StreamContext[Config]
    harness = StreamHarness(greet, config={"lang": "en"}, secrets={"api": {"token": "t"}})
    outcome = harness.run([{}])

    assert outcome.payloads == [{"lang": "en", "token": "t", "step": "step"}]
    assert "ready" in harness.environment.status["signals"]


def test_async_contexts_have_signals_and_artifacts(tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_text("done")

    @stream(backend="asyncio")
    async def reports(ctx: AsyncStreamContext, messages: AsyncMessages) -> AsyncIterator[Any]:
        async for message in messages:
            await ctx.emit_signal("seen", message.data["n"])
            yield {"report": await ctx.artifacts.save(tmp_path / "report.txt")}

    harness = StreamHarness(reports)
    outcome = harness.run([{"n": 1}])

    assert outcome.payloads[0]["report"]["name"] == "report.txt"
    assert "seen" in harness.environment.status["signals"]


def test_models_are_built_and_sent() -> None:
    class Order(pydantic.BaseModel):
        item: str
        count: int = pydantic.Field(ge=1)

    def fill(messages: Messages[Any]) -> Iterator[Any]:
        for message in messages:
            yield message.data.model_copy(update={"item": message.data.item.title()})

    fill.__annotations__["messages"] = Messages[Order]
    outcome = StreamHarness(fill).run([{"item": "tea", "count": "2"}, {"item": "tea", "count": 0}])

    assert outcome.payloads == [{"item": "Tea", "count": 2}]
    assert "payload.count" in outcome.refusals[0]["message"]


async def test_coroutine_tests_may_run_it() -> None:
    with trio.fail_after(30):
        outcome = await StreamHarness(plain).run_async([{"text": "a"}])

    assert outcome.payloads == [{"text": "A"}]


# How it is written.


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"BUBU_TRANSPORT_BINDING": ""}, "BUBU_TRANSPORT_BINDING is not set"),
        ({"BUBU_TRANSPORT_BINDING": "x"}, "not valid JSON"),
        ({"BUBU_TRANSPORT_BINDING": '{"name":"a","namespace":"b","binding":{"endpoint":"h"}}'}, "protocolVersion"),
        (
            {"BUBU_TRANSPORT_BINDING": '{"name":"a","namespace":"b","binding":{"protocolVersion":"1.0.0"}}'},
            "host:port",
        ),
        ({"BUBU_EXECUTION_MODE": "batch"}, "streaming engram"),
        ({"BUBU_STEP_CONFIG": "["}, "BUBU_STEP_CONFIG"),
    ],
)
def test_a_wrong_environment_ends_the_process_at_its_start(environ: dict[str, str], reason: str) -> None:
    outcome = StreamHarness(plain, environ=environ).run()

    assert outcome.exit_code == 1
    assert any(reason in line["msg"] for line in outcome.logs)


def test_the_signature_is_checked() -> None:
    def three(ctx: Any, messages: Any, more: Any) -> None: ...
    def wrong(messages: AsyncMessages) -> None: ...
    async def wrong_async(messages: Messages) -> None: ...

    with pytest.raises(TypeError, match="a context and messages"):
        stream(three)
    with pytest.raises(TypeError, match=r"annotate 'messages' with Messages\[...\]"):
        stream(wrong).signature()
    with pytest.raises(TypeError, match=r"annotate 'messages' with AsyncMessages\[...\]"):
        stream(wrong_async).signature()
    with pytest.raises(TypeError, match="needs an 'async def' function"):
        stream(backend="trio")(three)


def test_a_value_that_is_returned_is_an_error() -> None:
    @stream
    def returns(messages: Messages) -> Any:
        return {"n": 1}

    outcome = StreamHarness(returns).run()

    assert outcome.exit_code == 1
    assert any("yield outputs instead" in line["msg"] for line in outcome.logs)


def test_a_call_of_the_function_calls_it() -> None:
    assert list(stream(lambda: iter([1, 2]))()) == [1, 2]


def test_the_reason_of_a_source_that_ends_itself_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def data() -> Iterator[dict[str, int]]:
        raise SystemExit("the data is missing")

    @stream
    def main() -> Iterator[dict[str, int]]:
        yield from data()

    assert StreamHarness(main).run().exit_code == 1
    assert "the data is missing" in caplog.text
