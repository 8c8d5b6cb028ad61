from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.api import conditions
from core.api.conditions import Condition

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def with_ready(before: list[Condition], status: bool | None, now: datetime = NOW, **fields: Any) -> list[Condition]:
    return conditions.with_condition(
        before, "Ready", status, **{"reason": "Checked", "message": "", "generation": 1, **fields}, now=now
    )


def test_a_new_condition_is_appended_in_wire_form() -> None:
    assert with_ready([], True, message="all well") == [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Checked",
            "message": "all well",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }
    ]


def test_an_undecided_condition_is_unknown() -> None:
    assert with_ready([], None)[0]["status"] == "Unknown"


def test_the_transition_time_stays_while_the_status_stays() -> None:
    before = with_ready([], True)
    after = with_ready(before, True, now=LATER, reason="Again", generation=2)
    assert after[0]["lastTransitionTime"] == before[0]["lastTransitionTime"]
    assert (after[0]["reason"], after[0]["observedGeneration"]) == ("Again", 2)


def test_the_transition_time_moves_when_the_status_changes() -> None:
    after = with_ready(with_ready([], True), False, now=LATER)
    assert after[0]["lastTransitionTime"] == "2026-01-02T03:05:05Z"


def test_a_stored_condition_without_a_transition_time_gets_one() -> None:
    assert with_ready([{"type": "Ready", "status": "True"}], True)[0]["lastTransitionTime"] == "2026-01-02T03:04:05Z"


def test_other_conditions_keep_their_place_and_content() -> None:
    others = [{"type": "A", "status": "True"}, {"type": "Ready", "status": "False"}, {"type": "B", "status": "False"}]
    after = with_ready(others, True)
    assert [condition["type"] for condition in after] == ["A", "Ready", "B"]
    assert (after[0], after[2]) == (others[0], others[2])


def test_long_texts_are_cut_to_what_the_schema_accepts() -> None:
    (condition,) = with_ready([], True, reason="R" * 100, message="m" * 5000)
    assert len(condition["reason"]) == 64
    assert len(condition["message"]) == 2048
    assert condition["message"].endswith("…")


def test_is_true_only_for_a_true_condition_of_that_type() -> None:
    assert conditions.is_true(with_ready([], True), "Ready")
    assert not conditions.is_true(with_ready([], False), "Ready")
    assert not conditions.is_true(with_ready([], None), "Ready")
    assert not conditions.is_true([], "Ready")


statuses = st.sampled_from([True, False, None])
changes = st.lists(st.tuples(st.sampled_from(["Ready", "Progressing", "Degraded"]), statuses), max_size=8)


@given(changes, statuses)
def test_setting_never_changes_its_input_and_is_seen_by_finding(
    steps: list[tuple[str, bool | None]], last: bool | None
) -> None:
    current: list[Condition] = []
    for minute, (type_, status) in enumerate([*steps, ("Ready", last)]):
        before = copy.deepcopy(current)
        following = conditions.with_condition(
            current, type_, status, reason="R", message="", generation=1, now=NOW + timedelta(minutes=minute)
        )
        assert current == before
        current = following
    types = [condition["type"] for condition in current]
    assert len(types) == len(set(types))
    found = conditions.find_condition(current, "Ready")
    assert found is not None
    assert conditions.is_true(current, "Ready") == (last is True)


@given(st.text(max_size=30), st.integers(1, 20))
def test_truncated_text_fits_and_short_text_is_left_alone(text: str, limit: int) -> None:
    cut = conditions.truncated(text, limit)
    assert len(cut) <= limit
    assert (cut == text) == (len(text) <= limit) or text.endswith("…")


def test_ready_is_added_where_it_is_missing_and_left_alone_where_it_is() -> None:
    added = conditions.with_ready([], reason="Pending", message="m", generation=2, now=NOW)
    again = conditions.with_ready(added, reason="Other", message="n", generation=3, now=LATER)

    assert [(each["type"], each["status"], each["reason"], each["observedGeneration"]) for each in added] == [
        ("Ready", "False", "Pending", 2)
    ]
    assert again == added
