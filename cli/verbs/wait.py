"""``wait``: for the end of runs, without a picture."""

from __future__ import annotations

import typer

from cli.arguments import ExitOnGate, RunsArgument, TimeoutOption
from cli.completing import is_called
from cli.durations import seconds_of
from cli.exit_code import ExitCode
from cli.options import ALL_NAMESPACES, CommonOptions, with_common_options

if is_called():
    from cli.interruption import run_async
    from cli.runs import find_run
    from cli.session import open_session
    from cli.watching import Watched, exit_after, wait_for


def register(app: typer.Typer) -> None:
    app.command("wait")(with_common_options(wait, also=ALL_NAMESPACES))


def wait(
    options: CommonOptions, runs: RunsArgument, timeout: TimeoutOption = "", exit_on_gate: ExitOnGate = False
) -> None:
    """Wait until runs have ended; exit with the worst of their codes."""
    seconds, watched = seconds_of("--timeout", timeout), Watched(verb="wait")

    async def work() -> ExitCode:
        async with open_session(options) as session:
            found = [await find_run(session, name) for name in dict.fromkeys(runs)]
            watched.begin(session, *found)
            return await wait_for(session, found, timeout=seconds, exit_on_gate=exit_on_gate)

    exit_after(options, lambda: run_async(options, work), watched)
