"""``debug``: runs a step of a run again, on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.arguments import RunAndStepArgument
from cli.images import ImageMapOption, checked_image_map
from cli.options import CommonOptions, with_common_options
from cli.problem import UsageError


def register(app: typer.Typer) -> None:
    app.command("debug")(with_common_options(debug))


def debug(
    options: CommonOptions,
    step: RunAndStepArgument,
    pdb: Annotated[
        bool, typer.Option("--pdb", help="Stop in Python's debugger at the first line, and at errors.")
    ] = False,
    debugger: Annotated[
        str,
        typer.Option(
            "--debugger",
            help="Another debugger: words after the interpreter, e.g. '-m debugpy --listen 5678 --wait-for-client', or "
            "a program, e.g. 'gdb --args'.",
        ),
    ] = "",
    command: Annotated[
        str,
        typer.Option("--command", help="The program to run, e.g. 'python step.py'; default: that of the image map."),
    ] = "",
    image_map: ImageMapOption = None,
) -> None:
    """Run a step of a run again on this machine, with the inputs, variables and secrets that it had.

    Nothing is reported to the cluster: status, signals, effects and output go to an API server that lives as long as
    the command, and stored data to a folder. Effects that have happened are not repeated. Everything else that the
    step does, such as requests to other services, happens for real. The image map of the embedded cluster names the
    program, or --command; a script runs as it is in the Story. Exit code 0: it succeeded; 3: it failed.
    """
    from cli.debugged_step import DebugWish
    from cli.debugging import debug_step
    from cli.exit_code import ExitCode
    from cli.interruption import InterruptedBySignalError, run_async
    from cli.session import open_session
    from cli.step_details import find_step

    name, _, wanted = step.partition("/")
    if not name or not wanted:
        remedy = "write RUN/STEP; the steps of a run are shown by: bobrapet get RUN"
        raise UsageError(f"{step!r} does not name a step of a run", remedy=remedy)
    if pdb and debugger:
        raise UsageError("--pdb excludes --debugger", remedy="leave out one of them")
    wish = DebugWish(command, checked_image_map(image_map), pdb, debugger)

    async def work() -> ExitCode:
        async with open_session(options) as session:
            return await debug_step(session, await find_step(session, name, wanted), wish)

    try:
        code = run_async(options, work)
    except InterruptedBySignalError as interruption:
        code = interruption.code
    raise typer.Exit(int(code))
