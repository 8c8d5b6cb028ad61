"""Each standard variable is read, or is named when a process starts: none does nothing in silence."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import opentelemetry.environment_variables as of_api
import opentelemetry.sdk.environment_variables as of_sdk
import pytest

from core.telemetry.otlp.otlp_ignored import ignored_variables, warn_of_ignored_variables

PAGE = Path(__file__).parents[5] / "docs" / "telemetry.md"
READ = frozenset(
    {
        *(
            f"OTEL_EXPORTER_OTLP_{signal}{name}"
            for signal in ("", "TRACES_")
            for name in (
                *("ENDPOINT", "HEADERS", "TIMEOUT", "PROTOCOL", "COMPRESSION"),
                *("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"),
            )
        ),
        *(
            f"OTEL_BSP_{name}"
            for name in ("MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE", "SCHEDULE_DELAY", "EXPORT_TIMEOUT")
        ),
        *("OTEL_TRACES_EXPORTER", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"),
        *("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SDK_DISABLED"),
    }
)
"""test_otlp_settings and tests/integration/test_otlp_variables.py show the effect of each."""


def known_to_opentelemetry() -> set[str]:
    """The variables of the SDK of OpenTelemetry for Python."""
    return {value for module in (of_api, of_sdk) for name, value in vars(module).items() if name.startswith("OTEL_")}


def test_each_variable_that_opentelemetry_knows_is_read_or_named() -> None:
    known = known_to_opentelemetry()
    named = {each.name for each in ignored_variables(dict.fromkeys(known, "something"))}
    assert len(known) > 60
    assert known >= READ
    assert named == known - READ


def test_what_asks_for_what_is_done_anyway_is_not_named() -> None:
    environ = {
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_LOGS_EXPORTER": " Console ",
        "OTEL_PROPAGATORS": "tracecontext, baggage",
        "OTEL_LOG_LEVEL": "",
    }
    assert ignored_variables(environ) == []
    assert [each.name for each in ignored_variables({**environ, "OTEL_PROPAGATORS": "b3"})] == ["OTEL_PROPAGATORS"]


def test_variables_that_kubernetes_makes_of_a_service_are_not_named() -> None:
    environ = {"OTEL_COLLECTOR_SERVICE_HOST": "10.0.0.1", "OTEL_COLLECTOR_PORT_4317_TCP": "tcp://10.0.0.1:4317"}
    assert ignored_variables(environ) == []


def test_a_warning_has_the_reason_and_not_the_value(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    warn_of_ignored_variables({"OTEL_EXPORTER_OTLP_LOGS_HEADERS": "authorization=secret"})
    [record] = caplog.records
    fields = vars(record)["bobrapet_fields"]
    assert fields["variable"] == "OTEL_EXPORTER_OTLP_LOGS_HEADERS"
    assert "standard error" in fields["reason"]
    assert "secret" not in str(fields)


@pytest.mark.parametrize("name", sorted(READ | {"OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER", "OTEL_PROPAGATORS"}))
def test_the_page_has_a_row_for_each(name: str) -> None:
    rows = [row for row in PAGE.read_text().splitlines() if row.startswith("| `OTEL_")]
    listed = {word for row in rows for word in re.findall(r"`(OTEL_\w+|…_\w+)`", row.split("|")[1])}
    short = "…_" + name.removeprefix("OTEL_EXPORTER_OTLP_")
    assert name in listed or short in listed
