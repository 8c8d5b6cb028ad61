"""The entry to all validators: what is checked when, and that no input breaks it."""

from __future__ import annotations

from typing import Any

import pytest

from webhooks.cluster_view import InMemoryView, Unseen
from webhooks.validate import admission, change
from webhooks.validate.admission import MAX_DEPTH

WORLD = InMemoryView()


def story(metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "bubustack.io/v1alpha1",
        "kind": "Story",
        "metadata": {"name": "s", "namespace": "team", **(metadata or {})},
        "spec": {"steps": [{"name": "a", "type": "stop", "needs": ["gone"]}], **spec},
    }


def rules(new: Any, old: Any = None) -> list[str]:
    return [finding.rule.id for finding in admission.validate(new, old, WORLD)]


def test_a_new_story_is_checked() -> None:
    assert rules(story()) == ["story/need-unknown"]


def test_an_update_that_leaves_the_spec_alone_is_not_held_up() -> None:
    assert rules(story({"labels": {"x": "y"}}), story()) == []


def test_a_changed_spec_is_checked() -> None:
    assert rules(story(version="v2"), story()) == ["story/need-unknown"]


def test_what_is_being_deleted_can_lose_its_finalizer_whatever_its_spec() -> None:
    assert rules(story({"deletionTimestamp": "2026-01-01T00:00:00Z"}, version="v2"), story()) == []


def test_a_stored_status_is_nobody_s_fault() -> None:
    assert rules({**story(steps=[{"name": "a", "type": "stop"}]), "status": {"phase": 3}}) == []


def test_the_order_of_keys_is_no_change() -> None:
    assert not change.is_spec_changed(
        {"spec": {"a": 1, "b": [{"x": 1, "y": 2}]}}, {"spec": {"b": [{"y": 2, "x": 1}], "a": 1.0}}
    )


@pytest.mark.parametrize(
    ("one", "other"), [(True, 1), ({"a": None}, {}), ([1], [1, 2]), ({"a": 1}, {"a": 2}), ("1", 1), ({}, [])]
)
def test_other_values_are_a_change(one: Any, other: Any) -> None:
    assert change.differs({"x": one}, {"x": other})


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({}, id="empty"),
        pytest.param({"kind": 3, "spec": []}, id="no kind"),
        pytest.param({"apiVersion": "bubustack.io/v1alpha1", "kind": "Story", "spec": {"steps": {"a": 1}}}, id="map"),
        pytest.param({"apiVersion": "bubustack.io/v1alpha1", "kind": "Storey", "spec": {}}, id="unknown kind"),
    ],
)
def test_what_has_no_shape_is_told_so(document: dict[str, Any]) -> None:
    assert set(rules(document)) == {"any/shape"}


def test_no_nesting_exhausts_the_stack() -> None:
    value: Any = "{{ inputs.x }}"
    for _ in range(100_000):
        value = [value]

    (finding,) = admission.validate(story(output={"x": value}), None, WORLD)
    assert (finding.path, finding.message) == ("spec.output", f"is nested deeper than {MAX_DEPTH} levels")
    while isinstance(value, list):  # taken apart in a loop, because the interpreter would do it recursively
        value = value.pop()


def test_several_mistakes_are_told_at_once_with_every_circle() -> None:
    steps = [
        {"name": "a", "type": "stop", "needs": ["b"]},
        {"name": "b", "type": "stop", "needs": ["a"]},
        {"name": "c", "type": "stop", "needs": ["d"]},
        {"name": "d", "type": "stop", "needs": ["c"], "if": "{{"},
        {"name": "e", "type": "gate", "with": {"timeout": "soon"}, "needs": ["e"]},
    ]

    assert [finding.rule.id for finding in admission.validate(story(steps=steps), None, WORLD)] == [
        "story/expression",
        "story/wait-settings",
        "story/need-self",
        "story/cycle",
        "story/cycle",
    ]


def test_the_order_of_keys_decides_on_nothing() -> None:
    steps = [{"name": "a", "type": "stop", "secrets": {"b": "", "a": ""}, "with": {"z": "{{", "y": "{{"}}]
    one = story(steps=steps, output={"z": "{{ steps.ab }}", "y": "{{ nope }}"})
    other = story(
        output={"y": "{{ nope }}", "z": "{{ steps.ab }}"},
        steps=[{"with": {"y": "{{", "z": "{{"}, "secrets": {"a": "", "b": ""}, "type": "stop", "name": "a"}],
    )

    found = admission.validate(one, None, WORLD)
    assert admission.validate(other, None, WORLD) == found
    assert [finding.path for finding in found[-2:]] == ["spec.output.y", "spec.output.z"]


@pytest.mark.parametrize("names", [("zz", "yy"), ("yy", "zz")])
def test_what_has_no_shape_is_told_in_the_order_of_paths(names: tuple[str, ...]) -> None:
    unknown: dict[str, Any] = dict.fromkeys(names, 1)
    found = admission.validate(story(**unknown), None, WORLD)

    assert [finding.path for finding in found] == ["spec.yy", "spec.zz"]


def test_an_incomplete_world_does_not_know_what_it_has_not_seen() -> None:
    from core.api.resource import ENGRAM

    assert InMemoryView(complete=False).find(ENGRAM, "team", "x") is Unseen.UNKNOWN
    assert InMemoryView().find(ENGRAM, "team", "x") is Unseen.MISSING
    assert InMemoryView().policy is Unseen.UNKNOWN
