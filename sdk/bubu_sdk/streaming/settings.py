"""What the environment says about the stream: the hub's endpoint, the binding, times and bounds.

A malformed time is a warning, a malformed binding an error, because without it there is no stream. Settings of the
binding's ``env`` count more than the environment. Source: Streaming contract 11.1; SDK contract 10.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bubu_contract import durations
from bubu_sdk.errors import ContextError, Object

BINDING_VARIABLE: Final = "BUBU_TRANSPORT_BINDING"
PROTOCOL: Final = "1.0.0"
DEFAULT_PORT: Final = 50051
MAX_DIAL_SECONDS: Final = 10.0
"""The longest time for one attempt to connect. The operator sets a longer one, because the Go SDK takes it for all."""
_MAX_BINDING_BYTES: Final = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of one connection, in seconds."""

    message_seconds: float = 30.0
    """The longest time until ``connector.ready``."""
    data_heartbeat_seconds: float = 10.0
    control_heartbeat_seconds: float = 30.0
    hang_seconds: float = 0.0
    """The longest silence of the hub; 0 is any."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How a lost connection is replaced."""

    max_retries: int = 10
    """In a row; negative is without end."""
    base_seconds: float = 0.5
    max_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the hub is."""

    host: str
    """Empty for a Unix socket."""
    port: int
    path: str = ""
    """Of a Unix socket."""

    @property
    def secure(self) -> bool:
        """Whether the connection uses TLS: always, except to this machine."""
        return not self.path and not _is_loopback(self.host)

    @property
    def authority(self) -> str:
        """For the headers of calls."""
        if self.path:
            return "localhost"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"unix://{self.path}" if self.path else self.authority


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """All of it."""

    endpoint: Endpoint
    binding: str
    """``namespace/name``, for the header of Control."""
    dial_seconds: float = MAX_DIAL_SECONDS
    pace: Pace = Pace()
    reconnect: Reconnect = Reconnect()
    with_in_packets: bool = False
    """Whether inputs in the Struct of a packet, and not in its JSON, are the step's ``with``, which is no data."""
    warnings: tuple[str, ...] = ()


def load(environ: Mapping[str, str]) -> StreamSettings:
    """The settings in ``environ``.

    Raises:
        ContextError: ``BUBU_TRANSPORT_BINDING`` is missing or malformed, or its protocol is not 1.0.0.
    """
    document = _binding_document(environ.get(BINDING_VARIABLE, "").strip())
    info = document.get("binding")
    if not isinstance(info, dict):
        raise ContextError(f"{BINDING_VARIABLE}.binding must be an object")
    protocol = _field(info, "protocolVersion", "protocol_version")
    if protocol != PROTOCOL:
        raise ContextError(f"{BINDING_VARIABLE}.binding.protocolVersion is {protocol!r}; this SDK needs {PROTOCOL!r}")
    read = _Reader({**environ, **_overrides(info)})
    limit = read.seconds("BUBU_GRPC_MESSAGE_TIMEOUT", 30.0)
    base = read.seconds("BUBU_GRPC_RECONNECT_BASE_BACKOFF", 0.5)
    heartbeat = read.seconds("BUBU_GRPC_HEARTBEAT_INTERVAL", 10.0)
    pace = Pace(
        message_seconds=limit,
        data_heartbeat_seconds=heartbeat if heartbeat < limit else limit / 2,
        control_heartbeat_seconds=read.seconds("BUBU_TRANSPORT_HEARTBEAT_INTERVAL", 30.0),
        hang_seconds=read.seconds("BUBU_GRPC_HANG_TIMEOUT", 0.0, zero=True),
    )
    reconnect = Reconnect(
        max_retries=read.integer("BUBU_GRPC_RECONNECT_MAX_RETRIES", 10),
        base_seconds=base,
        max_seconds=max(base, read.seconds("BUBU_GRPC_RECONNECT_MAX_BACKOFF", 30.0)),
    )
    name, namespace = (str(document.get(key) or "").strip() for key in ("name", "namespace"))
    if not name or not namespace:
        raise ContextError(f"{BINDING_VARIABLE} needs name and namespace")
    return StreamSettings(
        endpoint=parse_endpoint(_field(info, "endpoint", "endpoint")),
        binding=f"{namespace}/{name}",
        dial_seconds=min(read.seconds("BUBU_GRPC_DIAL_TIMEOUT", MAX_DIAL_SECONDS), MAX_DIAL_SECONDS),
        pace=pace,
        reconnect=reconnect,
        with_in_packets=environ.get("BUBU_WITH_IN_PACKETS", "").strip().lower() == "true",
        warnings=tuple(read.warnings),
    )


def parse_endpoint(text: str) -> Endpoint:
    """``host:port``, ``[::1]:port``, ``host`` (port 50051), ``unix:///path``.

    Raises:
        ContextError: it is none of these.
    """
    text = text.strip().removeprefix("dns:///").removeprefix("passthrough:///")
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise ContextError(f"{BINDING_VARIABLE}.binding.endpoint {text[:80]!r}: a Unix socket needs a full path")
        return Endpoint("", 0, path)
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in host and not host.startswith("[")):
        host, port = text, str(DEFAULT_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        problem = f"{text[:80]!r} must be host:port, for example hub.flows.svc:9000"
        raise ContextError(f"{BINDING_VARIABLE}.binding.endpoint: {problem}")
    return Endpoint(host, int(port))


def _binding_document(text: str) -> Object:
    if not text:
        raise ContextError(
            f"{BINDING_VARIABLE} is not set: this process is not a step of a realtime Story. "
            "bubu_sdk.testing.StreamHarness runs a streaming engram without a cluster"
        )
    if len(text) > _MAX_BINDING_BYTES:
        raise ContextError(f"{BINDING_VARIABLE} has {len(text)} characters; at most {_MAX_BINDING_BYTES} are read")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ContextError(f"{BINDING_VARIABLE} is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise ContextError(f"{BINDING_VARIABLE} must be a JSON object, not {type(document).__name__}")
    return document


def _overrides(info: Object) -> dict[str, str]:
    """The ``env`` of the binding's settings. Settings that cannot be read have none."""
    try:
        settings = json.loads(base64.b64decode(str(info.get("payload") or "e30=")))
    except (ValueError, RecursionError, binascii.Error):
        return {}
    found = settings.get("env") if isinstance(settings, dict) else None
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if name.startswith("BUBU_") and isinstance(value, str)}


def _field(info: Object, camel: str, snake: str) -> str:
    value: Any = info.get(camel) or info.get(snake) or ""
    return value.strip() if isinstance(value, str) else ""


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or (host.startswith("127.") and host.replace(".", "").isdigit())


class _Reader:
    """A wrong value is a warning, and the default counts."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.warnings: list[str] = []

    def seconds(self, name: str, default: float, *, zero: bool = False) -> float:
        text = self._environ.get(name, "").strip()
        if not text:
            return default
        try:
            seconds = durations.parse_duration(text).total_seconds()
        except ValueError as error:
            self.warnings.append(f"{name} ignored: {error}")
            return default
        if seconds > 0 or (zero and seconds == 0):
            return seconds
        self.warnings.append(f"{name} ignored: {text!r} must be greater than zero")
        return default

    def integer(self, name: str, default: int) -> int:
        text = self._environ.get(name, "").strip()
        try:
            return int(text) if text else default
        except ValueError:
            self.warnings.append(f"{name} ignored: {text!r} must be an integer")
            return default
