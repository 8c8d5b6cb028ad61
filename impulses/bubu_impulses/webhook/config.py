"""The configuration of a webhook Impulse: its ``with`` and its secrets, checked."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bubu_impulses.filling import Filling
from bubu_impulses.webhook.authentication import Authentication, Scheme
from bubu_impulses.webhook.checking import BodySchema
from bubu_sdk import EngramError
from bubu_sdk.text_template import TemplateSyntaxError, TextTemplate

ROOTS: Final = ("body", "headers")
_SIGNED_ROOTS: Final = ("body",)
"""What a signature covers."""
TRIGGERS_PATH: Final = "/triggers/"
HEALTH_PATH: Final = "/healthz"
READY_PATH: Final = "/readyz"
_MAX_BODY_BYTES: Final = 16 * 1024 * 1024
_HEADER: Final = re.compile(r"[A-Za-z0-9-]+")
_DEFAULTS: Final[Mapping[Scheme, tuple[str, str, str]]] = {
    Scheme.HMAC: ("X-Hub-Signature-256", "sha256=", "secret"),
    Scheme.BEARER: ("Authorization", "Bearer ", "token"),
    Scheme.NONE: ("Authorization", "", ""),
}
"""Header, prefix, key of the secret."""


class ConfigurationError(ValueError):
    """*user*: the configuration cannot be used; lists all problems, each with its path."""


@dataclass
class AuthenticationConfig:
    """Who may send events."""

    type: Scheme = Scheme.HMAC
    header: str = ""
    """Default: ``X-Hub-Signature-256``; with bearer tokens ``Authorization``."""
    prefix: str | None = None
    """Default: ``sha256=``; with bearer tokens ``Bearer`` and a blank."""
    secret_keys: list[str] = field(default_factory=list)
    """Keys of the Impulse's secrets; every one is accepted. Default: ``secret``; with bearer tokens ``token``."""


@dataclass
class WebhookConfig:
    """The Impulse's ``with``."""

    port: int = 8080
    probe_port: int | None = None
    """The port of ``/healthz`` and ``/readyz`` alone, which strangers do not reach; default: the one after ``port``."""
    host: str = ""
    """The address to listen on; default: ``BUBU_WEBHOOK_HOST``, else all."""
    path: str = "/"
    """The path of events."""
    auth: AuthenticationConfig = field(default_factory=AuthenticationConfig)
    max_body_bytes: int = 1024 * 1024
    max_connections: int = 200
    schema: dict[str, Any] | None = None
    """JSON Schema of the body."""
    key_header: str = ""
    """The header with the key of an event; or ``key``. A signature does not cover it: see ``unsigned``."""
    key: str = ""
    """A template of the key, over ``body`` and ``headers``; or ``keyHeader``."""
    inputs: dict[str, Any] | None = None
    """Inputs of the Story, with templates over ``body`` and ``headers``; default: the body."""
    patience_seconds: float = 1.0
    """How long the throttle may delay a request before it is answered with 429."""
    linger_seconds: float = 3.0
    """After SIGTERM: how long requests are still accepted, while the Service learns that this Pod ends."""

    @property
    def port_of_probes(self) -> int:
        """0: any free port."""
        if self.probe_port is not None:
            return self.probe_port
        return self.port + 1 if self.port else 0


@dataclass(frozen=True)
class Settings:
    """The checked configuration."""

    path: str
    authentication: Authentication
    schema: BodySchema | None
    key_header: str
    """Lower case; empty without one."""
    key: TextTemplate | None
    inputs: Filling | None
    """``None``: the body."""
    patience_seconds: float


def checked(config: WebhookConfig, secrets: Mapping[str, str]) -> Settings:
    """The settings.

    Raises:
        ConfigurationError: lists all problems.
    """
    problems = _limits(config)
    settings = Settings(
        path=config.path,
        authentication=_authentication(config.auth, secrets, problems),
        schema=_schema(config.schema, problems),
        key_header=config.key_header.lower(),
        key=_key(config, problems),
        inputs=_inputs(config, problems),
        patience_seconds=config.patience_seconds,
    )
    if settings.key_header and settings.key_header == settings.authentication.header:
        problems.append("keyHeader: must not be the header with the credentials")
    if problems:
        raise ConfigurationError("; ".join(problems))
    return settings


def unsigned(config: WebhookConfig) -> list[str]:
    """The settings of a checked configuration that read headers although a signature covers the body alone.

    Anybody who has recorded a request can send its body again with other headers: with another key, or other inputs.
    """
    if config.auth.type is not Scheme.HMAC:
        return []
    found = ["keyHeader"] if config.key_header else []
    problems: list[str] = []
    signed = WebhookConfig(key=config.key, inputs=config.inputs)
    for name, read in (("key", _key), ("inputs", _inputs)):
        read(signed, problems, _SIGNED_ROOTS)
        found += [name] if problems else []
        problems.clear()
    return found


def _limits(config: WebhookConfig) -> list[str]:
    problems = []
    if not 0 <= config.port < 65536:
        problems.append("port: must be 0 to 65535")
    elif not 0 <= config.port_of_probes < 65536 or config.port_of_probes == config.port > 0:
        problems.append("probePort: must be 0 to 65535, and another port than port; the default is the one after port")
    if not config.path.startswith("/") or config.path.startswith((TRIGGERS_PATH, HEALTH_PATH, READY_PATH)):
        problems.append(f"path: must begin with '/', and not with {TRIGGERS_PATH}, {HEALTH_PATH} or {READY_PATH}")
    if not 1 <= config.max_body_bytes <= _MAX_BODY_BYTES:
        problems.append(f"maxBodyBytes: must be 1 to {_MAX_BODY_BYTES}")
    if config.max_connections < 1:
        problems.append("maxConnections: must be at least 1")
    for name, value in (("patienceSeconds", config.patience_seconds), ("lingerSeconds", config.linger_seconds)):
        if not 0 <= value <= 10:
            problems.append(f"{name}: must be 0 to 10")
    if config.key_header and config.key:
        problems.append("keyHeader: give either keyHeader or key")
    if config.key_header and not _HEADER.fullmatch(config.key_header):
        problems.append(f"keyHeader: {config.key_header!r} is not the name of a header")
    return problems


def _authentication(config: AuthenticationConfig, secrets: Mapping[str, str], problems: list[str]) -> Authentication:
    header, prefix, key = _DEFAULTS[config.type]
    keys = config.secret_keys or ([key] if key else [])
    if config.header and not _HEADER.fullmatch(config.header):
        problems.append(f"auth.header: {config.header!r} is not the name of a header")
    if missing := [name for name in keys if not secrets.get(name, "").strip()]:
        problems.append(f"auth.secretKeys: the Impulse's secrets have no {', '.join(missing)}")
    return Authentication(
        config.type,
        (config.header or header).lower(),
        prefix if config.prefix is None else config.prefix,
        tuple(secrets[name].strip() for name in keys if name in secrets),
    )


def _schema(schema: dict[str, Any] | None, problems: list[str]) -> BodySchema | None:
    if schema is None:
        return None
    try:
        return BodySchema(schema)
    except (ValueError, EngramError) as error:
        problems.append(f"schema: {error}")
        return None


def _key(config: WebhookConfig, problems: list[str], roots: Collection[str] = ROOTS) -> TextTemplate | None:
    try:
        return TextTemplate(config.key, roots) if config.key else None
    except TemplateSyntaxError as error:
        problems.append(f"key: {error}")
        return None


def _inputs(config: WebhookConfig, problems: list[str], roots: Collection[str] = ROOTS) -> Filling | None:
    try:
        return None if config.inputs is None else Filling(config.inputs, roots, "inputs")
    except ValueError as error:
        problems.append(str(error))
        return None
