"""Credentials: the source of the ``Authorization`` header, and its renewal.

Each call asks for the header, which is cached. It is renewed when the server refuses it (once per call); token files
are also read again every minute. The wall clock is not used: the server decides whether a credential has expired.
Blocking work (files, plugins) runs in a thread with a small limiter of its own, one renewal at a time.
"""

from __future__ import annotations

import base64
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import trio

from core.kube.errors import ConfigError

FILE_REREAD_SECONDS: Final = 60.0
PLUGIN_DEADLINE_SECONDS: Final = 300.0
"""A plugin may ask a person to log in."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A PEM certificate chain and its PEM key."""

    certificate_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        return "ClientCertificate(…)"


@dataclass(frozen=True, slots=True)
class Credential:
    """The result of a source: a header, a certificate, or both."""

    authorization: str | None = None
    certificate: ClientCertificate | None = None

    def __repr__(self) -> str:
        return "Credential(…)"


class Credentials(Protocol):
    """A source of credentials."""

    async def current(self) -> Credential:
        """The credential to send now."""

    async def renew(self, refused: Credential) -> Credential:
        """The credential to send instead of ``refused``; equal to ``refused`` when there is no other."""


class StaticCredentials:
    """A credential that never changes: a fixed token, a user name and password, or an anonymous user."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    def __repr__(self) -> str:
        return "StaticCredentials(…)"

    async def current(self) -> Credential:
        return self._credential

    async def renew(self, refused: Credential) -> Credential:
        return self._credential


def anonymous() -> StaticCredentials:
    """No header: the client certificate authenticates the client, or the client is anonymous."""
    return StaticCredentials(Credential())


def bearer_token(token: str) -> StaticCredentials:
    """A fixed bearer token."""
    return StaticCredentials(Credential(f"Bearer {token.strip()}"))


def basic(username: str, password: str) -> StaticCredentials:
    """User name and password, for a proxy in front of an API server."""
    text = base64.b64encode(f"{username}:{password}".encode()).decode()
    return StaticCredentials(Credential(f"Basic {text}"))


class LoadedCredentials:
    """A credential made by a blocking function; made again when it is refused or after ``lasts_seconds``."""

    def __init__(
        self, load: Callable[[], Credential], *, name: str, lasts_seconds: float | None, deadline_seconds: float
    ) -> None:
        self._load = load
        self._name = name
        self._lasts_seconds = lasts_seconds
        self._deadline_seconds = deadline_seconds
        self._known: Credential | None = None
        self._loaded_at = 0.0
        self._lock = trio.Lock()
        self._limiter = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"LoadedCredentials({self._name})"

    async def current(self) -> Credential:
        if self._known is not None and not self._is_old():
            return self._known
        async with self._lock:
            if self._known is None or self._is_old():
                await self._reload()
            assert self._known is not None
            return self._known

    async def renew(self, refused: Credential) -> Credential:
        async with self._lock:
            if self._known is None or self._known == refused:  # otherwise another call has renewed it
                await self._reload()
            assert self._known is not None
            return self._known

    def _is_old(self) -> bool:
        return self._lasts_seconds is not None and trio.current_time() - self._loaded_at >= self._lasts_seconds

    async def _reload(self) -> None:
        with trio.move_on_after(self._deadline_seconds) as scope:
            self._known = await trio.to_thread.run_sync(self._load, abandon_on_cancel=True, limiter=self._limiter)
            self._loaded_at = trio.current_time()
        if scope.cancelled_caught:
            raise ConfigError(f"{self._name} returned no credentials within {self._deadline_seconds:.0f} s")


def token_file(path: Path) -> LoadedCredentials:
    """A bearer token in a file that is rotated, such as the token of a service account."""

    def read() -> Credential:
        try:
            token = path.read_text().strip()
        except OSError as error:
            raise ConfigError(f"token file {path} cannot be read: {error.strerror}") from error
        if not token:
            raise ConfigError(f"token file {path} is empty")
        return Credential(f"Bearer {token}")

    return LoadedCredentials(read, name=f"token file {path}", lasts_seconds=FILE_REREAD_SECONDS, deadline_seconds=10)


def exec_plugin(spec: Mapping[str, Any], cluster: Mapping[str, Any], base_path: Path) -> LoadedCredentials:
    """The credential plugin of a kubeconfig user (``exec``), run by the ``kubernetes`` package."""
    command = str(spec.get("command", ""))

    def run() -> Credential:
        loaders: Any = importlib.import_module("kubernetes.config.kube_config")  # 0.5 s, so only here
        try:
            node = loaders.ConfigNode("exec", dict(spec))
            answer = loaders.ExecProvider(node, str(base_path), loaders.ConfigNode("cluster", dict(cluster))).run()
        except FileNotFoundError as error:
            hint = str(spec.get("installHint", "")).strip() or "install it, or choose another context"
            raise ConfigError(f"credential plugin {command!r} is not on PATH: {hint}") from error
        except Exception as error:
            raise ConfigError(f"credential plugin {command!r} failed: {error}") from error
        return _plugin_credential(command, answer)

    return LoadedCredentials(
        run, name=f"credential plugin {command!r}", lasts_seconds=None, deadline_seconds=PLUGIN_DEADLINE_SECONDS
    )


def auth_provider(user: Mapping[str, Any], cluster: Mapping[str, Any], base_path: Path) -> LoadedCredentials:
    """The older ``auth-provider`` of a kubeconfig user (oidc, gcp), resolved by the ``kubernetes`` package."""
    name = str((user.get("auth-provider") or {}).get("name", ""))

    def load() -> Credential:
        loaders: Any = importlib.import_module("kubernetes.config.kube_config")
        entries = {
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "clusters": [{"name": "it", "cluster": dict(cluster)}],
            "users": [{"name": "it", "user": dict(user)}],
        }
        configuration = loaders.Configuration()
        try:
            loaders.KubeConfigLoader(entries, config_base_path=str(base_path)).load_and_set(configuration)
        except Exception as error:
            raise ConfigError(f"auth-provider {name!r} failed: {error}") from error
        authorization = configuration.api_key.get("BearerToken")
        if not authorization:
            raise ConfigError(f"auth-provider {name!r} returned no token; log in again with its own tool")
        return Credential(str(authorization))

    return LoadedCredentials(load, name=f"auth-provider {name!r}", lasts_seconds=None, deadline_seconds=60)


def _plugin_credential(command: str, status: Any) -> Credential:
    if not isinstance(status, Mapping):
        raise ConfigError(f"credential plugin {command!r} answered without a status")
    token, certificate, key = (status.get(field) for field in ("token", "clientCertificateData", "clientKeyData"))
    if bool(certificate) != bool(key) or not (token or certificate):
        raise ConfigError(
            f"credential plugin {command!r} must answer with status.token, or with both status.clientCertificateData "
            "and status.clientKeyData"
        )
    pair = ClientCertificate(str(certificate).encode(), str(key).encode()) if certificate else None
    return Credential(f"Bearer {token}" if token else None, pair)
