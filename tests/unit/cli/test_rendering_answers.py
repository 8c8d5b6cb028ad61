"""The three answers as documents, equal for tables and for programs."""

from __future__ import annotations

from typing import Any

import pytest

from cli.rendering import document_of, type_of
from core.evaluation.evaluator import Evaluator, Failure, NotYet


async def _document(value: Any, variables: dict[str, Any]) -> dict[str, Any]:
    return document_of(await Evaluator().resolve(value, variables, field="with"), "with")


async def test_a_value_is_told_as_it_is() -> None:
    assert await _document(["{{ inputs.l }}"], {"inputs": {"l": [1, None]}}) == {"value": [[1, None]]}


async def test_blocked_names_the_steps() -> None:
    assert await _document("{{ steps.late.output.x }}", {"inputs": {}, "steps": {}}) == {
        "blocked": {"steps": ["late"], "message": "steps.late is missing", "position": {"line": 1, "column": 1}}
    }


@pytest.mark.parametrize(
    ("value", "kind", "message", "position"),
    [
        ("a\n{{ upper inputs.n }}", "arg-type", "upper needs string, not float64; convert", (2, 10)),
        ({"a": ["{{ if"]}, "parse", "a[0]: ", (1, 1)),
        ("{{ env `X` }}", "denied-function", "the function env is not available", (1, 4)),
        ("{{ inputs.zz }}", "missing", "inputs.zz is missing", (1, 1)),
        ("{{ range 1000000000 }}{{ end }}", "limit", "the maximum of range over a number is 10000", (1, 1)),
    ],
)
async def test_an_error_tells_kind_message_and_place(
    value: Any, kind: str, message: str, position: tuple[int, int]
) -> None:
    error = (await _document(value, {"inputs": {"n": 3}}))["error"]

    assert error["kind"] == kind
    assert error["message"].startswith(message)
    assert error["position"] == dict(zip(("line", "column"), position, strict=True))


async def test_offloaded_data_is_a_kind_of_its_own() -> None:
    variables = {"steps": {"a": {"output": {"$bubuStorageRef": "k"}}}}

    assert (await _document("{{ steps.a.output.x | upper }}", variables))["error"]["kind"] == "offloaded"


def test_an_answer_without_a_cause_is_told_by_its_words() -> None:
    assert document_of(Failure("ExpressionFailed", "no"), "x") == {
        "error": {"kind": "ExpressionFailed", "message": "no", "position": None}
    }
    assert document_of(NotYet(frozenset({"b", "a"}), "later"), "x") == {
        "blocked": {"steps": ["a", "b"], "message": "later", "position": None}
    }


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (None, "null"),
        (True, "bool"),
        (1, "number"),
        (1.5, "number"),
        ("1", "string"),
        ([], "array"),
        ({}, "object"),
        ({"$bubuStorageRef": "k"}, "offloaded(k)"),
        ({"$bubuStorageRef": "k", "$bubuStoragePath": "a[0]"}, "offloaded(k.a[0])"),
        ({"$bubuStorageRef": "k", "$bubuStoragePath": "[0]"}, "offloaded(k[0])"),
    ],
)
def test_types_have_the_names_of_the_contract(value: Any, word: str) -> None:
    assert type_of(value) == word
