"""The effects of a run, from the claims of its steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.api.objects import Object
from core.workloads.effect_lease import ClaimPhase, ClaimReason
from views.effects import EffectView, effects_of

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
CREATED = "2026-01-02T11:00:00Z"
TAKEN = "2026-01-02T11:55:00.500000Z"
TAKEN_AT = datetime(2026, 1, 2, 11, 55, 0, 500_000, tzinfo=UTC)
HELD: dict[str, Any] = {
    "holderIdentity": "pod-1:5f0c",
    "acquireTime": TAKEN,
    "renewTime": TAKEN,
    "leaseDurationSeconds": 600,
}


def a_step_run(step: str = "charge", uid: str = "u1") -> Object:
    return {"metadata": {"name": f"release-1-{step}", "uid": uid}, "spec": {"stepId": step}}


def a_claim(step: str = "charge", key: str = "card", status: Object | None = None, **spec: Any) -> Object:
    reference = {"name": f"release-1-{step}", "uid": "u1"}
    return {
        "metadata": {"name": f"release-1-{step}-effect-1", "creationTimestamp": CREATED},
        "spec": {"stepRunRef": reference, "effectKey": key, **spec},
        "status": status or {},
    }


def view_of(claim: Object, now: datetime = NOW) -> EffectView:
    (view,) = effects_of([a_step_run()], [claim], now)
    return view


def test_a_held_effect_has_its_holder_and_the_end_of_its_lease() -> None:
    view = view_of(a_claim(**HELD, leaseTransitions=2))

    assert (view.step, view.key, view.phase, view.holder) == ("charge", "card", ClaimPhase.RESERVED, "pod-1:5f0c")
    assert (view.since, view.until) == (TAKEN_AT, TAKEN_AT + timedelta(seconds=600))
    assert (view.takeovers, view.is_expired) == (2, False)


def test_an_expired_lease_shows_whatever_the_status_says() -> None:
    """No operator may run."""
    view = view_of(a_claim(**HELD, status={"phase": "Reserved"}), NOW + timedelta(hours=1))

    assert (view.phase, view.reason, view.is_expired) == (ClaimPhase.RESERVED, ClaimReason.LEASE_EXPIRED, True)


def test_a_completed_effect_has_what_it_returned() -> None:
    done = {"completionStatus": "completed", "completedAt": "2026-01-02T11:56:00Z", "details": {"receipt": 7}}
    view = view_of(a_claim(**{**HELD, **done}))

    assert (view.phase, view.details) == (ClaimPhase.COMPLETED, {"receipt": 7})
    assert (view.since, view.until) == (datetime(2026, 1, 2, 11, 56, tzinfo=UTC), None)


@pytest.mark.parametrize(
    ("status", "since"),
    [
        pytest.param(
            {
                "phase": "Released",
                "conditions": [{"type": "Progressing", "lastTransitionTime": "2026-01-02T11:58:00Z"}],
            },
            datetime(2026, 1, 2, 11, 58, tzinfo=UTC),
            id="as-the-operator-saw-it",
        ),
        pytest.param({"phase": "Reserved"}, datetime(2026, 1, 2, 11, 0, tzinfo=UTC), id="not-seen-yet"),
    ],
)
def test_a_released_effect_has_no_holder(status: Object, since: datetime) -> None:
    view = view_of(a_claim(completionStatus="released", status=status))

    assert (view.phase, view.holder, view.until, view.since) == (ClaimPhase.RELEASED, "", None, since)


def test_claims_of_other_runs_and_of_earlier_step_runs_are_left_out() -> None:
    step_runs = [a_step_run(), a_step_run("mail"), a_step_run("again", uid="u2")]
    claims = [a_claim(key="b"), a_claim(key="a"), a_claim("mail"), a_claim("again"), a_claim("elsewhere")]

    assert [(view.step, view.key) for view in effects_of(step_runs, claims, NOW)] == [
        ("charge", "a"),
        ("charge", "b"),
        ("mail", "card"),
    ]


def test_texts_of_containers_cannot_move_the_cursor() -> None:
    view = view_of(a_claim(key="card\x1b[2J", **{**HELD, "holderIdentity": "pod\n1"}))

    assert (view.key, view.holder) == ("card [2J", "pod 1")
