"""No error shows a value of the data: it may be a secret, and messages appear in statuses and Events."""

from __future__ import annotations

import pytest

from core.expressions import ExpressionError, resolve_value
from core.expressions.expression import FUNCTIONS

_SECRET = "hunter2 {{(["
_INPUTS = {"s": _SECRET, "n": 3, "l": [_SECRET], "m": {"hunter2 key": _SECRET}}
_TELLS_ON_PURPOSE = {"fail"}


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - _TELLS_ON_PURPOSE))
def test_a_function_that_fails_does_not_tell_its_arguments(name: str) -> None:
    function = FUNCTIONS[name]
    least = max(len(function.parameters), 1)
    for count in range(least, least + (3 if function.rest else 1)):
        for other in ("inputs.s", "inputs.n", "inputs.l", "inputs.m"):
            for position in range(count):
                arguments = " ".join("inputs.s" if index == position else other for index in range(count))
                assert "hunter2" not in _error_of(f"{{{{ {name} {arguments} }}}}")


def _error_of(text: str) -> str:
    try:
        resolve_value(text, {"inputs": _INPUTS})
    except ExpressionError as error:
        return str(error)
    return ""
