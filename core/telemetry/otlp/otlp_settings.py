"""The standard variables of OpenTelemetry, read at once: every problem is reported, with its variable and the remedy.

Only traces leave by OTLP; metrics are served to Prometheus, logs go to standard error. Values are never shown in errors
where they may be credentials. Source: OpenTelemetry, Environment Variable Specification and OTLP Exporter
Configuration; operator contract 1.2 and 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Final
from urllib.parse import unquote, urlsplit

from core.telemetry.tracing.sampler import ALWAYS, Sampler

SERVICE_NAME: Final = "bobrapet-operator"
DEFAULT_ENDPOINT: Final = "http://localhost:4318"
PROTOCOL: Final = "http/protobuf"

_TRACES: Final = "OTEL_EXPORTER_OTLP_TRACES_"
_ALL: Final = "OTEL_EXPORTER_OTLP_"
_SAMPLERS: Final = ("always_on", "always_off", "traceidratio")
_MOST_SPANS: Final = 1 << 20
_LONGEST_MILLISECONDS: Final = 3_600_000


class OtlpSettingsError(ValueError):
    """One or more variables cannot be used; *user*. The message has one line for each."""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """The variables ``OTEL_BSP_…``."""

    max_queued_spans: int = 2048
    max_batch_spans: int = 512
    delay_seconds: float = 5.0
    """How long a span waits for others, so that they leave together."""
    batch_seconds: float = 30.0
    """How long one batch is tried, repetitions included."""


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """Where spans go, and as what. ``repr`` has no headers: they are credentials."""

    endpoint: str = f"{DEFAULT_ENDPOINT}/v1/traces"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_seconds: float = 10.0
    """Of one request."""
    certificate: str = ""
    """File with the authorities that are trusted instead of those of the system; empty: these."""
    client_certificate: str = ""
    client_key: str = ""
    compresses: bool = False
    exports: bool = True
    """False: ``OTEL_TRACES_EXPORTER=none`` or ``OTEL_SDK_DISABLED=true``."""
    sampler: Sampler = ALWAYS
    resource: Mapping[str, str] = field(default_factory=lambda: {"service.name": SERVICE_NAME})
    limits: QueueLimits = QueueLimits()


def names_a_collector(environ: Mapping[str, str]) -> bool:
    """Whether a variable says where traces go."""
    return any(environ.get(f"{prefix}ENDPOINT", "").strip() for prefix in (_TRACES, _ALL))


def read_otlp_settings(environ: Mapping[str, str], service_name: str = SERVICE_NAME) -> OtlpSettings:
    """The settings that the variables describe; empty ones count as absent.

    Raises:
        OtlpSettingsError: at least one cannot be used.
    """
    return _Reader(environ).settings(service_name)


class _Reader:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = {name: value.strip() for name, value in environ.items() if value.strip()}
        self._problems: list[str] = []

    def settings(self, service_name: str) -> OtlpSettings:
        settings = OtlpSettings(
            endpoint=self._endpoint(),
            headers=self._pairs(*self._of_traces("HEADERS"), secret=True),
            timeout_seconds=self._number(*self._of_traces("TIMEOUT"), 10_000, 1, _LONGEST_MILLISECONDS) / 1000,
            certificate=self._of_traces("CERTIFICATE")[1],
            client_certificate=self._of_traces("CLIENT_CERTIFICATE")[1],
            client_key=self._of_traces("CLIENT_KEY")[1],
            compresses=self._choice(*self._of_traces("COMPRESSION"), ("none", "gzip")) == "gzip",
            exports=self._exports(),
            sampler=self._sampler(),
            resource=self._resource(service_name),
            limits=self._limits(),
        )
        self._check_protocol()
        if bool(settings.client_certificate) != bool(settings.client_key):
            self._problems.append(
                f"{_ALL}CLIENT_CERTIFICATE and {_ALL}CLIENT_KEY belong together: set both, or neither"
            )
        if self._problems:
            raise OtlpSettingsError("\n".join(self._problems))
        return settings

    def _of_traces(self, name: str) -> tuple[str, str]:
        """The variable that counts, and its value: that for traces before that for all signals."""
        variable = f"{_TRACES}{name}" if f"{_TRACES}{name}" in self._environ else f"{_ALL}{name}"
        return variable, self._environ.get(variable, "")

    def _endpoint(self) -> str:
        own = f"{_TRACES}ENDPOINT"
        variable = own if own in self._environ else f"{_ALL}ENDPOINT"
        text = self._environ.get(variable, DEFAULT_ENDPOINT)
        try:
            parts = urlsplit(text)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
        else:
            if usable and parts.username is not None:
                self._problems.append(f"{variable}: must not have credentials (put them into {_ALL}HEADERS)")
        if not usable:
            self._problems.append(f"{variable}: must be a URL that begins with http:// or https://, and has a host")
        return text if variable == own else f"{text.rstrip('/')}/v1/traces"

    def _check_protocol(self) -> None:
        variable, value = self._of_traces("PROTOCOL")
        if value and value != PROTOCOL:
            self._problems.append(
                f"{variable}: must be {PROTOCOL}, the only protocol of this operator, not {value!r} (collectors accept "
                "it on port 4318)"
            )

    def _exports(self) -> bool:
        exporter = self._choice("OTEL_TRACES_EXPORTER", self._environ.get("OTEL_TRACES_EXPORTER", ""), ("otlp", "none"))
        return exporter != "none" and self._environ.get("OTEL_SDK_DISABLED", "").lower() != "true"

    def _sampler(self) -> Sampler:
        variable = "OTEL_TRACES_SAMPLER"
        name = self._environ.get(variable, "parentbased_always_on").lower()
        kind = name.removeprefix("parentbased_")
        if kind not in _SAMPLERS:
            known = ", ".join((*_SAMPLERS, *(f"parentbased_{each}" for each in _SAMPLERS)))
            self._problems.append(f"{variable}: must be one of {known}, not {name!r}")
        ratio = {"always_on": 1.0, "always_off": 0.0}.get(kind)
        if ratio is None:
            ratio = self._ratio(self._environ.get(f"{variable}_ARG", "1"))
        return Sampler(ratio, follows_parent=kind != name)

    def _ratio(self, text: str) -> float:
        try:
            ratio = float(text)
        except ValueError:
            ratio = -1.0
        if not (isfinite(ratio) and 0 <= ratio <= 1):
            self._problems.append(f"OTEL_TRACES_SAMPLER_ARG: must be a number from 0 to 1, not {text!r}")
            return 0.0
        return ratio

    def _resource(self, service_name: str) -> dict[str, str]:
        name = "OTEL_RESOURCE_ATTRIBUTES"
        resource = {"service.name": service_name, **self._pairs(name, self._environ.get(name, ""), secret=False)}
        if own := self._environ.get("OTEL_SERVICE_NAME"):
            resource["service.name"] = own
        return resource

    def _limits(self) -> QueueLimits:
        def number(name: str, default: int, least: int, most: int) -> int:
            variable = f"OTEL_BSP_{name}"
            return self._number(variable, self._environ.get(variable, ""), default, least, most)

        limits = QueueLimits(
            max_queued_spans=number("MAX_QUEUE_SIZE", 2048, 1, _MOST_SPANS),
            max_batch_spans=number("MAX_EXPORT_BATCH_SIZE", 512, 1, _MOST_SPANS),
            delay_seconds=number("SCHEDULE_DELAY", 5000, 1, _LONGEST_MILLISECONDS) / 1000,
            batch_seconds=number("EXPORT_TIMEOUT", 30_000, 1, _LONGEST_MILLISECONDS) / 1000,
        )
        if limits.max_batch_spans > limits.max_queued_spans:
            self._problems.append(
                f"OTEL_BSP_MAX_EXPORT_BATCH_SIZE: must be at most OTEL_BSP_MAX_QUEUE_SIZE ({limits.max_queued_spans})"
            )
        return limits

    def _number(self, variable: str, text: str, default: int, least: int, most: int) -> int:
        if not text:
            return default
        number = int(text) if text.isdecimal() and len(text) <= len(str(most)) else -1
        if not least <= number <= most:
            self._problems.append(f"{variable}: must be a whole number from {least} to {most}")
            return default
        return number

    def _choice(self, variable: str, text: str, allowed: tuple[str, ...]) -> str:
        if text and text.lower() not in allowed:
            self._problems.append(f"{variable}: must be {' or '.join(allowed)}, not {text!r}")
        return text.lower()

    def _pairs(self, variable: str, text: str, *, secret: bool) -> dict[str, str]:
        """``name=value,name=value``; values, and names of attributes, are percent-encoded."""
        pairs = {}
        for number, part in enumerate(filter(None, map(str.strip, text.split(","))), start=1):
            name, found, value = part.partition("=")
            name, value = unquote(name.strip()), unquote(value.strip())
            fits = not secret or (name.isascii() and name.isprintable() and " " not in name and _is_text(value))
            if not found or not name or not fits:
                self._problems.append(f"{variable}: entry {number} must be name=value, with values percent-encoded")
                continue
            pairs[name.lower() if secret else name] = value
        return pairs


def _is_text(value: str) -> bool:
    return value.isascii() and value.isprintable()
