"""``watch``: a run, until it ends."""

from __future__ import annotations

import typer

from cli.arguments import ExitOnGate, RunArgument, TimeoutOption
from cli.completing import is_called
from cli.durations import seconds_of
from cli.exit_code import ExitCode
from cli.options import CommonOptions, with_common_options

if is_called():
    from cli.interruption import run_async
    from cli.runs import find_run
    from cli.session import open_session
    from cli.watching import Watched, exit_after, stay


def register(app: typer.Typer) -> None:
    app.command("watch")(with_common_options(watch))


def watch(
    options: CommonOptions, run: RunArgument, timeout: TimeoutOption = "", exit_on_gate: ExitOnGate = False
) -> None:
    """Show a run until it ends, then its output; exit with the code of its phase."""
    seconds, watched = seconds_of("--timeout", timeout), Watched()

    async def work() -> ExitCode:
        async with open_session(options) as session:
            found = await find_run(session, run)
            watched.begin(session, found)
            return await stay(watched, found, show=True, timeout=seconds, exit_on_gate=exit_on_gate)

    exit_after(options, lambda: run_async(options, work), watched)
