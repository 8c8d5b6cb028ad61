"""The lease in a claim, and what is true of the claim at an instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.workloads.effect_lease import DEFAULT_LEASE, ClaimStanding, lease_of, standing_of

NOW = datetime(2026, 1, 1, 10, 0, 30, tzinfo=UTC)
HELD: dict[str, Any] = {
    "holderIdentity": "pod-1:5f0c",
    "acquireTime": "2026-01-01T10:00:00.123456Z",
    "renewTime": "2026-01-01T10:00:10.123456Z",
    "leaseDurationSeconds": 60,
}
UNTIL = datetime(2026, 1, 1, 10, 1, 10, 123456, tzinfo=UTC)
RESERVED = ("Reserved", "Reserved", False, True, False)
EXPIRED = ("Reserved", "LeaseExpired", False, False, True)


def claim(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"creationTimestamp": "2026-01-01T10:00:00Z"}, "spec": spec}


def told(standing: ClaimStanding) -> tuple[str, str, bool, bool, bool]:
    return standing.phase, standing.reason, standing.ready, standing.progressing, standing.degraded


@pytest.mark.parametrize(
    ("spec", "expected", "changes_at"),
    [
        pytest.param({}, RESERVED, None, id="nobody-yet"),
        pytest.param(HELD, RESERVED, UNTIL, id="held"),
        pytest.param({**HELD, "leaseDurationSeconds": 19}, EXPIRED, None, id="expired"),
        pytest.param({**HELD, "completionStatus": "released"}, RESERVED, UNTIL, id="released-and-taken-again"),
        pytest.param(
            {**HELD, "completionStatus": "released", "leaseDurationSeconds": 5}, EXPIRED, None, id="taken-again-expired"
        ),
        pytest.param(
            {"completionStatus": "released"}, ("Released", "Released", False, False, False), None, id="released"
        ),
        pytest.param(
            {"completionStatus": "released", "holderIdentity": " "},
            ("Released", "Released", False, False, False),
            None,
            id="released-blank-holder",
        ),
        pytest.param(
            {**HELD, "completionStatus": "completed"},
            ("Completed", "Completed", True, False, False),
            None,
            id="completed",
        ),
        pytest.param(
            {**HELD, "completionStatus": "completed", "leaseDurationSeconds": 1},
            ("Completed", "Completed", True, False, False),
            None,
            id="completed-long-ago",
        ),
        pytest.param(
            {"completionStatus": "abandoned"}, ("Abandoned", "Abandoned", False, False, True), None, id="abandoned"
        ),
    ],
)
def test_phase_and_conditions_follow_from_holder_outcome_and_time(
    spec: dict[str, Any], expected: tuple[Any, ...], changes_at: datetime | None
) -> None:
    standing = standing_of(claim(**spec), NOW)

    assert told(standing) == expected
    assert standing.changes_at == changes_at
    assert standing.message


def test_a_lease_expires_at_its_instant_and_not_before() -> None:
    moment = timedelta(microseconds=1)

    assert told(standing_of(claim(**HELD), UNTIL - moment)) == RESERVED
    assert told(standing_of(claim(**HELD), UNTIL)) == EXPIRED


@pytest.mark.parametrize(
    ("without", "until"),
    [
        pytest.param((), UNTIL, id="renewed"),
        pytest.param(("renewTime",), UNTIL - timedelta(seconds=10), id="never-renewed"),
        pytest.param(("renewTime", "acquireTime"), datetime(2026, 1, 1, 10, 1, tzinfo=UTC), id="since-its-creation"),
        pytest.param(("leaseDurationSeconds",), UNTIL - timedelta(seconds=60) + DEFAULT_LEASE, id="without-a-length"),
    ],
)
def test_the_end_of_a_lease_is_counted_from_the_latest_known_instant(without: tuple[str, ...], until: datetime) -> None:
    spec = {key: value for key, value in HELD.items() if key not in without}

    assert lease_of(claim(**spec)).until == until


@pytest.mark.parametrize(
    "spec",
    [
        None,
        [],
        {"holderIdentity": 7, "renewTime": "soon", "leaseDurationSeconds": True},
        {"holderIdentity": "a", "renewTime": "9999-12-31T23:59:59Z", "leaseDurationSeconds": 10**12},
        {"holderIdentity": "a", "leaseDurationSeconds": -1},
    ],
)
def test_a_claim_that_was_stored_without_a_schema_is_read(spec: Any) -> None:
    assert standing_of({"metadata": None, "spec": spec}, NOW).phase == "Reserved"
    assert lease_of({"spec": spec}) is not None
