"""Writes JSON documents as YAML that people read. It writes what the SDK needs, so the SDK needs no YAML library."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_PLAIN: Final = re.compile(
    r"[A-Za-z/_][A-Za-z0-9_./()+@=-]*(?:(?:, |[ ,:])?[A-Za-z0-9_./()+@=;'<>*!?&|%$-])*|[0-9]+(?:ms|[smh])"
)
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", ".inf", ".nan"})
"""Words that a YAML 1.1 or 1.2 reader takes for something else than a string."""
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


def documents(values: Iterable[Mapping[str, Any]]) -> str:
    """The documents, separated by ``---``, with a newline at the end."""
    return "---\n".join(f"{document(value)}\n" for value in values)


def document(value: Mapping[str, Any]) -> str:
    """One document; ``value`` consists of what ``json.loads`` gives."""
    return "\n".join(_mapping(value, "")) if value else "{}"


def _mapping(value: Mapping[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for key, child in value.items():
        first, *rest = _node(child, indent, in_mapping=True)
        lines += [f"{indent}{_scalar(str(key), '')}:{first}", *rest]
    return lines


def _node(value: Any, indent: str, *, in_mapping: bool) -> list[str]:
    """The lines of a value; the first one continues the line of its key or dash."""
    if isinstance(value, Mapping) and value:
        if in_mapping:
            return ["", *_mapping(value, f"{indent}  ")]
        first, *rest = _mapping(value, f"{indent}  ")
        return [f" {first.lstrip()}", *rest]
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        inner = f"{indent}  "
        if all(isinstance(item, (int, str)) and len(str(item)) <= 40 and "\n" not in str(item) for item in value):
            flow = ", ".join(_scalar(item, inner, flow=True) for item in value)
            if len(flow) + len(inner) <= 100:
                return [f" [{flow}]"]
        lines = [""] if in_mapping else []
        for item in value:
            first, *rest = _node(item, inner, in_mapping=False)
            lines += [f"{inner}-{first}", *rest]
        return lines if in_mapping else [" " + lines[0].lstrip(), *lines[1:]]
    if isinstance(value, Mapping):
        return [" {}"]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [" []"]
    first, *rest = _scalar(value, f"{indent}  ").split("\n")
    return [f" {first}", *rest]


def _scalar(value: Any, indent: str, *, flow: bool = False) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS and not (flow and "," in value):
        return value
    if "\n" in value and indent and not flow and _is_block(value):
        keep = "" if value.endswith("\n") and not value.endswith("\n\n") else "+" if value.endswith("\n") else "-"
        lines = value.removesuffix("\n").split("\n")
        return "\n".join([f"|{keep}", *(f"{indent}{line}" if line else "" for line in lines)])
    if '"' in value and "'" not in value and not _UNPRINTABLE.search(value):
        return f"'{value}'"
    quoted = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)


def _is_block(value: str) -> bool:
    """Whether a block of lines shows every character of the text, and its first line gives the indentation."""
    first, *others = value.split("\n")
    blank = any(line and not line.strip() for line in others)
    return not (first[:1].isspace() or not first or blank or any(map(_UNPRINTABLE.search, (first, *others))))
