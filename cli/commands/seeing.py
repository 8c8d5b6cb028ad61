"""``list``, ``get``, ``watch``, ``wait``, ``outputs``, ``effects``: look at runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.arguments import (
    ExitOnGate,
    OlderOption,
    PhaseOption,
    RunArgument,
    RunOrStepArgument,
    RunsArgument,
    SelectorOption,
    SinceOption,
    StepArgument,
    StoryArgument,
    StoryOption,
    TimeoutOption,
)
from cli.options import ALL_NAMESPACES, CommonOptions, TimeStyle, with_common_options
from cli.problem import UsageError
from core.api.objects import Object, owners_of

if TYPE_CHECKING:
    from cli.session import Session
    from views.run_view import RunView


def register(app: typer.Typer) -> None:
    app.command("list")(with_common_options(list_runs, also=ALL_NAMESPACES))
    app.command("get")(with_common_options(get))
    app.command("watch")(with_common_options(watch))
    app.command("wait")(with_common_options(wait, also=ALL_NAMESPACES))
    app.command("outputs")(with_common_options(outputs))
    app.command("effects")(with_common_options(effects))


def list_runs(
    options: CommonOptions,
    story: StoryArgument = "",
    of_story: StoryOption = "",
    selector: SelectorOption = "",
    phase: PhaseOption = "",
    since: SinceOption = "",
    older: OlderOption = "",
) -> None:
    """List runs, newest first."""
    from cli.interruption import run_async
    from cli.render.output import render
    from cli.selection import RunSelection, select_runs
    from cli.session import open_session
    from core.engine.clock import system_now

    if story and of_story and story != of_story:
        raise UsageError("STORY and --story name different Stories", remedy="leave out one of them")
    selection = RunSelection.of_flags(story or of_story, phase, selector, since, older)

    async def work() -> None:
        async with open_session(options) as session:
            runs = await select_runs(session, selection, system_now())
            if options.output not in ("table", "wide"):
                session.console.result(render(runs, options.output, single=False))
            elif runs:
                session.console.result(await _table_of(session, runs))
            else:
                where = "any namespace" if options.all_namespaces else f"namespace {session.namespace}"
                session.console.note(f"no runs in {where}" if selection.is_everything else f"no such runs in {where}")

    run_async(options, work)


async def _table_of(session: Session, runs: Sequence[Object]) -> str:
    from cli.render.table import table
    from cli.run_stories import stories_of
    from core.api.resource import STEP_RUN
    from core.engine.clock import system_now
    from views.run_view import view_run

    options, namespace = session.options, session.list_namespace
    stories = await stories_of(session, runs)
    steps: dict[str, list[Object]] = {}
    for step_run in (await session.client.list(STEP_RUN, namespace)).items:
        for owner in owners_of(step_run):
            steps.setdefault(owner["uid"], []).append(step_run)
    now = system_now()
    rows = []
    for run in runs:
        uid = run["metadata"]["uid"]
        rows.append(_row(options, view_run(run, stories.get(uid), steps.get(uid, ()), command=session.command), now))
    headers = ["NAME", "STORY", "PHASE", "STEPS", "WAITING-ON", "AGE", "DURATION"]
    headers = (["NAMESPACE"] if options.all_namespaces else []) + headers
    headers += ["MESSAGE"] if options.output == "wide" else []
    return table(headers, rows, no_headers=options.no_headers)


def _row(options: CommonOptions, view: RunView, now: datetime) -> list[str]:
    from cli.render.time import age, short_duration

    row = [view.namespace] if options.all_namespaces else []
    row += [
        view.name,
        view.story,
        view.word,
        view.progress(),
        view.waiting_on(),
        age(view.created_at, now, iso=options.time_style is TimeStyle.ISO),
        short_duration(view.duration(now)),
    ]
    return row + ([view.waits() or view.message] if options.output == "wide" else [])


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
    from cli.interruption import run_async
    from cli.render.output import render
    from cli.render.progress import whole_tree
    from cli.render.run_end import paragraphs_of
    from cli.runs import find_run, look_at
    from cli.session import open_session
    from cli.streams import with_streams
    from core.engine.clock import system_now

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
    from cli.interruption import run_async
    from cli.render.output import render
    from cli.render.step_detail import lines_of
    from cli.session import open_session
    from cli.step_details import find_step
    from core.engine.clock import system_now

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


def watch(
    options: CommonOptions, run: RunArgument, timeout: TimeoutOption = "", exit_on_gate: ExitOnGate = False
) -> None:
    """Show a run until it ends, then its output; exit with the code of its phase."""
    from cli.durations import seconds_of
    from cli.exit_code import ExitCode
    from cli.interruption import run_async
    from cli.runs import find_run
    from cli.session import open_session
    from cli.watching import Watched, exit_after, stay

    seconds, watched = seconds_of("--timeout", timeout), Watched()

    async def work() -> ExitCode:
        async with open_session(options) as session:
            found = await find_run(session, run)
            watched.begin(session, found)
            return await stay(watched, found, show=True, timeout=seconds, exit_on_gate=exit_on_gate)

    exit_after(options, lambda: run_async(options, work), watched)


def wait(
    options: CommonOptions, runs: RunsArgument, timeout: TimeoutOption = "", exit_on_gate: ExitOnGate = False
) -> None:
    """Wait until runs have ended; exit with the worst of their codes."""
    from cli.durations import seconds_of
    from cli.exit_code import ExitCode
    from cli.interruption import run_async
    from cli.runs import find_run
    from cli.session import open_session
    from cli.watching import Watched, exit_after, wait_for

    seconds, watched = seconds_of("--timeout", timeout), Watched(verb="wait")

    async def work() -> ExitCode:
        async with open_session(options) as session:
            found = [await find_run(session, name) for name in dict.fromkeys(runs)]
            watched.begin(session, *found)
            return await wait_for(session, found, timeout=seconds, exit_on_gate=exit_on_gate)

    exit_after(options, lambda: run_async(options, work), watched)


def outputs(
    options: CommonOptions,
    run: RunArgument,
    step: StepArgument = "",
    path: Annotated[str, typer.Option("--path", help="Only this part, e.g. report.rows[0].")] = "",
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            help="Folder to write output.json, STEP.json for each step, and the files that a step has saved, in STEP/. "
            "If a step is called output, the output of the run is in run.output.json.",
        ),
    ] = None,
    references: Annotated[
        bool, typer.Option("--references", help="Do not fetch data from object storage; show the references.")
    ] = False,
) -> None:
    """Print the output of a run or of one of its steps as JSON; the output of a gate is the data of its approval.

    Data in object storage is fetched.
    """
    from cli.interruption import run_async
    from cli.outputs import RUN, has_files, may_refer, output_of, outputs_of, printed, save_outputs
    from cli.runs import find_run
    from cli.session import open_session

    if save is not None and path:
        raise UsageError("--save writes whole outputs", remedy="leave out --path")

    async def work() -> None:
        async with open_session(options) as session:
            found = await find_run(session, run)
            if save is None:
                wanted = {step or RUN: await output_of(session, found, step)}
            else:
                wanted = await outputs_of(session, found, step)
            if not references and may_refer(wanted):
                from cli.stored import read_stored

                wanted = await read_stored(session, wanted, found["metadata"]["namespace"])
            if save is None:
                session.console.result(printed(wanted[step or RUN], path, options.output))
                return
            for file in save_outputs(wanted, save):
                session.console.result(str(file))
            if not references and has_files(wanted):
                from cli.artifacts import fetch_artifacts

                async with aclosing(fetch_artifacts(session, wanted, found["metadata"]["namespace"], save)) as files:
                    async for file in files:
                        session.console.result(str(file))

    run_async(options, work)


def effects(options: CommonOptions, run: RunArgument) -> None:
    """List the effects of a run that happen once: the state of each, which attempt holds it, and until when.

    The steps claim them with execute_once of the SDK. -o wide adds takeovers and the names of the claims.
    """
    from cli.effects import effects_of_run, shown
    from cli.interruption import run_async
    from cli.runs import find_run
    from cli.session import open_session
    from core.engine.clock import system_now

    async def work() -> None:
        async with open_session(options) as session:
            found = await find_run(session, run)
            now = system_now()
            claimed = await effects_of_run(session, found, now)
            if claimed or options.output not in ("table", "wide", "name"):
                session.console.result(shown(session, claimed, now))
            else:
                session.console.note(f"no step of {found['metadata']['name']} has claimed an effect")

    run_async(options, work)
