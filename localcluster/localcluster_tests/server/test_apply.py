"""Server-side apply: merging, ownership, conflicts and pruning."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from localcluster.server import apply, builtin_schemas, fieldset, managedfields, typed
from localcluster.server.builtin import BUILTIN
from localcluster.server.errors import StatusError
from localcluster.server.options import WriteOptions
from localcluster.server.types import Object, ResourceType

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEPLOYMENTS = next(resource for resource in BUILTIN if resource.plural == "deployments")
SCHEMA: dict[str, Any] = {
    "properties": {
        "spec": {
            "properties": {
                "color": {},
                "keyed": {
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {"properties": {"name": {}, "count": {}, "note": {}}},
                },
                "names": {"x-kubernetes-list-type": "set", "items": {}},
                "whole": {"items": {}},
                "free": {"x-kubernetes-preserve-unknown-fields": True},
                "labels": {"additionalProperties": {}},
                "atom": {"x-kubernetes-map-type": "atomic", "additionalProperties": {}},
            }
        }
    }
}
WIDGETS = replace(DEPLOYMENTS, group="example.com", kind="Widget", plural="widgets", schema=SCHEMA, custom=True)


def widget(spec: Object | None = None, **metadata: Any) -> Object:
    obj: Object = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", **metadata}}
    return obj if spec is None else {**obj, "spec": spec}


def applied(
    live: Object | None, spec: Object | None, manager: str, *, force: bool = False, resource: ResourceType = WIDGETS
) -> Object:
    options = WriteOptions(field_manager=manager, force=force)
    return apply.apply(live, widget(spec), resource, "", options, NOW)


def updated(live: Object, spec: Object, manager: str) -> Object:
    obj = {**live, "spec": spec}
    return managedfields.after_update(obj, live, WIDGETS, "", WriteOptions(field_manager=manager), NOW)


def owned_by(obj: Object, manager: str) -> list[str]:
    entries = managedfields.read(obj["metadata"].get("managedFields", []))
    assert entries is not None
    return [path for entry in entries if entry.manager == manager for path in fieldset.paths(entry.fields)]


def test_a_first_apply_owns_what_it_says() -> None:
    obj = applied(None, {"color": "red", "keyed": [{"name": "x", "count": 1}], "names": ["a"], "whole": [1, 2]}, "m1")
    assert owned_by(obj, "m1") == [
        ".spec.color",
        '.spec.keyed[name="x"]',
        '.spec.keyed[name="x"].count',
        '.spec.keyed[name="x"].name',
        '.spec.names[="a"]',
        ".spec.whole",
    ]
    assert obj["metadata"]["managedFields"][0]["operation"] == "Apply"
    assert obj["metadata"]["managedFields"][0]["time"] == "2026-01-02T03:04:05Z"


def test_two_managers_share_keyed_lists_sets_and_maps() -> None:
    live = applied(None, {"keyed": [{"name": "x"}], "names": ["a"], "labels": {"k": "v"}}, "m1")
    merged = applied(live, {"keyed": [{"name": "y"}], "names": ["b"], "labels": {"l": "w"}}, "m2")
    assert merged["spec"] == {
        "keyed": [{"name": "x"}, {"name": "y"}],
        "names": ["a", "b"],
        "labels": {"k": "v", "l": "w"},
    }


def test_changing_anothers_field_is_a_conflict_that_names_it() -> None:
    live = applied(None, {"color": "red"}, "m1")
    with pytest.raises(StatusError) as caught:
        applied(live, {"color": "blue"}, "m2")
    assert caught.value.code == 409
    assert str(caught.value) == 'Apply failed with 1 conflict: conflict with "m1": .spec.color'
    assert caught.value.status["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "m1"', "field": ".spec.color"}
    ]


def test_several_conflicts_are_grouped_by_manager() -> None:
    live = applied(None, {"color": "red", "whole": [1]}, "m1")
    live = updated(live, {"color": "red", "whole": [1], "labels": {"k": "v"}}, "upd")
    with pytest.raises(StatusError) as caught:
        applied(live, {"color": "blue", "whole": [2], "labels": {"k": "w"}}, "m2")
    assert str(caught.value) == (
        'Apply failed with 3 conflicts: conflicts with "m1":\n- .spec.color\n- .spec.whole\n'
        'conflicts with "upd" using example.com/v1:\n- .spec.labels.k'
    )


def test_force_takes_the_field_away() -> None:
    live = applied(None, {"color": "red", "names": ["a"]}, "m1")
    merged = applied(live, {"color": "blue"}, "m2", force=True)
    assert merged["spec"]["color"] == "blue"
    assert owned_by(merged, "m2") == [".spec.color"]
    assert owned_by(merged, "m1") == ['.spec.names[="a"]']


def test_applying_the_same_value_shares_ownership() -> None:
    live = applied(None, {"color": "red"}, "m1")
    merged = applied(live, {"color": "red"}, "m2")
    assert owned_by(merged, "m1") == owned_by(merged, "m2") == [".spec.color"]


def test_what_is_no_longer_applied_is_removed() -> None:
    live = applied(None, {"color": "red", "keyed": [{"name": "x"}, {"name": "y"}], "labels": {"k": "v"}}, "m1")
    merged = applied(live, {"keyed": [{"name": "y"}]}, "m1")
    assert merged["spec"] == {"keyed": [{"name": "y"}]}


def test_what_others_own_too_stays() -> None:
    live = applied(None, {"color": "red", "keyed": [{"name": "x", "count": 1}]}, "m1")
    live = applied(live, {"color": "red", "keyed": [{"name": "x", "note": "n"}]}, "m2")
    merged = applied(live, None, "m1")
    assert merged["spec"] == {"color": "red", "keyed": [{"name": "x", "note": "n"}]}
    assert owned_by(merged, "m1") == []


def test_an_object_applied_empty_keeps_its_identity() -> None:
    live = applied(None, {"color": "red"}, "m1")
    live["metadata"] |= {"uid": "1", "labels": {"k": "v"}}
    merged = applied(live, None, "m1")
    assert merged["metadata"] == {"name": "w", "uid": "1", "labels": {"k": "v"}}
    assert merged["kind"] == "Widget"
    assert "spec" not in merged


def test_an_empty_keyed_list_claims_nothing() -> None:
    live = applied(None, {"keyed": [{"name": "x"}]}, "m1")
    assert applied(live, {"keyed": []}, "m2")["spec"] == {"keyed": [{"name": "x"}]}


def test_atomic_values_are_replaced_as_a_whole() -> None:
    live = applied(None, {"atom": {"a": "1", "b": "2"}, "whole": [1, 2]}, "m1")
    merged = applied(live, {"atom": {"c": "3"}, "whole": [3]}, "m1")
    assert merged["spec"] == {"atom": {"c": "3"}, "whole": [3]}


def test_free_objects_merge_field_by_field() -> None:
    live = applied(None, {"free": {"a": {"b": 1}, "l": [1]}}, "m1")
    merged = applied(live, {"free": {"a": {"c": 2}}}, "m2")
    assert merged["spec"]["free"] == {"a": {"b": 1, "c": 2}, "l": [1]}
    assert owned_by(merged, "m2") == [".spec.free.a", ".spec.free.a.c"]


def test_the_same_apply_again_changes_nothing() -> None:
    live = applied(None, {"color": "red", "keyed": [{"name": "x"}]}, "m1")
    again = apply.apply(
        live,
        widget({"color": "red", "keyed": [{"name": "x"}]}),
        WIDGETS,
        "",
        WriteOptions(field_manager="m1"),
        datetime(2027, 1, 1, tzinfo=UTC),
    )
    assert again == live


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"keyed": [{"name": "x"}, {"name": "x"}]}, 'duplicate entries for key [name="x"]'),
        ({"names": ["a", "a"]}, 'duplicate entries for key [="a"]'),
        ({"keyed": [{"count": 1}]}, 'omits all key fields ["name"]'),
    ],
    ids=["map", "set", "keyless"],
)
def test_a_configuration_that_does_not_fit_its_lists_is_refused(spec: Object, text: str) -> None:
    with pytest.raises(StatusError) as caught:
        applied(None, spec, "m1")
    assert caught.value.code == 500
    assert text in str(caught.value)


def test_managed_fields_cannot_be_applied() -> None:
    config = widget({"color": "red"}, managedFields=[{"manager": "x"}])
    with pytest.raises(StatusError, match=r"metadata\.managedFields must be nil"):
        apply.apply(None, config, WIDGETS, "", WriteOptions(field_manager="m"), NOW)


def test_fields_the_schema_does_not_declare_are_refused() -> None:
    with pytest.raises(StatusError, match=r"\.spec\.bogus: field not declared in schema"):
        apply.refuse_unknown(widget({}), ["spec.bogus"])


def test_a_port_without_protocol_is_the_tcp_port() -> None:
    schema = managedfields.schema_of(DEPLOYMENTS)
    assert builtin_schemas.structural_schema("apps", "v1", "Deployment") is not None
    live = {
        "spec": {
            "template": {"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}}
        }
    }
    config = {
        "spec": {
            "template": {"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80, "name": "http"}]}]}}
        }
    }
    merged = typed.merge(live, config, schema)
    assert merged["spec"]["template"]["spec"]["containers"][0]["ports"] == [
        {"containerPort": 80, "protocol": "TCP", "name": "http"}
    ]


def test_an_update_takes_what_it_changes_and_releases_what_it_removes() -> None:
    live = applied(None, {"color": "red", "names": ["a", "b"]}, "m1")
    changed = updated(live, {"color": "blue", "names": ["a"]}, "upd")
    assert owned_by(changed, "upd") == [".spec.color"]
    assert owned_by(changed, "m1") == ['.spec.names[="a"]']


def test_updates_of_one_manager_share_an_entry() -> None:
    live = updated(widget({"color": "red"}), {"color": "blue"}, "upd")
    live = updated(live, {"color": "blue", "names": ["a"]}, "upd")
    assert len(live["metadata"]["managedFields"]) == 1
    assert owned_by(live, "upd") == [".spec.color", ".spec.names", '.spec.names[="a"]']


def test_only_ten_update_managers_are_remembered_apart() -> None:
    live = widget({"labels": {}})
    for index in range(15):
        live = updated(live, {"labels": {**live["spec"]["labels"], f"k{index}": "v"}}, f"manager-{index:02}")
    managers = [entry["manager"] for entry in live["metadata"]["managedFields"]]
    assert len(managers) == managedfields.MAX_UPDATE_MANAGERS
    assert managedfields.ANCIENT in managers
    assert "manager-14" in managers


def test_a_client_may_reset_managed_fields() -> None:
    live = applied(None, {"color": "red"}, "m1")
    reset = {**live, "metadata": {**live["metadata"], "managedFields": [{}]}}
    assert "managedFields" not in managedfields.after_update(reset, live, WIDGETS, "", WriteOptions(), NOW)["metadata"]
