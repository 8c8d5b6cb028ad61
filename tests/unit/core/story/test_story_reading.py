"""Any document can be read, and each step is found at its place and by its path."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.api.objects import Object
from core.story.story import MAX_DEPTH, read_story
from fuzz.admission.stories import ALPHA, json_values, stories

ENGRAM = {"name": "worker"}


def parallel(name: str, *branches: Any, **settings: Any) -> Object:
    return {"name": name, "type": "parallel", "with": {"steps": list(branches), **settings}}


def value_at(document: Any, place: str) -> Any:
    for key, index in re.findall(r"([a-z]+)|\[(\d+)\]", place):
        document = document[key] if key else document[int(index)]
    return document


@settings(max_examples=200, deadline=None)
@given(document=stories(ALPHA) | json_values | st.builds(lambda spec: {"spec": spec}, json_values))
def test_each_step_of_any_document_is_what_is_at_its_place(document: Any) -> None:
    read = read_story(document)

    for step in read.every_step():
        written = value_at(document, step.place)
        assert step.declared == (written if isinstance(written, dict) else {})
        assert step.place.startswith(f"spec.{step.group}[")
        assert step.depth == step.place.count(".with.steps[")
        if step.declared.get("type") == "parallel" and isinstance(step.parameters.get("steps"), list):
            assert len(step.branches) == len(step.parameters["steps"])
    for group, steps in read.groups.items():
        written = document["spec"].get(group) if steps else []
        assert len(steps) == len(written)


def test_a_step_has_the_path_of_those_around_it_and_a_number_for_each_item() -> None:
    inner = parallel("inner", {"name": "x", "type": "gate"})
    spec = {
        "steps": [{"name": "a", "ref": ENGRAM}, parallel("fan", {"name": "b", "run": "ls"}, inner)],
        "finally": [parallel("each", parallel("of", {"name": "y", "type": "sleep"}), forEach=[1])],
    }
    read = read_story({"spec": spec})

    assert [(step.path, step.kind, step.word, step.place) for step in read.every_step()] == [
        ("a", "engram", "engram", "spec.steps[0]"),
        ("fan", "parallel", "parallel", "spec.steps[1]"),
        ("fan/b", "engram", "engram", "spec.steps[1].with.steps[0]"),
        ("fan/inner", "parallel", "parallel", "spec.steps[1].with.steps[1]"),
        ("fan/inner/x", "gate", "gate", "spec.steps[1].with.steps[1].with.steps[0]"),
        ("each", "parallel", "parallel", "spec.finally[0]"),
        ("each/*", "parallel", "parallel", "spec.finally[0].with.steps[0]"),
        ("each/*/y", "sleep", "sleep", "spec.finally[0].with.steps[0].with.steps[0]"),
    ]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("fan", "spec.steps[0]"),
        ("fan/x", "spec.steps[0].with.steps[0]"),
        ("each/7/y", "spec.finally[0].with.steps[0].with.steps[0]"),
        ("each/of", None),
        ("each/of/y", None),
        ("fan/0", None),
        ("fan/x/y", None),
        ("", None),
    ],
)
def test_a_step_is_found_by_its_path_and_in_an_item_by_its_number(path: str, place: str | None) -> None:
    spec = {
        "steps": [parallel("fan", {"name": "x", "ref": ENGRAM}), {"ref": ENGRAM}],
        "finally": [parallel("each", parallel("of", {"name": "y", "type": "sleep"}), forEach=[1])],
    }
    found = read_story({"spec": spec}).find(path)

    assert (found.place if found is not None else None) == place


def test_only_the_main_steps_of_a_realtime_story_are_part_of_a_stream() -> None:
    spec = {"steps": [parallel("fan", {"name": "a"})], "compensations": [{"name": "b"}], "pattern": "realtime"}

    assert [(step.name, step.realtime) for step in read_story({"spec": spec}).every_step()] == [
        ("fan", True),
        ("a", True),
        ("b", False),
    ]


def test_steps_that_are_nested_without_end_are_read_to_a_depth() -> None:
    step: Object = {"name": "a", "ref": ENGRAM}
    for _ in range(5_000):
        step = parallel("fan", step)

    assert max(each.depth for each in read_story({"spec": {"steps": [step]}}).every_step()) == MAX_DEPTH
