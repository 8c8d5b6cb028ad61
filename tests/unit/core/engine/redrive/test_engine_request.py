"""What the annotations of a run request."""

from __future__ import annotations

from typing import Any

import pytest

from core.engine.redrive.request import (
    FullRedrive,
    Malformed,
    RedriveFrom,
    answered,
    pending_redrive,
)

TOKEN, OBSERVED = "storyrun.bubustack.io/redrive-token", "storyrun.bubustack.io/redrive-observed"
FROM, FROM_OBSERVED = "storyrun.bubustack.io/redrive-from-step", "storyrun.bubustack.io/redrive-from-step-observed"


def run(annotations: Any) -> dict[str, Any]:
    return {"metadata": {"name": "one", "annotations": annotations}}


@pytest.mark.parametrize(
    "annotations",
    [
        pytest.param({}, id="none"),
        pytest.param(None, id="null"),
        pytest.param(["damaged"], id="damaged"),
        pytest.param({TOKEN: "  ", FROM: ""}, id="blank"),
        pytest.param({TOKEN: "1", OBSERVED: "1"}, id="answered"),
        pytest.param({TOKEN: " 1\n", OBSERVED: "1"}, id="answered but for blanks"),
        pytest.param({FROM: "b:1", FROM_OBSERVED: "b:1"}, id="step answered"),
        pytest.param({FROM: "b", FROM_OBSERVED: "b"}, id="malformed, answered"),
        pytest.param({OBSERVED: "1", FROM_OBSERVED: "b:1"}, id="taken back"),
    ],
)
def test_nothing_is_asked(annotations: Any) -> None:
    assert pending_redrive(run(annotations)) is None
    assert answered(run(annotations)) == {}


def test_a_run_without_annotations_asks_for_nothing() -> None:
    assert pending_redrive({"metadata": {}}) is None


@pytest.mark.parametrize(
    ("annotations", "request_", "record"),
    [
        ({TOKEN: "1"}, FullRedrive("1"), {OBSERVED: "1"}),
        ({TOKEN: " 2 ", OBSERVED: "1"}, FullRedrive("2"), {OBSERVED: "2"}),
        ({FROM: "b:1"}, RedriveFrom("b", "1"), {FROM_OBSERVED: "b:1"}),
        ({FROM: " b : 1 "}, RedriveFrom("b", "1"), {FROM_OBSERVED: "b : 1"}),
        ({FROM: "b:1:2", FROM_OBSERVED: "b:1"}, RedriveFrom("b", "1:2"), {FROM_OBSERVED: "b:1:2"}),
        ({FROM: "fan/a:x"}, RedriveFrom("fan/a", "x"), {FROM_OBSERVED: "fan/a:x"}),
        ({TOKEN: "1", OBSERVED: "1", FROM: "b:1"}, RedriveFrom("b", "1"), {FROM_OBSERVED: "b:1"}),
    ],
)
def test_a_request_is_understood_and_recorded_as_answered(
    annotations: dict[str, str], request_: object, record: dict[str, str]
) -> None:
    asked = run(annotations)
    assert pending_redrive(asked) == request_
    assert answered(asked) == record
    assert pending_redrive(run(annotations | record)) is None


@pytest.mark.parametrize("value", ["b", ":1", "b:", " : ", "::"])
def test_a_request_that_says_nothing_is_told_with_the_remedy_and_can_be_answered(value: str) -> None:
    asked = pending_redrive(run({FROM: value}))
    assert isinstance(asked, Malformed)
    assert (asked.annotation, asked.value) == (FROM, value.strip())
    assert "<step>:<token>" in asked.why
    assert pending_redrive(run({FROM: value} | answered(run({FROM: value})))) is None


@pytest.mark.parametrize("from_step", ["b:1", "malformed"])
def test_a_full_redrive_wins_and_answers_both(from_step: str) -> None:
    asked = run({TOKEN: "1", FROM: from_step})
    assert pending_redrive(asked) == FullRedrive("1")
    assert answered(asked) == {OBSERVED: "1", FROM_OBSERVED: from_step}
