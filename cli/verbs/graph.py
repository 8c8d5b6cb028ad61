"""``graph``: the steps of a Story, or of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Final

import typer

from cli.arguments import TargetArgument
from cli.completing import is_called
from cli.console import Console
from cli.manifests import chosen_story, load_manifests
from cli.options import CommonOptions, with_common_options
from cli.problem import CommandError, UsageError
from core.api.resource import STORY
from core.graph.needs import Declared, build_graph
from core.kube.errors import NotFoundError
from core.story.story import read_story
from core.story.streams import packet_needs
from views.graph import FORMATS, Drawing, draw

if is_called():
    from cli.interruption import run_async
    from cli.render.flow import edge_rates
    from cli.runs import find_run, is_name, look_at, story_of
    from cli.session import open_session
    from core.expressions.analysis import condition_references, references_of


_OF_FILES: Final = frozenset({".yaml", ".yml", ".json", ".py"})


def register(app: typer.Typer) -> None:
    app.command("graph")(with_common_options(graph))


def graph(
    options: CommonOptions,
    target: TargetArgument = "",
    file: Annotated[str, typer.Option("--filename", "-f", help="A file with the Story instead.")] = "",
    story: Annotated[str, typer.Option("--story", help="The Story to draw, if the file holds several.")] = "",
) -> None:
    """Draw a Story or a run: -o ascii, mermaid, dot or svg; for a realtime run with message rates."""
    form = "ascii" if options.output == "table" else options.output
    if form not in FORMATS:
        raise UsageError(f"unknown graph format {form!r}", remedy=f"use one of {', '.join(FORMATS)}")
    if not file and Path(target).suffix in _OF_FILES and Path(target).is_file():
        raise UsageError(
            f"{target!r} is a file, not a Story or a run", remedy=f"type: bobrapet graph -f {quote(target)}"
        )
    if bool(target) == bool(file):
        raise UsageError("give either STORY or RUN, or -f FILE", remedy="for example: bobrapet graph @latest")
    if story and not file:
        raise UsageError("--story chooses among the Stories of a file", remedy="give -f FILE, or STORY alone")

    drawing = _of_file(file, story) if file else _of_cluster(options, target)
    Console(options).result(draw(drawing, form, ascii_only=options.ascii_only))


def _of_file(file: str, name: str) -> Any:
    return _drawing(chosen_story(load_manifests([file]), name).document, None)


def _of_cluster(options: CommonOptions, target: str) -> Any:
    async def work() -> Any:
        async with open_session(options) as session:
            if is_name(target):
                try:
                    return _drawing(await session.client.get(STORY, target, session.namespace), None)
                except NotFoundError:
                    pass
            run = await find_run(session, target)
            story = await story_of(session, run)
            if story is None:
                raise CommandError(f"the Story of run {run['metadata']['name']} no longer exists")
            view = await look_at(session, run)
            drawing = _drawing(story, {step.name: step.phase for step in view.steps if step.phase}, view.name)
            return replace(drawing, rates=edge_rates(view, drawing.graph))

    return run_async(options, work)


def _drawing(story: dict[str, Any], phases: Any, title: str = "") -> Any:
    declared, kinds = [], {}
    read = read_story(story)
    streams = packet_needs(read.groups["steps"]) if read.realtime else {}
    for placed in read.top():
        step, name = placed.declared, placed.name
        if placed.realtime:  # what a packet is evaluated with is no edge
            declared.append(Declared(name, streams[name]))
        else:
            references = references_of(step.get("with")).steps | condition_references(step.get("if") or "").steps
            declared.append(Declared(name, tuple(step.get("needs") or ()), references))
        kinds[name] = placed.word if placed.group == "steps" else f"{placed.group}: {placed.word}"
    return Drawing(title or story["metadata"]["name"], build_graph(declared), kinds, phases)
