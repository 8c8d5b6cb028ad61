"""Data written as templates whose evaluation gives the data back, in the engine and in the SDK."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bubu_sdk import template
from core.expressions import resolve_value
from core.workloads.literals import as_literals

VARIABLES = {"inputs": {"n": 3}, "steps": {"login": {"output": {"token": "secret"}}}}
PIECES = st.lists(
    st.sampled_from(["{", "{{", "}", "}}", "-", " ", "\n", '"', "`", "\\", "/*", "*/", "inputs.n", "steps.login", "ü"])
    | st.text(max_size=3)
).map("".join)
DATA = st.recursive(PIECES | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(PIECES, inner))


@given(DATA)
@example("{{ steps.login.output.token }}")
@example("Hello {{name}}")
@example("{{")
@example('{{ "{{" }}')
@example("{{{{- 1 -}}}}")
@example('{"a": "{{ 1 }}"}')
def test_templates_of_it_give_just_the_data(data: Any) -> None:
    """The engine, which is compared with Go, and the SDK agree on that."""
    spelled = as_literals(data)

    assert resolve_value(spelled, VARIABLES) == data
    assert template.resolve(spelled, VARIABLES, "config") == data


@pytest.mark.parametrize("data", ["plain", "a { b } c }}", 3, None, ["x", {"y": 1.5}], {"a {{ key }}": "kept"}])
def test_what_holds_no_opening_braces_is_spelled_as_it_is(data: Any) -> None:
    assert as_literals(data) == data


def test_a_storage_reference_stands_as_it_is() -> None:
    reference = {"$bubuStorageRef": "outputs/{{ x }}", "$bubuStoragePath": '["{{"]'}

    assert as_literals({"v": reference}) == {"v": reference}
    assert as_literals({"$bubuStorageRef": 1, "x": "{{ 1 }}"})["x"] != "{{ 1 }}"
    assert as_literals(reference | {"x": "{{ 1 }}"})["x"] != "{{ 1 }}"
