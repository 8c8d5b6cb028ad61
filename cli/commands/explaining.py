"""``why``, ``timeline`` and ``explain step``: what a run waits for, where its time went, what a step's Job gets."""

from __future__ import annotations

import shutil

import typer

from cli.arguments import ExplainedArgument, RunAndStepArgument, RunArgument
from cli.options import CommonOptions, with_common_options
from cli.problem import UsageError


def register(app: typer.Typer) -> None:
    app.command("why")(with_common_options(why))
    app.command("timeline")(with_common_options(timeline))
    explain = typer.Typer(help="Explain where values come from.", no_args_is_help=True)
    explain.command("step")(with_common_options(explain_step))
    app.add_typer(explain, name="explain")


def why(options: CommonOptions, run: ExplainedArgument) -> None:
    """Show what a run, or one of its steps, waits for: since when, until when, who can change it, with which command.

    It follows child runs and needs to the step that really blocks. For a failed run it shows why the run failed, and
    for impulse/NAME why that Impulse is down. For trigger/NAME, a StoryTrigger, it shows what it waits for, why it was
    rejected, or the same for its run. -o json gives the same as data.
    """
    from cli.explanation import explanation_of
    from cli.impulses import PREFIX
    from cli.interruption import run_async
    from cli.render.output import render
    from cli.render.why import lines_of
    from cli.session import open_session
    from core.engine.clock import system_now
    from views.why.document import document_of

    _check_format("why", options.output, ("table", "wide", "json", "jsonl", "yaml"))
    if run.startswith(PREFIX):
        _why_impulse(options, run.removeprefix(PREFIX))
        return

    async def work() -> None:
        async with open_session(options) as session:
            explanation = await explanation_of(session, run)
            if options.output not in ("table", "wide"):
                session.console.result(render([document_of(explanation)], options.output, single=True))
                return
            width = shutil.get_terminal_size((100, 40)).columns
            for line, colour in lines_of(explanation, system_now(), width=width, ascii_only=options.ascii_only):
                session.console.line(line, colour)

    run_async(options, work)


def _why_impulse(options: CommonOptions, name: str) -> None:
    from cli.impulses import find_impulse, listener_facts
    from cli.interruption import run_async
    from cli.render.output import render
    from cli.render.why import lines_of_listener
    from cli.session import open_session
    from core.engine.clock import system_now
    from views.why.document import document_of_listener
    from views.why.listener import explain_listener

    async def work() -> None:
        async with open_session(options) as session:
            explanation = explain_listener(await listener_facts(session, await find_impulse(session, name)))
            if options.output not in ("table", "wide"):
                session.console.result(render([document_of_listener(explanation)], options.output, single=True))
                return
            width = shutil.get_terminal_size((100, 40)).columns
            for line, colour in lines_of_listener(explanation, system_now(), width=width):
                session.console.line(line, colour)

    run_async(options, work)


def timeline(options: CommonOptions, run: RunArgument) -> None:
    """Show where the time of a run went: queueing, start, work, retries and waits of each step as bars.

    -o json gives the spans as data, -o perfetto as a trace for ui.perfetto.dev (Chrome's Trace Event Format).
    """
    from cli.facts import read_facts
    from cli.interruption import run_async
    from cli.render.bars import bars
    from cli.render.output import json_text, render
    from cli.render.trace import document_of, trace_of
    from cli.runs import find_run
    from cli.session import open_session
    from core.engine.clock import system_now
    from views.timeline import timeline_of

    _check_format("timeline", options.output, ("table", "wide", "text", "json", "jsonl", "yaml", "perfetto"))

    async def work() -> None:
        async with open_session(options) as session:
            run_timeline = timeline_of(await read_facts(session, await find_run(session, run)), system_now())
            if options.output == "perfetto":
                session.console.result(json_text(trace_of(run_timeline)))
                return
            if options.output not in ("table", "wide", "text"):
                session.console.result(render([document_of(run_timeline)], options.output, single=True))
                return
            width = shutil.get_terminal_size((100, 40)).columns
            for line, colour in bars(run_timeline, width=width, ascii_only=options.ascii_only):
                session.console.line(line, colour)
            if run_timeline.unseen:
                session.console.note(f"not shown, because you may not read them: {', '.join(run_timeline.unseen)}")

    run_async(options, work)


def explain_step(options: CommonOptions, step: RunAndStepArgument) -> None:
    """Show each value of a step's Job and the layer that it comes from: operator, template, Engram, Story, step.

    It works before the step has started, while it runs and afterwards. If the Job exists, its values are
    compared: a line shows the difference, and what has changed since. Values that are set but not applied are listed
    as notes. Secrets are shown by name only. -o json gives the same as data.
    """
    from cli.explained_step import step_explanation_of
    from cli.interruption import run_async
    from cli.render.explained import lines_of
    from cli.render.output import render
    from cli.session import open_session
    from views.explain.document import document_of

    _check_format("explain step", options.output, ("table", "wide", "json", "jsonl", "yaml"))

    async def work() -> None:
        async with open_session(options) as session:
            explanation = await step_explanation_of(session, step)
            if options.output not in ("table", "wide"):
                session.console.result(render([document_of(explanation)], options.output, single=True))
                return
            wide = options.output == "wide"
            for line, colour in lines_of(explanation, wide=wide, no_headers=options.no_headers):
                session.console.line(line, colour)

    run_async(options, work)


def _check_format(verb: str, output: str, known: tuple[str, ...]) -> None:
    """Raises:
    UsageError: the verb has no such format.
    """
    if output not in known and not output.startswith("jsonpath="):
        others = ", ".join(form for form in known if form not in ("table", "wide"))
        raise UsageError(f"{verb} has no output format {output!r}", remedy=f"use {others}, jsonpath=… or none")
