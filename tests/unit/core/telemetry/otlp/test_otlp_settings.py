"""The variables of OpenTelemetry: what they mean, and every mistake in them at once."""

from __future__ import annotations

import pytest

from core.telemetry.otlp.otlp_settings import OtlpSettings, OtlpSettingsError, read_otlp_settings
from core.telemetry.tracing.sampler import Sampler


def test_without_variables_the_defaults_of_the_specification_hold() -> None:
    settings = read_otlp_settings({"PATH": "/bin", "OTEL_TRACES_SAMPLER": " "})
    assert settings == OtlpSettings()
    assert (settings.endpoint, settings.resource["service.name"]) == (
        "http://localhost:4318/v1/traces",
        "bobrapet-operator",
    )


def test_the_endpoint_of_all_signals_gets_a_path_and_that_of_traces_is_used_as_it_is() -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector:4318/base/"}
    assert read_otlp_settings(variables).endpoint == "https://collector:4318/base/v1/traces"
    variables["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = "http://other/in"
    assert read_otlp_settings(variables).endpoint == "http://other/in"


def test_variables_for_traces_come_before_those_for_all_signals() -> None:
    settings = read_otlp_settings(
        {
            "OTEL_EXPORTER_OTLP_HEADERS": "a=1",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "Authorization=Basic%20abc, X-Tenant=blue",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2000",
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "1500",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": "/ca.pem",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        }
    )
    assert settings.headers == {"authorization": "Basic abc", "x-tenant": "blue"}
    assert (settings.timeout_seconds, settings.compresses, settings.certificate) == (1.5, True, "/ca.pem")
    assert "Basic" not in repr(settings)


def test_the_service_and_its_resource() -> None:
    variables = {"OTEL_RESOURCE_ATTRIBUTES": "service.name=x,deployment.environment=a%2Cb"}
    assert read_otlp_settings(variables).resource == {"service.name": "x", "deployment.environment": "a,b"}
    assert read_otlp_settings({**variables, "OTEL_SERVICE_NAME": "y"}).resource["service.name"] == "y"


@pytest.mark.parametrize(
    ("name", "argument", "sampler"),
    [
        ("always_on", "", Sampler(1.0, follows_parent=False)),
        ("always_off", "", Sampler(0.0, follows_parent=False)),
        ("traceidratio", "0.25", Sampler(0.25, follows_parent=False)),
        ("parentbased_always_on", "", Sampler(1.0)),
        ("parentbased_always_off", "", Sampler(0.0)),
        ("parentbased_traceidratio", "", Sampler(1.0)),
    ],
)
def test_the_samplers_of_the_specification(name: str, argument: str, sampler: Sampler) -> None:
    assert read_otlp_settings({"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": argument}).sampler == sampler


def test_an_exporter_of_none_and_a_disabled_sdk_export_nothing() -> None:
    assert read_otlp_settings({"OTEL_TRACES_EXPORTER": " None "}).exports is False
    assert read_otlp_settings({"OTEL_SDK_DISABLED": "TRUE"}).exports is False
    assert read_otlp_settings({"OTEL_SDK_DISABLED": "no", "OTEL_TRACES_EXPORTER": "otlp"}).exports is True


def test_the_queue_has_the_limits_of_the_batching_processor() -> None:
    limits = read_otlp_settings(
        {
            "OTEL_BSP_MAX_QUEUE_SIZE": "10",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "5",
            "OTEL_BSP_SCHEDULE_DELAY": "250",
            "OTEL_BSP_EXPORT_TIMEOUT": "9000",
        }
    ).limits
    assert (limits.max_queued_spans, limits.max_batch_spans) == (10, 5)
    assert (limits.delay_seconds, limits.batch_seconds) == (0.25, 9.0)


def test_all_mistakes_are_reported_at_once_and_without_credentials() -> None:
    with pytest.raises(OtlpSettingsError) as caught:
        read_otlp_settings(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_HEADERS": "secret-without-name",
                "OTEL_EXPORTER_OTLP_TIMEOUT": "10s",
                "OTEL_EXPORTER_OTLP_COMPRESSION": "zstd",
                "OTEL_EXPORTER_OTLP_CLIENT_KEY": "/key.pem",
                "OTEL_TRACES_EXPORTER": "zipkin",
                "OTEL_TRACES_SAMPLER": "traceidratio",
                "OTEL_TRACES_SAMPLER_ARG": "2",
                "OTEL_BSP_MAX_QUEUE_SIZE": "0",
            }
        )
    lines = str(caught.value).splitlines()
    assert {line.partition(":")[0] for line in lines if not line.startswith("OTEL_EXPORTER_OTLP_CLIENT")} == {
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_EXPORTER_OTLP_COMPRESSION",
        "OTEL_TRACES_EXPORTER",
        "OTEL_TRACES_SAMPLER_ARG",
        "OTEL_BSP_MAX_QUEUE_SIZE",
    }
    assert len(lines) == 9
    assert "secret" not in str(caught.value)


def test_a_header_must_be_ascii() -> None:
    with pytest.raises(OtlpSettingsError, match="OTEL_EXPORTER_OTLP_HEADERS: entry 1"):
        read_otlp_settings({"OTEL_EXPORTER_OTLP_HEADERS": "a=%C3%A4"})


def test_an_unknown_sampler_and_credentials_in_a_url_are_refused() -> None:
    with pytest.raises(OtlpSettingsError, match="OTEL_TRACES_SAMPLER: must be one of"):
        read_otlp_settings({"OTEL_TRACES_SAMPLER": "jaeger_remote"})
    with pytest.raises(OtlpSettingsError, match="must not have credentials") as caught:
        read_otlp_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://me:pass@collector"})
    assert "pass" not in str(caught.value)
