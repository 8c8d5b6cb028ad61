"""Which store the operator opens, with which credentials."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from core.engine.errors import NoStoreError, StorageUnavailableError
from core.payloads.errors import StoreUnavailableError
from core.payloads.store import AzureLocation, GcsLocation, S3Location
from core.policy.settings import StorageProvider, StorageSettings
from reconcilers.adapters import payload_store

S3 = StorageSettings(StorageProvider.S3, "b", "eu", "https://minio", True, "keys")
GCS = StorageSettings(StorageProvider.GCS, gcs_bucket="bucket", gcs_endpoint="https://g", gcs_auth_secret_name="keys")
AZURE = StorageSettings(
    StorageProvider.AZURE,
    azure_account="account",
    azure_container="container",
    azure_endpoint="https://a",
    azure_auth_secret_name="keys",
)


def secret(**data: str) -> dict[str, Any]:
    return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}}


@pytest.mark.parametrize(
    ("settings", "data", "vendor"),
    [
        (S3, {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "hunter2"}, "AWS"),
        (GCS, {"GOOGLE_SERVICE_ACCOUNT_KEY": "hunter2"}, "Google"),
        (AZURE, {"AZURE_STORAGE_ACCOUNT_KEY": "hunter2", "AZURE_AUTHORITY_HOST": "https://login"}, "Azure"),
    ],
)
def test_of_the_secret_only_the_keys_of_the_provider_are_read(
    settings: StorageSettings, data: dict[str, str], vendor: str
) -> None:
    given = secret(**data, other="x", **({"GOOGLE_SERVICE_ACCOUNT_KEY": "x"} if settings is AZURE else {}))

    assert payload_store.secret_of(settings) == "keys"
    assert payload_store.vendor_of(settings) == vendor
    assert payload_store.credentials_in(given, settings, "ns/keys") == data


@pytest.mark.parametrize("settings", [S3, GCS, AZURE], ids=["s3", "gcs", "azure"])
@pytest.mark.parametrize(
    "data",
    [
        {},
        {"data": {"AWS_ACCESS_KEY_ID": "aWQ="}},
        secret(AWS_ACCESS_KEY_ID="id", AWS_SECRET_ACCESS_KEY="", GOOGLE_SERVICE_ACCOUNT_KEY="", AZURE_CLIENT_ID="id"),
    ],
)
def test_a_secret_that_lacks_keys_never_means_the_credentials_of_the_environment(
    settings: StorageSettings, data: dict[str, Any]
) -> None:
    with pytest.raises(StorageUnavailableError, match="storage Secret ns/keys needs "):
        payload_store.credentials_in(data, settings, "ns/keys")


def test_a_value_that_is_no_text_is_not_shown() -> None:
    with pytest.raises(StorageUnavailableError, match="has a value that is not UTF-8 text") as caught:
        payload_store.credentials_in({"data": {"GOOGLE_SERVICE_ACCOUNT_KEY": "/////w=="}}, GCS, "ns/keys")
    assert "/////w" not in str(caught.value)


def test_each_provider_gets_its_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    for name in ("open_s3_store", "open_gcs_store", "open_azure_store"):
        monkeypatch.setattr(payload_store, name, lambda location, *, timeout_seconds: opened.append(location))
    credentials = {"key": "hunter2"}
    for settings in (S3, GCS, AZURE):
        payload_store.open_store(settings, credentials)

    assert opened == [
        S3Location("b", "eu", "https://minio", True, credentials),
        GcsLocation("bucket", "https://g", credentials),
        AzureLocation("account", "container", "https://a", credentials),
    ]


def test_what_cannot_be_opened_says_why() -> None:
    with pytest.raises(NoStoreError, match=r"name one with controller\.storage\.provider"):
        payload_store.open_store(StorageSettings(), {})
    for settings in (GCS, AZURE):  # without the Secret, a user's own token must not go to a foreign host
        with pytest.raises(StoreUnavailableError, match="so it never gets the credentials of the environment"):
            payload_store.open_store(settings, {})
