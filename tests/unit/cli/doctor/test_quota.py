from __future__ import annotations

from datetime import UTC, datetime

from cli.doctor.quota import diagnoses_of
from core.api.objects import Object
from views.doctor.diagnosis import Health

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def quota(used: str, hard: str, name: str = "requests.cpu") -> Object:
    return {"metadata": {"namespace": "team", "name": "q"}, "status": {"used": {name: used}, "hard": {name: hard}}}


def event(at: str) -> Object:
    return {"note": 'pods "a" is forbidden: exceeded quota: q', "deprecatedLastTimestamp": at}


def test_a_quota_with_room_is_well() -> None:
    assert [each.health for each in diagnoses_of([quota("900m", "1")], [], NOW)] == [Health.OK]


def test_a_quota_that_is_used_up_is_a_warning() -> None:
    (found,) = diagnoses_of([quota("1000m", "1")], [], NOW)

    assert (found.health, "requests.cpu 1000m of 1" in found.text) == (Health.WARNING, True)


def test_other_resources_do_not_count() -> None:
    assert [each.health for each in diagnoses_of([quota("5", "5", "services")], [], NOW)] == [Health.OK]


def test_a_pod_that_was_refused_lately_is_a_problem() -> None:
    assert [each.health for each in diagnoses_of([], [event("2026-11-24T11:59:00Z")], NOW)] == [Health.PROBLEM]
    assert [each.health for each in diagnoses_of([], [event("2026-11-24T10:00:00Z")], NOW)] == [Health.OK]
