"""docs/write-budget.md has the budget of the test, and the budget notices what deviates from it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from core.api.objects import Object
from tests.e2e.write_budget import scenarios
from tests.e2e.write_budget.budget import BUDGET, SCENARIOS, Part, ScenarioBudget, deviations
from tests.e2e.write_budget.counting import Request, Sender, requests_by_namespace, sender_of
from tests.e2e.write_budget.page import HEAD, SCENARIO_HEAD, cost_rows, scenario_rows

PAGE = (Path(__file__).parents[3] / "docs/write-budget.md").read_text(encoding="utf-8")
OPERATOR = "system:serviceaccount:bobrapet-system:bobrapet-controller-manager"
BUDGET_OF_A_SLEEP = SCENARIOS["a_sleep"]


def test_the_page_has_the_tables_of_the_budget() -> None:
    assert "\n".join([*HEAD, *cost_rows()]) in PAGE
    assert "\n".join([*SCENARIO_HEAD, *scenario_rows()]) in PAGE


def test_every_part_is_played_by_a_scenario_that_exists() -> None:
    assert {part for budget in SCENARIOS.values() for part in budget.parts} == set(Part) == set(BUDGET)
    assert [name for name in SCENARIOS if not callable(getattr(scenarios, name, None))] == []


def test_one_request_more_is_named() -> None:
    event = Request(Sender.OPERATOR, "create", "events")
    sent = BUDGET_OF_A_SLEEP.most

    assert deviations(sent, BUDGET_OF_A_SLEEP) == []
    assert deviations(sent + Counter({event: 1}), BUDGET_OF_A_SLEEP) == [
        "operator create events: 3, but the budget allows 2"
    ]


def test_a_request_that_the_budget_does_not_have_is_named() -> None:
    sent = BUDGET_OF_A_SLEEP.most + Counter({Request(Sender.OPERATOR, "list", "pods"): 1})

    assert deviations(sent, BUDGET_OF_A_SLEEP) == ["operator list pods: 1, but the budget allows 0"]


def test_an_exact_number_that_is_too_high_is_named() -> None:
    sent = BUDGET_OF_A_SLEEP.least

    assert deviations(sent, BUDGET_OF_A_SLEEP) == []
    assert deviations(sent - Counter({Request(Sender.OPERATOR, "create", "events"): 1}), BUDGET_OF_A_SLEEP) == [
        "operator create events: 1, but the budget says 2; correct it"
    ]


def test_requests_of_kubernetes_have_no_limit() -> None:
    sent = BUDGET_OF_A_SLEEP.least + Counter({Request(Sender.CLUSTER, "create", "pods"): 100})

    assert deviations(sent, BUDGET_OF_A_SLEEP) == []
    assert deviations({Request(Sender.CLUSTER, "create", "pods"): 100}, ScenarioBudget({Part.WAITING: 1})) == []


@pytest.mark.parametrize(
    ("user", "sender"),
    [
        (OPERATOR, Sender.OPERATOR),
        ("system:serviceaccount:team:one-engram-runner", Sender.CONTAINER),
        ("system:serviceaccount:team:report-3f9c2a7d1b-story-runner", Sender.CONTAINER),
        ("controllers", Sender.CLUSTER),
        ("node", Sender.CLUSTER),
        ("admin", None),
        ("system:apiserver", None),
    ],
)
def test_senders_are_known_by_their_users(user: str, sender: Sender | None) -> None:
    assert sender_of({"user": {"username": user}}) is sender


def test_what_a_process_does_at_its_start_is_not_counted() -> None:
    def event(verb: str, namespace: str = "", **reference: str) -> Object:
        place = {"namespace": namespace} if namespace else {}
        return {
            "verb": verb,
            "user": {"username": OPERATOR},
            "objectRef": {"resource": "storyruns", **place, **reference},
        }

    events: list[Object] = [
        event("list"),
        event("watch", "team"),
        event("list", "team"),
        event("patch", "team", subresource="status"),
        event("update", "team", resource="leases"),
        {"verb": "get", "user": {"username": OPERATOR}},
        *({**event("patch", "team"), "responseStatus": {"code": code}} for code in (409, 429, 500, 503)),
        {**event("patch", "team"), "responseStatus": {"code": 404}},
    ]
    assert requests_by_namespace(events) == {
        "team": {
            Request(Sender.OPERATOR, "list", "storyruns"): 1,
            Request(Sender.OPERATOR, "patch", "storyruns/status"): 1,
            Request(Sender.OPERATOR, "patch", "storyruns"): 1,
        }
    }
