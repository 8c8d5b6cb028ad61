"""The configuration of a webhook Impulse: its ``with`` and its secrets, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bubu_impulses.filling import Filling
from bubu_impulses.webhook.authentication import FACTS, Authentication, Scheme, secret_bytes
from bubu_impulses.webhook.checking import BodySchema
from bubu_sdk import EngramError
from bubu_sdk.template import Segments
from bubu_sdk.text_template import TemplateSyntaxError, TextTemplate

ROOTS: Final = ("body", "headers")
PORT_VARIABLE: Final = "BUBU_WEBHOOK_PORT"
PROBE_PORT_VARIABLE: Final = "BUBU_WEBHOOK_PROBE_PORT"
"""With these a node without container engine moves a program whose ports are taken (``impulses/images.yaml``)."""
_DEFAULT_PORT: Final = 8080
TRIGGERS_PATH: Final = "/triggers/"
HEALTH_PATH: Final = "/healthz"
READY_PATH: Final = "/readyz"
_MAX_BODY_BYTES: Final = 16 * 1024 * 1024
_HEADER: Final = re.compile(r"[A-Za-z0-9-]+")
_TOLERANCE_SECONDS: Final = 300
_MAX_TOLERANCE_SECONDS: Final = 3600
"""Far below the day for which StoryTriggers are kept, so that a recorded request is never accepted after that."""


class ConfigurationError(ValueError):
    """*user*: the configuration cannot be used; lists all problems, each with its path."""


@dataclass
class AuthenticationConfig:
    """Who may send events."""

    type: Scheme = Scheme.HMAC
    header: str = ""
    """Default of this and the next two: ``FACTS``."""
    prefix: str | None = None
    secret_keys: list[str] = field(default_factory=list)
    """Keys of the Impulse's secrets; every one is accepted."""
    tolerance_seconds: int | None = None
    """How far a signed timestamp may be from the clock of this machine; default 300."""


@dataclass
class WebhookConfig:
    """The Impulse's ``with``."""

    port: int | None = None
    """Default: ``BUBU_WEBHOOK_PORT``, else 8080."""
    probe_port: int | None = None
    """The port of ``/healthz`` and ``/readyz`` alone, which strangers do not reach; default: the one after ``port``;
    without ``port``, ``BUBU_WEBHOOK_PROBE_PORT``, else 8081."""
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
    key: str | None = None
    """A template of the key, over ``body`` and ``headers``; or ``keyHeader``. Without both, an event that is signed has
    the key of ``Authentication.default_key``. Empty: no key, so that each request is a new event."""
    inputs: dict[str, Any] | None = None
    """Inputs of the Story, with templates over ``body`` and ``headers``; default: the body."""
    patience_seconds: float = 1.0
    """How long the throttle may delay a request before it is answered with 429."""
    linger_seconds: float = 3.0
    """After SIGTERM: how long requests are still accepted, while the Service learns that this Pod ends."""

    def ports(self, variables: Mapping[str, str]) -> tuple[int, int]:
        """The port of events and that of probes; 0: any free port.

        Raises:
            ConfigurationError: a variable is not a number.
        """
        port, probes = self.port, self.probe_port
        if port is None:
            port = _number(variables, PORT_VARIABLE, _DEFAULT_PORT)
            probes = _number(variables, PROBE_PORT_VARIABLE, port + 1) if probes is None else probes
        if probes is None:
            probes = port + 1 if port else 0
        return port, probes


@dataclass(frozen=True)
class Settings:
    """The checked configuration."""

    path: str
    authentication: Authentication
    schema: BodySchema | None
    key_header: str
    """Lower case; empty without one."""
    key: TextTemplate | None
    has_default_key: bool
    """Without ``key`` and ``key_header``: whether the signature gives the key, if there is one."""
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
        has_default_key=config.key is None,
        inputs=_inputs(config, problems),
        patience_seconds=config.patience_seconds,
    )
    if settings.key_header and settings.key_header == settings.authentication.header:
        problems.append("keyHeader: must not be the header with the credentials")
    if problems:
        raise ConfigurationError("; ".join(problems))
    return settings


def unsigned(config: WebhookConfig) -> list[str]:
    """The settings of a checked configuration that read headers which the signature does not cover.

    Anybody who has recorded a request can send it again with others of these headers: with another key, or other
    inputs.
    """
    facts, problems = FACTS[config.auth.type], list[str]()
    if facts.signed is None:
        return []
    key, inputs = _key(config, problems), _inputs(config, problems)
    read: dict[str, list[Segments]] = {
        "keyHeader": [["headers", config.key_header.lower()]] if config.key_header else [],
        "key": key.paths if key else [],
        "inputs": inputs.paths if inputs else [],
    }
    signed = {("headers", name) for name in facts.signed_headers}
    return [
        name
        for name, paths in read.items()
        if any(path[0] == "headers" and tuple(path[:2]) not in signed for path in paths)
    ]


def is_repeatable(config: WebhookConfig) -> bool:
    """Whether a recorded request that is sent again is a new event although it is signed."""
    return config.key == "" and FACTS[config.auth.type].signed is not None


def _number(variables: Mapping[str, str], name: str, default: int) -> int:
    text = variables.get(name, "")
    if text and not text.isdecimal():
        raise ConfigurationError(f"the variable {name} must be a port, not {text!r}")
    return int(text) if text else default


def _limits(config: WebhookConfig) -> list[str]:
    problems = []
    port, probes = config.ports({})
    if not 0 <= port < 65536:
        problems.append("port: must be 0 to 65535")
    elif not 0 <= probes < 65536 or probes == port > 0:
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
    if config.key_header and config.key is not None:
        problems.append("keyHeader: give either keyHeader or key")
    if config.key_header and not _HEADER.fullmatch(config.key_header):
        problems.append(f"keyHeader: {config.key_header!r} is not the name of a header")
    return problems


def _authentication(config: AuthenticationConfig, secrets: Mapping[str, str], problems: list[str]) -> Authentication:
    facts, tolerance = FACTS[config.type], config.tolerance_seconds
    keys = config.secret_keys or ([facts.secret_key] if facts.secret_key else [])
    if config.header and not _HEADER.fullmatch(config.header):
        problems.append(f"auth.header: {config.header!r} is not the name of a header")
    if missing := [name for name in keys if not secrets.get(name, "").strip()]:
        problems.append(f"auth.secretKeys: the Impulse's secrets have no {', '.join(missing)}")
    if tolerance is not None and not facts.has_timestamp:
        problems.append(f"auth.toleranceSeconds: has no effect, because {config.type} signs no timestamp")
    elif tolerance is not None and not 1 <= tolerance <= _MAX_TOLERANCE_SECONDS:
        problems.append(f"auth.toleranceSeconds: must be 1 to {_MAX_TOLERANCE_SECONDS}")
    decoded = []
    for name in keys:
        try:
            decoded.append(secret_bytes(config.type, secrets.get(name, "").strip()))
        except ValueError as error:
            problems.append(f"auth.secretKeys: {name}: {error}")
    return Authentication(
        config.type,
        (config.header or facts.header).lower(),
        facts.prefix if config.prefix is None else config.prefix,
        tuple(decoded),
        _TOLERANCE_SECONDS if tolerance is None else tolerance,
    )


def _schema(schema: dict[str, Any] | None, problems: list[str]) -> BodySchema | None:
    if schema is None:
        return None
    try:
        return BodySchema(schema)
    except (ValueError, EngramError) as error:
        problems.append(f"schema: {error}")
        return None


def _key(config: WebhookConfig, problems: list[str]) -> TextTemplate | None:
    try:
        return TextTemplate(config.key, ROOTS) if config.key else None
    except TemplateSyntaxError as error:
        problems.append(f"key: {error}")
        return None


def _inputs(config: WebhookConfig, problems: list[str]) -> Filling | None:
    try:
        return None if config.inputs is None else Filling(config.inputs, ROOTS, "inputs")
    except ValueError as error:
        problems.append(str(error))
        return None
