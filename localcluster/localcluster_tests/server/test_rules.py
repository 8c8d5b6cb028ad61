"""CEL rules of a schema: when they are evaluated, where they fail, and which message they give."""

from __future__ import annotations

from typing import Any

from localcluster.server import schema
from localcluster.server.types import Object
from localcluster_tests.server.schema_samples import record_of, spec_record


def faults(properties: Object, new: Object, old: Object | None = None, **spec: Any) -> list[str]:
    rtype = spec_record(properties, **spec)
    before = None if old is None else {"spec": old}
    return [str(found) for found in schema.validate({"spec": new}, before, rtype)]


def rule(source: str, **more: Any) -> Object:
    return {"x-kubernetes-validations": [{"rule": source, **more}]}


def test_a_failed_rule_says_its_message_or_itself() -> None:
    assert faults({"a": {"type": "string", **rule("self != ''", message=" give a ")}}, {"a": ""}) == [
        'spec.a: Invalid value: "": give a'
    ]
    assert faults({"a": {"type": "string", **rule("self.startsWith('a')")}}, {"a": "b"}) == [
        "spec.a: Invalid value: \"b\": failed rule: self.startsWith('a')"
    ]


def test_a_rule_on_an_object_or_a_list_does_not_quote_it() -> None:
    assert faults({}, {}, **rule("false", message="never")) == ["spec: Invalid value: never"]
    listed = {"type": "array", "items": {"type": "integer"}, **rule("size(self) < 2", message="one at most")}
    assert faults({"l": listed}, {"l": [1, 2]}) == ["spec.l: Invalid value: one at most"]


def test_a_message_expression_wins_and_falls_back_to_the_message() -> None:
    both = {"min": {"type": "integer"}, "max": {"type": "integer"}}
    told = rule("self.min <= self.max", messageExpression="'min %d > max %d'.format([self.min, self.max])")
    assert faults(both, {"min": 3, "max": 1}, **told) == ["spec: Invalid value: min 3 > max 1"]
    broken = rule("self.min <= self.max", messageExpression="string(self.min / 0)", message="order")
    assert faults(both, {"min": 3, "max": 1}, **broken) == ["spec: Invalid value: order"]


def test_field_path_and_reason_shape_the_cause() -> None:
    both = {"min": {"type": "integer"}, "max": {"type": "integer"}}
    more = {"message": "too small", "fieldPath": ".max"}
    forbidden = rule("self.min <= self.max", reason="FieldValueForbidden", **more)
    assert faults(both, {"min": 3, "max": 1}, **forbidden) == ["spec.max: Forbidden: too small"]
    needed = rule("has(self.max)", reason="FieldValueRequired", **more)
    assert faults(both, {"min": 3}, **needed) == ["spec.max: Required value: too small"]


def test_rules_are_asked_of_every_entry_of_a_list_and_a_map() -> None:
    item = {"type": "string", **rule("self.startsWith('a')", message="a first")}
    lists = {"l": {"type": "array", "items": item}, "m": {"type": "object", "additionalProperties": item}}
    assert faults(lists, {"l": ["ab", "b"], "m": {"k": "x"}}) == [
        'spec.l[1]: Invalid value: "b": a first',
        'spec.m.k: Invalid value: "x": a first',
    ]


def test_a_rule_that_cannot_be_answered_says_why() -> None:
    open_map = {"type": "object", "additionalProperties": {"type": "string"}, **rule("self.foo == 'x'")}
    assert faults({"m": open_map}, {"m": {"a": "b"}}) == [
        "spec.m: Invalid value: \"object\": no such key: foo evaluating rule: self.foo == 'x'"
    ]


def test_a_transition_rule_is_asked_only_when_there_was_a_value() -> None:
    fixed = {"a": {"type": "string", **rule("self == oldSelf", message="immutable")}}
    assert faults(fixed, {"a": "x"}) == []
    assert faults(fixed, {"a": "x"}, {}) == []
    assert faults(fixed, {"a": "x"}, {"a": "x"}) == []
    assert faults(fixed, {"a": "y"}, {"a": "x"}) == ['spec.a: Invalid value: "y": immutable']


def test_a_transition_rule_follows_list_map_entries_by_key() -> None:
    steps = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "kind": {"type": "string", **rule("self == oldSelf")}},
        },
    }
    old = {"steps": [{"name": "a", "kind": "x"}, {"name": "b", "kind": "y"}]}
    assert faults({"steps": steps}, {"steps": [{"name": "b", "kind": "y"}, {"name": "a", "kind": "x"}]}, old) == []
    swapped = {"steps": [{"name": "a", "kind": "y"}, {"name": "c", "kind": "z"}]}
    assert faults({"steps": steps}, swapped, old) == [
        'spec.steps[0].kind: Invalid value: "y": failed rule: self == oldSelf'
    ]


def test_an_optional_old_self_is_asked_on_creation_too() -> None:
    source = "!oldSelf.hasValue() || self == oldSelf.value()"
    frozen = {"a": {"type": "string", **rule(source, optionalOldSelf=True, message="frozen once set")}}
    assert faults(frozen, {"a": "x"}) == []
    assert faults(frozen, {"a": "x"}, {}) == []
    assert faults(frozen, {"a": "y"}, {"a": "x"}) == ['spec.a: Invalid value: "y": frozen once set']


def test_a_rule_an_unchanged_value_already_broke_is_tolerated() -> None:
    named = {"a": {"type": "string", **rule("self != 'bad'")}, "b": {"type": "string"}}
    assert faults(named, {"a": "bad", "b": "new"}, {"a": "bad"}) == []
    assert len(faults(named, {"a": "bad"}, {"a": "good"})) == 1


def test_whole_numbers_in_number_fields_are_doubles() -> None:
    ratio = {"ratio": {"type": "number"}}
    assert faults(ratio, {"ratio": 2}, **rule("self.ratio * 2.0 == 4.0")) == []


def test_property_names_outside_the_identifier_syntax_are_escaped() -> None:
    odd = {"a-b": {"type": "string"}, "namespace": {"type": "string"}, "x.y/z": {"type": "integer"}}
    source = "self.a__dash__b == self.__namespace__ && self.x__dot__y__slash__z == 1"
    assert faults(odd, {"a-b": "q", "namespace": "q", "x.y/z": 1}, **rule(source)) == []


def test_byte_strings_are_bytes() -> None:
    raw = {"raw": {"type": "string", "format": "byte", **rule("self == b'hi'")}}
    assert faults(raw, {"raw": "aGk="}) == []


def test_the_rules_of_a_story_hold() -> None:
    steps = {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string"},
                "type": {"type": "string"},
                "ref": {"type": "object", "properties": {"name": {"type": "string"}}},
            },
        },
    }
    rules = [
        {"rule": "self.steps.all(step, has(step.ref) != has(step.type))", "message": "ref or type"},
        {"rule": "self.steps.all(step, self.steps.exists_one(other, other.name == step.name))", "message": "unique"},
    ]
    schema_of_story = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"steps": steps}, "x-kubernetes-validations": rules}},
    }
    rtype = record_of(schema_of_story)

    def told(*listed: Object) -> list[str]:
        return [found.message for found in schema.validate({"spec": {"steps": list(listed)}}, None, rtype)]

    assert told(*({"name": f"s{index}", "type": "sleep"} for index in range(100))) == []
    assert told({"name": "a", "type": "sleep"}, {"name": "a", "ref": {"name": "e"}}) == ["Invalid value: unique"]
    assert told({"name": "a"}) == ["Invalid value: ref or type"]
