"""The verdict about a campaign of deliveries finds each thing that can be wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bubu_contract.submission import story_run_name, trigger_name
from tests.e2e.deliveries.campaign import errors_in
from tests.e2e.deliveries.ledger import StoredAnswer
from tests.e2e.deliveries.sender import Receipt
from tests.e2e.deliveries.verdict import DeliveryFacts, StoredRun, StoredTrigger, problems

KEYS = ("a", "b", "c", "d")
RUNS = {key: story_run_name("team", "deliver", key) for key in KEYS}
TRIGGERS = {key: trigger_name("team", "deliver", key) for key in KEYS}


def answer(key: str, **changes: str) -> StoredAnswer:
    return StoredAnswer("Created", RUNS[key], f"uid-{key}", "2026-01-01T00:00:00Z")._replace(**changes)


def facts(**changes: Any) -> DeliveryFacts:
    """Those of a campaign in which all went well."""
    well = DeliveryFacts(
        namespace="team",
        story="deliver",
        keys=KEYS,
        receipts={client: [Receipt(key, TRIGGERS[key], requests=1) for key in KEYS] for client in ("one", "two")},
        runs=[StoredRun(RUNS[key], f"uid-{key}", key, "Succeeded") for key in KEYS],
        triggers=[StoredTrigger(TRIGGERS[key], key) for key in KEYS],
        runs_created=dict.fromkeys(RUNS.values(), 1),
        triggers_created=dict.fromkeys(TRIGGERS.values(), 1),
        deleted=[],
        answers={TRIGGERS[key]: [answer(key)] for key in KEYS},
        log=[],
    )
    return replace(well, **changes)


WELL = facts()


def receipts(receipt: Receipt) -> dict[str, Any]:
    """Client two has this receipt for delivery a."""
    return {"receipts": {**WELL.receipts, "two": [receipt, *WELL.receipts["two"][1:]]}}


def answers(*found: StoredAnswer) -> dict[str, Any]:
    """Those of delivery a."""
    return {"answers": {**WELL.answers, TRIGGERS["a"]: found}}


def test_a_campaign_in_which_all_went_well_has_no_problems() -> None:
    assert problems(WELL) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (receipts(Receipt("a", "", 3, problem="422")), "deliveries of client two were not accepted: 1: a: 422"),
        ({"receipts": {**WELL.receipts, "two": WELL.receipts["two"][1:]}}, "deliveries of client two: missing: 1: a"),
        (receipts(Receipt("a", "other", 1)), "deliveries got several names"),
        (receipts(Receipt("a", "other", 1)), "accepted deliveries have no StoryTrigger: 1: a: other"),
        ({"triggers": WELL.triggers[1:]}, "StoryTriggers by key: missing: 1: a"),
        ({"triggers": [*WELL.triggers, StoredTrigger("x", "a")]}, "StoryTriggers by name: too many: 1: x"),
        ({"triggers_created": {**WELL.triggers_created, TRIGGERS["a"]: 2}}, "creations of StoryTriggers: too many: 1"),
        ({"runs": WELL.runs[1:]}, "StoryRuns by key: missing: 1: a"),
        ({"runs": [*WELL.runs, StoredRun("x", "u", "a", "Succeeded")]}, "StoryRuns by key: too many: 1: a"),
        ({"runs_created": {**WELL.runs_created, RUNS["a"]: 2}}, "creations of StoryRuns: too many: 1"),
        ({"runs_created": {**WELL.runs_created, "x": 1}}, "creations of StoryRuns: too many: 1: x"),
        ({"deleted": ["storyruns/team/x"]}, "objects were deleted: 1: storyruns/team/x"),
        ({"runs": [WELL.runs[0]._replace(phase="Failed"), *WELL.runs[1:]]}, "runs did not succeed: 1"),
        (answers(), "StoryTriggers have no answer: 1"),
        (answers(answer("a"), answer("a", completed_at="later")), "StoryTriggers were answered more than once: 1"),
        (answers(answer("a", decision="Reused")), "another answer than Created with their run: 1"),
        (answers(answer("a", run_uid="of an earlier run")), "another answer than Created with their run: 1"),
        ({"log": ["a", "b", "c", "d", "e"]}, "errors in the operator's log: 5: a; b; c and 2 more"),
    ],
)
def test_each_thing_that_is_wrong_is_said(changes: dict[str, Any], words: str) -> None:
    found = problems(facts(**changes))

    assert [problem for problem in found if words in problem], found


@pytest.mark.parametrize(
    ("line", "is_error"),
    [
        ('{"level":"info","msg":"watch interrupted"}', False),
        ('{"level":"warning","msg":"cannot follow"}', False),
        ('{"level":"error","msg":"broken"}', True),
        ("Traceback (most recent call last):", True),
        ("[]", True),
    ],
)
def test_errors_and_stack_traces_are_found_in_a_log(line: str, is_error: bool) -> None:
    assert errors_in(f"{line}\n") == ([line] if is_error else [])
