"""``stream tap`` and ``stream send`` with a hub and an API server in this process.

(cli/stream_console.py, cli/tapping.py, cli/sending.py, manager/hub_console.py)
"""

from __future__ import annotations

import json
import math
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import trio

import cli.tapping
import manager.hub_console
from bubu_contract.instants import format_instant
from cli.exit_code import ExitCode
from cli.options import CommonOptions
from cli.problem import CommandError, UsageError
from cli.render.packets import packet_line
from cli.sending import SendWish, metadata_of, payloads_of, send
from cli.session import Session
from cli.stream_console import console_address, open_console, step_of
from cli.tapping import TapWish, tap
from core.api import keys
from core.api.objects import NamespacedName, Object
from core.api.resource import CONTROLLER_REVISION, STORY_RUN, TRANSPORT_BINDING
from core.engine.clock import system_now
from core.kube.errors import ForbiddenError
from hub.cluster_topology import ClusterTopology
from hub.console_grants import ConsoleVerb
from hub.report import StatusReporter
from hub.service import Hub
from hub.stream_view import StreamView
from manager.bind import Address
from manager.hub_console import ConsoleOptions, HubConsole
from tests.unit.cli.conftest import Refusing, Server, of
from tests.unit.hub.cluster_samples import (
    engram_step,
    pinned_revision,
    realtime_run,
    realtime_story,
    transport_binding,
)
from tests.unit.hub.json_packets import json_packet
from tests.unit.hub.stand import KEY, until
from tests.unit.hub.test_hub_run import RecordedLink

STORY = realtime_story(engram_step("emit"), engram_step("sink", "emit"), namespace="default")
RUN = NamespacedName("default", "run-1")


@dataclass
class ConsoleRig:
    """A run that a hub serves, with a console that nobody has asked for."""

    session: Session
    run: Object
    hub: Hub
    console: HubConsole
    bindings: dict[str, Object]
    link: RecordedLink = field(default_factory=RecordedLink)

    async def live(self) -> None:
        await until(lambda: RUN in self.hub.runs)
        self.hub.runs[RUN].attach("emit", self.link)

    def emit(self, *texts: str) -> None:
        self.hub.runs[RUN].arrived("emit", self.link, [json_packet({"text": text}) for text in texts])

    async def until_tapped(self, step: str) -> None:
        await until(lambda: RUN in self.hub.runs and bool(self.hub.runs[RUN].steps[step].taps))

    async def annotate(self, step: str, annotations: Mapping[str, str | None]) -> None:
        patch = {"metadata": {"annotations": dict(annotations)}}
        name = f"run-1-{step}-transport"
        await self.session.client.patch(TRANSPORT_BINDING, name, patch, namespace="default")

    async def requests(self, step: str) -> dict[str, str]:
        found = await self.session.client.get(TRANSPORT_BINDING, f"run-1-{step}-transport", "default")
        kept: dict[str, str] = found["metadata"]["annotations"]
        return {name: text for name, text in kept.items() if name.startswith(keys.ANNOTATION_STREAM_CONSOLE)}

    async def until_closed(self) -> None:
        await until(lambda: not any(self.console.place_of(NamespacedName("default", n)) for n in self.bindings))


@asynccontextmanager
async def console_rig(session: Session, port: int = 0) -> AsyncIterator[ConsoleRig]:
    client = session.client
    await client.create(CONTROLLER_REVISION, pinned_revision(STORY))
    run = await client.create(STORY_RUN, realtime_run("run-1", namespace="default"))
    revision, uid = pinned_revision(STORY)["metadata"]["name"], run["metadata"]["uid"]
    bindings = {}
    for step in ("emit", "sink"):
        made = transport_binding(step, run_uid=uid, namespace="default", revision=revision)
        bindings[step] = await client.create(TRANSPORT_BINDING, made)
    reporters: list[StatusReporter] = []

    def look_at(name: NamespacedName) -> None:
        for each in reporters:
            each.look_at(name)

    topology = ClusterTopology(client, on_change=look_at)
    hub = Hub([KEY])
    options = ConsoleOptions(Address("127.0.0.1", port))
    console = HubConsole(options, topology.informer, topology.book, hub, look_at, system_now, None)
    view = StreamView(topology.book, hub, trio.current_time, console.place_of)
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            await nursery.start(topology.run)
            reporters.append(StatusReporter(client, topology.informer, view, system_now))
            await nursery.start(hub.serve, topology, "127.0.0.1", 0)
            nursery.start_soon(reporters[0].run)
            nursery.start_soon(console.run)
            rig = ConsoleRig(session, run, hub, console, bindings)
            await rig.live()
            yield rig
            nursery.cancel_scope.cancel()


With = Callable[[Session, CommonOptions], Session]


async def test_a_tap_prints_what_passes_and_lets_the_console_go(
    session: Session, capsys: pytest.CaptureFixture[str], with_options: With
) -> None:
    async with console_rig(session) as rig:
        run, binding = await step_of(session, "run-1/sink")
        as_json = with_options(session, CommonOptions(output="json"))
        async with trio.open_nursery() as nursery:
            codes = []

            async def look(at: Session) -> None:
                codes.append(await tap(at, run, binding, TapWish(count=2)))

            nursery.start_soon(look, session)
            nursery.start_soon(look, as_json)
            await until(lambda: RUN in rig.hub.runs and len(rig.hub.runs[RUN].steps["sink"].taps) == 2)
            assert len(await rig.requests("sink")) == 2, "each command has its own request"
            rig.emit("hello", "again\x9b1A\u202e", "more")
        assert codes == [ExitCode.DONE, ExitCode.DONE]
        printed = capsys.readouterr().out.splitlines()
        assert len([line for line in printed if 'sink ← emit {"text": "hello"}' in line]) == 1
        found = [json.loads(line) for line in printed if line.startswith("{")]
        assert [each["payload"]["text"] for each in found] == ["hello", "again\x9b1A\u202e"]
        assert all(line.isprintable() for line in printed), "no packet moves the cursor"
        assert await rig.requests("sink") == {}
        await rig.until_closed()


async def test_a_tap_ends_with_its_time_and_with_its_step(
    session: Session, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli.tapping, "END_SECONDS", 0.1)
    async with console_rig(session) as rig:
        run, binding = await step_of(session, "run-1/emit")
        assert await tap(session, run, binding, TapWish(seconds=0.5)) is ExitCode.DONE
        async with trio.open_nursery() as nursery:

            async def finish() -> None:
                await rig.until_tapped("emit")
                await rig.annotate("emit", {keys.ANNOTATION_STREAM_FINISHED: "true"})

            nursery.start_soon(finish)
            assert await tap(session, run, binding, TapWish()) is ExitCode.DONE
        assert "step emit has finished" in capsys.readouterr().err
        with pytest.raises(CommandError, match="run-1/emit has finished"):
            await step_of(session, "run-1/emit")


async def test_a_tap_ends_with_the_code_of_its_run(
    session: Session, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console_rig(session) as rig:
        run, binding = await step_of(session, "run-1/sink")
        async with trio.open_nursery() as nursery:

            async def end() -> None:
                await rig.until_tapped("sink")
                status = {"status": {"phase": "Failed", "finishedAt": format_instant(system_now())}}
                await session.client.patch(STORY_RUN, "run-1", status, namespace="default", subresource="status")
                for step in ("emit", "sink"):
                    await rig.annotate(step, {keys.ANNOTATION_STREAM_FINISHED: "true"})

            nursery.start_soon(end)
            code = await tap(session, run, binding, TapWish())
        assert code is ExitCode.RUN_FAILED
        with pytest.raises(CommandError, match="has finished"):
            await step_of(session, "run-1/sink")


async def test_the_code_of_a_run_whose_streams_have_ended_is_read_although_reads_are_refused(
    session: Session, refusing: Refusing
) -> None:
    codes: list[ExitCode] = []
    async with console_rig(session) as rig, refusing(of(STORY_RUN, "run-1")) as refused, trio.open_nursery() as nursery:

        async def tapped() -> None:
            codes.append(await tap(refused, rig.run, rig.bindings["sink"], TapWish()))

        nursery.start_soon(tapped)
        await rig.until_tapped("sink")
        status = {"status": {"phase": "Failed", "finishedAt": format_instant(system_now())}}
        await session.client.patch(STORY_RUN, "run-1", status, namespace="default", subresource="status")
        for step in ("emit", "sink"):
            await rig.annotate(step, {keys.ANNOTATION_STREAM_FINISHED: "true"})

    assert codes == [ExitCode.RUN_FAILED]


async def test_expired_requests_of_others_are_removed_and_live_ones_stay(session: Session) -> None:
    async with console_rig(session) as rig:
        prefix = keys.ANNOTATION_STREAM_CONSOLE
        digest = sha256(b"x").hexdigest()
        wish = {"keySHA256": digest, "verbs": ["tap"]}
        old, live = (
            json.dumps({**wish, "until": format_instant(system_now() + timedelta(seconds=seconds))})
            for seconds in (-60, 60)
        )
        await rig.annotate("sink", {f"{prefix}.old": old, f"{prefix}.live": live, f"{prefix}.odd": "?"})
        run, binding = await step_of(session, "run-1/sink")
        await tap(session, run, binding, TapWish(seconds=0.2))
        assert set(await rig.requests("sink")) == {f"{prefix}.live", f"{prefix}.odd"}


async def test_what_is_sent_arrives_and_is_printed(
    session: Session, capsys: pytest.CaptureFixture[str], with_options: With
) -> None:
    async with console_rig(session) as rig:
        _, binding = await step_of(session, "run-1/sink")

        async def said(at: Session, wish: SendWish, *payloads: str) -> ExitCode:
            async def given() -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
                for text in payloads:
                    yield "--payload", {"text": text}

            return await send(at, binding, wish, given())

        assert await said(session, SendWish(message_id="mine"), "a") is ExitCode.DONE
        assert capsys.readouterr().out == "mine is in the buffer of sink\n"
        assert await said(with_options(session, CommonOptions(output="name")), SendWish(), "b", "c") is ExitCode.DONE
        assert len(capsys.readouterr().out.split()) == 2
        delivery = rig.hub.runs[RUN].steps["sink"].delivery
        assert delivery.counts.offered == 3
        with pytest.raises(ExceptionGroup) as refused:
            await said(session, SendWish(source="nobody"), "d")
        (error,) = refused.value.exceptions
        assert isinstance(error, CommandError)
        assert (error.code, "from must be one of emit" in str(error)) == (ExitCode.REJECTED, True)

        rig.emit(*(str(number) for number in range(200)))
        with pytest.raises(ExceptionGroup) as full:
            await said(session, SendWish(seconds=0.3), "e")
        (error,) = full.value.exceptions
        assert isinstance(error, CommandError)
        assert error.code is ExitCode.WAIT_TIMED_OUT
        assert await rig.requests("sink") == {}


async def test_who_may_not_change_bindings_is_refused(session: Session, server: Server) -> None:
    async with console_rig(session) as rig, server.session_as("stranger") as stranger:
        with pytest.raises(ExceptionGroup) as refused:
            await tap(stranger, rig.run, rig.bindings["sink"], TapWish())
        assert isinstance(refused.value.exceptions[0], ForbiddenError)
        assert await rig.requests("sink") == {}


async def test_a_port_in_use_is_tried_again(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager.hub_console, "RETRY_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        async with console_rig(session, port) as rig:
            run, binding = await step_of(session, "run-1/sink")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tap, session, run, binding, TapWish(count=1))
                await until(lambda: rig.console.is_asked)
                await trio.sleep(0.2)
                assert rig.console.place_of(NamespacedName("default", "run-1-sink-transport")) is None
                other.close()
                await rig.until_tapped("sink")
                rig.emit("hello")


async def test_a_hub_that_does_not_answer_is_told(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.tapping, "ANSWER_SECONDS", 0.3)
    run = await session.client.create(STORY_RUN, realtime_run("run-1", namespace="default"))
    made = transport_binding("sink", run_uid=run["metadata"]["uid"], namespace="default")
    binding = await session.client.create(TRANSPORT_BINDING, made)
    with pytest.raises(ExceptionGroup) as told:
        await tap(session, run, binding, TapWish())
    error = told.value.exceptions[0]
    assert isinstance(error, CommandError)
    assert "has not opened a console for run-1/sink" in str(error)
    assert "--console-bind-address" in error.remedy


@pytest.mark.parametrize(
    "address", ["10.0.0.1:80", "example.com:443", "a/b", "../x:1", "ns/svc/more:1", "ns/svc:1/../../secrets", "", "?"]
)
async def test_no_address_leads_a_command_elsewhere(session: Session, address: str) -> None:
    """Whoever writes the status of a binding must not choose where the command goes with the rights of its user."""
    run = await session.client.create(STORY_RUN, realtime_run("run-1", namespace="default"))
    made = transport_binding("sink", run_uid=run["metadata"]["uid"], namespace="default")
    binding = await session.client.create(TRANSPORT_BINDING, made)
    until_then = format_instant(system_now() + timedelta(minutes=1))
    status = {"status": {"stream": {"console": {"address": address, "until": until_then}}}}
    await session.client.patch(
        TRANSPORT_BINDING, "run-1-sink-transport", status, namespace="default", subresource="status"
    )
    async with open_console(session, binding, ConsoleVerb.TAP) as console:
        if not address:
            assert await console.route() is None
            return
        with pytest.raises(CommandError, match="neither a Service nor on this machine"):
            await console.route()


def test_an_address_that_is_over_does_not_count() -> None:
    now = system_now()

    def at(seconds: float) -> Object:
        until_then = format_instant(now + timedelta(seconds=seconds))
        return {"status": {"stream": {"console": {"address": "127.0.0.1:1", "until": until_then}}}}

    assert (console_address(at(60), now), console_address(at(-60), now)) == ("127.0.0.1:1", "")
    assert console_address({}, now) == console_address({"status": {"stream": {"console": None}}}, now) == ""


async def given(text: str | None, file: Path | None = None, *, lines: bool = False) -> list[tuple[str, Object]]:
    async with aclosing(payloads_of(text, file, lines=lines)) as payloads:
        return [each async for each in payloads]


async def test_payloads_come_from_the_line_and_from_files(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text('{"a":\n 1}')
    assert await given('{"a": 1}') == [("--payload", {"a": 1})]
    assert await given(None, file) == [(str(file), {"a": 1})]
    file.write_text('{"n": 1}\n\n{"n": 2}\n{"n": "x"')
    with pytest.raises(UsageError, match=rf"{file}:4 is not JSON"):
        await given(None, file, lines=True)
    file.write_text('{"n": 1}\n\n{"n": 2}')
    assert await given(None, file, lines=True) == [(f"{file}:1", {"n": 1}), (f"{file}:3", {"n": 2})]
    for text in ("", "[]", "7", "{"):
        with pytest.raises(UsageError, match="--payload"):
            await given(text)


def test_metadata_comes_as_pairs() -> None:
    assert metadata_of(["a=b", "c=d=e", "f="]) == {"a": "b", "c": "d=e", "f": ""}
    for wrong in ("a", "=b"):
        with pytest.raises(UsageError, match="must be key=value"):
            metadata_of([wrong])


SAMPLE = {"at": "2026-01-02T03:04:05.678901Z", "direction": "in", "steps": ["emit"], "id": "m", "kind": "data"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"payload": {"a": "\x1b[2J\u202e"}}, 'm {"a": "\\u001b[2J '),
        ({"payloadText": '{"a', "payloadCut": 1_234}, 'm {"a … 1,234 bytes more'),
        ({"payloadCut": 9}, "m 9 bytes, too large to show"),
        ({"payload": {}, "inputs": {"n": 1}}, 'm {} inputs {"n": 1}'),
        ({"kind": "error", "payload": {}}, "m (error) {}"),
        ({"frame": {"kind": "audio", "media": "pcm", "bytes": 320}}, "m audio pcm 320 bytes"),
        ({"unreadable": "why"}, "m cannot be read: why"),
    ],
)
def test_a_packet_is_one_line_that_no_terminal_obeys(more: Mapping[str, Any], words: str) -> None:
    line = packet_line({**SAMPLE, **more}, "sink")
    assert line.startswith(f"03:04:05.678 sink ← emit {words}")
    assert line.isprintable()
    assert packet_line({**SAMPLE, "direction": "out", "steps": []}, "sink", ascii_only=True).startswith(
        "03:04:05.678 sink -> nobody m"
    )


def test_the_defaults_go_on_for_ever() -> None:
    assert replace(TapWish(), count=None).seconds == math.inf
