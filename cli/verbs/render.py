"""``render``: the expressions of a Story, evaluated here."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

import orjson
import typer

from cli.arguments import InputPairs, InputsFile, StoryArgument
from cli.complete import complete_field, complete_step_of_story
from cli.completing import is_called
from cli.console import Console
from cli.inputs import object_of_file, parse_inputs
from cli.manifests import load_manifests
from cli.options import CommonOptions, with_common_options
from cli.problem import CommandError, RejectedManifestError, UsageError
from cli.render.output import render as structured
from cli.render.table import table
from core.api.objects import Object
from core.api.resource import STORY
from core.api.suggestion import closest

if is_called():
    import trio

    from cli.interruption import run_async
    from cli.rendering import RenderRequest, document_of, error_document, evaluate
    from cli.session import open_session
    from core.engine.clock import system_now
    from core.evaluation.evaluator import EvaluationPolicy, Evaluator
    from core.expressions.resolve import DEFAULT_LIMITS
    from core.story.fields import FieldKind


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

    given, produced = parse_inputs(inputs or (), inputs_file), object_of_file("--outputs", outputs) if outputs else {}
    manifest = _manifest(file, story) if file else None
    document = manifest.document if manifest else _of_cluster(options, story)
    data = given.read((document.get("spec") or {}).get("inputsSchema")), produced
    request = RenderRequest(steps or (), fields or (), *data, finished=finished, deterministic=deterministic)
    _render(options, document, manifest, request)


def _render(options: CommonOptions, story: dict[str, Any], manifest: Any, request: Any) -> None:
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
    stories = [manifest for manifest in load_manifests([file]) if manifest.kind == "Story"]
    if story:
        stories = [manifest for manifest in stories if manifest.name == story]
    if len(stories) != 1:
        wanted = f"no Story {story!r}" if story else f"{len(stories)} Stories"
        remedy = "name one of them: bobrapet render STORY -f FILE" if len(stories) > 1 else ""
        raise CommandError(f"{file} holds {wanted}; render needs exactly one", remedy=remedy)
    return stories[0]


def _of_cluster(options: CommonOptions, name: str) -> dict[str, Any]:
    async def work() -> dict[str, Any]:
        async with open_session(options) as session:
            return await session.client.get(STORY, name, session.namespace)

    return run_async(options, work)


def _answer_lines(options: CommonOptions, others: list[str]) -> None:
    if others:
        raise UsageError(f"--jsonl excludes {', '.join(others)}", remedy="each line has its own template and data")

    run_async(options, serve)


MAX_LINE_BYTES: Final = 64 << 20
REQUEST: Final = "request"
_FIELD: Final = "template"
_REQUIRED: Final = ("template", "kind", "context")
_OPTIONAL: Final = ("deterministic", "maxOutputBytes")
_READ_BYTES: Final = 1 << 16
_EXAMPLE: Final = '{"template": "{{ inputs.n }}", "kind": "value", "context": {"inputs": {"n": 1}}}'


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What to evaluate, with which variables and limits."""

    template: Any
    kind: FieldKind
    context: Object
    policy: EvaluationPolicy


class NoQuestionError(ValueError):
    """A line is not a request: *user*. The message has every problem and remedy."""


def read_question(line: bytes) -> EvaluationRequest:
    """The request in a line.

    Raises:
        NoQuestionError: it is not JSON, or not a request.
    """
    try:
        asked = orjson.loads(line)
    except ValueError as error:
        raise NoQuestionError(f"the line is not JSON: {error}; write one JSON object per line") from None
    if not isinstance(asked, dict):
        raise NoQuestionError(f"the line is not a JSON object; write for example {_EXAMPLE}")
    problems = list(_problems(asked))
    if problems:
        raise NoQuestionError("; ".join(problems))
    limits = replace(DEFAULT_LIMITS, output_bytes=asked.get("maxOutputBytes", DEFAULT_LIMITS.output_bytes))
    policy = EvaluationPolicy(limits, asked.get("deterministic", False))
    return EvaluationRequest(asked["template"], FieldKind(asked["kind"]), asked["context"], policy)


async def serve() -> None:
    """Answer standard input on standard output until it ends.

    Cancellation: between two answers, or within an evaluation; every answer is written completely or not at all.
    """
    policy = EvaluationPolicy()
    evaluator = Evaluator(lambda: policy, now=system_now)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(evaluator.keep_warm)
        async for line in _lines(sys.stdin.fileno()):
            if line is None:
                _write(error_document(REQUEST, f"the line is longer than {MAX_LINE_BYTES} bytes; shorten it"))
            elif line.strip():
                try:
                    question = read_question(line)
                except NoQuestionError as error:
                    _write(error_document(REQUEST, str(error)))
                    continue
                policy = question.policy
                _write(await _answer(evaluator, question))
        nursery.cancel_scope.cancel()


async def _answer(evaluator: Evaluator, question: EvaluationRequest) -> Object:
    if question.kind is FieldKind.CONDITION:
        answer = await evaluator.condition(question.template, question.context, field=_FIELD)
    else:
        answer = await evaluator.resolve(question.template, question.context, field=_FIELD)
    return document_of(answer, _FIELD)


def _write(document: Object) -> None:
    """Writes ASCII, so that no encoding of the stream and no lone surrogate can damage it."""
    sys.stdout.write(json.dumps(document, separators=(",", ":")) + "\n")
    sys.stdout.flush()


async def _lines(descriptor: int) -> AsyncIterator[bytes | None]:
    """The lines of a file, pipe or terminal; ``None`` for each line that is too long, whose rest is skipped."""
    pending, is_too_long = bytearray(), False
    while chunk := await _chunk(descriptor):
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            pending += part
            yield None if is_too_long else bytes(pending)
            pending, is_too_long = bytearray(), False
        pending += rest
        if len(pending) > MAX_LINE_BYTES:
            pending, is_too_long = bytearray(), True
    if pending or is_too_long:
        yield None if is_too_long else bytes(pending)


async def _chunk(descriptor: int) -> bytes:
    """The bytes that have arrived, once there are any; empty at the end."""
    try:
        await trio.lowlevel.wait_readable(descriptor)
    except PermissionError:  # a file on disk, which is always readable
        await trio.lowlevel.checkpoint()
    return os.read(descriptor, _READ_BYTES)


def _problems(asked: Object) -> Iterator[str]:
    for name in _REQUIRED:
        if name not in asked:
            yield f"{name}: is required"
    for name in asked:
        if name not in (*_REQUIRED, *_OPTIONAL):
            guess = closest(name, (*_REQUIRED, *_OPTIONAL))
            known = ", ".join((*_REQUIRED, *_OPTIONAL))
            yield f"{name}: is not known; " + (f"did you mean {guess}?" if guess else f"there are {known}")
    kind = asked.get("kind", "value")
    if kind not in tuple(FieldKind):
        yield "kind: must be value or condition"
    if kind == FieldKind.CONDITION and not isinstance(asked.get("template", ""), str):
        yield "template: must be a string for a condition"
    if not isinstance(asked.get("context", {}), dict):
        yield 'context: must be an object, as in {"inputs": {}, "steps": {}}'
    if not isinstance(asked.get("deterministic", False), bool):
        yield "deterministic: must be true or false"
    most = asked.get("maxOutputBytes", 0)
    if not isinstance(most, int) or isinstance(most, bool) or most < 0:
        yield "maxOutputBytes: must be a whole number of bytes; 0 means unlimited"
