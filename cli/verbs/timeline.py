"""``timeline``: when the steps of a run ran."""

from __future__ import annotations

import shutil

import typer

from cli.arguments import RunArgument
from cli.completing import is_called
from cli.options import CommonOptions, check_format, with_common_options
from cli.render.output import json_text, render

if is_called():
    from cli.facts import read_facts
    from cli.interruption import run_async
    from cli.render.bars import bars
    from cli.render.trace import document_of, trace_of
    from cli.runs import find_run
    from cli.session import open_session
    from core.engine.clock import system_now
    from views.timeline import timeline_of


def register(app: typer.Typer) -> None:
    app.command("timeline")(with_common_options(timeline))


def timeline(options: CommonOptions, run: RunArgument) -> None:
    """Show where the time of a run went: queueing, start, work, retries and waits of each step as bars.

    -o json gives the spans as data, -o perfetto as a trace for ui.perfetto.dev (Chrome's Trace Event Format).
    """
    check_format("timeline", options.output, ("table", "wide", "text", "json", "jsonl", "yaml", "perfetto"))

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
