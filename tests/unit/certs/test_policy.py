"""One named decision for what is stored, what is in use, and the time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from certs.authority import Lifetimes, issue_authority
from certs.material import Material, Rotation
from certs.policy import Absent, CertRules, Damaged, Foreign, Kept, Stored, SuccessionStep, decide, next_due
from certs.succession import follow, published
from tests.unit.certs.certs_world import HOST, LIFETIMES, RULES, START

BOOTSTRAPPED = follow(SuccessionStep.BOOTSTRAP, Absent(), None, START, RULES)
OTHER = follow(SuccessionStep.BOOTSTRAP, Absent(), None, START, RULES)
OVERLAP = START + LIFETIMES.authority - LIFETIMES.overlap
DAY = timedelta(days=1)


def renewed_at(now: datetime) -> Material:
    return follow(SuccessionStep.RENEW_LEAF, Kept(BOOTSTRAPPED), None, now, RULES)


def introduced(now: datetime) -> Material:
    return follow(SuccessionStep.INTRODUCE, Kept(renewed_at(now)), None, now, RULES)


@pytest.mark.parametrize(
    ("stored", "held", "now", "step"),
    [
        (Absent(), None, START, SuccessionStep.BOOTSTRAP),
        (Absent(), BOOTSTRAPPED, START, SuccessionStep.RESTORE),
        (Absent(), BOOTSTRAPPED, START + 400 * DAY, SuccessionStep.BOOTSTRAP),
        (Damaged(("x",)), None, START, SuccessionStep.BOOTSTRAP),
        (Damaged(("x",)), BOOTSTRAPPED, START, SuccessionStep.RESTORE),
        (Foreign(("x",)), BOOTSTRAPPED, START, SuccessionStep.HOLD),
        (Kept(BOOTSTRAPPED), None, START, SuccessionStep.SERVE),
        (Kept(BOOTSTRAPPED), None, START + LIFETIMES.leaf * 2 / 3, SuccessionStep.RENEW_LEAF),
        (Kept(BOOTSTRAPPED), None, START + LIFETIMES.leaf * 2 / 3 - timedelta(seconds=1), SuccessionStep.SERVE),
        (Kept(BOOTSTRAPPED), None, START + 20 * DAY, SuccessionStep.RENEW_LEAF),
        (Kept(BOOTSTRAPPED), None, START + 400 * DAY, SuccessionStep.BOOTSTRAP),
        (Kept(BOOTSTRAPPED), None, START - DAY, SuccessionStep.BOOTSTRAP),
        (Kept(BOOTSTRAPPED), replace(BOOTSTRAPPED, generation=5), START, SuccessionStep.RESTORE),
        (Kept(OTHER), BOOTSTRAPPED, START, SuccessionStep.TRUST_SERVED),
        (Kept(replace(OTHER, retired=(BOOTSTRAPPED.active.certificate,))), BOOTSTRAPPED, START, SuccessionStep.SERVE),
        (Kept(renewed_at(OVERLAP)), None, OVERLAP, SuccessionStep.INTRODUCE),
        (Kept(introduced(OVERLAP)), None, OVERLAP + DAY, SuccessionStep.SERVE),
        (Kept(published(introduced(OVERLAP), OVERLAP)), None, OVERLAP + DAY, SuccessionStep.SERVE),
        (Kept(published(introduced(OVERLAP), OVERLAP)), None, OVERLAP + LIFETIMES.settle, SuccessionStep.PROMOTE),
        (Kept(replace(BOOTSTRAPPED, requested=Rotation.LEAF)), None, START, SuccessionStep.RENEW_LEAF),
        (Kept(replace(BOOTSTRAPPED, requested=Rotation.AUTHORITY)), None, START, SuccessionStep.INTRODUCE),
        (Kept(replace(BOOTSTRAPPED, retired=(OTHER.active.certificate,))), None, START + 4 * DAY, SuccessionStep.SERVE),
        (
            Kept(replace(renewed_at(START + 8 * DAY), retired=(OTHER.active.certificate,))),
            None,
            START + 8 * DAY,
            SuccessionStep.RETIRE,
        ),
    ],
    ids=[
        "nothing-anywhere",
        "deleted",
        "deleted-and-held-is-over",
        "damaged-at-start",
        "damaged",
        "foreign",
        "all-is-well",
        "leaf-at-two-thirds",
        "leaf-a-second-before",
        "leaf-expired",
        "authority-expired",
        "authority-not-yet-valid",
        "older-generation",
        "another-lineage",
        "another-lineage-that-trusts-ours",
        "authority-in-its-overlap",
        "upcoming-unpublished",
        "upcoming-settling",
        "upcoming-settled",
        "leaf-asked-for",
        "authority-asked-for",
        "old-authority-needed",
        "old-authority-over",
    ],
)
def test_the_next_step(stored: Stored, held: Material | None, now: datetime, step: SuccessionStep) -> None:
    assert decide(stored, held, now, RULES).step is step


def test_a_requested_authority_settles_in_a_hurry() -> None:
    asked = replace(published(introduced(START), START), requested=Rotation.AUTHORITY)

    assert decide(Kept(asked), None, START + LIFETIMES.hurry - timedelta(seconds=1), RULES).step is SuccessionStep.SERVE
    assert decide(Kept(asked), None, START + LIFETIMES.hurry, RULES).step is SuccessionStep.PROMOTE


def test_an_upcoming_authority_that_is_of_no_use_is_made_anew() -> None:
    stranger = issue_authority(("other.svc",), START, LIFETIMES)

    decision = decide(Kept(replace(BOOTSTRAPPED, upcoming=stranger)), None, START, RULES)

    assert decision.step is SuccessionStep.INTRODUCE


def test_names_outside_the_constraints_need_a_new_authority_that_trusts_the_old_one() -> None:
    rules = CertRules((HOST, "other.svc"))

    assert decide(Kept(BOOTSTRAPPED), BOOTSTRAPPED, START, rules).step is SuccessionStep.BOOTSTRAP
    assert (
        BOOTSTRAPPED.active.certificate
        in follow(SuccessionStep.BOOTSTRAP, Kept(BOOTSTRAPPED), BOOTSTRAPPED, START, rules).trusted
    )


@pytest.mark.parametrize("hours", range(0, 24 * 420, 37))
def test_a_step_that_is_due_is_taken_and_one_that_is_not_leaves_time_to_wait(hours: int) -> None:
    """No instant asks for a look at once if the look does nothing. That would be a loop without a wait."""
    now, material = START + timedelta(hours=hours), BOOTSTRAPPED
    for _ in range(8):
        step = decide(Kept(material), None, now, RULES).step
        if step is SuccessionStep.SERVE and material.upcoming is not None and material.published_at is None:
            material = published(material, now)
        elif step is SuccessionStep.SERVE:
            break
        else:
            material = follow(step, Kept(material), None, now, RULES)

    assert decide(Kept(material), None, now, RULES).step is SuccessionStep.SERVE
    assert next_due(material, RULES) > now


@pytest.mark.parametrize(
    "wrong",
    [
        {"overlap": timedelta(days=12)},
        {"overlap": timedelta(days=365)},
        {"settle": timedelta(minutes=1)},
        {"backdated": timedelta(minutes=-1)},
        {"leaf": timedelta(0)},
    ],
    ids=["too-little-overlap", "overlap-of-a-life", "settle-below-hurry", "postdated", "no-life"],
)
def test_lifetimes_that_cannot_work_are_refused(wrong: dict[str, timedelta]) -> None:
    with pytest.raises(ValueError, match="must hold"):
        Lifetimes(**wrong)
