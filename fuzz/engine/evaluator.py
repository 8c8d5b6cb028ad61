"""A small replacement for the evaluator: each string is one path, so that a case contains everything about itself.

``{{ inputs.a }}``, ``{{ steps.x.output.k }}``, ``{{ item }}``, ``{{ itemIndex }}``, ``{{ previous.k }}``, ``{{
iteration }}`` and ``{{ (index .steps inputs.which).output.k }}``; a condition may negate its path with ``not``, or
compare a number, ``{{ ge iteration 2 }}``. The real evaluator has its own suite; the engine only needs its three kinds
of answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import trio

from bubu_contract.references import STORAGE_PATH, STORAGE_REFERENCE
from core.evaluation.asker import NOBODY, Asker
from core.evaluation.evaluator import Failure, NotYet, Value
from core.expressions.paths import is_reference

_PATH = re.compile(
    r"^\{\{\s*(not )?(inputs|steps|item|itemIndex|previous|iteration)"
    r'((?:\.[A-Za-z0-9_-]+|\["[A-Za-z0-9_-]+"\])*)\s*\}\}$'
)
_PART = re.compile(r"[A-Za-z0-9_-]+")
_AT_LEAST = re.compile(r"^\{\{\s*ge (iteration|itemIndex) (\d+)\s*\}\}$")
_DYNAMIC = re.compile(r"^\{\{\s*\(index \.steps inputs\.(\w+)\)\.output\.(\w+)\s*\}\}$")
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}


class PathEvaluator:
    async def resolve(
        self,
        value: Any,
        variables: Mapping[str, Any],
        *,
        field: str,
        finished: bool = False,
        whole: Mapping[str, Any] | None = None,
        stored: frozenset[str] = frozenset(),
        asker: Asker = NOBODY,
    ) -> Value | NotYet | Failure:
        await trio.lowlevel.checkpoint()
        missing: list[str] = []
        try:
            resolved = _resolve(value, variables, missing, whole)
        except _OffloadedError as offloaded:
            return Failure("ExpressionFailed", f"{field}: {offloaded} is in object storage", offloaded=True)
        if not missing:
            return Value(resolved)
        if finished or missing[0].startswith("inputs"):
            return Failure("ExpressionFailed", f"{field}: {missing[0]} has no value")
        return NotYet(frozenset(), missing[0])

    async def condition(
        self,
        text: str,
        variables: Mapping[str, Any],
        *,
        field: str,
        finished: bool = False,
        stored: frozenset[str] = frozenset(),
        asker: Asker = NOBODY,
    ) -> Value | NotYet | Failure:
        answer = await self.resolve(text, variables, field=field, finished=finished)
        if not isinstance(answer, Value) or isinstance(answer.value, bool):
            return answer
        if is_reference(answer.value):
            return Failure("ExpressionFailed", f"{field} is in object storage", offloaded=True)
        word = _WORDS.get(answer.value) if isinstance(answer.value, str) else None
        if word is None:
            return Failure("ExpressionFailed", f"{field}: {answer.value!r} is not a boolean")
        return Value(word)

    async def analyse(self, look: Callable[[Any], Any], manifest: Any, *, asker: Asker = NOBODY) -> Any:
        await trio.lowlevel.checkpoint()
        return look(manifest)

    async def validate_schema(self, schema: Mapping[str, Any], document: Any, *, asker: Asker = NOBODY) -> list[str]:
        """Checks ``required``, and ``properties.*.type`` for strings and integers."""
        await trio.lowlevel.checkpoint()
        problems = [f"{key} is required" for key in schema.get("required", ()) if key not in document]
        for key, wanted in schema.get("properties", {}).items():
            type_ = {"string": str, "integer": int, "object": dict}.get(wanted.get("type"))
            if key in document and type_ is not None and not isinstance(document[key], type_):
                problems.append(f"{key} is not of type {wanted['type']}")
        return problems


def _resolve(
    value: Any, variables: Mapping[str, Any], missing: list[str], whole: Mapping[str, Any] | None = None
) -> Any:
    if isinstance(value, Mapping):
        return {key: _resolve(item, variables, missing, whole) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, variables, missing, whole) for item in value]
    if not isinstance(value, str):
        return value
    try:
        return _text(value, variables, missing)
    except _OffloadedError:
        if whole is None:
            raise
    return _text(value, whole, missing)


def _text(value: str, variables: Mapping[str, Any], missing: list[str]) -> Any:
    dynamic = _DYNAMIC.match(value)
    if dynamic:
        step = variables["inputs"].get(dynamic[1])
        return _walk(variables, ["steps", str(step), "output", dynamic[2]], missing)
    compared = _AT_LEAST.match(value)
    if compared:
        number = _walk(variables, [compared[1]], missing)
        return number is not None and _looked_into(number, value) >= int(compared[2])
    path = _PATH.match(value)
    if path is None:
        return value
    found = _walk(variables, [path[2], *_PART.findall(path[3])], missing)
    return not _looked_into(found, value) if path[1] else found


class _OffloadedError(Exception):
    """The string needs the content of an object in object storage."""


def _looked_into(value: Any, text: str) -> Any:
    if is_reference(value):
        raise _OffloadedError(text)
    return value


def _walk(variables: Mapping[str, Any], parts: list[str], missing: list[str]) -> Any:
    place: Any = variables
    for number, part in enumerate(parts):
        if is_reference(place):
            deeper = ".".join(filter(None, [place.get(STORAGE_PATH, ""), *parts[number:]]))
            return {STORAGE_REFERENCE: place[STORAGE_REFERENCE], STORAGE_PATH: deeper}
        if not isinstance(place, Mapping) or part not in place:
            missing.append(".".join(parts))
            return None
        place = place[part]
    return place
