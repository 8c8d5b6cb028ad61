from __future__ import annotations

import copy

from cli.doctor.webhooks import of_presence, of_services, services_of
from deployment.registration import mutating_configuration, validating_configuration
from views.doctor.diagnosis import Health

WANTED = [mutating_configuration(), validating_configuration()]
PLACE = ("bobrapet-system", "bobrapet-webhook-service")


def test_registered_webhooks_are_well() -> None:
    assert of_presence(WANTED, WANTED) == []


def test_a_webhook_that_is_not_registered_is_a_problem() -> None:
    (found,) = of_presence(WANTED[:1], WANTED)

    assert found.health is Health.PROBLEM
    assert "vstory-v1alpha1.kb.io" in found.text


def test_a_webhook_that_gives_way_is_a_warning() -> None:
    there = copy.deepcopy(WANTED)
    there[1]["webhooks"][0]["failurePolicy"] = "Ignore"

    (found,) = of_presence(there, WANTED)

    assert (found.health, "Ignore instead of Fail" in found.text) == (Health.WARNING, True)


def test_a_service_that_does_not_exist_is_a_problem_of_those_who_lead_to_it() -> None:
    used = services_of([{**each, "kind": "WebhookConfiguration"} for each in WANTED])

    (found,) = of_services(used, {})

    assert found.health is Health.PROBLEM
    assert "WebhookConfiguration bobrapet-mutating-webhook-configuration" in found.text
    assert "bobrapet-system/bobrapet-webhook-service, which does not exist" in found.text


def test_a_service_without_endpoints_is_a_problem_and_an_unknown_number_is_not() -> None:
    used = {PLACE: ["a"]}

    assert [each.health for each in of_services(used, {PLACE: 0})] == [Health.PROBLEM]
    assert of_services(used, {PLACE: 2}) == of_services(used, {PLACE: None}) == []
