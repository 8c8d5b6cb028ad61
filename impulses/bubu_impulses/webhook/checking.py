"""Checks of a body: JSON without oddities, and a JSON Schema. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, NoReturn

import jsonschema_rs

from bubu_sdk import schema

_MAX_REPORTED: Final = 10
_MAX_DEPTH: Final = 200
"""Objects and lists inside each other: what reads a body later recurses, and Python's stack ends at 1000 calls."""
_TOO_DEEP: Final = f"the body is nested too deeply: at most {_MAX_DEPTH} objects and lists inside each other"


class BodyError(ValueError):
    """*user*: the body cannot be used; the message may be shown to the sender."""


class BodySchema:
    """A compiled JSON Schema."""

    def __init__(self, document: dict[str, Any]) -> None:
        """Compile ``document``.

        Raises:
            ValueError: it is not a JSON Schema.
            EngramError: it refers to another document.
        """
        normalised = schema.normalise(document)
        declared = "$schema" in normalised
        compiler = jsonschema_rs.validator_for if declared else jsonschema_rs.Draft7Validator
        self._validator = compiler(normalised)

    def check(self, body: Any) -> None:
        """Raise ``BodyError`` unless ``body`` fits; the error names the paths that do not fit."""
        found = [f"body{_dotted(error.instance_path)}: {error.message}" for error in self._validator.iter_errors(body)]
        if found:
            more = f"; and {len(found) - _MAX_REPORTED} more" if len(found) > _MAX_REPORTED else ""
            raise BodyError("; ".join(found[:_MAX_REPORTED]) + more)


def parsed(body: bytes) -> Any:
    """The JSON value of a body.

    Raises:
        BodyError: it is not JSON in UTF-8, or is nested too deeply.
    """
    try:
        found = json.loads(body.decode(), parse_constant=_refuse)
    except RecursionError as error:
        raise BodyError(_TOO_DEEP) from error
    except ValueError as error:
        raise BodyError(f"the body is not JSON: {error}") from error
    level = [found]
    for _ in range(_MAX_DEPTH + 1):
        level = [child for each in level if isinstance(each, (dict, list)) for child in _children(each)]
    if level:
        raise BodyError(_TOO_DEEP)
    return found


def _children(container: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")


def _dotted(path: Any) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
