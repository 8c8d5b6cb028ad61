"""Every problem of the operator's store, under its key and with its remedy."""

from __future__ import annotations

import pytest

from core.policy.config import parse_config

PREFIX = "controller.storage."
GCS = {"provider": "gcs", "gcs.bucket": "payloads"}
AZURE = {"provider": "azure", "azure.account": "payloads", "azure.container": "runs-1"}
PRIVATE_GOOGLE = {"gcs.endpoint": "https://storage-payloads.p.googleapis.com"}


def problems(settings: dict[str, str]) -> list[str]:
    found = parse_config({f"{PREFIX}{key}": value for key, value in settings.items()}).errors
    return [str(each).removeprefix(PREFIX) for each in found]


@pytest.mark.parametrize(
    "settings",
    [
        GCS,
        GCS | PRIVATE_GOOGLE,
        GCS | {"gcs.endpoint": "https://gcs.storage:4443", "gcs.auth-secret-name": "payload-store"},
        AZURE,
        AZURE | {"azure.endpoint": "https://payloads.blob.core.usgovcloudapi.net"},
        AZURE | {"azure.endpoint": "http://azurite:10000/payloads", "azure.auth-secret-name": "payload-store"},
        # Settings of a provider that is not chosen do not matter.
        GCS | {"azure.account": "Payloads", "s3.bucket": ""},
    ],
)
def test_a_store_that_can_be_used_has_no_problems(settings: dict[str, str]) -> None:
    assert problems(settings) == []


def test_all_that_is_missing_or_wrong_is_reported_at_once() -> None:
    assert problems({"provider": "azure", "azure.endpoint": "blob.example"}) == [
        "azure.account: is required when the provider is azure",
        "azure.container: is required when the provider is azure",
        (
            "azure.endpoint: must be a URL that starts with 'https://' or 'http://', such as "
            "'https://payloads.blob.core.usgovcloudapi.net', without user name and query"
        ),
    ]
    assert problems({"provider": "gcs", "gcs.endpoint": "http://gcs:4443"}) == [
        "gcs.bucket: is required when the provider is gcs",
        (
            "gcs.endpoint: must be a URL that starts with 'https://', such as "
            "'https://storage-payloads.p.googleapis.com', without user name and query"
        ),
    ]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (GCS | {"gcs.bucket": "gs://payloads"}, "gcs.bucket: 'gs://payloads' must be the name of a bucket"),
        (
            AZURE | {"azure.account": "evil.example/"},
            "azure.account: 'evil.example/' must be the name of a storage account",
        ),
        (AZURE | {"azure.container": "a--b"}, "azure.container: 'a--b' must be the name of a container"),
        (AZURE | {"azure.endpoint": "https://user:key@host"}, "azure.endpoint: must be a URL"),
        (AZURE | {"azure.endpoint": "https://payloads.blob.core.windows.net/?sig=x"}, "azure.endpoint: must be a URL"),
    ],
)
def test_a_name_or_an_address_that_cannot_be_right_is_refused(settings: dict[str, str], problem: str) -> None:
    [found] = problems(settings)
    assert found.startswith(problem)
    assert "key@" not in found


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (GCS | {"gcs.endpoint": "https://googleapis.com.evil.example"}, "gcs"),
        (GCS | {"gcs.endpoint": "https://evilgoogleapis.com"}, "gcs"),
        (AZURE | {"azure.endpoint": "https://payloads.blob.core.windows.net.evil.example"}, "azure"),
    ],
)
def test_the_credentials_of_the_environment_never_go_to_another_host(settings: dict[str, str], key: str) -> None:
    [found] = problems(settings)
    assert f"{key}.endpoint: {settings[f'{key}.endpoint']} is not a host of " in found
    assert f"name a Secret with credentials for it in {PREFIX}{key}.auth-secret-name" in found
    assert problems(settings | {f"{key}.auth-secret-name": "payload-store"}) == []


def test_a_token_of_the_environment_is_never_sent_in_the_clear() -> None:
    [found] = problems(AZURE | {"azure.endpoint": "http://payloads.blob.core.windows.net"})
    assert "must start with 'https://', because a token is sent to it" in found
