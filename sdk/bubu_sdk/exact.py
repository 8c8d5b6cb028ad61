"""Builds instances from JSON that has exactly the keys and types of a class: the usual message of a stream.

A converter is made once for each class. Whatever else ``decode`` accepts or refuses raises ``InexactError`` here, and
is left to it: other spellings of keys, missing fields, numbers in strings. So both have the same results.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from collections.abc import Callable
from typing import Any

Converter = Callable[[Any], Any]


class InexactError(Exception):
    """The data is not exactly of the type."""


@functools.lru_cache(maxsize=256)
def _known(target: Any) -> Converter | None:
    return _converter(target, ())


def converter(target: Any) -> Converter | None:
    """What makes an instance of ``target`` of exact data; None for a kind of type that only ``decode`` knows."""
    try:
        return _known(target)
    except TypeError:  # an annotation that cannot be hashed
        return None


def _converter(target: Any, around: tuple[Any, ...]) -> Converter | None:
    """``around`` are the classes that it is a part of: one that contains itself is left to ``decode``."""
    if target is Any or target is object:
        return _same
    if (scalar := _SCALARS.get(target)) is not None:
        return scalar
    origin, arguments = typing.get_origin(target) or target, typing.get_args(target)
    if origin is list:
        return _list_of(_converter(arguments[0], around) if arguments else _same)
    if origin is dict:
        return _dict_of(_converter(arguments[1], around) if arguments else _same)
    if isinstance(target, type) and dataclasses.is_dataclass(target) and target not in around:
        return _dataclass(target, (*around, target))
    return None


def _dataclass(target: Any, around: tuple[Any, ...]) -> Converter | None:
    """Only for classes whose construction runs no code of the user."""
    if not target.__dataclass_params__.init or hasattr(target, "__post_init__") or target.__new__ is not object.__new__:
        return None
    hints = typing.get_type_hints(target, include_extras=True)
    members: list[tuple[str, str, Converter]] = []
    for field in dataclasses.fields(target):
        if not field.init:
            continue
        convert = _converter(hints[field.name], around)
        if convert is None:
            return None
        members.append((field.name, str(field.metadata.get("key", "")) or field.name, convert))

    def convert_object(data: Any) -> Any:
        if type(data) is not dict:
            raise InexactError
        try:
            return target(**{name: convert(data[key]) for name, key, convert in members})
        except (KeyError, TypeError, ValueError):
            raise InexactError from None

    return convert_object


def _list_of(convert: Converter | None) -> Converter | None:
    if convert is None:
        return None

    def convert_list(data: Any) -> Any:
        if type(data) is not list:
            raise InexactError
        return [convert(item) for item in data]

    return convert_list


def _dict_of(convert: Converter | None) -> Converter | None:
    if convert is None:
        return None

    def convert_dict(data: Any) -> Any:
        if type(data) is not dict:
            raise InexactError
        return {key: convert(item) for key, item in data.items()}

    return convert_dict


def _same(data: Any) -> Any:
    return data


def _text(data: Any) -> Any:
    if type(data) is str:
        return data
    raise InexactError


def _integer(data: Any) -> Any:
    if type(data) is int:
        return data
    raise InexactError


def _number(data: Any) -> Any:
    if type(data) is float and math.isfinite(data):
        return data
    raise InexactError


def _truth(data: Any) -> Any:
    if type(data) is bool:
        return data
    raise InexactError


_SCALARS: dict[Any, Converter] = {str: _text, int: _integer, float: _number, bool: _truth}
