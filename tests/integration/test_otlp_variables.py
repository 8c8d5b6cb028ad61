"""What a collector sees of each variable of OpenTelemetry: the request, its headers, its resource, its TLS."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
import trustme

from core.telemetry import metrics
from core.telemetry.otlp.otlp_settings import read_otlp_settings
from core.telemetry.otlp.span_exporter import SpanExporter
from core.telemetry.tracing.trace_span import TraceSpan
from tests.integration.operator_cluster import eventually
from tests.integration.span_collector import SpanCollector, collecting

AT = datetime(2026, 1, 2, tzinfo=UTC)
SPAN = TraceSpan("greet", "ab" * 16, "cd" * 8, "", AT, AT)
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "10"}


async def sent(collector: SpanCollector, variables: Mapping[str, str], *, arrives: bool = True) -> None:
    """One span, by the settings of these variables. With ``arrives`` false: until one try has failed."""
    exporter = SpanExporter(read_otlp_settings({**SOON, **variables}), 0.1)
    with metrics.recording():
        async with trio.open_nursery() as nursery:
            await nursery.start(exporter.run)
            exporter.put(SPAN)
            await eventually(lambda: _is(counted("exported") if arrives else collector.broken))
            nursery.cancel_scope.cancel()


def counted(outcome: str) -> float:
    return metrics.sample("bobrapet_trace_spans_total", outcome=outcome) or 0


async def _is(found: object) -> bool:
    await trio.lowlevel.checkpoint()
    return bool(found)


async def test_endpoint_and_headers() -> None:
    async with collecting() as collector:
        base = f"http://127.0.0.1:{collector.port}"
        given = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"{base}/in", "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b"}
        await sent(collector, given)
        await sent(collector, {**given, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{base}/other"})
    assert collector.targets == ["/in/v1/traces", "/other"]
    assert [each["x-key"] for each in collector.headers] == ["a b", "a b"]
    assert {each["content-type"] for each in collector.headers} == {"application/x-protobuf"}
    assert "content-encoding" not in collector.headers[0]


async def test_compression_and_the_names_of_the_sender() -> None:
    async with collecting() as collector:
        given = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_SERVICE_NAME": "ours",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=prod",
        }
        await sent(collector, given)
    assert collector.headers[0]["content-encoding"] == "gzip"
    assert collector.resources == [{"service.name": "ours", "deployment.environment.name": "prod"}]


async def test_a_request_ends_after_its_timeout_and_a_batch_after_its_own() -> None:
    async with collecting() as collector:
        collector.status = 0
        given = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "50",
            "OTEL_BSP_EXPORT_TIMEOUT": "1500",
        }
        exporter = SpanExporter(read_otlp_settings({**SOON, **given}), 0.1, jitter=lambda: 0.0)
        with metrics.recording():
            async with trio.open_nursery() as nursery:
                await nursery.start(exporter.run)
                exporter.put(SPAN)
                await eventually(lambda: _is(counted("dropped")))
                nursery.cancel_scope.cancel()
    assert len(collector.targets) == 2, "the first pause is 0.5 s without jitter, the second 1 s"


async def test_certificates_of_the_collector_and_of_the_operator(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    names = ("ca.pem", "other.pem", "client.pem", "client.key")
    trusted, other, certificate, key = (str(tmp_path / name) for name in names)
    authority.cert_pem.write_to_path(trusted)
    stranger.cert_pem.write_to_path(other)
    client = authority.issue_cert("operator.test")
    client.cert_chain_pems[0].write_to_path(certificate)
    client.private_key_pem.write_to_path(key)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.verify_mode = ssl.CERT_REQUIRED
    server.maximum_version = ssl.TLSVersion.TLSv1_2  # in 1.3, a client without a certificate notices after its request
    authority.configure_trust(server)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    async with collecting(server) as collector:
        whole = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://127.0.0.1:{collector.port}",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": trusted,
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": certificate,
            "OTEL_EXPORTER_OTLP_CLIENT_KEY": key,
        }
        await sent(collector, {**whole, "OTEL_EXPORTER_OTLP_CERTIFICATE": other}, arrives=False)
        collector.broken = 0
        await sent(collector, dict(list(whole.items())[:2]), arrives=False)
        assert collector.spans == []
        await sent(collector, whole)
        await sent(collector, {**whole, "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": trusted})
    assert len(collector.spans) == 2


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_KEY"])
def test_a_file_that_cannot_be_read_is_an_error_at_once(variable: str, tmp_path: Path) -> None:
    given = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:1",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(tmp_path / "none"),
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(tmp_path / "none"),
        variable: str(tmp_path / "missing"),
    }
    with pytest.raises(OSError, match="No such file"):
        SpanExporter(read_otlp_settings(given))
