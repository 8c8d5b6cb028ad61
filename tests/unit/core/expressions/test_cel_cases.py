"""The library gives the answers that the CEL project's public conformance cases expect.

``cel_cases.json`` holds the cases that need no protobuf messages, no macros with two variables, and no names that the
type check would refuse. A case has an expression, its value with its type (or ``"error"``), and ``inputs``.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from core.expressions.cel import library

_CASES = json.loads((Path(__file__).parent / "cel_cases.json").read_text(encoding="utf-8"))

_OTHERWISE = {
    "{0: 1, 0u: 2}[0.0]": "the library finds the integer key; the specification wants an error",
}


def _value(expected: dict[str, Any]) -> Any:
    ((kind, value),) = expected.items()
    match kind:
        case "list":
            return [_value(item) for item in value]
        case "map":
            return {_value(key): _value(item) for key, item in value}
        case "double":
            return float(value)
        case "bytes":
            return bytes.fromhex(value)
        case _:
            return value


def _same(found: Any, expected: Any) -> bool:
    if isinstance(found, bytearray):
        found = bytes(found)
    if isinstance(expected, float) and math.isnan(expected):
        return isinstance(found, float) and math.isnan(found)
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(_same, found, expected))
    if isinstance(expected, dict):
        return bool(found == expected)
    return type(found) is type(expected) and bool(found == expected)


@pytest.mark.parametrize("group", sorted(_CASES))
def test_the_public_cases_have_the_specified_answer(group: str) -> None:
    wrong = []
    for text, expected, *inputs in _CASES[group]:
        data = {"inputs": inputs[0] if inputs else {}}
        try:
            found, kind = library.evaluate(library.compile_text(text).handle, data)
        except (library.CompilationError, library.NoValueError):
            found, kind = "error", "error"
        if expected == "error" or kind == "error":
            right = expected == "error" and kind == "error"
        elif "type" in expected:
            right = kind == "type"
        else:
            right = _same(found, _value(expected))
        if right is (text in _OTHERWISE):
            wrong.append((text, found, expected))
    assert not wrong


def test_there_are_many_cases() -> None:
    assert sum(map(len, _CASES.values())) > 1400
