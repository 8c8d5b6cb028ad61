"""``logs`` and ``cancel``: what you do about a run."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from manager.cli.arguments import RunArgument, RunsArgument, StepsArgument
from manager.cli.options import CommonOptions, DryRun, with_common_options
from manager.cli.problem import CommandError, UsageError


def register(app: typer.Typer) -> None:
    app.command("logs")(with_common_options(logs))
    app.command("cancel")(with_common_options(cancel))


def logs(
    options: CommonOptions,
    run: RunArgument,
    steps: StepsArgument = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Only steps whose container failed.")] = False,
    attempt: Annotated[int | None, typer.Option("--attempt", help="Only this attempt, counted from 1.", min=1)] = None,
    tail: Annotated[int | None, typer.Option("--tail", help="Only the last lines of each step.", min=0)] = None,
    since: Annotated[str, typer.Option("--since", help="Only lines younger than this, e.g. 5m.")] = "",
    grep: Annotated[str, typer.Option("--grep", help="Only lines that match this regular expression.")] = "",
) -> None:
    """Print logs of a run, each line with its step and attempt."""
    from core.api.duration import parse_positive_duration
    from manager.cli.runs import find_run
    from manager.cli.session import InterruptedBySignalError, open_session, run_async
    from manager.cli.steplogs import print_logs, refuse_unknown_steps

    try:
        seconds = max(int(parse_positive_duration(since).total_seconds()), 1) if since else None
        pattern = re.compile(grep) if grep else None
    except (ValueError, re.error) as error:
        raise UsageError(f"--since or --grep: {error}") from None

    async def work() -> None:
        async with open_session(options) as session:
            found = await find_run(session, run)
            await refuse_unknown_steps(session, found, steps or ())
            await print_logs(
                session,
                found,
                steps=steps or (),
                follow=follow,
                failed=failed,
                attempt=attempt,
                tail=tail,
                since_seconds=seconds,
                matches=(lambda line: True) if pattern is None else (lambda line: bool(pattern.search(line))),
            )

    try:
        run_async(options, work)
    except InterruptedBySignalError as interruption:
        raise typer.Exit(int(interruption.code)) from None


def cancel(
    options: CommonOptions,
    runs: RunsArgument,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the steps to end.")] = False,
    timeout: Annotated[str, typer.Option("--timeout", help="Wait at most this long for them.")] = "2m",
) -> None:
    """Cancel runs: running steps are told to stop, then stopped."""
    from dataclasses import replace

    from core.api.duration import parse_positive_duration
    from manager.cli.display import show_until_done
    from manager.cli.runs import find_run, open_following
    from manager.cli.session import InterruptedBySignalError, open_session, run_async
    from manager.cli.workflow import request_cancel

    try:
        seconds = parse_positive_duration(timeout).total_seconds()
    except ValueError as error:
        raise UsageError(f"--timeout: {error}") from None

    async def work() -> None:
        async with open_session(options) as session:
            found = [await find_run(session, name) for name in runs]
            over = [run for run in found if (run.get("status") or {}).get("finishedAt")]
            for run in over:
                session.console.note(f"{run['metadata']['name']} has ended already: {run['status'].get('phase')}")
            found = [run for run in found if run not in over]
            if not found:
                return
            names = ", ".join(run["metadata"]["name"] for run in found)
            if options.dry_run is not DryRun.NONE:
                session.console.note(f"would cancel {names}")
                return
            if len(found) > 1 and not session.console.confirm(f"cancel {names}?"):
                raise CommandError("nothing was canceled", remedy="confirm with --yes")
            for run in found:
                await request_cancel(session, run)
            if no_wait:
                return
            quiet = replace(session, options=replace(options, quiet=True))
            for run in found:
                async with open_following(session, run) as following:
                    view = await show_until_done(quiet, following, timeout=seconds)
                session.console.result(f"{view.name} {view.phase}")

    try:
        run_async(options, work)
    except InterruptedBySignalError as interruption:
        raise typer.Exit(int(interruption.code)) from None
