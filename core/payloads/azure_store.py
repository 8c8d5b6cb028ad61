"""A container of Azure Blob Storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from core.api import store_address
from core.api import store_credentials as secret_keys
from core.payloads.cloud_answers import CloudProvider
from core.payloads.cloud_store import CloudStore, retry_config
from core.payloads.errors import StoreUnavailableError

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ObjectStore

_AZURE: Final = CloudProvider(
    "Azure Blob Storage", "Azure", "container", metadata_path="/metadata/identity/", copies_later=True
)
_AUTHORITY: Final = "https://login.microsoftonline.com"


@dataclass(frozen=True, slots=True)
class AzureLocation:
    """A container and its address.

    Attributes:
        account: the storage account.
        endpoint: URL of the account's blob service; with ``http`` only for an account key. Empty: Azure's public cloud.
        credentials: the keys of the Secret: AZURE_STORAGE_ACCOUNT_KEY; or AZURE_STORAGE_SAS_TOKEN; or AZURE_CLIENT_ID,
            AZURE_CLIENT_SECRET and AZURE_TENANT_ID, perhaps AZURE_AUTHORITY_HOST. Empty: what obstore finds in the
            process's environment, such as a workload identity, else those of the machine, from the metadata service.
    """

    account: str
    container: str
    endpoint: str = ""
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)


def azure_store(location: AzureLocation, timeout_seconds: float) -> CloudStore:
    """
    Raises:
        StoreUnavailableError: the location cannot be used.
    """
    name = f"container {location.container!r} of account {location.account!r}"
    endpoint = location.endpoint.strip().rstrip("/")
    if not (location.account and location.container):
        raise StoreUnavailableError("the object store cannot be read: it has no account or no container; name both")
    if problem := store_address.azure_account_problem(location.account):
        raise StoreUnavailableError(f"{name} cannot be read: {problem}")
    if problem := store_address.azure_container_problem(location.container):
        raise StoreUnavailableError(f"{name} cannot be read: {problem}")
    if problem := store_address.azure_endpoint_problem(endpoint, has_secret=bool(location.credentials)):
        raise StoreUnavailableError(f"{name} cannot be read: its endpoint {problem}")
    if endpoint:
        name += f" at {store_address.shown(endpoint)}"
    config: AzureConfig = {
        # Whatever is not given here, obstore takes from the process's environment.
        "account_name": location.account,
        "endpoint": endpoint or store_address.azure_endpoint(location.account),
        "use_emulator": False,
        "skip_signature": False,
        **_credential(name, endpoint, location.credentials),
    }
    return CloudStore(name, timeout_seconds, _AZURE, lambda: _connected(location.container, config, timeout_seconds))


def _connected(container: str, config: AzureConfig, timeout_seconds: float) -> ObjectStore:
    from obstore.store import AzureStore

    return AzureStore(
        container,
        config=config,
        client_options={
            "timeout": timedelta(seconds=timeout_seconds),
            "allow_http": store_address.is_plain(str(config["endpoint"])),
        },
        retry_config=retry_config(timeout_seconds),
    )


def _credential(store: str, endpoint: str, given: Mapping[str, str]) -> AzureConfig:
    """The way to sign in that the Secret has; nothing without a Secret. Variables of the environment do not change it.

    Raises:
        StoreUnavailableError: the Secret has no complete way, or one that the endpoint does not allow.
    """
    if not given:
        return {}
    way = secret_keys.complete_way("azure", [key for key, value in given.items() if value])
    if way is None:
        raise StoreUnavailableError(f"{store} cannot be read: its Secret needs {secret_keys.lacking('azure', ())}")
    if way == (secret_keys.AZURE_STORAGE_ACCOUNT_KEY,):
        return {"account_key": given[way[0]].strip(), "credential_type": "access_key"}
    if store_address.is_plain(endpoint):
        raise StoreUnavailableError(
            f"{store} cannot be read: its endpoint must start with 'https://', because {', '.join(way)} of its Secret "
            "would be sent unencrypted"
        )
    if way == (secret_keys.AZURE_STORAGE_SAS_TOKEN,):
        return {"sas_key": given[way[0]].strip(), "credential_type": "sas_token"}
    authority = given.get(secret_keys.AZURE_AUTHORITY_HOST, "").strip().rstrip("/") or _AUTHORITY
    if problem := store_address.https_problem(authority, _AUTHORITY):
        raise StoreUnavailableError(
            f"{store} cannot be read: {secret_keys.AZURE_AUTHORITY_HOST} in its Secret {problem}"
        )
    identity, secret, tenant = (given[key].strip() for key in way)
    return {
        "client_id": identity,
        "client_secret": secret,
        "tenant_id": tenant,
        "authority_host": authority,
        "credential_type": "client_secret",
    }
