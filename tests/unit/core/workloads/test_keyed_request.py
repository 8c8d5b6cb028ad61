"""Created, Reused or Rejected: Trigger contract 4."""

from __future__ import annotations

from typing import Any

import pytest

from bubu_contract.submission import input_hash, story_run_name
from core.api.keys import ANNOTATION_TRIGGER_INPUT_HASH, ANNOTATION_TRIGGER_TOKEN
from core.api.objects import Object
from core.api.unreadable import Unreadable, marked
from core.workloads.keyed_request import (
    Decision,
    Difference,
    KeyedDecision,
    UnusableKeyError,
    decide,
    keyed_run,
)


def wanted(key: str = "order-42", **spec: Any) -> Object:
    fields = {"storyRef": {"name": "report"}, "inputs": {"city": "Bern", "days": 2}, **spec}
    return keyed_run({"metadata": {}, "spec": fields}, key, "team")


def stored(obj: Object, **metadata: Any) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "uid": "u", **metadata}}


def test_the_run_has_the_name_and_the_marks_of_its_key() -> None:
    labels = {"a": "b"}
    manifest = {"metadata": {"generateName": "report-", "labels": labels}, "spec": {"storyRef": {"name": "report"}}}

    run = keyed_run(manifest, "  Order 42 ", "team")

    assert run["metadata"]["name"] == story_run_name("team", "report", "Order 42")
    assert (run["metadata"]["namespace"], run["metadata"]["labels"]) == ("team", labels)
    assert "generateName" not in run["metadata"]
    assert run["metadata"]["annotations"] == {
        ANNOTATION_TRIGGER_TOKEN: "Order 42",
        ANNOTATION_TRIGGER_INPUT_HASH: input_hash(None),
    }


def test_a_story_of_another_namespace_gives_another_name() -> None:
    run = wanted(storyRef={"name": "report", "namespace": "shared"})
    assert run["metadata"]["name"] == story_run_name("shared", "report", "order-42")


@pytest.mark.parametrize("key", ["", "  ", "x" * 257])
def test_a_key_has_1_to_256_characters(key: str) -> None:
    with pytest.raises(UnusableKeyError):
        wanted(key)


def test_a_run_that_does_not_exist_is_created() -> None:
    assert decide(wanted(), None) == KeyedDecision(Decision.CREATED)


@pytest.mark.parametrize(
    "again",
    [
        wanted(),
        wanted(inputs={"days": 2.0, "city": "Bern"}),
        wanted(storyRef={"name": "report", "namespace": "team", "version": " "}),
    ],
    ids=["the same", "other order of inputs", "the default namespace by name"],
)
@pytest.mark.parametrize("status", [{}, {"phase": "Failed"}])
def test_the_run_of_an_equal_request_is_reused_whatever_its_phase(again: Object, status: Object) -> None:
    assert decide(again, {**stored(wanted()), "status": status}) == KeyedDecision(Decision.REUSED)


@pytest.mark.parametrize(
    ("spec", "difference"),
    [
        ({"storyRef": {"name": "report", "version": "2"}}, Difference.STORY),
        ({"storyRef": {"name": "report", "namespace": "shared"}}, Difference.STORY),
        ({"impulseRef": {"name": "hook"}}, Difference.IMPULSE),
        ({"inputs": {"city": "Basel"}}, Difference.INPUTS),
        ({"inputs": None}, Difference.INPUTS),
    ],
)
def test_a_different_request_with_the_same_key_is_rejected(spec: Object, difference: Difference) -> None:
    assert decide(wanted(**spec), stored(wanted())) == KeyedDecision(Decision.REJECTED, difference)


def test_a_run_that_somebody_made_by_hand_is_compared_by_its_inputs() -> None:
    by_hand = stored(wanted(), annotations=None)
    assert decide(wanted(), by_hand).decision is Decision.REUSED
    assert decide(wanted(inputs={}), by_hand).difference is Difference.INPUTS


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"name": "hook"}, {"name": "hook", "namespace": "team"}, True),
        ({"name": "hook", "version": " 1 "}, {"name": "hook", "version": "1", "uid": ""}, True),
        ({"name": "hook"}, {"name": "hook", "namespace": "other"}, False),
        ({"name": "hook"}, {"name": "hook", "version": "1"}, False),
        ({"name": "hook"}, {"name": "hook", "uid": "u"}, False),
        ({"name": "hook"}, {"name": "other"}, False),
    ],
)
def test_impulses_are_compared_by_what_they_mean(one: Object, other: Object, same: bool) -> None:
    answer = decide(wanted(impulseRef=one), stored(wanted(impulseRef=other)))
    assert answer.difference is (None if same else Difference.IMPULSE)


def test_a_run_without_a_hash_is_no_match_if_its_inputs_have_none_or_cannot_be_read() -> None:
    by_hand = stored(wanted(inputs={}), annotations=None)
    endless = {**by_hand, "spec": {**by_hand["spec"], "inputs": {"n": float("inf")}}}
    assert decide(wanted(inputs={}), endless).difference is Difference.INPUTS
    cut = marked(by_hand, Unreadable((("spec", "inputs"),), "is too large"))
    assert decide(wanted(inputs={}), cut).difference is Difference.INPUTS


def test_the_stored_hash_counts_before_the_stored_inputs() -> None:
    """The inputs may have been moved into storage since."""
    moved = {**stored(wanted()), "spec": {**wanted()["spec"], "inputs": {"$bubuStorageRef": "x"}}}
    assert decide(wanted(), moved).decision is Decision.REUSED


def test_a_run_that_is_being_deleted_decides_nothing() -> None:
    leaving = stored(wanted(inputs={}), deletionTimestamp="2025-01-02T03:04:05Z")
    assert decide(wanted(), leaving) == KeyedDecision(Decision.PENDING)
