"""Addresses of stores in the cloud: what may stand in a setting, and whose host it is. Pure.

Google and Azure identify a client by a token. Unlike a signature, a token can be used by anyone who gets it, until it
expires. So a token is only sent over TLS, and one of the environment only to hosts of the provider that issued it.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

GOOGLE_ENDPOINT: Final = "https://storage.googleapis.com"
OWN_CREDENTIALS: Final = "name a Secret with credentials for it"

_GOOGLE_HOSTS: Final = (".googleapis.com",)
_AZURE_HOSTS: Final = (
    ".blob.core.windows.net",
    ".blob.core.usgovcloudapi.net",
    ".blob.core.chinacloudapi.cn",
    ".blob.storage.azure.net",
)
_GOOGLE_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_AZURE_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}")
_AZURE_CONTAINER: Final = re.compile(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*")


def azure_endpoint(account: str) -> str:
    return f"https://{account}.blob.core.windows.net"


def google_bucket_problem(bucket: str) -> str:
    """Why no bucket of Google Cloud Storage can have this name; empty if one can."""
    if _GOOGLE_BUCKET.fullmatch(bucket):
        return ""
    return f"{bucket!r} must be the name of a bucket: lower-case letters, digits, '-', '_' and '.'; no 'gs://'"


def azure_account_problem(account: str) -> str:
    """The same for a storage account of Azure."""
    if _AZURE_ACCOUNT.fullmatch(account):
        return ""
    return f"{account!r} must be the name of a storage account: 3 to 24 lower-case letters and digits"


def azure_container_problem(container: str) -> str:
    """The same for a container of Azure Blob Storage."""
    if _AZURE_CONTAINER.fullmatch(container):
        return ""
    return f"{container!r} must be the name of a container: 3 to 63 lower-case letters, digits and single hyphens"


def google_endpoint_problem(endpoint: str, *, has_secret: bool, remedy: str = OWN_CREDENTIALS) -> str:
    """Why an endpoint of Google Cloud Storage cannot be used; empty if it can, or if there is none.

    Args:
        has_secret: the credentials are in a Secret, which belongs to this endpoint; otherwise they are those of the
            environment.
        remedy: of an endpoint that may not get the credentials of the environment.
    """
    if not endpoint:
        return ""
    example = "https://storage-payloads.p.googleapis.com"
    return _problem(endpoint, ("https",), example) or _foreign(endpoint, _GOOGLE_HOSTS, "Google", has_secret, remedy)


def azure_endpoint_problem(endpoint: str, *, has_secret: bool, remedy: str = OWN_CREDENTIALS) -> str:
    """The same for Azure. With ``http``, only the account's key can be used, which is never sent."""
    if not endpoint:
        return ""
    example = "https://payloads.blob.core.usgovcloudapi.net"
    problem = _problem(endpoint, ("https", "http"), example)
    problem = problem or _foreign(endpoint, _AZURE_HOSTS, "Azure", has_secret, remedy)
    if not problem and not has_secret and is_plain(endpoint):
        return f"{shown(endpoint)} must start with 'https://', because a token is sent to it"
    return problem


def https_problem(url: str, example: str) -> str:
    """Why something secret cannot be sent to ``url``; empty if it can."""
    return _problem(url, ("https",), example)


def is_plain(endpoint: str) -> bool:
    """Whether requests to it are not encrypted."""
    return endpoint.lower().startswith("http://")


def shown(endpoint: str) -> str:
    """The endpoint in messages: scheme, host and port."""
    parts, port = _split(endpoint)
    if parts is None:
        return "the endpoint"
    return f"{parts.scheme}://{parts.hostname}{f':{port}' if port else ''}"


def _problem(endpoint: str, schemes: tuple[str, ...], example: str) -> str:
    parts, _ = _split(endpoint)
    fits = parts is not None and parts.scheme in schemes and parts.username is None
    if parts is None or not fits or parts.query or parts.fragment:
        wanted = " or ".join(f"'{scheme}://'" for scheme in schemes)
        return f"must be a URL that starts with {wanted}, such as {example!r}, without user name and query"
    return ""


def _foreign(endpoint: str, hosts: tuple[str, ...], provider: str, has_secret: bool, remedy: str) -> str:
    parts, _ = _split(endpoint)
    if has_secret or parts is None or (parts.hostname or "").endswith(hosts):
        return ""
    return (
        f"{shown(endpoint)} is not a host of {provider} ({', '.join(f'*{host}' for host in hosts)}), so it never gets "
        f"the credentials of the environment; {remedy}"
    )


def _split(endpoint: str) -> tuple[SplitResult | None, int | None]:
    """The parts and the port; None if it is no URL."""
    try:
        parts = urlsplit(endpoint)
        return (parts if parts.hostname else None), parts.port
    except ValueError:
        return None, None
