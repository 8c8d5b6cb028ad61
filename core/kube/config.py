"""The cluster and the user to connect as: one frozen record, from a kubeconfig or from inside a Pod.

Order: the given file, ``$KUBECONFIG``, the Pod's own service account, ``~/.kube/config``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from core.kube import credentials, kubeconfig
from core.kube.credentials import ClientCertificate, Credentials
from core.kube.errors import ConfigError
from core.kube.kubeconfig import ContextSelection

SERVICE_ACCOUNT_PATH: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LOAD_DEADLINE_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Impersonation:
    """The user that the client acts for (``--as``, ``--as-group``, ``--as-uid``); needs the RBAC verb impersonate."""

    user: str = ""
    groups: tuple[str, ...] = ()
    uid: str = ""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """Everything that a client needs to know about a cluster."""

    server: str
    """``https://host:port`` with an optional path, without a final slash."""
    credentials: Credentials = field(default_factory=credentials.anonymous)
    ca_pem: bytes | None = None
    """The certificate authorities to trust; None means those of the system."""
    client_certificate: ClientCertificate | None = None
    verify: bool = True
    tls_server_name: str = ""
    proxy_url: str = ""
    namespace: str = "default"
    context: str = ""
    source: str = ""
    """The file or place that the configuration comes from, for messages."""
    impersonation: Impersonation = Impersonation()


async def load_config(
    path: Path | None = None,
    context: str | None = None,
    *,
    impersonation: Impersonation = Impersonation(),
    environ: Mapping[str, str] | None = None,
    service_account_path: Path = SERVICE_ACCOUNT_PATH,
) -> ClusterConfig:
    """Find and read the configuration. It sends nothing and runs no credential plugin.

    Args:
        path: the only file to read; None means search for one.
        context: name of the context; None means the current one.
        environ: replaces the process environment.
    Raises:
        ConfigError: no usable configuration; the message names the places that were searched and the remedy.
    """
    limiter = trio.CapacityLimiter(1)
    where = os.environ if environ is None else environ
    with trio.move_on_after(LOAD_DEADLINE_SECONDS):
        return await trio.to_thread.run_sync(
            _load, path, context, impersonation, where, service_account_path, abandon_on_cancel=True, limiter=limiter
        )
    raise ConfigError(f"reading the kubeconfig took longer than {LOAD_DEADLINE_SECONDS:.0f} s")


def _load(
    path: Path | None,
    context: str | None,
    impersonation: Impersonation,
    environ: Mapping[str, str],
    service_account_path: Path,
) -> ClusterConfig:
    if path is not None:
        if not path.expanduser().exists():
            raise ConfigError(f"kubeconfig {path} does not exist")
        paths = [path.expanduser()]
    elif not environ.get("KUBECONFIG") and not context and (host := environ.get("KUBERNETES_SERVICE_HOST")):
        return _in_cluster(host, environ.get("KUBERNETES_SERVICE_PORT") or "443", impersonation, service_account_path)
    else:
        paths = kubeconfig.default_paths(environ)
    selection = kubeconfig.select_context(kubeconfig.read_kubeconfig(paths), context)
    return _from_selection(selection, impersonation)


def _in_cluster(host: str, port: str, impersonation: Impersonation, directory: Path) -> ClusterConfig:
    try:
        ca_pem = (directory / "ca.crt").read_bytes()
    except OSError as error:
        remedy = "mount a service account (automountServiceAccountToken) or give --kubeconfig"
        raise ConfigError(f"running in a Pod, but {directory}/ca.crt cannot be read; {remedy}") from error
    namespace_file = directory / "namespace"
    return ClusterConfig(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        credentials=credentials.token_file(directory / "token"),
        ca_pem=ca_pem,
        namespace=namespace_file.read_text().strip() if namespace_file.exists() else "default",
        source=str(directory),
        impersonation=impersonation,
    )


def _from_selection(selection: ContextSelection, impersonation: Impersonation) -> ClusterConfig:
    cluster, user = selection.cluster, selection.user
    server = str(cluster.value.get("server") or "").rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise ConfigError(f"the cluster of context {selection.context!r} in {cluster.path} needs server: https://…")
    return ClusterConfig(
        server=server,
        credentials=_credentials_of(selection),
        ca_pem=kubeconfig.data_or_file(cluster, "certificate-authority"),
        client_certificate=_certificate_of(selection),
        verify=not cluster.value.get("insecure-skip-tls-verify"),
        tls_server_name=str(cluster.value.get("tls-server-name") or ""),
        proxy_url=str(cluster.value.get("proxy-url") or ""),
        namespace=selection.namespace,
        context=selection.context,
        source=str(user.path),
        impersonation=impersonation if impersonation.user else _impersonation_of(user.value),
    )


def _credentials_of(selection: ContextSelection) -> Credentials:
    """The first of: token file, token, plugin, provider, user name. A file wins over a token, as with kubectl."""
    user = selection.user
    cluster = selection.cluster.value
    if name := user.value.get("tokenFile"):
        return credentials.token_file(kubeconfig.resolve(user, str(name)))
    if token := user.value.get("token"):
        return credentials.bearer_token(str(token))
    if isinstance(spec := user.value.get("exec"), Mapping):
        return credentials.exec_plugin(spec, cluster, user.path.parent)
    if user.value.get("auth-provider"):
        return credentials.auth_provider(user.value, cluster, user.path.parent)
    if username := user.value.get("username"):
        return credentials.basic(str(username), str(user.value.get("password") or ""))
    return credentials.anonymous()


def _certificate_of(selection: ContextSelection) -> ClientCertificate | None:
    user = selection.user
    certificate, key = (kubeconfig.data_or_file(user, name) for name in ("client-certificate", "client-key"))
    if (certificate is None) != (key is None):
        raise ConfigError(f"a user in {user.path} has only one of client-certificate and client-key; both are needed")
    return ClientCertificate(certificate, key) if certificate is not None and key is not None else None


def _impersonation_of(user: Mapping[str, object]) -> Impersonation:
    groups = user.get("as-groups")
    return Impersonation(
        str(user.get("as") or ""),
        tuple(map(str, groups)) if isinstance(groups, list) else (),
        str(user.get("as-uid") or ""),
    )
