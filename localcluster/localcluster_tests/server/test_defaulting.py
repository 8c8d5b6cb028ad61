"""Defaults, and nulls that count as absent."""

from __future__ import annotations

from localcluster.server import schema
from localcluster_tests.server.schema_samples import WIDGET_SCHEMA, record_of, spec_record, widget

WIDGETS = record_of(WIDGET_SCHEMA)


def test_absent_fields_take_their_defaults_at_any_depth() -> None:
    obj = widget(steps=[{"name": "a"}, {"name": "b", "sub": {"x": 1}}])
    schema.apply_defaults(obj, WIDGETS)
    assert obj["spec"]["replicas"] == 2
    assert obj["spec"]["steps"] == [
        {"name": "a", "kind": "plain", "sub": {"x": 7}},
        {"name": "b", "kind": "plain", "sub": {"x": 1}},
    ]


def test_a_default_is_not_invented_inside_an_absent_parent() -> None:
    rtype = spec_record({"outer": {"type": "object", "properties": {"x": {"type": "integer", "default": 7}}}})
    obj: dict[str, object] = {"spec": {}}
    schema.apply_defaults(obj, rtype)
    assert obj == {"spec": {}}


def test_a_null_that_is_not_allowed_takes_the_default_or_goes() -> None:
    obj = widget(replicas=None, tags=None, labels={"a": None}, note=None)
    schema.apply_defaults(obj, WIDGETS)
    assert obj["spec"] == {"color": "red", "replicas": 2, "labels": {}, "note": None}


def test_defaults_are_never_shared_between_objects() -> None:
    first, second = widget(steps=[{"name": "a"}]), widget(steps=[{"name": "a"}])
    schema.apply_defaults(first, WIDGETS)
    first["spec"]["steps"][0]["sub"]["x"] = 99
    schema.apply_defaults(second, WIDGETS)
    assert second["spec"]["steps"][0]["sub"] == {"x": 7}
