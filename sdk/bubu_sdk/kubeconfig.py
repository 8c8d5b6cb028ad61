"""Address and credentials of the API server: from inside a Pod, or from a kubeconfig file.

Source: SDK contract 21. Exec and auth-provider plugins are refused; the error names them. A kubeconfig in YAML needs
PyYAML or ruamel.yaml; one in JSON (which is also YAML) needs nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from bubu_sdk import volume
from bubu_sdk.errors import ContextError, Object

if TYPE_CHECKING:
    import ssl

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class ClusterConfig:
    """One API server and one identity."""

    server: str
    """``https://host:port`` with an optional path."""
    token: str = ""
    token_file: Path | None = None
    """Read again for each request, because projected tokens rotate."""
    ca_pem: str = ""
    ca_file: Path | None = None
    client_certificate: str = ""
    """PEM; needs ``client_key``."""
    client_key: str = ""
    insecure: bool = False
    server_name: str = ""

    def authorization(self) -> str:
        """The value of the Authorization header; empty without a token."""
        token = self.token_file.read_text().strip() if self.token_file else self.token
        return f"Bearer {token}" if token else ""

    def ssl_context(self) -> ssl.SSLContext:
        """A context that trusts this cluster's CA, and that presents the client certificate if there is one."""
        import ssl  # imported here, because a plain-HTTP development server does not need it

        context = ssl.create_default_context(
            cafile=str(self.ca_file) if self.ca_file else None, cadata=self.ca_pem or None
        )
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_certificate:
            import tempfile

            with tempfile.NamedTemporaryFile(mode="w", suffix=".pem") as pair:  # ssl can load a chain only from files
                pair.write(f"{self.client_certificate}\n{self.client_key}\n")
                pair.flush()
                context.load_cert_chain(pair.name)
        return context


def load(environ: Mapping[str, str]) -> ClusterConfig:
    """The cluster of this process: that of its Pod, or that of ``KUBECONFIG`` or ``~/.kube/config``.

    Raises:
        ContextError: there is none of these, or the kubeconfig cannot be used; the message says how to run without a
            cluster.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    service_account = volume.mounted(SERVICE_ACCOUNT, environ)
    token_file = service_account / "token"
    if host and token_file.is_file():
        return _in_cluster(host, port, service_account)
    for name in filter(None, environ.get("KUBECONFIG", "").split(os.pathsep)):
        if Path(name).is_file():
            return from_kubeconfig(Path(name))
    default = Path(environ.get("HOME", "~")).expanduser() / ".kube" / "config"
    if default.is_file():
        return from_kubeconfig(default)
    raise ContextError(
        "no Kubernetes API server: not in a Pod with a service-account token, and no KUBECONFIG; "
        "to try an engram without a cluster use bubu_sdk.testing.EngramEnvironment"
    )


def from_kubeconfig(path: Path) -> ClusterConfig:
    """The current context of a kubeconfig file.

    Raises:
        ContextError: the file is unreadable or incomplete, or it needs a credential plugin.
    """
    document = _parse(path)
    context = _named(document, "contexts", document.get("current-context"), path).get("context") or {}
    cluster = _named(document, "clusters", context.get("cluster"), path).get("cluster") or {}
    user = _named(document, "users", context.get("user"), path).get("user") or {} if context.get("user") else {}
    for plugin in ("exec", "auth-provider"):
        if plugin in user:
            raise ContextError(
                f"{path}: the user needs the credential plugin {plugin!r}, which the SDK does not run; use a token"
            )
    if not cluster.get("server"):
        raise ContextError(f"{path}: the cluster {context.get('cluster')!r} has no server")
    token_file = user.get("tokenFile")
    return ClusterConfig(
        server=str(cluster["server"]).rstrip("/"),
        token=str(user.get("token") or ""),
        token_file=_beside(path, token_file) if token_file else None,
        ca_pem=_pem(cluster, "certificate-authority", path),
        client_certificate=_pem(user, "client-certificate", path),
        client_key=_pem(user, "client-key", path),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        server_name=str(cluster.get("tls-server-name") or ""),
    )


def _in_cluster(host: str, port: str, service_account: Path) -> ClusterConfig:
    authority = f"[{host}]" if ":" in host else host
    ca_file = service_account / "ca.crt"
    return ClusterConfig(
        server=f"https://{authority}:{port}",
        token_file=service_account / "token",
        ca_file=ca_file if ca_file.is_file() else None,
    )


def _parse(path: Path) -> Object:
    try:
        text = path.read_text()
    except OSError as error:
        raise ContextError(f"{path}: {error.strerror}") from error
    try:
        document: Any = json.loads(text)
    except ValueError:
        document = _parse_yaml(text, path)
    if not isinstance(document, dict):
        raise ContextError(f"{path}: a kubeconfig must be an object")
    return document


def _parse_yaml(text: str, path: Path) -> Any:
    try:
        import yaml  # type: ignore[import-untyped,unused-ignore] # optional; only for a YAML kubeconfig on a laptop

        return yaml.safe_load(text)
    except ImportError:
        pass
    except yaml.YAMLError as error:
        raise ContextError(f"{path}: not YAML: {error}") from error
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError
    except ImportError as error:
        raise ContextError(f"{path}: reading YAML needs PyYAML or ruamel.yaml; or write it as JSON") from error
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ContextError(f"{path}: not YAML: {error}") from error


def _named(document: Object, section: str, name: Any, path: Path) -> Object:
    for entry in document.get(section) or ():
        if isinstance(entry, dict) and entry.get("name") == name:
            return entry
    raise ContextError(f"{path}: {section} has no entry named {name!r}")


def _pem(section: Object, field: str, path: Path) -> str:
    if section.get(f"{field}-data"):
        import base64

        try:
            return base64.b64decode(section[f"{field}-data"], validate=True).decode()
        except ValueError as error:
            raise ContextError(f"{path}: {field}-data is not base64") from error
    if section.get(field):
        file = _beside(path, section[field])
        try:
            return file.read_text()
        except OSError as error:
            raise ContextError(f"{path}: {field} {file}: {error.strerror}") from error
    return ""


def _beside(path: Path, name: Any) -> Path:
    """The path of a file in the kubeconfig; relative names are relative to the kubeconfig."""
    return path.parent / str(name)


def split_server(server: str) -> tuple[str, str, int, str]:
    """Scheme, host, port and base path of a server address.

    Raises:
        ContextError: the scheme is neither http nor https, or the host is missing.
    """
    parts = urlsplit(server)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ContextError(f"the API server address {server!r} must begin with https:// or http://")
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80), parts.path.rstrip("/")
