"""Examples of Stories converted between v1alpha1 and v1beta1."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.api.keys import ANNOTATION_STORY_CONVERSION
from core.api.loops import MAX_BRANCHES
from core.api.objects import Object
from webhooks.conversion.story import MAX_DEPTH, V1ALPHA1, V1BETA1, ConversionError, converted

PAIRS = [
    (
        {"run": "echo {{", "image": "busybox", "shell": ["sh", "-c"], "with": {"a": 1}},
        {"run": "echo {{", "image": "busybox", "shell": ["sh", "-c"], "with": {"a": 1}},
    ),
    ({"type": "sleep", "with": {"duration": "5m"}}, {"sleep": {"duration": "5m"}}),
    ({"type": "gate"}, {"gate": {}}),
    ({"type": "condition", "if": "x"}, {"condition": {}, "if": "x"}),
    ({"type": "stop", "with": {"phase": "Failed", "message": "m"}}, {"stop": {"phase": "Failed", "message": "m"}}),
    (
        {"type": "wait", "with": {"until": "a", "timeout": "1h", "pollInterval": "1s", "onTimeout": "skip"}},
        {"wait": {"until": "a", "timeout": "1h", "pollInterval": "1s", "onTimeout": "skip"}},
    ),
    (
        {
            "type": "executeStory",
            "with": {
                "storyRef": {"name": "s", "namespace": "n", "version": "1"},
                "with": {"a": 1},
                "waitForCompletion": False,
            },
        },
        {
            "executeStory": {
                "storyRef": {"name": "s", "namespace": "n", "version": "1"},
                "with": {"a": 1},
                "waitForCompletion": False,
            }
        },
    ),
    ({"ref": {"name": "e"}, "needs": []}, {"ref": {"name": "e"}, "needs": []}),  # a source of a realtime Story
    ({"ref": {"name": "e"}, "with": {"type": "sleep"}}, {"ref": {"name": "e"}, "with": {"type": "sleep"}}),
    (
        {
            "type": "parallel",
            "with": {"steps": [{"name": "b", "type": "parallel", "with": {"steps": [{"name": "c", "type": "gate"}]}}]},
        },
        {"parallel": {"steps": [{"name": "b", "parallel": {"steps": [{"name": "c", "gate": {}}]}}]}},
    ),
]


def story(api_version: str, *steps: Any, **metadata: Any) -> Object:
    return {
        "apiVersion": api_version,
        "kind": "Story",
        "metadata": {"name": "s", **metadata},
        "spec": {"steps": list(steps)},
    }


def note_on(document: Object) -> str | None:
    text: str | None = (document["metadata"].get("annotations") or {}).get(ANNOTATION_STORY_CONVERSION)
    return text


@pytest.mark.parametrize(("alpha", "beta"), PAIRS, ids=lambda step: next(iter(step)))
def test_what_both_versions_can_say_needs_no_note(alpha: Object, beta: Object) -> None:
    first, second = story(V1ALPHA1, {"name": "a", **alpha}), story(V1BETA1, {"name": "a", **beta})
    assert converted(first, V1BETA1) == second
    assert converted(second, V1ALPHA1) == first


@pytest.mark.parametrize(
    ("step", "shown"),
    [
        ({"type": "sleep", "with": {"duration": "5m", "note": "x"}}, {"sleep": {"duration": "5m"}}),
        ({"type": "sleep", "with": {"duration": 5}}, {"sleep": {}}),
        ({"type": "sleep", "with": None}, {"sleep": {}}),
        ({"type": "gate", "with": {}}, {"gate": {}}),
        ({"type": "wait", "with": {"until": "a", "onTimeout": "Skip "}}, {"wait": {"until": "a"}}),
        ({"type": "wait", "with": "a"}, {"wait": {}}),
        (
            {"type": "executeStory", "with": {"storyRef": {"name": "s", "uid": "u"}}},
            {"executeStory": {"storyRef": {"name": "s"}}},
        ),
        ({"type": "executeStory", "with": {"storyRef": "s"}}, {"executeStory": {}}),
        ({"type": "parallel", "with": {"steps": []}}, {"parallel": {}}),
        ({"type": "parallel", "with": {"steps": [{"name": "b"}] * (MAX_BRANCHES + 1)}}, {"parallel": {}}),
        (
            {"type": "parallel", "with": {"steps": [{"name": "b", "type": "gate", "note": 1}]}},
            {"parallel": {"steps": [{"name": "b", "gate": {}}]}},
        ),
        (
            {"type": "parallel", "with": {"steps": [{"name": "b", "ref": {"name": "e", "note": 1}, "note": None}]}},
            {"parallel": {"steps": [{"name": "b", "ref": {"name": "e"}}]}},
        ),
        ({"type": "loop", "with": {"a": 1}}, {"with": {"a": 1}}),
        ({"ref": {"name": "e"}, "type": None}, {"ref": {"name": "e"}}),
    ],
)
def test_what_v1beta1_cannot_say_is_kept_while_it_is_away(step: Object, shown: Object) -> None:
    document = story(V1ALPHA1, {"name": "a", **step})
    there = converted(document, V1BETA1)
    assert there["spec"]["steps"] == [{"name": "a", **shown}]
    assert note_on(there)
    assert converted(there, V1ALPHA1) == document


def test_a_note_disappears_with_the_annotations_that_were_made_for_it() -> None:
    written: list[dict[str, Any]] = [{}, {"annotations": {}}, {"annotations": None}, {"annotations": {"a": "b"}}]
    for metadata in written:
        document = story(V1ALPHA1, {"name": "a", "type": "gate", "with": {}}, **metadata)
        there = converted(document, V1BETA1)
        assert there["metadata"]["annotations"].keys() - {"a"} == {ANNOTATION_STORY_CONVERSION}
        assert converted(there, V1ALPHA1) == document


def test_edits_win_over_what_is_kept() -> None:
    document = story(V1ALPHA1, {"name": "a", "type": "sleep", "with": {"duration": 5, "note": "x"}})
    there = converted(document, V1BETA1)
    there["spec"]["steps"][0]["sleep"]["duration"] = "6m"
    assert converted(there, V1ALPHA1)["spec"]["steps"][0]["with"] == {"duration": "6m", "note": "x"}


@pytest.mark.parametrize(
    ("edited", "expected"),
    [
        pytest.param(
            [{"name": "new", "gate": {}}, {"name": "a", "sleep": {"duration": "5m"}}],
            [
                {"name": "new", "type": "gate"},
                {"name": "a", "type": "sleep", "with": {"duration": "5m", "note": "x"}},
            ],
            id="moved",
        ),
        pytest.param(
            [{"name": "a", "wait": {"until": "b"}}],
            [{"name": "a", "type": "wait", "with": {"until": "b"}}],
            id="another primitive",
        ),
        pytest.param(
            [{"name": "a", "ref": {"name": "e"}, "with": {"c": 1}}],
            [{"name": "a", "ref": {"name": "e"}, "with": {"c": 1}}],
            id="an Engram now",
        ),
        pytest.param([{"name": "b", "sleep": {}}], [{"name": "b", "type": "sleep"}], id="another step"),
    ],
)
def test_a_note_follows_its_step_and_no_other(edited: list[Object], expected: list[Object]) -> None:
    there = converted(story(V1ALPHA1, {"name": "a", "type": "sleep", "with": {"duration": "5m", "note": "x"}}), V1BETA1)
    back = converted({**there, "spec": {"steps": edited}}, V1ALPHA1)
    assert back["spec"]["steps"] == expected
    assert note_on(back) is None


def test_what_is_neither_step_nor_annotation_is_handed_on_as_it_is() -> None:
    document = {
        **story(V1ALPHA1, "no step", 7, {"name": "a", "ref": {"name": "e"}}, labels={"a": "b"}, resourceVersion="1"),
        "status": {"conditions": []},
        "extra": {"type": "sleep"},
    }
    there = converted(document, V1BETA1)
    assert there == {**document, "apiVersion": V1BETA1}
    assert there["status"] is document["status"]


@pytest.mark.parametrize("text", ["no JSON", "[" * 5000, "7", '{"of": 1}', '{"of":"v1alpha1","steps":7}', None, 3])
def test_a_note_that_somebody_wrote_by_hand_is_left_alone(text: Any) -> None:
    for step in ({"name": "a", "type": "gate"}, {"name": "a", "type": "gate", "with": {}}):
        document = story(V1ALPHA1, step, annotations={ANNOTATION_STORY_CONVERSION: text})
        assert converted(converted(document, V1BETA1), V1ALPHA1) == document


def test_nothing_is_kept_that_says_where_it_belongs_but_is_no_use_there() -> None:
    note = json.dumps(
        {"of": "v1alpha1", "steps": [{"at": 0, "name": "a", "primitive": "sleep", "hidden": {"duration": "9m"}}]}
    )
    there = story(V1BETA1, {"name": "a", "sleep": {}}, annotations={ANNOTATION_STORY_CONVERSION: note})
    assert converted(there, V1ALPHA1)["spec"]["steps"] == [{"name": "a", "type": "sleep"}]


def test_an_unknown_field_of_a_branch_never_says_what_the_branch_does() -> None:
    unknown = {"type": "stop", "with": {"phase": "Failed"}, "gate": {}, "needs": ["x"], "note": 1}
    branch = {"at": 0, "name": "b", "unknown": unknown}
    note = json.dumps({"of": "v1alpha1", "steps": [{"at": 0, "name": "a", "branches": [branch]}]})
    there = story(
        V1BETA1,
        {"name": "a", "parallel": {"steps": [{"name": "b", "ref": {"name": "e"}}]}},
        annotations={ANNOTATION_STORY_CONVERSION: note},
    )
    assert converted(there, V1ALPHA1)["spec"]["steps"] == [
        {"name": "a", "type": "parallel", "with": {"steps": [{"name": "b", "ref": {"name": "e"}, "note": 1}]}}
    ]


@pytest.mark.parametrize(
    "branch",
    [
        None,
        {},
        {"name": None},
        {"name": "b", "ref": None, "run": "x"},
        {"name": "b", "ref": {"name": None}},
        {"name": "b", "needs": None, "if": None, "sleep": {"duration": None}},
        {"name": "b", "parallel": {"steps": None}},
        {"name": "b", "parallel": {"steps": [None, {"name": None}]}},
        {"name": "b", "unknown": None, "gate": {}},
    ],
)
def test_a_branch_of_v1beta1_that_no_server_has_pruned_comes_back(branch: object) -> None:
    document = story(V1BETA1, {"name": "a", "parallel": {"steps": [branch, {"name": "c", "gate": {}}]}})
    assert converted(converted(document, V1ALPHA1), V1BETA1) == document


def test_a_null_that_was_written_in_v1alpha1_is_kept_although_v1beta1_had_another() -> None:
    document = story(V1BETA1, {"name": "a", "parallel": {"steps": [{"name": "b", "ref": {"name": None}, "gate": {}}]}})
    there = converted(document, V1ALPHA1)
    there["spec"]["steps"][0]["with"]["steps"][0] |= {"ref": {"name": None, "unknown": 1}, "run": None}
    back = converted(there, V1BETA1)
    assert back["spec"]["steps"][0]["parallel"]["steps"] == [{"name": "b", "ref": {}, "gate": {}}]
    assert converted(back, V1ALPHA1)["spec"] == there["spec"]


def test_steps_that_are_nested_beyond_measure_are_handed_on_whatever_they_say() -> None:
    value: Any = {}
    for _ in range(MAX_DEPTH):
        value = [value]
    document = story(V1ALPHA1, {"name": "a", "type": "gate", "with": {"x": value}})
    there = converted(document, V1BETA1)
    assert there == {**document, "apiVersion": V1BETA1}
    assert converted(there, V1ALPHA1) == document


def test_a_story_in_the_wanted_version_is_the_very_same() -> None:
    document = story(V1BETA1, {"name": "a", "type": "x"})
    assert converted(document, V1BETA1) is document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "must be an object"),
        ({"kind": "Engram", "apiVersion": V1ALPHA1}, "its kind is 'Engram'; only Story can be converted"),
        ({"kind": ["Story"], "apiVersion": V1ALPHA1}, "its kind is (not a string); only Story can be converted"),
        ({"kind": "Story", "apiVersion": "bubustack.io/v2"}, "Story has no version 'bubustack.io/v2'; it has "),
        ({"kind": "Story", "apiVersion": 7}, "Story has no version (not a string); it has "),
    ],
)
def test_what_is_not_ours_is_refused_with_the_reason(document: Any, message: str) -> None:
    with pytest.raises(ConversionError) as refused:
        converted(document, V1BETA1)
    assert str(refused.value).startswith(message)
