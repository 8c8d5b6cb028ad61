"""What pruning drops and how it names it."""

from __future__ import annotations

from localcluster.server import schema
from localcluster_tests.server.schema_samples import WIDGET_SCHEMA, record_of, widget

WIDGETS = record_of(WIDGET_SCHEMA)


def test_unknown_fields_go_and_are_named_by_path() -> None:
    obj = widget(bogus=1, steps=[{"name": "a", "zz": 1}], labels={"free": "x"})
    obj["extra"] = True
    obj["metadata"]["bogus"] = 2
    assert schema.prune(obj, WIDGETS) == ["metadata.bogus", "extra", "spec.bogus", "spec.steps[0].zz"]
    assert obj == widget(steps=[{"name": "a"}], labels={"free": "x"})


def test_fields_stay_where_the_schema_preserves_them() -> None:
    kept = {"open": {"other": {"x": [1]}}, "any": {"deep": [{}]}}
    obj = widget(**kept)
    assert schema.prune(obj, WIDGETS) == []
    assert obj == widget(**kept)


def test_an_embedded_object_keeps_its_body_but_not_unknown_metadata() -> None:
    obj = widget(template={"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "bogus": 1}, "spec": {"a": 1}})
    assert schema.prune(obj, WIDGETS) == ["spec.template.metadata.bogus"]
    assert obj["spec"]["template"]["metadata"] == {"name": "x"}


def test_a_value_of_the_wrong_type_is_left_to_validation() -> None:
    obj = widget(steps="x", labels=[1])
    assert schema.prune(obj, WIDGETS) == []
    assert obj["spec"]["steps"] == "x"


def test_preserve_unknown_at_the_root_switches_pruning_off() -> None:
    rtype = record_of({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    obj = {"kind": "Widget", "anything": 1, "metadata": {"name": "a"}}
    assert rtype.preserve_unknown
    assert schema.prune(obj, rtype) == []
