"""``render --jsonl``: one request per line on standard input, its answer on standard output, until the input ends.

A request is ``{"template", "kind", "context"}``, with optional ``"deterministic"`` and ``"maxOutputBytes"``.
``template`` is a template, or, for a value, any JSON with templates in it. ``kind`` is ``value`` or ``condition``.
``context`` has the variables, as in ``{"inputs": {}, "steps": {"fetch": {"output": {}}}}``. The answers are those of
``answers``; a line that is not a request gets an error of kind ``request``. Answers have the order of the requests, one
for each; blank lines are ignored.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
import trio

from cli.answers import document_of, error_document
from core.api.objects import Object
from core.api.suggestion import closest
from core.engine.clock import system_now
from core.evaluation.evaluator import EvaluationPolicy, Evaluator
from core.expressions.resolve import DEFAULT_LIMITS
from core.story.fields import FieldKind

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
