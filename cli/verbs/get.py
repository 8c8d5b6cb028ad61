"""``get``: one run, or one of its steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from cli.arguments import RunOrStepArgument
from cli.completing import is_called
from cli.options import CommonOptions, with_common_options
from cli.problem import UsageError
from cli.render.output import render, yaml_text
from core.api.artifact import for_people

if is_called():
    from cli.interruption import run_async
    from cli.render.progress import whole_tree
    from cli.render.step_detail import lines_of
    from cli.runs import find_run, look_at
    from cli.session import open_session
    from cli.step_details import find_step
    from cli.streams import with_streams
    from core.engine.clock import system_now
    from views.run_view import RunView


def register(app: typer.Typer) -> None:
    app.command("get")(with_common_options(get))


def get(
    options: CommonOptions,
    run: RunOrStepArgument,
    every_step: Annotated[
        bool, typer.Option("--all", help="A row for every branch, also of parallel steps with more than ten.")
    ] = False,
) -> None:
    """Show one run: its steps, what it waits for, its output; for a realtime run the traffic of each step.

    RUN/STEP shows that step: its inputs as the container got them, output, attempts, Job, Pod, signals and times.

    On a terminal, a parallel step with more than ten branches shows how many have ended. Only branches that failed, are
    retried, cannot start or wait for a decision have a row. In a pipe, or with --all, every branch has a row.

    -o json gives the StoryRun, and for a realtime run also "streams": what the hub reports for each step; of RUN/STEP
    it gives the StepRun.
    """
    name, slash, step = run.partition("/")
    if slash:
        _get_step(options, name, step)
        return

    async def work() -> None:
        async with open_session(options) as session:
            found = await find_run(session, run)
            if options.output not in ("table", "wide"):
                session.console.result(render([await with_streams(session, found)], options.output, single=True))
                return
            view = await look_at(session, found)
            console = session.console
            folded = session.command("get", view.name, "--all") if console.reader_is_person and not every_step else ""
            for line, colour in whole_tree(view, system_now(), folded=folded, ascii_only=options.ascii_only):
                console.result(console.styled(line, colour))
            for paragraph in paragraphs_of(view):
                console.result(f"\n{paragraph}")

    run_async(options, work)


def _get_step(options: CommonOptions, run: str, step: str) -> None:
    if not run or not step:
        raise UsageError(f"{run}/{step} does not name a step of a run", remedy="write RUN/STEP, or RUN alone")

    async def work() -> None:
        async with open_session(options) as session:
            found = await find_step(session, run, step)
            if options.output not in ("table", "wide"):
                stored = found.stored(session.command("get", found.detail.run, "--output=yaml"))
                session.console.result(render([stored], options.output, single=True))
                return
            for line, colour in lines_of(found.detail, system_now(), session.command):
                session.console.line(line, colour)

    run_async(options, work)


def paragraphs_of(view: RunView) -> Iterator[str]:
    """What there is of these, in this order."""
    if view.cancel_reason:
        yield f"canceled: {view.cancel_reason}"
    if view.message:
        yield f"message: {view.message}"
    if view.trace is not None:
        yield f"trace: {view.trace.text}"
    if view.error is not None:
        yield f"error:\n{yaml_text(view.error)}"
    if view.output is not None:
        yield f"output:\n{yaml_text(for_people(view.output))}"
