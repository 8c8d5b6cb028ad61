"""Schemas: what they accept, what they may cost, and that they never fetch anything from outside."""

from __future__ import annotations

import time
from typing import Any

import pytest
import trio

from core.evaluation import schema as schemas
from core.evaluation.pool import WorkerLimits, WorkerPool
from core.evaluation.schema import SchemaProblem
from core.evaluation.validation import MAX_LOOP_COST, SchemaValidator

_STRING = {"type": "object", "properties": {"a": {"type": "string", "required": True}}}
_DOUBLING: dict[str, Any] = {
    "$ref": "#/definitions/d0",
    "definitions": {
        **{f"d{index}": {"allOf": [{"$ref": f"#/definitions/d{index + 1}"}] * 2} for index in range(40)},
        "d40": {"type": "object"},
    },
}
_TREE = {
    "definitions": {
        "tree": {"properties": {"left": {"$ref": "#/definitions/tree"}, "value": {"type": "integer", "required": True}}}
    },
    "$ref": "#/definitions/tree",
}


async def _problems(schema: dict[str, Any], document: Any) -> list[str]:
    return [str(problem) for problem in await SchemaValidator().problems(schema, document)]


@pytest.mark.parametrize(
    "document",
    [
        {"a": "x"},
        {"a": {"$bubuStorageRef": "path"}},
        {"a": {"$bubuSecretRef": "name:key"}},
        {"a": {"$bubuConfigMapRef": "name:key"}},
        {"$bubuStorageRef": "path"},
        "{{ inputs.x }}",
    ],
)
async def test_what_is_filled_in_later_is_accepted_everywhere(document: Any) -> None:
    assert await _problems(_STRING, document) == []


async def test_a_template_stands_for_any_type() -> None:
    assert await _problems({"properties": {"n": {"type": "integer"}}}, {"n": " {{ inputs.n }} "}) == []
    assert await _problems({"properties": {"n": {"type": "integer"}}}, {"n": "x {{ inputs.n }}"}) != []


async def test_a_forbidden_key_comes_with_the_key_that_was_meant() -> None:
    closed = {"type": "object", "properties": {"count": {}, "city": {}}, "additionalProperties": False}
    schema = {"properties": {"a/b~c": {"items": {"$ref": "#/$defs/o~1x"}}}, "$defs": {"o/x": closed}}
    document = {"a/b~c": [{"cuont": 1, "ctiy": 2, "zz": 3}, {"zz": 1}]}

    assert await _problems(schema, document) == [
        (
            "a/b~c[0]: Additional properties are not allowed ('cuont', 'ctiy', 'zz' were unexpected); "
            "did you mean 'count', 'city'?"
        ),
        "a/b~c[1]: Additional properties are not allowed ('zz' was unexpected)",
    ]


async def test_problems_name_path_and_rule() -> None:
    found = await SchemaValidator().problems({"properties": {"a": {"items": {"type": "integer"}}}}, {"a": [1, "x"]})
    assert found == [SchemaProblem("a[1]", 'a string is not of type "integer"', "type")]


_EVERY_KEYWORD: dict[str, Any] = {
    "required": ["z"],
    "propertyNames": {"maxLength": 3},
    "additionalProperties": False,
    "properties": {
        "a": {"type": "integer"},
        "b": {"enum": ["x"]},
        "c": {"pattern": "^a"},
        "d": {"maximum": 3},
        "e": {"multipleOf": 4},
        "f": {"const": 1},
        "g": {"additionalProperties": False, "properties": {"k": {}}},
        "h": {"uniqueItems": True, "maxItems": 1, "contains": {"type": "null"}},
        "i": {"format": "date-time", "maxLength": 2},
        "j": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        "k": {"oneOf": [{"type": "string"}, {"minLength": 1}]},
        "l": {"not": {}},
        "m": {"minProperties": 5, "dependencies": {"x": ["y"]}},
        "n": False,
    },
}
_SECRETS: dict[str, Any] = {
    **dict.fromkeys("abcfikln", "hunter2"),
    "d": 424242,
    "e": 424242,
    "g": {"x": "hunter2"},
    "h": ["hunter2", "hunter2"],
    "j": {"x": "hunter2"},
    "m": {"x": "hunter2"},
    "long": "hunter2",
}


async def test_a_problem_tells_the_type_of_a_value_and_never_the_value() -> None:
    found = await _problems(_EVERY_KEYWORD, _SECRETS)

    assert len(found) > 17
    assert not [problem for problem in found if "hunter2" in problem or "424242" in problem]
    assert 'a: a string is not of type "integer"' in found
    assert "d: a number is greater than the maximum of 3" in found
    assert "h: a list has non-unique elements" in found


async def test_a_boolean_required_belongs_to_the_parent() -> None:
    assert await _problems(_STRING, {}) == ['"a" is a required property']


async def test_the_old_boolean_form_of_exclusive_bounds_is_known() -> None:
    schema = {"minimum": 5, "exclusiveMinimum": True}
    assert await _problems(schema, 6) == []
    assert len(await _problems(schema, 5)) == 1


async def test_references_inside_of_the_schema_work() -> None:
    schema = {"properties": {"a": {"type": "integer"}, "b": {"$ref": "#/properties/a"}}}
    assert await _problems(schema, {"b": "x"}) == ['b: a string is not of type "integer"']


@pytest.mark.parametrize(
    "reference", ["http://127.0.0.1:1/x", "file:///etc/passwd", "other.json#/a", "#/nowhere", "#name"]
)
async def test_references_that_lead_elsewhere_are_refused(reference: str) -> None:
    found = await _problems({"properties": {"a": {"$ref": reference}}}, {"a": 1})
    assert len(found) == 1
    assert found[0].startswith("the schema cannot be used: #/properties/a: ")


@pytest.mark.parametrize(
    "schema", [{"type": "nonsense"}, {"pattern": "("}, {"pattern": "(?=a)"}, {"properties": {"a": 5}}]
)
async def test_an_unusable_schema_is_a_problem_of_the_document(schema: dict[str, Any]) -> None:
    found = await SchemaValidator().problems(schema, {"a": 1})
    assert [problem.keyword for problem in found] == ["schema"]


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"properties": []}, "#/properties: must be an object, whose values are schemas"),
        ({"properties": None}, "#/properties: must be an object, whose values are schemas"),
        ({"patternProperties": "a"}, "#/patternProperties: must be an object, whose values are schemas"),
        ({"definitions": []}, "#/definitions: must be an object, whose values are schemas"),
        ({"anyOf": {}}, "#/anyOf: must be a list of at least one schema"),
        ({"allOf": []}, "#/allOf: must be a list of at least one schema"),
        ({"items": {"oneOf": "x"}}, "#/items/oneOf: must be a list of at least one schema"),
        ({"items": None}, "#/items: a schema must be an object or a boolean"),
        ({"title": 5}, "#/title: must be a string"),
        ({"required": "a"}, "#/required: must be a list of names; only a property may have true or false"),
        ({"required": True}, "#/required: must be a list of names; only a property may have true or false"),
        ({"items": {"required": True}}, "#/items/required: must be a list of names; only a property may have true or "),
        ({"required": ["a", 1]}, "#/required: must be a list of names; only a property may have true or false"),
        ({"required": ["a", "a"]}, "#/required: must not name a property twice"),
        ({"properties": {"a": {"required": "b"}}}, "#/properties/a/required: must be a list of names; only a property"),
    ],
)
async def test_a_malformed_part_of_a_schema_is_named(schema: dict[str, Any], why: str) -> None:
    [problem] = await SchemaValidator().problems(schema, {"a": 1})

    assert problem.keyword == "schema"
    assert problem.message.startswith(f"the schema cannot be used: {why}")


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"required": True}, "b": {"$ref": "#/properties/a"}}},
        {"properties": {"a": {"required": False, "$id": "#a"}, "b": {"$ref": "#a"}}},
        {"dependencies": {"a": ["b"], "c": {"required": ["d"]}}, "required": []},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": {"a": {}}, "prefixItems": [], "x": []},
        {"definitions": {"unused": {"type": "nonsense"}}, "examples": {}, "default": []},
    ],
)
async def test_what_older_and_newer_drafts_allow_stays_usable(schema: dict[str, Any]) -> None:
    assert [problem for problem in await SchemaValidator().problems(schema, {}) if problem.keyword == "schema"] == []


def test_the_cost_bound_sees_through_references() -> None:
    normal = schemas.normalise(_DOUBLING)
    assert schemas.cost_bound(normal, {}, give_up_at=MAX_LOOP_COST) == MAX_LOOP_COST
    assert schemas.cost_bound(schemas.normalise(_TREE), {}, give_up_at=MAX_LOOP_COST) == MAX_LOOP_COST
    assert schemas.cost_bound(schemas.normalise(_STRING), {"a": "x"}, give_up_at=MAX_LOOP_COST) < 100


async def test_a_schema_that_refers_to_itself_is_validated_in_a_process() -> None:
    found = await SchemaValidator().problems(_TREE, {"value": 1, "left": {"left": {"value": "x"}}})
    assert {(problem.path, problem.keyword) for problem in found} == {("left.left.value", "type"), ("left", "required")}


async def test_a_validation_without_end_is_killed_at_its_deadline() -> None:
    started = time.monotonic()
    found = await SchemaValidator(WorkerPool(lambda: WorkerLimits(seconds=1))).problems(_DOUBLING, {})
    assert [problem.keyword for problem in found] == ["limit"]
    assert time.monotonic() - started < 10


async def test_a_cancelled_validation_leaves_no_process_behind() -> None:
    started = time.monotonic()
    with trio.move_on_after(0.3) as scope:
        await SchemaValidator(WorkerPool(lambda: WorkerLimits(seconds=60))).problems(_DOUBLING, {})
    assert scope.cancelled_caught
    assert time.monotonic() - started < 10


async def test_a_schema_too_large_is_refused() -> None:
    schema = {"properties": {f"p{index}": {"type": "string"} for index in range(20_000)}}
    found = await _problems(schema, {})
    assert "more than 10000 nodes" in found[0]


def test_a_counted_pattern_costs_what_it_compiles_to() -> None:
    uuid = {"pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"}
    normal = schemas.normalise({"type": "array", "items": uuid})
    ids = ["0" * 36] * 45

    assert schemas.cost_bound(normal, ids, give_up_at=MAX_LOOP_COST) < MAX_LOOP_COST
    costly = schemas.normalise({"items": {"pattern": "((a{100}){100})"}})
    assert schemas.cost_bound(costly, ["a"], give_up_at=MAX_LOOP_COST) == MAX_LOOP_COST
    searching = schemas.normalise({"items": {"pattern": f"[ab]*a{'.' * 90}"}})
    assert schemas.cost_bound(searching, ["ab" * 5_000], give_up_at=MAX_LOOP_COST) == MAX_LOOP_COST


async def test_quick_problems_are_those_that_need_no_process() -> None:
    validator = SchemaValidator()
    found = await validator.quick_problems(_STRING, {"a": 1})
    assert found == await validator.problems(_STRING, {"a": 1})
    assert found != []
    assert await validator.quick_problems(_STRING, {"a": "x"}) == []
    for schema in (_DOUBLING, {"$ref": "http://elsewhere/schema"}, {"type": "nonsense"}):
        assert await validator.quick_problems(schema, "x") == []


async def test_large_schemas_are_kept_up_to_a_size() -> None:
    validator = SchemaValidator()
    for number in range(12):
        schema: dict[str, Any] = {"enum": [f"{number}-{other}" for other in range(20_000)]}
        [problem] = await validator.problems(schema, {"a": 1})
        assert problem.keyword == "enum"
    kept = [await validator.problems({"enum": [f"small {number}"]}, f"small {number}") for number in range(200)]
    assert kept == [[]] * 200
    assert 200 <= len(validator._prepared) <= 206
