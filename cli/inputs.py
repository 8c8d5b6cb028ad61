"""Run inputs from the command line: ``-i key=value`` and ``--inputs file.json``.

A value that is JSON is read as JSON (``-i limit=10``, ``-i tags='["a"]'``), any other value as a string; ``-i
key:=text`` forces a string. Dots in a key make nested objects.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cli.problem import UsageError


def parse_inputs(pairs: Sequence[str], file: str | None) -> dict[str, Any]:
    """The inputs object; ``pairs`` have precedence over the file.

    Raises:
        UsageError: a pair has no ``=``, or the file is not a JSON or YAML object.
    """
    inputs = object_of_file("--inputs", file) if file else {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        forced = key.endswith(":")
        path = key.removesuffix(":").split(".")
        if not separator or not all(path):
            raise UsageError(f"-i {pair!r} must be key=value", remedy="write for example -i city=Bern or -i limit=10")
        _put(inputs, path, text if forced else value_of(text), pair)
    return inputs


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


def value_of(text: str) -> Any:
    """The JSON value of the text; if it is not JSON, the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _put(inputs: dict[str, Any], path: list[str], value: Any, pair: str) -> None:
    for key in path[:-1]:
        child = inputs.setdefault(key, {})
        if not isinstance(child, dict):
            raise UsageError(f"-i {pair!r}: {key!r} is not an object in the inputs given so far")
        inputs = child
    inputs[path[-1]] = value
