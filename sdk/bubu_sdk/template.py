"""Resolves the templates that may remain in a container: each is a single path.

The operator resolves templates before a container starts. Only a plain path into an offloaded value may remain, for
example ``{{ steps.fetch.output.body }}``. This module resolves such paths; it refuses any other template with its path.
Pure. Source: SDK contract 11.2, 11.4; templating contract 3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bubu_contract import references
from bubu_sdk import reference
from bubu_sdk.errors import TemplateError

_ACTION = re.compile(r"\{\{-?\s*(?P<body>[^{}]*?)\s*-?\}\}")
_INDEX = re.compile(
    r"\(?\s*index\s+\.?(?P<root>inputs|steps|packet)\s+(?P<key>\"[^\"\\]*\")\s*\)?(?P<rest>(?:\.[\w-]+)*)"
)
_PATH = re.compile(r"(?:\$?\.)?(?P<root>[A-Za-z_]\w*)(?P<rest>(?:\.\w+|\[\d+\]|\[\"[^\"\\]*\"\]|\['[^'\\]*'\])*)")
_SEGMENT = re.compile(r"\.([\w-]+)|\[(\d+)\]|\[[\"']([^\"']*)[\"']\]")

_OPENING = "{{"
_SPELLED_OPENING = '{{ "{{" }}'
"""How the operator writes braces that are data and not a template."""

Segments = list[str | int]
"""A path: names of fields and positions in lists."""


class _Problem(Exception):  # noqa: N818 - a message on its way to the collected TemplateError
    pass


def resolve(value: Any, variables: Mapping[str, Any], name: str) -> Any:
    """``value`` with every plain path replaced by its value in ``variables``, types preserved.

    A path into an offloaded value becomes a storage reference with a sub-path; the caller must hydrate it. References
    in ``value`` are not changed. ``name`` is the root of the paths in error messages (``inputs``, ``config``).

    Raises:
        TemplateError: one or more templates are not plain paths, or their value does not exist; lists all of them.
    """
    problems: list[str] = []
    resolved = _walk(value, variables, name, problems)
    if problems:
        raise TemplateError("; ".join(problems))
    return resolved


def _walk(value: Any, variables: Mapping[str, Any], path: str, problems: list[str]) -> Any:
    if isinstance(value, str):
        texts = value.split(_SPELLED_OPENING)
        if not any(_OPENING in text for text in texts):
            return _OPENING.join(texts)
        try:
            return _evaluate(value, variables)
        except _Problem as problem:
            problems.append(f"{path}: {problem}")
            return value
    if isinstance(value, Mapping):
        if reference.is_storage_reference(value):
            return value
        return {key: _walk(item, variables, f"{path}.{key}", problems) for key, item in value.items()}
    if isinstance(value, list):
        return [_walk(item, variables, f"{path}[{index}]", problems) for index, item in enumerate(value)]
    return value


def _evaluate(text: str, variables: Mapping[str, Any]) -> Any:
    action = _ACTION.fullmatch(text)
    if action is None:
        raise _Problem(
            f"unresolved template {_short(text)}; the operator resolves templates before the container starts, "
            "and inside it only a single plain path such as '{{ steps.fetch.output.body }}' is"
        )
    return _lookup(_segments(action["body"], text), variables)


def path_segments(body: str) -> Segments | None:
    """The path that ``body`` is, for example ``inputs.items[0].id``; ``None`` if it is not a plain path."""
    index = _INDEX.fullmatch(body)
    match = index or _PATH.fullmatch(body)
    if match is None:
        return None
    segments: Segments = [match["root"]]
    if index is not None:
        segments.append(index["key"][1:-1])
    for field, position, key in _SEGMENT.findall(match["rest"]):
        segments.append(int(position) if position else field or key)
    return segments


def dotted(segments: Segments) -> str:
    """The path as a text: ``inputs.items[0].id``."""
    text = ""
    for segment in segments:
        text += f"[{segment}]" if isinstance(segment, int) else f".{segment}" if text else segment
    return text


def _segments(body: str, text: str) -> Segments:
    segments = path_segments(body)
    if segments is None:
        raise _Problem(f"unresolved template {_short(text)}; inside the container only a single plain path is resolved")
    return segments


def _lookup(segments: Segments, variables: Mapping[str, Any]) -> Any:
    value: Any = variables
    for position, segment in enumerate(segments):
        if reference.is_storage_reference(value):
            return _selector(value, segments[position:])
        if isinstance(segment, int):
            if not isinstance(value, list) or segment >= len(value):
                raise _Problem(f"{dotted(segments[: position + 1])} names nothing in the template context")
            value = value[segment]
        else:
            if not isinstance(value, Mapping) or segment not in value:
                raise _Problem(f"{dotted(segments[: position + 1])} names nothing in the template context")
            value = value[segment]
    if isinstance(value, Mapping) and value.get("$bubuOmitted") is True:
        raise _Problem(f"{dotted(segments)} was too large for the template context; offload the output to storage")
    return value


def _selector(target: Mapping[str, Any], rest: Segments) -> dict[str, Any]:
    prefix = target.get(references.STORAGE_PATH) or ""
    suffix = dotted(rest)
    joined = f"{prefix}{suffix}" if suffix.startswith("[") or not prefix else f"{prefix}.{suffix}"
    return {references.STORAGE_REFERENCE: target[references.STORAGE_REFERENCE], references.STORAGE_PATH: joined}


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
