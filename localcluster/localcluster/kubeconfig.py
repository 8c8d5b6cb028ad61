"""Kubeconfig files: writes the one of a local cluster for its users, and reads any into a ``Connection``.

Only the owner can read the written files. They contain JSON, which is valid YAML.
"""

from __future__ import annotations

import base64
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcluster.privatefile import write_private as write_private

CONTEXT_NAME = "localcluster"


class KubeconfigError(Exception):
    """The file cannot be used; the text names the file, the field and the remedy."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How a client reaches an API server, and its credentials."""

    url: str
    token: str = ""
    ca_pem: str = ""
    """The authorities that may sign the server's certificate; empty: those of the system."""
    client_certificate_pem: str = ""
    client_key_pem: str = ""

    def tls_context(self, scratch: Path) -> ssl.SSLContext:
        """A TLS context that trusts the authority and presents the client certificate.

        ``scratch`` is a private directory: OpenSSL reads a client key only from a file.
        """
        context = ssl.create_default_context(cadata=self.ca_pem or None)
        if self.client_certificate_pem:
            pair = scratch / "client.pem"
            write_private(pair, self.client_certificate_pem.rstrip() + "\n" + self.client_key_pem)
            context.load_cert_chain(pair)
            pair.unlink()
        return context


def render_kubeconfig(connection: Connection, *, namespace: str = "default") -> str:
    """A kubeconfig with one cluster, one user and one context."""

    def encoded(pem: str) -> str:
        return base64.b64encode(pem.encode()).decode()

    cluster: dict[str, Any] = {"server": connection.url}
    if connection.ca_pem:
        cluster["certificate-authority-data"] = encoded(connection.ca_pem)
    user: dict[str, Any] = {"token": connection.token} if connection.token else {}
    if connection.client_certificate_pem:
        user["client-certificate-data"] = encoded(connection.client_certificate_pem)
        user["client-key-data"] = encoded(connection.client_key_pem)
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT_NAME, "cluster": cluster}],
        "users": [{"name": CONTEXT_NAME, "user": user}],
        "contexts": [
            {"name": CONTEXT_NAME, "context": {"cluster": CONTEXT_NAME, "user": CONTEXT_NAME, "namespace": namespace}}
        ],
        "current-context": CONTEXT_NAME,
    }
    return json.dumps(document, indent=2) + "\n"


def read_kubeconfig(path: Path) -> Connection:
    """The connection of the current context.

    Raises:
        KubeconfigError: the file or the context does not exist, or the user needs an exec or auth-provider plugin.
    """
    try:
        text = path.read_text()
        document = json.loads(text) if text.startswith("{") else _read_yaml(text)
        context = _named(document, "contexts", document["current-context"], "context")
        cluster = _named(document, "clusters", context["cluster"], "cluster")
        user = _named(document, "users", context["user"], "user")
        if "exec" in user or "auth-provider" in user:
            raise KubeconfigError(f"{path}: users: plugins are not supported; give a token or a client certificate")
        return Connection(
            url=cluster["server"].rstrip("/"),
            token=user.get("token", ""),
            ca_pem=_pem(path, cluster, "certificate-authority"),
            client_certificate_pem=_pem(path, user, "client-certificate"),
            client_key_pem=_pem(path, user, "client-key"),
        )
    except OSError as error:
        raise KubeconfigError(f"{path}: {error.strerror}") from error
    except (KeyError, TypeError) as error:
        raise KubeconfigError(f"{path}: not a kubeconfig: {error} is missing") from error


def _read_yaml(text: str) -> Any:
    from ruamel.yaml import YAML  # slow to import; a kubeconfig that this module has written is JSON

    return YAML(typ="safe", pure=True).load(text)


def _named(document: dict[str, Any], section: str, name: str, field: str) -> dict[str, Any]:
    for entry in document[section]:
        if entry["name"] == name:
            return dict(entry[field])
    raise KeyError(f"{section}[name={name}]")


def _pem(path: Path, entry: dict[str, Any], field: str) -> str:
    if f"{field}-data" in entry:
        return base64.b64decode(entry[f"{field}-data"]).decode()
    if field in entry:
        return (path.parent / str(entry[field])).read_text()
    return ""
