from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bubu_contract.instants import format_precise_instant
from cli.doctor.operator import of_deployment, of_lease
from core.api.objects import Object
from views.doctor.diagnosis import Health

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
PLACE = "bobrapet-system/bobrapet-controller-manager"


def deployment(ready: int = 2, replicas: int = 2, image: str = "registry:5000/bobrapet-py:1.2.3") -> Object:
    return {
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"image": image}]}}},
        "status": {
            "readyReplicas": ready,
            "conditions": [{"type": "Available", "status": "False", "message": "too few replicas"}],
        },
    }


def healths(*args: Any) -> list[Health]:
    return [each.health for each in of_deployment(*args)]


def test_a_ready_operator_of_the_same_version_is_well() -> None:
    assert healths(deployment(), PLACE, "1.2.3") == [Health.OK, Health.OK]


def test_without_a_deployment_there_is_a_problem() -> None:
    assert healths(None, PLACE, "1.2.3") == [Health.PROBLEM]


def test_an_operator_outside_the_cluster_that_renews_its_lease_is_no_problem() -> None:
    (found,) = of_deployment(None, PLACE, "1.2.3", works_elsewhere=True)

    assert found.health is Health.SKIPPED
    assert "runs elsewhere" in found.text


def test_an_operator_without_ready_replicas_is_a_problem_with_its_reason() -> None:
    found = of_deployment(deployment(ready=0), PLACE, "1.2.3")[0]

    assert found.health is Health.PROBLEM
    assert "too few replicas" in found.text
    assert found.commands == ("kubectl --namespace bobrapet-system describe deployment/bobrapet-controller-manager",)


def test_an_operator_that_is_scaled_down_is_a_problem() -> None:
    assert healths(deployment(0, 0), PLACE, "1.2.3")[0] is Health.PROBLEM


def test_an_operator_with_a_missing_replica_is_a_warning() -> None:
    assert healths(deployment(ready=1), PLACE, "1.2.3")[0] is Health.WARNING


@pytest.mark.parametrize(
    ("image", "health"),
    [
        ("bobrapet-py:1.2.3", Health.OK),
        ("bobrapet-py:v1.2.3", Health.OK),
        ("bobrapet-py:1.2.3@sha256:00", Health.OK),
        ("bobrapet-py:1.3.0", Health.WARNING),
        ("bobrapet-py:latest", Health.SKIPPED),
        ("registry:5000/bobrapet-py", Health.SKIPPED),
        ("", Health.SKIPPED),
    ],
)
def test_the_version_of_the_operator_is_that_of_its_image(image: str, health: Health) -> None:
    assert healths(deployment(image=image), PLACE, "1.2.3")[-1] is health


@pytest.mark.parametrize(
    ("age", "holder", "health"),
    [(3, "a", Health.OK), (20, "a", Health.PROBLEM), (3, "", Health.PROBLEM)],
)
def test_a_lease_must_be_held_and_fresh(age: float, holder: str, health: Health) -> None:
    renewed_at = format_precise_instant(NOW - timedelta(seconds=age))
    spec = {"holderIdentity": holder, "renewTime": renewed_at, "leaseDurationSeconds": 15}

    assert of_lease({"spec": spec}, NOW).health is health


def test_a_lease_that_was_never_taken_is_a_problem() -> None:
    assert of_lease(None, NOW).health is Health.PROBLEM
