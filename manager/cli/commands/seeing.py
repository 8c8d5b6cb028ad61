"""``list``, ``get``, ``watch``, ``wait``, ``outputs``: look at runs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from manager.cli.arguments import RunArgument, RunsArgument, StepArgument, StoryArgument
from manager.cli.options import CommonOptions, TimeStyle, with_common_options
from manager.cli.problem import CommandError, UsageError

Timeout = Annotated[str, typer.Option("--timeout", help="Give up after this long, e.g. 5m (exit code 124).")]


def register(app: typer.Typer) -> None:
    for name, command in (("list", list_runs), ("get", get), ("watch", watch), ("wait", wait), ("outputs", outputs)):
        app.command(name)(with_common_options(command))


def list_runs(
    options: CommonOptions,
    story: StoryArgument = "",
    selector: Annotated[str, typer.Option("--selector", "-l", help="Label selector.")] = "",
    phase: Annotated[str, typer.Option("--phase", help="Only runs in this phase, e.g. Failed.")] = "",
) -> None:
    """List runs, newest first."""
    from core.api.resource import STEP_RUN, STORY, STORY_RUN
    from core.engine.clock import system_now
    from manager.cli.render.output import render
    from manager.cli.render.table import table
    from manager.cli.session import open_session, run_async
    from manager.cli.view import view_run

    async def work() -> None:
        async with open_session(options) as session:
            fields = ",".join([f"spec.storyRef.name={story}"] * bool(story) + [f"status.phase={phase}"] * bool(phase))
            runs = await session.client.list(
                STORY_RUN,
                session.list_namespace,
                label_selector=selector or None,
                field_selector=fields or None,
            )
            items = sorted(runs.items, key=lambda run: run["metadata"]["creationTimestamp"], reverse=True)
            if options.output not in ("table", "wide"):
                session.console.result(render(items, options.output, single=False))
                return
            stories = {
                (s["metadata"]["namespace"], s["metadata"]["name"]): s
                for s in (await session.client.list(STORY, session.list_namespace)).items
            }
            steps: dict[str, list[Any]] = {}
            for step_run in (await session.client.list(STEP_RUN, session.list_namespace)).items:
                for owner in step_run["metadata"].get("ownerReferences") or ():
                    steps.setdefault(owner["uid"], []).append(step_run)
            now = system_now()
            rows = []
            for run in items:
                namespace = run["metadata"]["namespace"]
                reference = run["spec"].get("storyRef") or {}
                key = (reference.get("namespace") or namespace, reference.get("name", ""))
                view = view_run(run, stories.get(key), steps.get(run["metadata"]["uid"], ()))
                rows.append(_row(options, view, now))
            headers = ["NAME", "STORY", "PHASE", "STEPS", "WAITING-ON", "AGE", "DURATION"]
            headers = (["NAMESPACE"] if options.all_namespaces else []) + headers
            headers += ["MESSAGE"] if options.output == "wide" else []
            if rows:
                session.console.result(table(headers, rows, no_headers=options.no_headers))
            else:
                where = "any namespace" if options.all_namespaces else f"namespace {session.namespace}"
                session.console.note(f"no runs in {where}")

    run_async(options, work)


def _row(options: CommonOptions, view: Any, now: datetime) -> list[str]:
    from manager.cli.render.sign import word_of
    from manager.cli.render.time import age, short_duration

    row = [view.namespace] if options.all_namespaces else []
    row += [
        view.name,
        view.story,
        word_of(view.phase),
        f"{view.done}/{len(view.steps)}",
        view.waiting_on(),
        age(view.created_at, now, iso=options.time_style is TimeStyle.ISO),
        short_duration(view.duration(now)),
    ]
    return row + ([" ".join(view.message.split())] if options.output == "wide" else [])


def get(options: CommonOptions, run: RunArgument) -> None:
    """Show one run: its steps, what it waits for, its output."""
    from core.engine.clock import system_now
    from manager.cli.render.output import render, yaml_text
    from manager.cli.render.progress import tree
    from manager.cli.runs import find_run, look_at
    from manager.cli.session import open_session, run_async

    async def work() -> None:
        async with open_session(options) as session:
            found = await find_run(session, run)
            if options.output not in ("table", "wide"):
                session.console.result(render([found], options.output, single=True))
                return
            view = await look_at(session, found)
            console = session.console
            for line, colour in tree(view, system_now(), width=500, ascii_only=options.ascii_only):
                console.result(console.styled(line, colour))
            if view.message:
                console.result(f"\nmessage: {view.message}")
            if view.error is not None:
                console.result(f"\nerror:\n{yaml_text(view.error)}")
            if view.output is not None:
                console.result(f"\noutput:\n{yaml_text(view.output)}")

    run_async(options, work)


def watch(options: CommonOptions, run: RunArgument, timeout: Timeout = "") -> None:
    """Show a run until it ends; exit with the code of its phase."""
    _follow(options, [run], timeout, show=True)


def wait(
    options: CommonOptions,
    runs: RunsArgument,
    timeout: Timeout = "",
) -> None:
    """Wait until runs have ended; exit with the code of the worst."""
    _follow(options, runs, timeout, show=False)


def _follow(options: CommonOptions, names: list[str], timeout: str, *, show: bool) -> None:
    from dataclasses import replace

    import trio

    from core.api.duration import parse_positive_duration
    from manager.cli.display import exit_code_of, show_until_done
    from manager.cli.exit_code import ExitCode, worst
    from manager.cli.runs import find_run, open_following
    from manager.cli.session import InterruptedBySignalError, open_session, run_async

    try:
        seconds = parse_positive_duration(timeout).total_seconds() if timeout else None
    except ValueError as error:
        raise UsageError(f"--timeout: {error}") from None

    async def work() -> ExitCode:
        codes: list[ExitCode] = []
        async with open_session(options) as session:
            visible = session if show else replace(session, options=replace(options, quiet=True))
            found = [await find_run(session, name) for name in names]

            async def follow(run: dict[str, Any]) -> None:
                async with open_following(session, run) as following:
                    view = await show_until_done(visible, following, timeout=seconds)
                codes.append(exit_code_of(view))
                if not show:
                    session.console.result(f"{view.name} {view.phase}")

            async with trio.open_nursery() as nursery:
                for run in found:
                    nursery.start_soon(follow, run)
        return worst(codes)

    try:
        code = run_async(options, work)
    except InterruptedBySignalError as interruption:
        code = interruption.code
    raise typer.Exit(int(code))


def outputs(
    options: CommonOptions,
    run: RunArgument,
    step: StepArgument = "",
    path: Annotated[str, typer.Option("--path", help="Only this part, e.g. report.rows[0].")] = "",
) -> None:
    """Print the output of a run or of one of its steps as JSON."""
    import json

    from manager.cli.render.output import jsonpath, yaml_text
    from manager.cli.runs import find_run, step_runs_of
    from manager.cli.session import open_session, run_async

    async def work() -> None:
        async with open_session(options) as session:
            found = await find_run(session, run)
            output = (found.get("status") or {}).get("output")
            if step:
                step_runs = {s["spec"]["stepId"]: s for s in await step_runs_of(session, found)}
                if step not in step_runs:
                    known = ", ".join(sorted(step_runs)) or "none yet"
                    raise CommandError(f"step {step!r} has not run", remedy=f"steps that have: {known}")
                output = (step_runs[step].get("status") or {}).get("output")
            if output is None:
                phase = (found.get("status") or {}).get("phase") or "Pending"
                what = f"step {step!r}" if step else "the run"
                raise CommandError(f"{what} of {found['metadata']['name']} has no output; the run is {phase}")
            if path:
                session.console.result(jsonpath(output, "{." + path.lstrip(".") + "}"))
            elif options.output == "yaml":
                session.console.result(yaml_text(output))
            else:
                session.console.result(json.dumps(output, indent=2, ensure_ascii=False))

    run_async(options, work)
