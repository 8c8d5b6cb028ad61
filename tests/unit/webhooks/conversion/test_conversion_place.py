"""Findings about a stored Story name the fields of v1beta1 that the author wrote."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings

from core.api.objects import Object
from core.story.choices import choosing_steps, primitive_of
from core.story.story import read_story
from fuzz.admission.stories import BETA, stories
from webhooks.conversion.place import choices, in_v1beta1, in_v1beta1_words
from webhooks.conversion.story import V1ALPHA1, converted


def value_at(document: Any, place: str) -> Any:
    for key, index in re.findall(r"([a-z]+)|\[(\d+)\]", place):
        document = document[key] if key else document[int(index)]
    return document


@settings(max_examples=200, deadline=None)
@given(document=stories(BETA))
def test_each_stored_step_is_found_in_what_was_written(document: Object) -> None:
    for step in read_story(converted(document, V1ALPHA1)).every_step():
        place = in_v1beta1(step.place, document)
        written = value_at(document, place)
        if not isinstance(written, dict):
            continue
        assert written.get("name") == step.declared.get("name")
        primitive = primitive_of(written)
        assert in_v1beta1(f"{step.place}.with.x", document) == f"{place}.{primitive or 'with'}.x"
        assert in_v1beta1(f"{step.place}.needs[0]", document) == f"{place}.needs[0]"


@settings(max_examples=200, deadline=None)
@given(document=stories(BETA))
def test_each_step_of_v1beta1_is_what_is_at_its_place(document: Object) -> None:
    for step in choosing_steps(document):
        assert step.written is value_at(document, step.place)


STORY: Object = {
    "apiVersion": BETA,
    "kind": "Story",
    "spec": {
        "steps": [
            {"name": "a", "ref": {"name": "e"}, "with": {"steps": [{"x": 1}]}},
            *({"name": f"n{number}", "gate": {}} for number in range(10)),
            {"name": "p", "parallel": {"steps": [{"name": "q", "parallel": {"steps": [{"name": "r", "wait": {}}]}}]}},
        ]
    },
}


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("spec.steps[0].with.steps[0].x", "spec.steps[0].with.steps[0].x"),
        ("spec.steps[1].type", "spec.steps[1].gate"),
        ("spec.steps[10].with.timeout", "spec.steps[10].gate.timeout"),
        ("spec.steps[11].with.steps[0].with.steps[0].with.until", "spec.steps[11].parallel.steps[0].parallel.steps[0].wait.until"),  # noqa: E501
        ("spec.steps[11].with.steps[7].name", "spec.steps[11].parallel.steps[7].name"),
        ("spec.steps[99].with", "spec.steps[99].with"),
        ("spec.output", "spec.output"),
    ],
)  # fmt: skip
def test_a_path_of_the_stored_form_becomes_that_of_the_field(path: str, wanted: str) -> None:
    assert in_v1beta1(path, STORY) == wanted
    assert in_v1beta1_words(f"at {path}: x", STORY) == f"at {wanted}: x"


def test_a_branch_with_no_kind_or_with_two_is_named_at_its_place() -> None:
    branches = [{"name": "a"}, {"name": "b", "gate": {}, "wait": {}}, {"name": "c", "gate": {}, "with": {}}, None]
    story = {"spec": {"finally": [{"name": "p", "parallel": {"steps": branches}}]}}
    assert [(odd.path, odd.message.partition(" of ")[0]) for odd in choices(story)] == [
        ("spec.finally[0].parallel.steps[0]", "has none"),
        ("spec.finally[0].parallel.steps[1]", "has wait and gate"),
        ("spec.finally[0].parallel.steps[2].with", "is the input"),
    ]
