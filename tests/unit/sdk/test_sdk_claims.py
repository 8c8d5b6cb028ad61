"""What a stored claim means for a process that wants it. (bubu_sdk/claims.py)"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bubu_contract.instants import format_precise_instant
from bubu_sdk import claims
from bubu_sdk.claims import ClaimFound
from bubu_sdk.contract import Identity

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LEASE_SECONDS = 30
OURS = Identity(namespace="team", story_run="run", step="charge", step_run="run-charge")
WANTED = claims.new_claim(OURS, {"metadata": {"uid": "u"}, "spec": {}}, "key", "ours", LEASE_SECONDS, NOW)


def claim(*, holder: str = "another", renewed: float = 0.0, **metadata: Any) -> dict[str, Any]:
    """One that ``holder`` has renewed that many seconds ago."""
    spec = {
        **WANTED["spec"],
        "holderIdentity": holder,
        "renewTime": format_precise_instant(NOW - timedelta(seconds=renewed)),
    }
    return {**WANTED, "metadata": {**WANTED["metadata"], **metadata}, "spec": spec}


@pytest.mark.parametrize(
    ("found", "meaning"),
    [
        pytest.param(claim(), ClaimFound.HELD, id="held"),
        pytest.param(claim(renewed=LEASE_SECONDS), ClaimFound.EXPIRED, id="expired"),
        pytest.param(claim(holder=""), ClaimFound.FREE, id="released"),
        pytest.param(claim(holder="ours"), ClaimFound.MINE, id="ours"),
    ],
)
def test_a_claim_may_be_taken_when_nobody_holds_it_and_never_while_it_is_being_deleted(
    found: dict[str, Any], meaning: ClaimFound
) -> None:
    """What a process writes into a claim that is being deleted is gone with it, and the effect would happen again."""
    assert claims.judge(found, WANTED, NOW) is meaning
    deleted = {**found, "metadata": {**found["metadata"], "deletionTimestamp": "2026-01-02T03:04:00Z"}}
    assert claims.judge(deleted, WANTED, NOW) is ClaimFound.STALE


@pytest.mark.parametrize(("renewed", "age"), [(7.0, 7.0), (0.0, 0.0), (-5.0, 0.0)])
def test_the_age_of_a_lease_is_never_negative(renewed: float, age: float) -> None:
    """A clock may have been set back since the renewal. That must not make the lease longer than it is."""
    assert claims.lease_age_seconds(claim(renewed=renewed), NOW) == age
