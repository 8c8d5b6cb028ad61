from __future__ import annotations

import pytest

from cli.doctor.admission import WRONG_FIELD, diagnose
from core.kube.errors import KubeError, UnreachableError, error_from_status
from kubewire import status_failure
from views.doctor.diagnosis import Health

FORBIDDEN = 'stories.bubustack.io is forbidden: User "ann" cannot create resource "stories" in API group'
NOT_CALLED = 'failed calling webhook "vstory-v1alpha1.kb.io": tls: failed to verify certificate'


def refused(reason: str, message: str, code: int, *fields: str) -> KubeError:
    details = {"name": "x", "causes": [{"field": field, "message": message} for field in fields]}
    return error_from_status({**status_failure(reason, message, code=code), "details": details})


@pytest.mark.parametrize(
    ("error", "health"),
    [
        (refused("Invalid", "must be a duration", 422, WRONG_FIELD), Health.OK),
        (refused("InternalError", NOT_CALLED, 500), Health.PROBLEM),
        (refused("Forbidden", FORBIDDEN, 403), Health.SKIPPED),
        (refused("NotFound", 'namespaces "team" not found', 404), Health.SKIPPED),
        (refused("Invalid", "another rule", 422), Health.WARNING),
        (UnreachableError("gone"), Health.PROBLEM),
        (None, Health.PROBLEM),
    ],
)
def test_the_answer_to_an_invalid_story_shows_whether_admission_is_asked(
    error: KubeError | None, health: Health
) -> None:
    assert diagnose(error, "team", of_operator=False).health is health


def test_why_a_webhook_cannot_be_called_is_in_the_answer() -> None:
    found = diagnose(refused("InternalError", NOT_CALLED, 500), "team", of_operator=False)

    assert "failed to verify certificate" in found.text


def test_webhooks_do_not_apply_in_the_operators_namespace() -> None:
    assert diagnose(None, "bobrapet-system", of_operator=True).health is Health.SKIPPED
