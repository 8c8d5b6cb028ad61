"""Converts plain JSON to the types of the user's function.

This module builds dataclasses, typed dictionaries, enums and containers; a pydantic model builds itself. Strings and
numbers are converted to each other as in the reference (``"123"`` → 123). A ``timedelta`` is written as a Go duration.
A key matches a field by its name, by its ``metadata={"key": …}``, by its camelCase form, or by one of these in another
case. The error reports all problems together, each with its path. Source: SDK contract 11.2.5.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import datetime, timedelta
from pathlib import Path, PurePath
from typing import Any

from bubu_contract import durations, instants
from bubu_sdk import artifact, exact
from bubu_sdk.artifact import Artifact
from bubu_sdk.errors import EngramError, InputError, Object

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"", "0", "f", "F", "false", "FALSE", "False"})
_FAILED: Any = object()


def decode(
    data: Object, target: Any, name: str, *, strict: bool = False, fetch: Callable[[Any, str], Path] | None = None
) -> Any:
    """``data`` as an instance of ``target``; ``name`` is the root of the paths in error messages.

    Args:
        target: a dataclass, TypedDict, pydantic model, ``dict[...]``, or ``Any`` for the data itself.
        strict: refuse unknown keys (``BUBU_RUNTIME_STRICT_UNMARSHAL``).
        fetch: gives the file or directory of an artifact, for values of type ``Path``; it gets their place, too.
    Raises:
        InputError: the data does not fit; names each path.
    """
    if not strict and (quick := exact.converter(target)) is not None:
        try:
            return quick(data)
        except exact.InexactError:
            pass  # it may fit nevertheless; otherwise the decoder says why not
    decoder = _Decoder(strict, fetch)
    value = decoder.value(data, target, name)
    if decoder.problems:
        raise InputError("; ".join(decoder.problems))
    return value


def problems_of(data: Object, target: Any, name: str) -> list[str]:
    """Why ``data`` is no instance of ``target``: a message for each path; empty if it is one."""
    decoder = _Decoder(False, None)
    decoder.value(data, target, name)
    return decoder.problems


class _Decoder:
    def __init__(self, strict: bool, fetch: Callable[[Any, str], Path] | None) -> None:
        self._strict = strict
        self._fetch = fetch
        self.problems: list[str] = []

    def value(self, data: Any, target: Any, path: str) -> Any:
        """The decoded value. On a problem, it notes the problem and returns a marker that the user never receives."""
        origin = typing.get_origin(target)
        if origin in (typing.Annotated, typing.Required, typing.NotRequired, typing.Final):
            return self.value(data, typing.get_args(target)[0], path)
        if target is Any or target is object:
            return data
        if origin in (typing.Union, types.UnionType):
            return self._union(data, typing.get_args(target), path)
        if origin is typing.Literal:
            return self._literal(data, typing.get_args(target), path)
        if origin is not None or target in _CONTAINERS:
            return self._container(data, origin or target, typing.get_args(target), path)
        if isinstance(target, type):
            return self._plain(data, target, path)
        return self._refuse(
            path, f"the annotation {target!r} is not supported; use a dataclass, a model or a JSON type"
        )

    def _plain(self, data: Any, target: type, path: str) -> Any:
        convert = _SCALARS.get(target)
        if convert is not None:
            return self._scalar(data, convert, target, path)
        if issubclass(target, PurePath):
            return self._path(data, target, path)
        if target is Artifact:
            return self._artifact(data, path)
        if issubclass(target, enum.Enum):
            return self._enum(data, target, path)
        if dataclasses.is_dataclass(target):
            return self._dataclass(data, target, path)
        if hasattr(target, "model_validate"):
            return self._model(data, target, path)
        if typing.is_typeddict(target):
            return self._typed_dict(data, target, path)
        return self._refuse(path, f"{target.__name__} is not supported; use a dataclass, a model or a JSON type")

    def _scalar(self, data: Any, convert: Callable[[Any], Any], target: type, path: str) -> Any:
        try:
            return convert(data)
        except (ValueError, TypeError, OverflowError) as error:
            reason = str(error) if target in (timedelta, datetime) else f"expected {_NAMES[target]}, got {_shown(data)}"
            return self._refuse(path, reason)

    def _path(self, data: Any, target: type[PurePath], path: str) -> Any:
        """A path that is written as a string, or the file of an artifact."""
        if isinstance(data, str):
            return target(data)
        if self._fetch is None or not artifact.is_artifact(data):
            return self._refuse(path, f"expected an artifact or the path of a file, got {_shown(data)}")
        return target(self._fetch(data, path))

    def _artifact(self, data: Any, path: str) -> Any:
        try:
            return artifact.parse(data, path, "")
        except EngramError as error:
            self.problems.append(error.message)
            return _FAILED

    def _enum(self, data: Any, target: type[enum.Enum], path: str) -> Any:
        for member in target:
            if member.value == data or (not isinstance(member.value, str) and str(member.value) == data):
                return member
        return self._refuse(path, f"{_shown(data)} must be one of {', '.join(repr(member.value) for member in target)}")

    def _dataclass(self, data: Any, target: Any, path: str) -> Any:
        if not self._is_mapping(data, target, path):
            return _FAILED
        hints, fields, optional = _shape(target)
        arguments = self._fields(data, hints, fields, optional, path)
        if any(value is _FAILED for value in arguments.values()) or fields.keys() - optional - arguments.keys():
            return _FAILED
        try:
            return target(**arguments)
        except (ValueError, TypeError) as error:  # raised by the user's __post_init__; the inputs caused it
            return self._refuse(path, str(error))

    def _typed_dict(self, data: Any, target: Any, path: str) -> Any:
        if not self._is_mapping(data, target, path):
            return _FAILED
        hints = _hints(target)
        # with postponed annotations __optional_keys__ does not include NotRequired keys, but the resolved hints do
        optional = {key for key in hints if typing.get_origin(hints[key]) is typing.NotRequired}
        optional |= {key for key in target.__optional_keys__ if typing.get_origin(hints[key]) is not typing.Required}
        return self._fields(data, hints, dict.fromkeys(hints, ""), optional, path)

    def _fields(
        self,
        data: Mapping[str, Any],
        hints: Mapping[str, Any],
        fields: Mapping[str, str],
        optional: Set[str],
        path: str,
    ) -> Object:
        """Arguments by field name. Null for an optional field selects its default, unless the type permits null."""
        values: Object = {}
        keys = _matched(data, fields)
        for field in fields:
            if field not in keys or (data[keys[field]] is None and not _admits_none(hints[field])):
                if field not in optional:
                    self._refuse(f"{path}.{fields[field] or field}", "is required")
                continue
            values[field] = self.value(data[keys[field]], hints[field], f"{path}.{keys[field]}")
        if self._strict:
            for key in data.keys() - set(keys.values()):
                self._refuse(f"{path}.{key}", "is not a known field")
        return values

    def _model(self, data: Any, target: Any, path: str) -> Any:
        try:
            return target.model_validate(data)
        except ValueError as error:
            report = getattr(error, "errors", None)
            if report is None:
                return self._refuse(path, str(error))
            for item in report(include_url=False, include_input=False):
                where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"])
                self._refuse(f"{path}{where}", item["msg"])
            return _FAILED

    def _container(self, data: Any, origin: Any, arguments: tuple[Any, ...], path: str) -> Any:
        if isinstance(origin, type) and issubclass(origin, Mapping):
            if not self._is_mapping(data, origin, path):
                return _FAILED
            item_type = arguments[1] if len(arguments) == 2 else Any
            return {key: self.value(item, item_type, f"{path}.{key}") for key, item in data.items()}
        if origin is tuple and arguments and Ellipsis not in arguments:
            if not isinstance(data, list) or len(data) != len(arguments):
                return self._refuse(path, f"expected a list of {len(arguments)}, got {_shown(data)}")
            return tuple(
                self.value(item, kind, f"{path}[{i}]")
                for i, (item, kind) in enumerate(zip(data, arguments, strict=True))
            )
        build = _CONTAINERS.get(origin)
        if build is None:
            return self._refuse(path, f"the annotation {origin!r} is not supported")
        items = data if isinstance(data, list) else [] if data in ("", {}) else [data]
        item_type = arguments[0] if arguments else Any
        values = [self.value(item, item_type, f"{path}[{index}]") for index, item in enumerate(items)]
        try:
            return build(values)
        except TypeError as error:
            return self._refuse(path, str(error))

    def _union(self, data: Any, choices: tuple[Any, ...], path: str) -> Any:
        if data is None and type(None) in choices:
            return None
        choices = tuple(choice for choice in choices if choice is not type(None))
        exact = [choice for choice in choices if type(data) is choice]
        attempts: list[_Decoder] = []
        for choice in (*exact, *choices):
            attempt = _Decoder(self._strict, self._fetch)
            value = attempt.value(data, choice, path)
            if not attempt.problems:
                return value
            attempts.append(attempt)
        if len(choices) == 1:
            self.problems += attempts[0].problems
            return _FAILED
        return self._refuse(
            path, f"{_shown(data)} fits none of {', '.join(getattr(c, '__name__', str(c)) for c in choices)}"
        )

    def _literal(self, data: Any, choices: tuple[Any, ...], path: str) -> Any:
        for choice in choices:
            if choice == data and isinstance(choice, bool) == isinstance(data, bool):
                return choice
        return self._refuse(path, f"{_shown(data)} must be one of {', '.join(map(repr, choices))}")

    def _is_mapping(self, data: Any, target: Any, path: str) -> bool:
        if isinstance(data, Mapping):
            return True
        self._refuse(path, f"expected an object for {getattr(target, '__name__', target)}, got {_shown(data)}")
        return False

    def _refuse(self, path: str, reason: str) -> Any:
        self.problems.append(f"{path}: {reason}")
        return _FAILED


@functools.lru_cache(maxsize=256)
def _hints(target: Any) -> Mapping[str, Any]:
    """Remembered, because a schema and a decoder ask for the same class again and again."""
    return typing.get_type_hints(target, include_extras=True)


@functools.lru_cache(maxsize=256)
def _shape(target: Any) -> tuple[Mapping[str, Any], Mapping[str, str], frozenset[str]]:
    """The hints of a dataclass, the keys that its fields name, and the fields that may be missing."""
    fields = {item.name: str(item.metadata.get("key", "")) for item in dataclasses.fields(target) if item.init}
    optional = frozenset(
        item.name
        for item in dataclasses.fields(target)
        if item.default is not dataclasses.MISSING or item.default_factory is not dataclasses.MISSING
    )
    return _hints(target), fields, optional


def _to_text(data: Any) -> str:
    if isinstance(data, str):
        return data
    if isinstance(data, bool):
        return "1" if data else "0"
    if isinstance(data, (int, float)):
        return str(int(data) if isinstance(data, float) and data.is_integer() else data)
    raise TypeError


def _to_int(data: Any) -> int:
    if isinstance(data, str):
        return int(data.strip() or "0", 0)
    if isinstance(data, float):
        if not data.is_integer():
            raise ValueError
        return int(data)
    if isinstance(data, int):
        return int(data)
    raise TypeError


def _to_float(data: Any) -> float:
    if not isinstance(data, (str, int, float)):
        raise TypeError
    number = float((data.strip() or "0") if isinstance(data, str) else data)
    if not math.isfinite(number):
        raise ValueError
    return number


def _to_bool(data: Any) -> bool:
    if isinstance(data, str):
        if data in _TRUE or data in _FALSE:
            return data in _TRUE
        raise ValueError
    if isinstance(data, (bool, int, float)):
        return data != 0
    raise TypeError


def _to_none(data: Any) -> None:
    if data is not None:
        raise ValueError


def _to_timedelta(data: Any) -> timedelta:
    if not isinstance(data, str):
        raise TypeError(f"a duration must be a string such as '5s', got {_shown(data)}")
    return durations.parse_duration(data)


def _to_datetime(data: Any) -> datetime:
    if not isinstance(data, str):
        raise TypeError(f"an instant must be an RFC 3339 string, got {_shown(data)}")
    return instants.parse_instant(data)


_SCALARS: dict[type, Callable[[Any], Any]] = {
    str: _to_text,
    int: _to_int,
    float: _to_float,
    bool: _to_bool,
    type(None): _to_none,
    timedelta: _to_timedelta,
    datetime: _to_datetime,
}
_NAMES: dict[type, str] = {str: "a string", int: "an integer", float: "a number", bool: "a boolean", type(None): "null"}
_CONTAINERS: dict[Any, Callable[[list[Any]], Any]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    Sequence: list,
    dict: dict,
    Mapping: dict,
}


def _matched(data: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, str]:
    """Field name → the key of ``data`` that has its value."""
    folded: dict[str, str] | None = None
    found: dict[str, str] = {}
    for field, key in fields.items():
        for candidate in (key, field, _camel(field)):
            if candidate and candidate in data:
                found[field] = candidate
                break
        else:
            if folded is None:
                folded = {key.lower(): key for key in reversed(list(data))}
            match = folded.get((key or field).lower()) or folded.get(_camel(field).lower())
            if match is not None:
                found[field] = match
    return found


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def _admits_none(hint: Any) -> bool:
    return hint is Any or hint is object or hint is type(None) or type(None) in typing.get_args(hint)


def _shown(data: Any) -> str:
    """The kind of a value for messages; the value itself only if it cannot be long or deep."""
    if data is None:
        return "null"
    if isinstance(data, str):
        return repr(data if len(data) <= 40 else f"{data[:37]}...")
    if isinstance(data, (bool, int, float)):
        return repr(data)
    return "an object" if isinstance(data, Mapping) else "a list"
