"""Results of Go's own text/template (1.26) with Sprig 3.3.0, recorded; each case is [template, kind, text]."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.expressions import ExpressionError, TemplateSyntaxError, resolve_value

_HERE = Path(__file__).parent
_CASES = json.loads((_HERE / "go_cases.json").read_text(encoding="utf-8"))
_VARIABLES = json.loads((_HERE / "worked_cases.json").read_text(encoding="utf-8"))["contexts"]["A"]


@pytest.mark.parametrize(("template", "kind", "expected"), _CASES)
def test_gives_what_go_gives(template: str, kind: str, expected: str) -> None:
    try:
        outcome = ("out", resolve_value("!" + template, _VARIABLES)[1:])  # the mark keeps the result a text
    except TemplateSyntaxError:
        outcome = ("parse", "")
    except ExpressionError:
        outcome = ("err", "")
    assert outcome == (kind, expected)
