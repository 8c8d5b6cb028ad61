"""The standard variables of OpenTelemetry that have no effect here, each with the reason. Pure but for the warnings.

A variable that is set and does nothing looks like a fault of the collector, so the processes warn of it when they
start.
Only names of the specification count: Kubernetes gives a container variables such as ``OTEL_COLLECTOR_SERVICE_HOST``
if a Service is called so. Source: OpenTelemetry, Environment Variable Specification and OTLP Exporter Configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from core.telemetry.logs import get_logger

_PULLED: Final = "metrics are served to Prometheus at --metrics-bind-address, and are not exported by OTLP"
_LINES: Final = "logs are lines of JSON on standard error, and are not exported by OTLP"
_OWN: Final = "the spans are made by this program, without an SDK of OpenTelemetry"

_REASONS: Final = (
    (
        r"OTEL_EXPORTER_OTLP_(TRACES_)?INSECURE",
        "the scheme of the endpoint decides whether TLS is used",
    ),
    (r"OTEL_EXPORTER_OTLP_METRICS_\w+|OTEL_METRICS?_\w+|OTEL_EXPORTER_PROMETHEUS_\w+", _PULLED),
    (r"OTEL_EXPORTER_OTLP_LOGS_\w+|OTEL_LOGS_\w+|OTEL_BLRP_\w+|OTEL_LOGRECORD_\w+", _LINES),
    (r"OTEL_LOG_LEVEL", "the option --log-level chooses the level"),
    (r"OTEL_EXPORTER_(ZIPKIN|JAEGER)_\w+", "spans are exported by OTLP only"),
    (
        r"OTEL_(SPAN|LINK|EVENT)_\w+_LIMIT|OTEL_ATTRIBUTE_(COUNT|VALUE_LENGTH)_LIMIT",
        "spans have few attributes, and no message of more than 256 characters",
    ),
    (r"OTEL_PROPAGATORS", "the context travels as tracecontext and baggage; telemetry.trace-propagation turns it on"),
    (r"OTEL_(EXPERIMENTAL_)?CONFIG_FILE", "settings are read from the variables and from the operator ConfigMap"),
    (r"OTEL_EXPERIMENTAL_\w+|OTEL_PYTHON_\w+", _OWN),
)
"""Patterns of names."""
_AS_IT_IS: Final = {
    "OTEL_METRICS_EXPORTER": {"none", "prometheus"},
    "OTEL_LOGS_EXPORTER": {"none", "console"},
    "OTEL_PROPAGATORS": {"tracecontext,baggage", "baggage,tracecontext"},
}
"""Values that ask for what is done anyway."""

_log = get_logger("telemetry")


class IgnoredVariable(NamedTuple):
    name: str
    reason: str


def ignored_variables(environ: Mapping[str, str]) -> list[IgnoredVariable]:
    """Those that are set, not empty, and ask for something else than what is done. By name."""
    found = []
    for name in sorted(environ):
        value = environ[name].replace(" ", "").lower()
        if value and value not in _AS_IT_IS.get(name, ()) and (reason := _reason(name)):
            found.append(IgnoredVariable(name, reason))
    return found


def warn_of_ignored_variables(environ: Mapping[str, str]) -> None:
    """A line in the log for each; without its value, which may be a credential."""
    for name, reason in ignored_variables(environ):
        _log.warning("a variable of OpenTelemetry has no effect", variable=name, reason=reason)


def _reason(name: str) -> str:
    return next((reason for pattern, reason in _REASONS if re.fullmatch(pattern, name)), "")
