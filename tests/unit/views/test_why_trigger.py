"""What a StoryTrigger waits for, in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from bubu_contract.submission import story_run_name
from cli.render.why import lines_of
from core.api.objects import Object
from core.workloads.keyed_request import Decision
from core.workloads.trigger import TriggerReason
from views.why.cause import CauseKind
from views.why.document import document_of
from views.why.trigger import explain_trigger

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


def trigger(**status: Any) -> Object:
    metadata = {
        "name": "report-trigger-1",
        "namespace": "team",
        "generation": 1,
        "creationTimestamp": "2026-01-02T11:00:00Z",
    }
    spec = {"storyRef": {"name": "report"}, "deliveryIdentity": {"submissionId": "sub-1"}}
    return {"metadata": metadata, "spec": spec, "status": status}


def command(namespace: str, verb: str, *arguments: str) -> str:
    return f"bobrapet {verb} {' '.join(arguments)} --namespace {namespace}"


def held(reason: str) -> Object:
    accepted = "2026-01-02T11:30:00Z"
    return trigger(decision="Pending", reason=reason, message="it is missing", acceptedAt=accepted)


FINAL = {"StoryRunCreated", "StoryRunReused", "ValidationFailed", "InputHashMismatch", "StoryRunConflict", "Restored"}


@pytest.mark.parametrize("reason", sorted({*TriggerReason} - FINAL))
def test_every_reason_to_wait_has_a_kind_of_its_own(reason: str) -> None:
    [cause] = explain_trigger(held(reason), command).causes
    assert cause.kind not in (CauseKind.OPERATOR, CauseKind.FAILED)
    assert cause.text == f"waits ({reason}): it is missing"
    assert cause.who


def test_a_trigger_that_waits_is_shown_with_its_reason() -> None:
    explanation = explain_trigger(held("StoryNotFound"), command)
    assert [line for line, _ in lines_of(explanation, NOW, width=80)] == [
        "trigger/report-trigger-1  Pending  since 2026-01-02T11:30:00Z",
        "",
        "trigger report-trigger-1 waits (StoryNotFound): it is missing",
        "  since   2026-01-02T11:30:00Z (30m00s ago)",
        "  who     the owner of the Story's manifest",
        "  do      kubectl apply --filename STORY.yaml",
    ]
    document = document_of(explanation)
    assert (document["trigger"], document["run"]) == ("report-trigger-1", "")
    assert document["causes"][0]["trigger"] == "report-trigger-1"


def test_a_trigger_that_waits_for_the_end_of_a_run_names_it() -> None:
    [cause] = explain_trigger(held("StoryRunTerminating"), command).causes
    assert cause.commands == (f"bobrapet get {story_run_name('team', 'report', 'sub-1')} --namespace team",)


@pytest.mark.parametrize("status", [{}, {"decision": "Pending"}])
def test_a_trigger_without_an_operator_says_so(status: Object) -> None:
    explanation = explain_trigger(trigger(**status), command)
    assert explanation.phase == Decision.PENDING
    assert [cause.kind for cause in explanation.causes] == [CauseKind.OPERATOR]


def test_a_rejected_trigger_says_why_and_how_to_ask_again() -> None:
    conditions = [{"type": "Degraded", "status": "True", "lastTransitionTime": "2026-01-02T11:40:00Z"}]
    rejected = {"decision": "Rejected", "reason": "StoryRunConflict", "message": "differs", "observedGeneration": 1}
    [cause] = explain_trigger(trigger(**rejected, conditions=conditions), command).causes
    assert (cause.kind, cause.text) == (CauseKind.FAILED, "was rejected (StoryRunConflict): differs")
    assert cause.since == datetime(2026, 1, 2, 11, 40, tzinfo=UTC)
    assert cause.commands == ("kubectl delete storytrigger report-trigger-1 --namespace team",)


def test_a_trigger_whose_run_is_gone_waits_for_nothing() -> None:
    answer = {"decision": "Reused", "observedGeneration": 1, "storyRunRef": {"name": "report-1"}}
    explanation = explain_trigger(trigger(**answer), command)
    assert explanation.causes == ()
    assert [line for line, _ in lines_of(explanation, NOW, width=80)][1] == (
        "trigger/report-trigger-1 was Reused; its run report-1 has been removed since"
    )
