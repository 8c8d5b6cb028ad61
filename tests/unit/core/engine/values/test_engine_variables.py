from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.api.unreadable import Unreadable, marked
from core.engine.step import record
from core.engine.values.variables import Variables
from kubewire import apply_merge_patch

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def step_run(name: str, status: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {}, "spec": {"stepId": name}, "status": status}


def final(name: str, output: Any) -> dict[str, Any]:
    body = step_run(name, {"phase": "Succeeded"} | ({"output": output} if output is not None else {}))
    return body | {"status": apply_merge_patch(body["status"], record.success_patch(body, NOW))}


def seen(*step_runs: dict[str, Any]) -> Mapping[str, Any]:
    variables = Variables({"n": 1})
    for found in step_runs:
        variables.remember(found)
    return variables.snapshot()


def test_an_output_appears_under_both_names_and_the_alias_of_the_step() -> None:
    entry = {"output": {"x": 1}, "outputs": {"x": 1}}

    assert seen(final("fetch-data", {"x": 1})) == {
        "inputs": {"n": 1},
        "steps": {"fetch-data": entry, "fetch_data": entry},
    }


def test_an_output_is_unseen_until_its_success_is_recorded() -> None:
    assert seen(step_run("a", {"phase": "Succeeded", "output": {"x": 1}}))["steps"] == {}


@pytest.mark.parametrize("output", [None, [1], "text"])
def test_a_missing_or_odd_output_is_empty(output: Any) -> None:
    assert seen(final("a", output))["steps"]["a"] == {"output": {}, "outputs": {}}


def test_a_real_step_keeps_its_name_against_the_alias_of_another() -> None:
    steps = seen(final("a-b", {"x": 1}), final("a_b", {"x": 2}))["steps"]

    assert (steps["a-b"]["output"], steps["a_b"]["output"]) == ({"x": 1}, {"x": 2})


def test_signals_of_a_running_step_are_nested_by_their_dots() -> None:
    signals = {"progress.percent": {"value": 50}, "progress.text": {"value": "half"}, "plain": {"value": 1}}
    steps = seen(step_run("a", {"phase": "Running", "signals": signals}))["steps"]

    assert steps["a"] == {
        "signals": {
            "progress": {"percent": {"value": 50}, "text": {"value": "half"}},
            "plain": {"value": 1},
        }
    }


def test_a_snapshot_does_not_change_afterwards() -> None:
    variables = Variables({})
    before = variables.snapshot()
    variables.remember(final("a", {"x": 1}))

    assert before == {"inputs": {}, "steps": {}}


def test_a_large_output_is_seen_as_it_is_and_changes_are_noticed() -> None:
    large: dict[str, Any] = {"x": [{"a": {}}] * 5_000}
    rung: list[int] = []
    variables = Variables({}, changed=lambda: rung.append(1))
    for output in (large, large, {**large, "y": 1}):
        variables.remember(final("a", output))

    assert variables.snapshot()["steps"]["a"] == {"output": {**large, "y": 1}, "outputs": {**large, "y": 1}}
    assert variables.output_of("a") == {**large, "y": 1}
    assert len(rung) == 2


def test_what_was_seen_of_a_step_stays_when_it_cannot_be_read_any_more() -> None:
    variables = Variables({})
    variables.remember(final("a", {"x": 1}))
    spoilt = final("a", None)
    variables.remember(marked(spoilt, Unreadable((("status", "output"),), "is nested too deeply")))

    assert variables.output_of("a") == {"x": 1}


def test_a_branch_of_the_go_operator_appears_under_its_own_name() -> None:
    branch = final("left", {"x": 1}) | {"metadata": {"labels": {"bubustack.io/parent-step": "fan"}}}
    variables = Variables({})
    variables.remember(branch)

    assert variables.output_of("fan/left") == {"x": 1}
    assert variables.output_of("left") == {}


def test_an_output_counts_once_the_run_records_the_end_of_its_step() -> None:
    reported = step_run("a", {"phase": "Succeeded", "output": {"x": 1}})
    variables = Variables({})
    variables.remember(reported, has_ended=True)

    assert variables.output_of("a") == {"x": 1}


NAMES = ("a-b", "a_b", "all/0/each", "all/1/each", "all/2/a_b", "all/3/a-b", "each")


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 2) | st.none(), st.booleans()), max_size=12))
def test_a_snapshot_is_the_same_whenever_others_were_taken(changes: list[tuple[str, int | None, bool]]) -> None:
    often, once = Variables({}), Variables({})
    for name, value, looks in changes:
        for variables in (often, once):
            if value is None:
                variables.remember(step_run(name, {"phase": "Running"}))
            else:
                variables.give(name, {"x": value})
        if looks:
            often.snapshot()
    assert often.snapshot() == once.snapshot()
    assert list(often.snapshot()["steps"]) == list(once.snapshot()["steps"])


def test_a_snapshot_stays_the_same_until_something_changes() -> None:
    variables = Variables({})
    variables.give("all/0", {"x": 0})
    before = variables.snapshot()
    variables.give("all/0", {"x": 0})
    assert variables.snapshot() is before
    variables.give("all/1", {"x": 1})
    assert list(before["steps"]) == ["0"]
    assert list(variables.snapshot()["steps"]) == ["0", "1"]


def test_large_outputs_do_not_stay_parsed_in_a_snapshot() -> None:
    variables = Variables({})
    variables.give("a", {"x": "y" * 10_000})
    assert variables.snapshot() is not variables.snapshot()
