"""A decision on a gate names the user who made it, as authenticated by the API server."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from core.api.objects import Object
from core.policy.settings import OperatorSettings
from tests.unit.webhooks.admission_reviews import BY_PATH, OPERATOR, review
from webhooks import review as reviews
from webhooks.caller import ADMINISTRATORS, Caller
from webhooks.cluster_view import InMemoryView
from webhooks.decision import decide
from webhooks.defaults.decided import with_authors

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ANN = Caller("ann")
AT = "2026-01-02T03:04:05Z"
HOOK = BY_PATH["/mutate-runs-bubustack-io-v1alpha1-storyrun-status"]


def run(**gates: Any) -> Object:
    return {
        "apiVersion": "runs.bubustack.io/v1alpha1",
        "kind": "StoryRun",
        "metadata": {"name": "r", "namespace": "team"},
        "spec": {"storyRef": {"name": "s"}},
        "status": {"phase": "Running", "gates": gates},
    }


def stored(new: Object, old: Object | None = None, caller: Caller = ANN) -> Any:
    signed = with_authors(new, old or {}, caller, NOW)
    assert with_authors(signed, old or {}, caller, NOW) == signed
    assert {**signed["status"], "gates": None} == {**new["status"], "gates": None}
    return signed["status"]["gates"]


@pytest.mark.parametrize("state", ["Approved", "Rejected"])
def test_a_decision_gets_its_author_and_its_time(state: str) -> None:
    assert stored(run(ask={"state": state})) == {"ask": {"state": state, "updatedBy": "ann", "updatedAt": AT}}


def test_what_is_said_already_stays() -> None:
    said = {"state": "Approved", "updatedBy": "ann", "updatedAt": "2026-01-02T03:04:01Z", "message": "fine"}

    assert stored(run(ask=said)) == {"ask": said}


@pytest.mark.parametrize(
    "said", ["2001-01-01T00:00:00Z", "2026-01-02T03:03:50Z", "2026-01-02T03:04:20Z", "2036-01-01T00:00:00Z", "", "x", 7]
)
def test_a_decision_is_made_when_the_server_hears_of_it(said: Any) -> None:
    (decision,) = stored(run(ask={"state": "Approved", "updatedAt": said})).values()

    assert decision["updatedAt"] == AT


def test_an_administrator_may_restore_an_old_instant() -> None:
    admin, old = Caller("admin", frozenset({ADMINISTRATORS})), "2001-01-01T00:00:00Z"

    assert stored(run(ask={"state": "Approved", "updatedAt": old}), caller=admin)["ask"]["updatedAt"] == old


@pytest.mark.parametrize(
    ("message", "kept"), [({}, "Approved on behalf of jane"), ({"message": "fine"}, "fine (on behalf of jane)")]
)
def test_another_name_is_kept_as_for_whom(message: Object, kept: str) -> None:
    robot = Caller("system:serviceaccount:bots:chat")

    (decision,) = stored(run(ask={"state": "Approved", "updatedBy": "jane", **message}), caller=robot).values()

    assert decision == {"state": "Approved", "updatedBy": robot.username, "updatedAt": AT, "message": kept}


def test_a_decision_made_before_keeps_its_author_or_none() -> None:
    """Otherwise any user who changes a run would become the author."""
    old = run(early={"state": "Approved", "updatedBy": "bob"}, nameless={"state": "Rejected"})
    new = run(early={"state": "Approved", "updatedBy": "bob", "message": "m"}, nameless={"state": "Rejected"}, ask={})

    assert stored(new, old) == new["status"]["gates"]


@pytest.mark.parametrize("before", [{}, {"ask": {"state": "Pending", "updatedBy": "bob"}}, {"ask": None}])
def test_an_undecided_gate_gets_the_author_of_the_decision(before: Object) -> None:
    (decision,) = stored(run(ask={"state": "Approved"}), run(**before)).values()

    assert decision["updatedBy"] == "ann"


def test_what_is_no_decision_is_left_alone() -> None:
    odd = {"a": {"state": "Pending"}, "b": {}, "c": None, "d": "Approved", "e": {"state": ["Approved"]}}

    assert stored(run(**odd)) == odd
    assert with_authors({"status": None}, {}, ANN, NOW) == {"status": None}


def test_an_administrator_may_restore_what_others_decided() -> None:
    admin = Caller("admin", frozenset({ADMINISTRATORS}))

    assert stored(run(ask={"state": "Approved", "updatedBy": "jane"}), caller=admin)["ask"]["updatedBy"] == "jane"
    assert stored(run(ask={"state": "Approved"}), caller=admin)["ask"]["updatedBy"] == "admin"
    assert stored(run(ask={"state": "Approved"}), caller=Caller(OPERATOR, is_operator=True)) == {
        "ask": {"state": "Approved"}
    }


def test_admission_answers_with_the_smallest_patch() -> None:
    """Admission needs no other object for that."""
    new = run(ask={"state": "Approved"}, **{"fan/a~b": {"state": "Rejected", "updatedBy": "ann"}})
    asked = reviews.review_of(review(HOOK, new, run(), subResource="status", userInfo={"username": "ann"}), HOOK)
    world = InMemoryView(settings=OperatorSettings(), complete=False)

    decision = decide(HOOK, asked, world, OPERATOR, lambda: NOW)

    assert list(decision.patch) == [
        {"op": "add", "path": "/status/gates/ask/updatedBy", "value": "ann"},
        {"op": "add", "path": "/status/gates/ask/updatedAt", "value": AT},
        {"op": "add", "path": "/status/gates/fan~1a~0b/updatedAt", "value": AT},
    ]
    assert decision.findings == ()
    answer = reviews.allowed(asked.uid, decision.patch)["response"]
    assert orjson.loads(base64.b64decode(answer["patch"])) == list(decision.patch)
