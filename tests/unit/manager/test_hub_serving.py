"""Whether a hub exports spans of packets: as the standard variables say, and nothing without a collector."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.hub_serving import HubStartError, span_exporter

SOMEWHERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_a_hub_exports_where_a_variable_names_a_collector(name: str) -> None:
    assert span_exporter({name: "http://collector:4318"}) is not None


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
        {**SOMEWHERE, "OTEL_TRACES_EXPORTER": "none"},
        {**SOMEWHERE, "OTEL_SDK_DISABLED": "true"},
    ],
    ids=["no collector", "empty", "no exporter", "disabled"],
)
def test_a_hub_exports_nothing_otherwise(variables: dict[str, str]) -> None:
    assert span_exporter(variables) is None


def test_a_variable_that_cannot_be_used_keeps_the_hub_from_starting(tmp_path: Path) -> None:
    with pytest.raises(HubStartError, match="OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf"):
        span_exporter({**SOMEWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    with pytest.raises(HubStartError, match="OTEL_EXPORTER_OTLP_CERTIFICATE"):
        span_exporter(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector:4318",
                "OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "none.pem"),
            }
        )
