"""Structured output: ``-o json``, ``jsonl``, ``yaml``, ``name``, ``jsonpath=…`` of one object or a list of them."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from typing import Any

from cli.problem import UsageError
from core.api.unreadable import without_mark
from kubewire.yaml_booleans import read_words_as_booleans
from views.text import visible

FORMATS = ("table", "wide", "name", "json", "jsonl", "yaml", "jsonpath=…")

_EXPRESSION = re.compile(r"\{([^{}]*)\}")
_SEGMENT = re.compile(r"\.([A-Za-z0-9_$-]+)|\[(\d+|\*)\]|\['([^']+)'\]")


def render(objects: Sequence[Any], output: str, *, single: bool) -> str:
    """``objects`` in the format ``output``; a ``single`` one is not wrapped in a list.

    Raises:
        UsageError: an unknown format or a JSONPath that cannot be read.
    """
    objects = [without_mark(each) if isinstance(each, dict) else each for each in objects]
    if output == "json":
        return json_text(objects[0] if single else _list(objects), indent=2)
    if output == "jsonl":
        return "\n".join(map(json_text, objects))
    if output == "yaml":
        return yaml_text(objects[0] if single else _list(objects))
    if output == "name":
        return "\n".join(f"{each['kind'].lower()}/{each['metadata']['name']}" for each in objects)
    if output.startswith("jsonpath="):
        return jsonpath(objects[0] if single else _list(objects), output.removeprefix("jsonpath="))
    raise UsageError(f"unknown output format {output!r}", remedy=f"use one of {', '.join(FORMATS)}")


def json_text(value: Any, *, indent: int | None = None) -> str:
    """``value`` as ``escaped`` JSON: on one line, unless it has an ``indent``."""
    return escaped(json.dumps(value, indent=indent, ensure_ascii=False))


def escaped(document: str) -> str:
    """JSON with ``\\u`` escapes for all that is not printable, so that no terminal obeys a character in it."""
    if document.isascii() and "\x7f" not in document:
        return document
    return "".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in document).replace(
        "\x7f", "\\u007f"
    )


def yaml_text(value: Any) -> str:
    """YAML with escapes for all that is not ``views.text.visible``; it means the same to every reader."""
    text = _dumped(value)
    return text if visible(text) == text else visible(_dumped(_in_quotes(value)))


def _in_quotes(value: Any) -> Any:
    """The value with double quotes for each string that needs an escape, because only they may have escapes."""
    # Costly, and only YAML needs it.
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, dict):
        return {_in_quotes(key): _in_quotes(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_in_quotes(each) for each in value]
    return DoubleQuotedScalarString(value) if isinstance(value, str) and visible(value) != value else value


def _dumped(value: Any) -> str:
    # Costly, and only YAML needs it.
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = False
    read_words_as_booleans(yaml)  # so that such a string is written in quotes
    yaml.representer.ignore_aliases = lambda _: True
    buffer = io.StringIO()
    yaml.dump(value, buffer)
    return buffer.getvalue().removesuffix("...\n").rstrip("\n")


def jsonpath(value: Any, template: str) -> str:
    """The common part of kubectl's JSONPath: text with ``{.a.b[0].c}``, ``[*]`` and ``['odd key']``."""

    def evaluate(match: re.Match[str]) -> str:
        return " ".join(_text(found) for found in _walk([value], match[1].removeprefix("$")))

    return _EXPRESSION.sub(evaluate, template if "{" in template else f"{{{template}}}")


def part_of(value: Any, path: str) -> str | None:
    """The value at ``path``, such as ``report.rows[0]``; None if there is none.

    Raises:
        UsageError: the path cannot be read.
    """
    found = _walk([value], "." + path.lstrip("."))
    return " ".join(map(_text, found)) if found else None


def _walk(values: list[Any], path: str) -> list[Any]:
    position = 0
    while position < len(path):
        segment = _SEGMENT.match(path, position)
        if segment is None:
            raise UsageError(f"cannot read JSONPath at {path[position:]!r}", remedy="write for example {.status.phase}")
        key, index = segment[1] or segment[3], segment[2]
        if index == "*":
            values = [child for value in values for child in _children(value)]
        elif index is not None:
            values = [value[int(index)] for value in values if isinstance(value, list) and int(index) < len(value)]
        else:
            values = [value[key] for value in values if isinstance(value, dict) and key in value]
        position = segment.end()
    return values


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _list(objects: Sequence[Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}
