"""``logs``: of a run, in order of time."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from cli.arguments import RunOrStepArgument, StepsArgument
from cli.completing import is_called
from cli.durations import seconds_of
from cli.options import CommonOptions, with_common_options
from cli.problem import UsageError

if is_called():
    from cli.interruption import InterruptedBySignalError, run_async
    from cli.render.log_lines import LogForm
    from cli.runs import find_run
    from cli.session import open_session
    from cli.step_logs import LogWish, print_logs, refuse_unknown_steps


def register(app: typer.Typer) -> None:
    app.command("logs")(with_common_options(logs))


def logs(
    options: CommonOptions,
    run: RunOrStepArgument,
    steps: StepsArgument = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing until the run has ended.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Only steps whose container failed.")] = False,
    previous: Annotated[
        bool, typer.Option("--previous", "-p", help="Only the attempt before the last one of each step.")
    ] = False,
    attempt: Annotated[int | None, typer.Option("--attempt", help="Only this attempt, counted from 1.", min=1)] = None,
    tail: Annotated[int | None, typer.Option("--tail", help="Only the last lines of each step.", min=0)] = None,
    since: Annotated[str, typer.Option("--since", help="Only lines newer than this, e.g. 5m.")] = "",
    grep: Annotated[str, typer.Option("--grep", help="Only lines that match this regular expression.")] = "",
    raw: Annotated[
        bool, typer.Option("--raw", help="The lines as the containers wrote them, without step and attempt.")
    ] = False,
) -> None:
    """Print logs of a run in order of time, each line with its step and attempt.

    On a terminal, JSON records are shown as time (UTC), level, message and key=value, with tracebacks in lines of their
    own; in a pipe as they were written. With --follow the lines come as they are written. -o json prints a record with
    step, attempt, time and line for each, one on a line.

    Logs of attempts whose Pod is gone are read from the object store, where the SDK has kept the last mebibyte of each.
    """
    gives_records = options.output in ("json", "jsonl")
    if not gives_records and options.output not in ("table", "wide"):
        raise UsageError(f"logs has no output format {options.output!r}", remedy="use json, jsonl or none")
    if raw and gives_records:
        raise UsageError(f"--raw excludes -o {options.output}", remedy="leave out one of them")
    if previous and (follow or attempt is not None):
        raise UsageError("--previous excludes --follow and --attempt", remedy="leave out one of them")
    run, slash, step = run.partition("/")
    if slash and not (run and step):
        raise UsageError(f"{run}/{step} does not name a step of a run", remedy="write RUN/STEP, or RUN alone")
    seconds = seconds_of("--since", since)
    try:
        pattern = re.compile(grep) if grep else None
    except re.error as error:
        raise UsageError(f"--grep: {error}", remedy="write a regular expression in Python syntax") from None
    wish = LogWish(
        steps=(*([step] if step else []), *(steps or ())),
        follow=follow,
        failed=failed,
        previous=previous,
        attempt=attempt,
        tail=tail,
        since_seconds=None if seconds is None else max(int(seconds), 1),
        pattern=pattern,
    )

    async def work() -> None:
        async with open_session(options) as session:
            found = await find_run(session, run)
            await refuse_unknown_steps(session, found, wish.steps)
            form = LogForm.RAW if raw else LogForm.JSON if gives_records else None
            await print_logs(session, found, wish, form)

    try:
        run_async(options, work)
    except InterruptedBySignalError as interruption:
        raise typer.Exit(int(interruption.code)) from None
