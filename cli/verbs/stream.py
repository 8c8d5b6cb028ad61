"""``stream tap`` and ``stream send``: look at the packets of a realtime step, and send some."""

from __future__ import annotations

import math
from contextlib import aclosing
from pathlib import Path
from typing import Annotated

import typer

from cli.arguments import RunAndStepArgument
from cli.completing import is_called
from cli.durations import seconds_of
from cli.exit_code import ExitCode
from cli.options import CommonOptions, with_common_options
from cli.problem import UsageError

if is_called():
    from cli.interruption import run_async
    from cli.sending import SendWish, metadata_of, payloads_of, send
    from cli.session import open_session
    from cli.stream_console import step_of
    from cli.tapping import TapWish, tap
    from cli.watching import Watched, exit_after


_Direction = Annotated[
    str, typer.Option("--direction", help="in: what comes to the step; out: what it has sent; both.", metavar="WHICH")
]
_Rate = Annotated[
    int,
    typer.Option("--rate", help="Show at most this many packets a second; count the others.", min=1, max=50),
]
_Count = Annotated[int | None, typer.Option("--count", help="Stop after this many packets.", min=1)]
_For = Annotated[str, typer.Option("--for", help="Stop after this long, e.g. 30s.")]
_Payload = Annotated[str | None, typer.Option("--payload", help="The payload, a JSON object; - reads standard input.")]
_PayloadFile = Annotated[Path | None, typer.Option("--payload-file", help="A file with the payload.")]
_Lines = Annotated[
    bool, typer.Option("--lines", help="Each line of the input is a payload, and is sent when it comes.")
]
_Metadata = Annotated[list[str] | None, typer.Option("--metadata", help="Metadata, key=value. May be repeated.")]
_From = Annotated[
    str, typer.Option("--from", metavar="NEED", help="The step that it seems to come from, if the step needs several.")
]
_Out = Annotated[bool, typer.Option("--out", help="Send it in the name of the step, to the steps that need it.")]
_MessageId = Annotated[str, typer.Option("--message-id", help="Id of the packet; default: the hub gives it one.")]
_Timeout = Annotated[str, typer.Option("--timeout", help="How long to wait for room in a full buffer (exit code 124).")]


def register(app: typer.Typer) -> None:
    stream = typer.Typer(help="Look at the packets of realtime steps, and send some.", no_args_is_help=True)
    stream.command("tap")(with_common_options(tap_step))
    stream.command("send")(with_common_options(send_packets))
    app.add_typer(stream, name="stream")


def tap_step(
    options: CommonOptions,
    step: RunAndStepArgument,
    direction: _Direction = "both",
    rate: _Rate = 10,
    count: _Count = None,
    for_time: _For = "",
) -> None:
    """Print the packets of a realtime step as they pass, until the run ends; the stream is never slowed.

    The hub hides values under names that look like secrets, and the fields in recording.redactFields of the stream. It
    counts packets beyond the rate and does not show them. -o json prints lines of JSON.
    """
    if direction not in ("in", "out", "both"):
        raise UsageError("--direction must be in, out or both")
    _check_output("stream tap", options.output, ("table", "json", "jsonl"))
    seconds, watched = seconds_of("--for", for_time), Watched(verb="stream tap")
    wish = TapWish(direction, rate, count, math.inf if seconds is None else seconds)

    async def work() -> ExitCode:
        async with open_session(options) as session:
            run, binding = await step_of(session, step)
            return await tap(session, run, binding, wish)

    exit_after(options, lambda: run_async(options, work), watched)


def send_packets(
    options: CommonOptions,
    step: RunAndStepArgument,
    payload: _Payload = None,
    payload_file: _PayloadFile = None,
    lines: _Lines = False,
    metadata: _Metadata = None,
    source: _From = "",
    out: _Out = False,
    message_id: _MessageId = "",
    timeout: _Timeout = "10s",
) -> None:
    """Send a packet to a realtime step in the name of a step that it needs; with --out in the name of the step itself.

    The hub treats it like every packet: if, runtime, schema, join, routing. The command prints the id of the packet and
    the result; exit code 7: refused.
    """
    if (payload is None) is (payload_file is None):
        raise UsageError(
            "give either --payload or --payload-file", remedy="""for example: --payload '{"text": "hello"}'"""
        )
    if lines and payload not in (None, "-"):
        raise UsageError("--lines reads standard input or a file", remedy="give --payload - or --payload-file")
    if lines and message_id:
        raise UsageError("--message-id names one packet, and --lines sends several", remedy="leave out one of them")
    if out and source:
        raise UsageError("--from names a need of the step; with --out the step itself sends", remedy="leave out one")
    _check_output("stream send", options.output, ("table", "name", "json", "jsonl"))
    wish = SendWish(source, out, metadata_of(metadata or ()), message_id, seconds_of("--timeout", timeout) or 0.0)

    async def work() -> ExitCode:
        async with open_session(options) as session:
            _, binding = await step_of(session, step)
            async with aclosing(payloads_of(payload, payload_file, lines=lines)) as payloads:
                return await send(session, binding, wish, payloads)

    exit_after(options, lambda: run_async(options, work), Watched(verb="stream send"))


def _check_output(verb: str, output: str, known: tuple[str, ...]) -> None:
    """Raises:
    UsageError: the verb has no such format.
    """
    if output not in known:
        others = ", ".join(form for form in known if form != "table")
        raise UsageError(f"{verb} has no output format {output!r}", remedy=f"use {others} or none")
