"""The settings of a payload store in Azure Blob Storage.

The credentials are the first complete ones of: the account's key, a shared access signature, a client's secret. Else
they are what obstore finds: the workload identity of the Pod, and at last the managed identity of the machine. Access
is never anonymous.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs

from bubu_sdk.cloud import client_options, endpoint_of, open_cloud_store, required
from bubu_sdk.errors import ContextError, Object
from bubu_sdk.storage import Store

_HOSTS = (
    ".blob.core.windows.net",
    ".blob.core.usgovcloudapi.net",
    ".blob.core.chinacloudapi.cn",
    ".blob.storage.azure.net",
)
_AUTHORITY = "https://login.microsoftonline.com"


def open_azure_store(environ: Mapping[str, str]) -> Store:
    """The store for the container in ``environ``.

    Raises:
        ContextError: a setting is missing or wrong, or ``obstore`` is not installed.
    """
    config, client, retry = azure_options(environ)
    secrets = [str(config[name]) for name in ("account_key", "client_secret", "sas_key") if name in config]
    secrets += parse_qs(str(config.get("sas_key", "")).lstrip("?")).get("sig", [])
    return open_cloud_store("azure", "AzureStore", config.pop("container"), (config, client, retry), secrets)


def azure_options(environ: Mapping[str, str]) -> tuple[Object, Object, Object]:
    """``environ`` as settings of obstore: container configuration, client options, retry configuration. Pure.

    Raises:
        ContextError: a setting is missing or wrong; names the variable.
    """
    account = required(environ, "BUBU_STORAGE_AZURE_ACCOUNT", "azure")
    container = required(environ, "BUBU_STORAGE_AZURE_CONTAINER", "azure")
    if not (account.isascii() and account.isalnum()):
        raise ContextError(f"BUBU_STORAGE_AZURE_ACCOUNT is {account!r}; it must be the name of a storage account")
    credentials = _credentials(environ)
    endpoint = endpoint_of(
        environ,
        "BUBU_STORAGE_AZURE_ENDPOINT",
        # In the clear only with the account's key, which signs and is never sent.
        schemes=("https", "http") if "account_key" in credentials else ("https",),
        own_hosts=_HOSTS,
        has_credentials=bool(credentials),
    )
    # Whatever is not given here, obstore takes from the process's environment.
    config: Object = {
        "container": container,
        "account_name": account,
        "endpoint": endpoint or f"https://{account}.blob.core.windows.net",
        "use_emulator": False,
        "skip_signature": False,
        **credentials,
    }
    return config, *client_options(environ, "BUBU_AZURE", allow_http=endpoint.startswith("http://"))


def _credentials(environ: Mapping[str, str]) -> Object:
    def value(name: str) -> str:
        return environ.get(name, "").strip()

    if key := value("AZURE_STORAGE_ACCOUNT_KEY"):
        return {"account_key": key, "credential_type": "access_key"}
    if signature := value("AZURE_STORAGE_SAS_TOKEN"):
        return {"sas_key": signature, "credential_type": "sas_token"}
    secret = value("AZURE_CLIENT_SECRET")
    if not secret:
        return {}
    client, tenant = value("AZURE_CLIENT_ID"), value("AZURE_TENANT_ID")
    if not (client and tenant):
        raise ContextError("AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and AZURE_TENANT_ID must be set together")
    authority = value("AZURE_AUTHORITY_HOST").rstrip("/") or _AUTHORITY
    if not authority.startswith("https://"):
        raise ContextError(f"AZURE_AUTHORITY_HOST is {authority!r}; it must start with 'https://'")
    return {
        "client_id": client,
        "client_secret": secret,
        "tenant_id": tenant,
        "authority_host": authority,
        "credential_type": "client_secret",
    }
