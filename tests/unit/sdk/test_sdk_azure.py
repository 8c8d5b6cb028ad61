"""The settings of the store in Azure Blob Storage."""

from __future__ import annotations

import pytest

from bubu_sdk import azure
from bubu_sdk.errors import ContextError

PLACE = {"BUBU_STORAGE_AZURE_ACCOUNT": "acc", "BUBU_STORAGE_AZURE_CONTAINER": "con"}
ACCOUNT_KEY = {"AZURE_STORAGE_ACCOUNT_KEY": "aHVudGVyMg=="}
SAS = {"AZURE_STORAGE_SAS_TOKEN": "?sv=2024&sig=hunter2"}
CLIENT = {"AZURE_CLIENT_ID": "id", "AZURE_CLIENT_SECRET": "hunter2", "AZURE_TENANT_ID": "tenant"}
DESCRIBED = {
    "container": "con",
    "account_name": "acc",
    "endpoint": "https://acc.blob.core.windows.net",
    "use_emulator": False,
    "skip_signature": False,
}
OF_CLIENT = {"client_id": "id", "client_secret": "hunter2", "tenant_id": "tenant", "credential_type": "client_secret"}


@pytest.mark.parametrize(
    ("environ", "credentials"),
    [
        ({}, {}),
        # What the webhook of Azure's workload identity sets is left to obstore.
        ({"AZURE_CLIENT_ID": "id", "AZURE_TENANT_ID": "t", "AZURE_FEDERATED_TOKEN_FILE": "/token"}, {}),
        (ACCOUNT_KEY | SAS | CLIENT, {"account_key": "aHVudGVyMg==", "credential_type": "access_key"}),
        (SAS | CLIENT, {"sas_key": "?sv=2024&sig=hunter2", "credential_type": "sas_token"}),
        (CLIENT, OF_CLIENT | {"authority_host": "https://login.microsoftonline.com"}),
        (
            CLIENT | {"AZURE_AUTHORITY_HOST": "https://login.microsoftonline.us/"},
            OF_CLIENT | {"authority_host": "https://login.microsoftonline.us"},
        ),
    ],
)
def test_the_first_complete_credentials_are_used_and_no_others(
    environ: dict[str, str], credentials: dict[str, str]
) -> None:
    config, client, _ = azure.azure_options(PLACE | environ)

    assert config == DESCRIBED | credentials
    assert "allow_http" not in client


def test_only_the_key_of_the_account_is_used_in_the_clear() -> None:
    endpoint = {"BUBU_STORAGE_AZURE_ENDPOINT": "http://azurite:10000/acc"}

    config, client, _ = azure.azure_options(PLACE | ACCOUNT_KEY | endpoint)

    assert (config["endpoint"], client["allow_http"]) == ("http://azurite:10000/acc", True)
    for credentials in (SAS, CLIENT, {}):
        with pytest.raises(ContextError, match="must be a URL that starts with 'https://'") as caught:
            azure.azure_options(PLACE | credentials | endpoint)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"BUBU_STORAGE_AZURE_ACCOUNT": ""}, "BUBU_STORAGE_AZURE_ACCOUNT is required"),
        ({"BUBU_STORAGE_AZURE_CONTAINER": ""}, "BUBU_STORAGE_AZURE_CONTAINER is required"),
        ({"BUBU_STORAGE_AZURE_ACCOUNT": "evil.example/"}, "must be the name of a storage account"),
        ({"AZURE_CLIENT_SECRET": "hunter2"}, "must be set together"),
        (
            CLIENT | {"AZURE_AUTHORITY_HOST": "http://login"},
            "AZURE_AUTHORITY_HOST is 'http://login'; it must start with",
        ),
        ({"BUBU_STORAGE_AZURE_ENDPOINT": "https://blob.example"}, "does not get a token of this container"),
        (
            {"BUBU_STORAGE_AZURE_ENDPOINT": "https://acc.blob.core.windows.net.evil.example"},
            "does not get a token of this container",
        ),
        ({"BUBU_AZURE_TIMEOUT": "long"}, "BUBU_AZURE_TIMEOUT"),
    ],
)
def test_a_wrong_setting_names_its_variable(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ContextError, match=message) as caught:
        azure.azure_options(PLACE | environ)
    assert "hunter2" not in str(caught.value)


def test_a_key_that_is_none_is_refused_without_showing_it() -> None:
    pytest.importorskip("obstore", reason="needs the extra bubu-sdk[storage]")
    with pytest.raises(ContextError, match="its credentials cannot be used") as caught:
        azure.open_azure_store(PLACE | {"AZURE_STORAGE_ACCOUNT_KEY": "hunter2 is no base64"})
    assert "hunter2" not in str(caught.value)
