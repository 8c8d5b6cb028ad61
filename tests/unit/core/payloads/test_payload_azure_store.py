"""The settings and credentials of a container in Azure; its requests are tested in ``tests/e2e``."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import obstore.store
import pytest

from core.payloads.azure_store import AzureLocation, azure_store
from core.payloads.errors import StoreUnavailableError

ACCOUNT_KEY = {"AZURE_STORAGE_ACCOUNT_KEY": base64.b64encode(b"hunter2").decode()}
SAS = {"AZURE_STORAGE_SAS_TOKEN": "?sv=2024&sig=hunter2"}
CLIENT = {"AZURE_CLIENT_ID": "id", "AZURE_CLIENT_SECRET": "hunter2", "AZURE_TENANT_ID": "tenant"}
LOCATION = AzureLocation("payloads", "runs", "https://blob.storage:10000/payloads", ACCOUNT_KEY)
OF_CLIENT = {"client_id": "id", "client_secret": "hunter2", "tenant_id": "tenant", "credential_type": "client_secret"}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def store(container: str, **options: Any) -> None:
        found.append({"container": container, **options})
        raise ValueError("no requests in this test")

    monkeypatch.setattr(obstore.store, "AzureStore", store)
    return found


async def connected(location: AzureLocation, given: list[dict[str, Any]]) -> tuple[dict[str, Any], bool]:
    with pytest.raises(StoreUnavailableError):
        await azure_store(location, 10).read("outputs/team/a.json", 1)
    [options] = given
    given.clear()
    assert options["container"] == "runs"
    return options["config"], options["client_options"]["allow_http"]


@pytest.mark.parametrize(
    ("credentials", "config"),
    [
        (
            {**ACCOUNT_KEY, **SAS, **CLIENT},
            {"account_key": ACCOUNT_KEY["AZURE_STORAGE_ACCOUNT_KEY"], "credential_type": "access_key"},
        ),
        ({**SAS, **CLIENT}, {"sas_key": SAS["AZURE_STORAGE_SAS_TOKEN"], "credential_type": "sas_token"}),
        (CLIENT, {**OF_CLIENT, "authority_host": "https://login.microsoftonline.com"}),
        (
            {**CLIENT, "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.us/"},
            {**OF_CLIENT, "authority_host": "https://login.microsoftonline.us"},
        ),
    ],
)
async def test_the_first_complete_credentials_of_the_secret_are_used_whatever_the_environment_has(
    credentials: Mapping[str, str], config: dict[str, str], given: list[dict[str, Any]]
) -> None:
    found, plain = await connected(replace(LOCATION, credentials=credentials), given)

    described = {"account_name": "payloads", "endpoint": "https://blob.storage:10000/payloads"}
    assert found == {**described, "use_emulator": False, "skip_signature": False, **config}
    assert not plain


async def test_without_a_secret_obstore_looks_for_credentials_for_the_accounts_own_host(
    given: list[dict[str, Any]],
) -> None:
    found, plain = await connected(AzureLocation("payloads", "runs"), given)

    described = {"account_name": "payloads", "endpoint": "https://payloads.blob.core.windows.net"}
    assert found == {**described, "use_emulator": False, "skip_signature": False}
    assert not plain


async def test_only_the_key_of_the_account_is_used_in_the_clear(given: list[dict[str, Any]]) -> None:
    location = replace(LOCATION, endpoint="http://azurite:10000/payloads")

    _, plain = await connected(location, given)

    assert plain
    for credentials in (SAS, CLIENT):
        with pytest.raises(StoreUnavailableError, match="its endpoint must start with 'https://', because") as caught:
            azure_store(replace(location, credentials=credentials), 1)
        assert "hunter2" not in str(caught.value)


def test_a_location_shows_no_credentials() -> None:
    assert "hunter2" not in repr(replace(LOCATION, credentials=CLIENT))


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        (AzureLocation("", "runs"), "it has no account or no container; name both"),
        (AzureLocation("payloads", ""), "it has no account or no container; name both"),
        (AzureLocation("evil.example/", "runs"), "must be the name of a storage account"),
        (AzureLocation("payloads", "Runs"), "must be the name of a container"),
        (replace(LOCATION, endpoint="blob.storage"), "its endpoint must be a URL that starts with"),
        (replace(LOCATION, credentials={}), "is not a host of Azure .* name a Secret with credentials for it"),
        (AzureLocation("payloads", "runs", "http://payloads.blob.core.windows.net"), "must start with 'https://'"),
        (
            replace(LOCATION, credentials={"AZURE_CLIENT_SECRET": "hunter2"}),
            "its Secret needs AZURE_STORAGE_ACCOUNT_KEY, or",
        ),
        (
            replace(LOCATION, credentials={**CLIENT, "AZURE_AUTHORITY_HOST": "http://login"}),
            "AZURE_AUTHORITY_HOST in its Secret must be a URL that starts with 'https://'",
        ),
    ],
)
def test_a_location_that_cannot_be_used_says_why(location: AzureLocation, problem: str) -> None:
    with pytest.raises(StoreUnavailableError, match=problem) as caught:
        azure_store(location, 1)
    assert "hunter2" not in str(caught.value)


async def test_a_key_that_is_none_is_refused_at_the_first_request() -> None:
    location = replace(LOCATION, credentials={"AZURE_STORAGE_ACCOUNT_KEY": "hunter2 is no base64"})
    with pytest.raises(StoreUnavailableError, match="its credentials do not have the form that Azure issues") as caught:
        await azure_store(location, 10).read("outputs/team/a.json", 1)
    assert "hunter2" not in str(caught.value)
