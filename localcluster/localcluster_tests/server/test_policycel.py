"""CEL of admission policies: lazy variables, pieces, parameters, the authorizer, and values that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from localcluster.server import policycel, policyconfig
from localcluster.server.policycel import Scope, World
from localcluster.server.rules_cel import CelEvaluationError, CelSyntaxError


def allows_get(described: Mapping[str, Any], verb: str) -> str | None:
    return "may get" if verb == "get" and described.get("account") is None else None


def scope(params: Any = None, variables: Mapping[str, str] | None = None, **values: Any) -> Scope:
    bound = {"object": {}, "oldObject": None, "request": {}, "namespaceObject": None, "authorizer": {}, **values}
    return Scope(World(bound, allows_get), prepared(variables or {}), params)


def prepared(variables: Mapping[str, str]) -> dict[str, policycel.Expression]:
    listed = [{"name": name, "expression": text} for name, text in variables.items()]
    return policyconfig.prepared_variables(listed)


def holds(source: str, params: Any = None, variables: Mapping[str, str] | None = None, **values: Any) -> bool:
    found = policycel.expression(source, prepared(variables or {}))
    return scope(params, variables, **values).holds(found)


LONG = " && ".join(["size(object.items) == 3"] * 8)
"""A variable that does not take the place of its name."""


@pytest.mark.parametrize("name", ["short", "long"])
def test_variables_have_their_values_wherever_they_are_read(name: str) -> None:
    variables = {"short": "size(object.items) == 3", "long": LONG}

    assert holds(f"variables.{name} && 'variables.nothing' != ''", None, variables, object={"items": [1, 2, 3]})
    assert not holds(f"variables.{name}", None, variables, object={"items": []})


def test_a_variable_that_is_not_reached_is_not_computed() -> None:
    variables = {"broken": f"object.nothing && {LONG}"}

    assert holds("true || variables.broken", None, variables)
    with pytest.raises(
        CelEvaluationError, match='composited variable "broken" fails to evaluate: no such key: nothing'
    ):
        holds("variables.broken", None, variables)


def test_an_error_in_a_short_variable_names_it_too() -> None:
    with pytest.raises(CelEvaluationError, match='composited variable "x" fails to evaluate: no such key: spec'):
        holds("variables.x.a == 1", None, {"x": "dyn(object.spec)"})


def test_a_variable_reads_those_before_it_only() -> None:
    assert holds("variables.b == 2", None, {"a": "1", "b": "variables.a + 1"})
    with pytest.raises(CelSyntaxError, match="undefined field 'b'"):
        prepared({"a": "variables.b", "b": "1"})


def test_parameters_belong_to_the_evaluation() -> None:
    assert holds("params.data.max == '1'", {"data": {"max": "1"}})
    assert holds("params == null && object.params == 1", None, object={"params": 1})


def test_deep_expressions_are_evaluated_in_pieces() -> None:
    text = "v11 == object.wanted && v0 == [[[[[[[[[[[1]]]]]]]]]]]"
    for level in reversed(range(1, 12)):
        text = f"(v{level - 1}.all(v{level}, ({text})))"
    value: Any = 1
    for _ in range(11):
        value = [value]

    assert holds(f"[object.list].all(v0, {text})", object={"list": value, "wanted": 1})
    assert not holds(f"[object.list].all(v0, {text})", object={"list": value, "wanted": 2})


def test_a_large_list_of_lists_is_evaluated_finely() -> None:
    rows = [[1] * 300 for _ in range(100)]

    assert holds("object.rows.all(r, r.all(i, i == 1))", object={"rows": rows})


def test_the_number_of_pieces_is_limited() -> None:
    rows = [[1] * 20 for _ in range(policycel.MAX_PIECES + 1)]

    with pytest.raises(CelEvaluationError, match="call cost exceeds limit"):
        holds("object.rows.all(r, r.all(i, i == 1))", object={"rows": rows})


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        ("authorizer.group('').resource('pods').namespace('a').name('b').check('get').allowed()", True),
        ("authorizer.group('').resource('pods').subresource('log').check('list').allowed()", False),
        ("authorizer.path('/x').check('get').reason() == 'may get'", True),
        ("authorizer.path('/x').check('list').reason() == ''", True),
        ("authorizer.serviceAccount('a', 'b').path('/x').check('get').allowed()", False),
        ("!authorizer.path('/x').check('get').errored() && authorizer.path('/x').check('get').error() == ''", True),
    ],
)
def test_the_authorizer_answers(source: str, allowed: bool) -> None:
    assert holds(source) is allowed


@pytest.mark.parametrize("value", ["optional.of(1)", "[optional.none()]", "{'a': optional.of(1)}", "type(1)"])
def test_a_value_that_cannot_be_passed_on_is_an_error(value: str) -> None:
    with pytest.raises(CelEvaluationError, match="cannot be used here"):
        holds(f"variables.x == {value}", None, {"x": f"[1].all(i, i == 1) ? dyn({value}) : dyn('{'x' * 100}')"})


@pytest.mark.parametrize(
    ("source", "wanted", "said"),
    [
        ("1 +", "bool", "compilation failed"),
        ("nothing", "bool", "undeclared reference to 'nothing'"),
        ("'a'", "bool", "must evaluate to bool but got string"),
        ("object.a", "bool", "must evaluate to bool but got dyn"),
        ("1", "string", "must evaluate to string but got int"),
        ("cel.bind(a, 1, a == 1)", "bool", "undeclared reference to 'cel'"),
    ],
)
def test_an_expression_of_the_wrong_kind_does_not_compile(source: str, wanted: Any, said: str) -> None:
    with pytest.raises(CelSyntaxError, match=said):
        policycel.check_type(policycel.expression(source, {}), wanted)


def test_a_message_is_a_string_or_nothing() -> None:
    found = scope(object={"a": "x"})

    assert found.text(policycel.expression("object.a + '!'", {})) == "x!"
    assert found.text(policycel.expression("size(object.a)", {})) is None
    assert found.text(policycel.expression("object.b", {})) is None
