"""Run inputs from the command line: ``-i key=value`` and ``--inputs FILE``.

A value becomes what the Story's ``inputsSchema`` says: a declared string stays as it was typed, and a declared number
is a number. Without a declared type, a value that can only be JSON is JSON (``-i limit=10``, ``-i tags='["a"]'``), and
any other value is a string, such as ``1.10`` or ``007``. ``-i key:=text`` always gives a string. Dots in a key make
nested objects.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from cli.problem import UsageError
from core.api.objects import Object

_JSON_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}
"""What JSON schema calls a value, except strings. An integer that is typed as 1.5 is a number: the check names it."""


@dataclass(frozen=True, slots=True)
class _Pair:
    path: tuple[str, ...]
    text: str
    is_string: bool
    written: str


@dataclass(frozen=True, slots=True)
class GivenInputs:
    """The inputs of a command line. What a pair means depends on the schema of the Story."""

    file: Object = field(default_factory=dict)
    pairs: tuple[_Pair, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.file or self.pairs)

    def read(self, schema: object = None) -> Object:
        """The inputs object; pairs have precedence over the file.

        Args:
            schema: ``spec.inputsSchema`` of the Story, if there is one.

        Raises:
            UsageError: a pair puts a key into a value that is not an object.
        """
        inputs = copy.deepcopy(self.file)
        for pair in self.pairs:
            value = pair.text if pair.is_string else read_value(pair.text, _declared(schema, pair.path))
            _put(inputs, pair, value)
        return inputs

    def over(self, inputs: Object, schema: object = None) -> Object:
        """``inputs`` with these merged into them; objects are merged, other values are replaced."""
        return _merged(inputs, self.read(schema))

    def unclear(self, schema: object = None) -> Iterator[str]:
        """A sentence for each number that stays as it was typed, because its type is not declared."""
        for pair in self.pairs:
            declared = _declared(schema, pair.path)
            number = _is_number(pair.text) and isinstance(read_value(pair.text, declared), str)
            if number and not pair.is_string and not _types(declared):
                name = ".".join(pair.path)
                yield f"input {name} is the string {pair.text!r}, not a number: the Story does not declare its type"


def parse_inputs(pairs: Sequence[str], file: str | None) -> GivenInputs:
    """The inputs of ``-i`` and ``--inputs``.

    Raises:
        UsageError: a pair is not key=value or contradicts another, or the file is not a JSON object.
    """
    given = GivenInputs(object_of_file("--inputs", file) if file else {}, tuple(map(_pair, pairs)))
    given.read()
    return given


def object_of_file(option: str, file: str) -> dict[str, Any]:
    """The JSON object in a file, ``-`` for standard input, which was given as ``option``.

    Raises:
        UsageError: it cannot be read, or is not an object.
    """
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{option} {file}: {error.strerror}", remedy="check the path") from None
    except UnicodeDecodeError:
        raise UsageError(f"{option} {file}: is not UTF-8 text", remedy="give a JSON object") from None
    try:
        inputs = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{option} {file}: is not JSON: {error}", remedy="give a JSON object") from None
    if not isinstance(inputs, dict):
        raise UsageError(f"{option} {file}: must hold a JSON object, not {type(inputs).__name__}")
    return inputs


def read_value(text: str, declared: Object) -> Any:
    """The value that was typed as ``text`` for an input that the schema describes as ``declared``.

    A value that does not fit the declared type is a string; the check of the inputs then names the problem.
    """
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text
    types = _types(declared)
    if types:
        fits = "string" not in types and any(_JSON_TYPES[name](value) for name in types if name in _JSON_TYPES)
        return value if fits else text
    choices = declared.get("enum")
    if isinstance(choices, list) and text in choices:
        return text
    return text if _is_number(text) and json.dumps(value) != text else value


def _pair(written: str) -> _Pair:
    key, separator, text = written.partition("=")
    path = tuple(key.removesuffix(":").split("."))
    if not separator or not all(path):
        raise UsageError(f"-i {written!r} must be key=value", remedy="write for example -i city=Bern or -i limit=10")
    return _Pair(path, text, key.endswith(":"), written)


def _declared(schema: object, path: Sequence[str]) -> Object:
    """The schema of the value at ``path``; empty if the properties on the way are not declared."""
    for key in path:
        properties = schema.get("properties") if isinstance(schema, dict) else None
        schema = properties.get(key) if isinstance(properties, dict) else None
    return schema if isinstance(schema, dict) else {}


def _types(declared: Object) -> list[str]:
    found = declared.get("type")
    return [found] if isinstance(found, str) else [name for name in found or () if isinstance(name, str)]


def _is_number(text: str) -> bool:
    try:
        return _JSON_TYPES["number"](json.loads(text, parse_constant=_refuse))
    except (ValueError, RecursionError):
        return False


def _refuse(name: str) -> NoReturn:
    """NaN and Infinity, which are not JSON."""
    raise ValueError(name)


def _put(inputs: Object, pair: _Pair, value: Any) -> None:
    for key in pair.path[:-1]:
        child = inputs.setdefault(key, {})
        if not isinstance(child, dict):
            raise UsageError(f"-i {pair.written!r}: {key!r} is not an object in the inputs given so far")
        inputs = child
    inputs[pair.path[-1]] = value


def _merged(base: Object, changes: Object) -> Object:
    result = dict(base)
    for key, value in changes.items():
        below = result.get(key)
        result[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result
