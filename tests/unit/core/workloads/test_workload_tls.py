"""The TLS Secret of an Engram."""

from __future__ import annotations

from typing import Any

import pytest

from core.workloads.tls import tls_environment, tls_secret_name, tls_volume_mounts, tls_volumes
from tests.unit.core.workloads.workload_samples import WORKLOAD, workload

SPECIFIC, GENERAL = "engram.bubustack.io/tls-secret", "bubustack.io/tls-secret"


@pytest.mark.parametrize(
    ("annotations", "name"),
    [
        (None, ""),
        ({}, ""),
        ({GENERAL: "a"}, "a"),
        ({SPECIFIC: "b"}, "b"),
        ({GENERAL: "a", SPECIFIC: " b "}, "b"),
        ({GENERAL: "a", SPECIFIC: ""}, "a"),
    ],
)
def test_the_engrams_annotations_name_the_secret(annotations: dict[str, str] | None, name: str) -> None:
    engram: dict[str, Any] = {"metadata": {"annotations": annotations}}
    assert tls_secret_name(engram) == name


def test_a_container_is_told_where_its_certificate_is() -> None:
    attempt = workload(tls_secret="tls")
    assert [(variable["name"], variable["value"]) for variable in tls_environment(attempt, set())] == [
        ("BUBU_GRPC_TLS_CERT_FILE", "/var/run/tls/tls.crt"),
        ("BUBU_GRPC_TLS_KEY_FILE", "/var/run/tls/tls.key"),
        ("BUBU_GRPC_CA_FILE", "/var/run/tls/ca.crt"),
        ("BUBU_GRPC_CLIENT_CERT_FILE", "/var/run/tls/tls.crt"),
        ("BUBU_GRPC_CLIENT_KEY_FILE", "/var/run/tls/tls.key"),
        ("BUBU_GRPC_REQUIRE_TLS", "true"),
    ]
    assert tls_volumes(attempt) == [{"name": "engram-tls", "secret": {"secretName": "tls"}}]
    assert tls_volume_mounts(attempt) == [{"name": "engram-tls", "mountPath": "/var/run/tls", "readOnly": True}]


def test_variables_that_are_set_already_are_not_overruled() -> None:
    names = [variable["name"] for variable in tls_environment(workload(tls_secret="tls"), {"BUBU_GRPC_CA_FILE"})]
    assert "BUBU_GRPC_CA_FILE" not in names
    assert len(names) == 5


def test_without_a_secret_there_is_nothing() -> None:
    assert tls_environment(WORKLOAD, set()) == []
    assert tls_volumes(WORKLOAD) == []
    assert tls_volume_mounts(WORKLOAD) == []
