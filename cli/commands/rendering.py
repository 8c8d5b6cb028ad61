"""``render``: evaluate expressions without running anything."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.arguments import InputPairs, InputsFile, StoryArgument
from cli.complete import complete_field, complete_step_of_story
from cli.options import CommonOptions, with_common_options
from cli.problem import CommandError, RejectedManifestError, UsageError

_STDIN = "-"


def register(app: typer.Typer) -> None:
    app.command("render")(with_common_options(render))


def render(
    options: CommonOptions,
    story: StoryArgument = "",
    file: Annotated[str, typer.Option("--filename", "-f", help="A file with the Story; - reads stdin.")] = "",
    steps: Annotated[
        list[str] | None,
        typer.Option(
            "--step", help="Only expressions of this step. May be repeated.", autocompletion=complete_step_of_story
        ),
    ] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option(
            "--field",
            help="Only expressions at or below this path: spec.output.total, or with.url of a --step. May be repeated.",
            autocompletion=complete_field,
        ),
    ] = None,
    inputs: InputPairs = None,
    inputs_file: InputsFile = None,
    outputs: Annotated[
        str, typer.Option("--outputs", help="JSON file with outputs by step: {step: {key: value}}; - reads stdin.")
    ] = "",
    finished: Annotated[
        bool, typer.Option("--finished", help="Treat a missing output as an error: no step will run any more.")
    ] = False,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic", help="Refuse functions that read the clock or random numbers, as the operator can."
        ),
    ] = False,
    jsonl: Annotated[
        bool,
        typer.Option(
            "--jsonl",
            help="Read requests from stdin, one JSON object per line, until end of file; answer each with one line.",
        ),
    ] = False,
) -> None:
    """Evaluate the expressions of a Story with given data: show the value, its type and the steps it needs.

    It runs and writes nothing. The exit code is 7 if an expression has an error. An expression without the output of a
    step that it needs waits; this is not an error.

    With --jsonl each input line is {"template": …, "kind": "value" or "condition", "context": {…}, "deterministic": …,
    "maxOutputBytes": …}; the last two are optional. The output has one line for it: {"value": …}, {"blocked": …} or
    {"error": {"kind": …, "message": …, "position": …}}.
    """
    if jsonl:
        others = {"STORY": story, "-f": file, "--step": steps, "--field": fields, "--input": inputs}
        others |= {"--inputs": inputs_file, "--outputs": outputs}
        _answer_lines(options, [name for name, given in others.items() if given])
        return
    if not story and not file:
        raise UsageError("give STORY, or -f FILE", remedy="for example: bobrapet render -f story.yaml -i city=Bern")
    if [file, inputs_file, outputs].count(_STDIN) > 1:
        raise UsageError("only one of -f, --inputs and --outputs can read stdin", remedy="put the others into files")
    from cli.inputs import object_of_file, parse_inputs
    from cli.rendering import RenderRequest

    given, produced = parse_inputs(inputs or (), inputs_file), object_of_file("--outputs", outputs) if outputs else {}
    manifest = _manifest(file, story) if file else None
    document = manifest.document if manifest else _of_cluster(options, story)
    data = given.read((document.get("spec") or {}).get("inputsSchema")), produced
    request = RenderRequest(steps or (), fields or (), *data, finished=finished, deterministic=deterministic)
    _render(options, document, manifest, request)


def _render(options: CommonOptions, story: dict[str, Any], manifest: Any, request: Any) -> None:
    from cli.console import Console
    from cli.interruption import run_async
    from cli.rendering import evaluate

    rows = run_async(options, lambda: evaluate(story, request))
    console = Console(options)
    if not rows:
        console.note("the Story has no expressions there")
    console.result(_shown(options, rows, story["metadata"]["name"]))
    problems = [(row.field.path, row.problem) for row in rows if row.problem is not None]
    if problems:
        raise RejectedManifestError(
            [f"{manifest.at(path)}: {problem}" if manifest else problem for path, problem in problems]
        )


def _shown(options: CommonOptions, rows: list[Any], name: str) -> str:
    from cli.render.output import render as structured
    from cli.render.table import table

    if options.output in ("table", "wide"):
        cells = [row.cells(wide=options.output == "wide") for row in rows]
        return table(("FIELD", "TYPE", "NEEDS", "VALUE"), cells, no_headers=options.no_headers) if rows else ""
    documents = [row.document for row in rows]
    if options.output == "name":
        return "\n".join(document["field"] for document in documents)
    if options.output == "jsonl":
        return structured(documents, options.output, single=False)
    return structured([{"story": name, "fields": documents}], options.output, single=True)


def _manifest(file: str, story: str) -> Any:
    from cli.manifests import load_manifests

    stories = [manifest for manifest in load_manifests([file]) if manifest.kind == "Story"]
    if story:
        stories = [manifest for manifest in stories if manifest.name == story]
    if len(stories) != 1:
        wanted = f"no Story {story!r}" if story else f"{len(stories)} Stories"
        remedy = "name one of them: bobrapet render STORY -f FILE" if len(stories) > 1 else ""
        raise CommandError(f"{file} holds {wanted}; render needs exactly one", remedy=remedy)
    return stories[0]


def _of_cluster(options: CommonOptions, name: str) -> dict[str, Any]:
    from cli.interruption import run_async
    from cli.session import open_session
    from core.api.resource import STORY

    async def work() -> dict[str, Any]:
        async with open_session(options) as session:
            return await session.client.get(STORY, name, session.namespace)

    return run_async(options, work)


def _answer_lines(options: CommonOptions, others: list[str]) -> None:
    if others:
        raise UsageError(f"--jsonl excludes {', '.join(others)}", remedy="each line has its own template and data")
    from cli.interruption import run_async
    from cli.jsonlines import serve

    run_async(options, serve)
