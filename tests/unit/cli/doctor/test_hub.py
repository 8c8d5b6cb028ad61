from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bubu_contract.instants import format_precise_instant
from cli.doctor.hub import diagnose
from views.doctor.diagnosis import Health

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(("age", "health"), [(3, Health.OK), (60, Health.WARNING)])
def test_a_hub_serves_while_it_renews_its_lease(age: float, health: Health) -> None:
    renewed_at = format_precise_instant(NOW - timedelta(seconds=age))
    lease = {"spec": {"holderIdentity": "hub", "renewTime": renewed_at, "leaseDurationSeconds": 15}}

    assert diagnose(lease, NOW, "bobrapet-system").health is health


def test_an_installation_without_realtime_stories_needs_no_hub() -> None:
    assert diagnose(None, NOW, "bobrapet-system").health is Health.SKIPPED
