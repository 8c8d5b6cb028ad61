from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

from certs.authority import issue_authority, issue_leaf
from certs.lifetimes import DEFAULT_LIFETIMES
from certs.material import pem_of
from cli.doctor.certificates import cert_manager, client_configs, of_bundles, of_served
from views.doctor.diagnosis import Health

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
NAMES = ("bobrapet-webhook-service.bobrapet-system.svc",)
AUTHORITY = issue_authority(NAMES, NOW, DEFAULT_LIFETIMES)
OTHER = issue_authority(NAMES, NOW, DEFAULT_LIFETIMES)
LEAF = issue_leaf(AUTHORITY, NAMES, NOW, DEFAULT_LIFETIMES).certificate
TRUSTED, FOREIGN = pem_of((AUTHORITY.certificate,)), pem_of((OTHER.certificate,))
END = LEAF.not_valid_after_utc


def test_a_certificate_is_judged_by_its_end() -> None:
    assert of_served(LEAF, NOW).health is Health.OK
    assert of_served(LEAF, END - timedelta(days=1)).health is Health.WARNING
    assert of_served(LEAF, END + timedelta(seconds=1)).health is Health.PROBLEM


def test_a_certificate_that_is_not_valid_yet_is_a_problem() -> None:
    assert of_served(LEAF, LEAF.not_valid_before_utc - timedelta(minutes=1)).health is Health.PROBLEM


def test_bundles_with_the_authority_of_the_served_certificate_are_well() -> None:
    (found,) = of_bundles({"a": [TRUSTED], "b": [FOREIGN + TRUSTED]}, LEAF, NOW)

    assert found.health is Health.OK


def test_a_bundle_of_another_authority_is_a_problem_at_its_place() -> None:
    (found,) = of_bundles({"a": [TRUSTED], "b": [FOREIGN]}, LEAF, NOW)

    assert found.health is Health.PROBLEM
    assert found.text.startswith("the caBundle of b does not have the authority of the served certificate")


def test_places_with_the_same_fault_are_named_together() -> None:
    (found,) = of_bundles({"a": [b""], "b": [b"", b""]}, LEAF, NOW)

    assert found.text.startswith("the caBundle of a, b is empty or cannot be read")


def test_an_empty_and_an_expired_bundle_are_problems_even_if_the_certificate_is_unknown() -> None:
    late = AUTHORITY.certificate.not_valid_after_utc + timedelta(days=1)

    assert [each.health for each in of_bundles({"a": [b""]}, None, NOW)] == [Health.PROBLEM]
    assert [each.health for each in of_bundles({"a": [TRUSTED]}, None, late)] == [Health.PROBLEM]
    assert [each.health for each in of_bundles({"a": [FOREIGN]}, None, NOW)] == [Health.OK]


def test_what_cert_manager_makes_is_not_asked_of_the_operator() -> None:
    maker = cert_manager("team-a")
    found = [of_served(LEAF, END + timedelta(days=1), maker), *of_bundles({"a": [FOREIGN]}, LEAF, NOW, maker)]

    assert found[0].commands == ("kubectl -n team-a describe certificates.cert-manager.io",)
    assert all(each.remedy.startswith("cert-manager") for each in found)
    assert "cert-manager" not in of_served(LEAF, END + timedelta(days=1)).remedy


def test_webhooks_and_conversions_have_client_configurations() -> None:
    config = {"caBundle": base64.b64encode(TRUSTED).decode()}

    assert client_configs({"webhooks": [{"clientConfig": config}, {}]}) == [config, {}]
    assert client_configs({"spec": {"conversion": {"webhook": {"clientConfig": config}}}}) == [config]
    assert client_configs({"spec": {"conversion": {"strategy": "None"}}}) == []
