"""Which stores are the operator's own, and who may use its credentials."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.policy.credentials import (
    foreign_fields,
    is_operators_store,
    may_have_credentials,
    namespaces_key,
    operators_secret,
)
from core.policy.settings import StorageProvider, StorageSettings

S3 = StorageSettings(
    StorageProvider.S3, "b", "eu", "https://minio", s3_auth_secret_name="keys", s3_credential_namespaces=("team",)
)
GCS = StorageSettings(
    StorageProvider.GCS, gcs_bucket="b", gcs_auth_secret_name="keys", gcs_credential_namespaces=("team",)
)
AZURE = StorageSettings(
    StorageProvider.AZURE,
    azure_account="acc",
    azure_container="con",
    azure_endpoint="https://acc.blob.core.windows.net",
    azure_auth_secret_name="keys",
    azure_credential_namespaces=("team",),
)
OWN_AZURE = {"account": "acc", "container": "con", "endpoint": "https://acc.blob.core.windows.net:443/"}


@pytest.mark.parametrize("settings", [S3, GCS, AZURE], ids=["s3", "gcs", "azure"])
def test_the_secret_and_the_namespaces_are_those_of_the_chosen_provider(settings: StorageSettings) -> None:
    assert operators_secret(settings) == "keys"
    assert may_have_credentials("team", settings)
    assert not may_have_credentials("other", settings)
    assert namespaces_key(settings) == f"controller.storage.{settings.provider}.credential-namespaces"


def test_without_a_cloud_store_nobody_gets_credentials() -> None:
    for provider in (StorageProvider.NONE, StorageProvider.FILE):
        settings = StorageSettings(provider, s3_auth_secret_name="keys", s3_credential_namespaces=("*",))
        assert operators_secret(settings) == ""
        assert not may_have_credentials("team", settings)


@pytest.mark.parametrize(
    ("storage", "settings", "foreign"),
    [
        ({"s3": {"bucket": "b", "endpoint": "minio:443"}}, S3, []),
        ({"s3": {"bucket": "b", "region": "us"}}, S3, ["storage.s3.endpoint", "storage.s3.region"]),
        ({"gcs": {"bucket": "b"}}, GCS, []),
        ({"gcs": {"bucket": "b", "endpoint": "https://evil"}}, GCS, ["storage.gcs.endpoint"]),
        ({"gcs": {"bucket": "c"}}, GCS, ["storage.gcs.bucket"]),
        ({"azure": OWN_AZURE}, AZURE, []),
        ({"azure": {**OWN_AZURE, "account": "x"}}, AZURE, ["storage.azure.account"]),
        ({"azure": {**OWN_AZURE, "container": "x"}}, AZURE, ["storage.azure.container"]),
        ({"azure": {"account": "acc", "container": "con"}}, AZURE, ["storage.azure.endpoint"]),
        # A bucket of the same name at another provider is another store.
        ({"s3": {"bucket": "b"}}, GCS, ["storage.s3.bucket"]),
        ({"gcs": {"bucket": "b"}}, S3, ["storage.gcs.bucket"]),
        ({"gcs": {"bucket": "b"}}, replace(S3, gcs_bucket="b"), ["storage.gcs.bucket"]),
    ],
)
def test_a_store_is_the_operators_own_only_with_the_same_address(
    storage: dict[str, Any], settings: StorageSettings, foreign: list[str]
) -> None:
    assert foreign_fields(storage, settings) == foreign
    assert is_operators_store(storage, settings) is not bool(foreign)
