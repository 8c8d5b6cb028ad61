"""The environment of a container: names, values, order."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.policy.settings import EngramSettings
from core.workloads.environment import EnvironmentTooLargeError, batch_environment, trace_environment
from core.workloads.step_workload import StepWorkload
from core.workloads.variables import MAX_VARIABLE_BYTES
from tests.unit.core.workloads.workload_samples import WORKLOAD, workload


def field(path: str) -> dict[str, Any]:
    return {"fieldRef": {"fieldPath": path}}


GOLDEN: list[tuple[str, Any]] = [
    ("BUBU_STORY_NAME", "report"),
    ("BUBU_STORY_VERSION", "1.2.0"),
    ("BUBU_STORYRUN_ID", "demo-run"),
    ("BUBU_STEP_NAME", "fetch"),
    ("BUBU_STEPRUN_NAME", "demo-run-fetch"),
    ("BUBU_STEPRUN_NAMESPACE", "team-a"),
    ("BUBU_TRIGGER_DATA", '{"url":"https://example.com"}'),
    ("BUBU_EXECUTION_MODE", "batch"),
    ("BUBU_HYBRID_BRIDGE", "false"),
    ("BUBU_GRPC_PORT", "50051"),
    ("BUBU_MAX_INLINE_SIZE", "4096"),
    ("BUBU_STORAGE_TIMEOUT", "300s"),
    ("BUBU_STEP_TIMEOUT", "30m0s"),
    ("BUBU_MAX_RECURSION_DEPTH", "32"),
    ("BUBU_DEBUG", "false"),
    ("BUBU_POD_NAME", field("metadata.name")),
    ("BUBU_POD_NAMESPACE", field("metadata.namespace")),
    ("BUBU_SERVICE_ACCOUNT_NAME", field("spec.serviceAccountName")),
    ("BUBU_GRPC_MAX_RECV_BYTES", "10485760"),
    ("BUBU_GRPC_MAX_SEND_BYTES", "10485760"),
    ("BUBU_GRPC_CLIENT_MAX_RECV_BYTES", "10485760"),
    ("BUBU_GRPC_CLIENT_MAX_SEND_BYTES", "10485760"),
    ("BUBU_GRPC_DIAL_TIMEOUT", "10s"),
    ("BUBU_GRPC_CHANNEL_BUFFER_SIZE", "16"),
    ("BUBU_GRPC_RECONNECT_MAX_RETRIES", "10"),
    ("BUBU_GRPC_RECONNECT_BASE_BACKOFF", "500ms"),
    ("BUBU_GRPC_RECONNECT_MAX_BACKOFF", "30s"),
    ("BUBU_GRPC_HANG_TIMEOUT", "0s"),
    ("BUBU_GRPC_MESSAGE_TIMEOUT", "30s"),
    ("BUBU_GRPC_CHANNEL_SEND_TIMEOUT", "30s"),
    ("BUBU_ENGRAM_NAME", "fetcher"),
    ("BUBU_ENGRAM_VERSION", "0.3.1"),
    ("BUBU_STARTED_AT", "2025-01-02T03:04:05Z"),
    ("BUBU_STEP_CONFIG", '{"url":"https://example.com"}'),
    ("BUBU_TEMPLATE_CONTEXT", '{"inputs":{},"steps":{}}'),
    ("BUBU_SKIP_SCHEMA_VALIDATION", "true"),  # set by this operator
]


def listed(attempt: StepWorkload) -> list[tuple[str, Any]]:
    return [
        (variable["name"], variable["value"] if "value" in variable else variable["valueFrom"])
        for variable in batch_environment(attempt)
    ]


def value(name: str, attempt: StepWorkload) -> Any:
    return dict(listed(attempt))[name]


def test_variables_values_and_order_are_those_of_the_contract() -> None:
    assert listed(WORKLOAD) == GOLDEN


def test_every_part_has_its_place() -> None:
    full = workload(
        policy={
            "secrets": {"api": "openai"},
            "storage": {"s3": {"bucket": "data", "authentication": {}}, "timeoutSeconds": 60},
        },
        secret_schema={"api": {"expectedKeys": ["token"]}},
        tls_secret="tls",
        skip_input_templating=True,
        template_context=None,
    )
    names = [name for name, _ in listed(full)]
    order = [
        "BUBU_SERVICE_ACCOUNT_NAME",
        "BUBU_SKIP_INPUT_TEMPLATING",
        "BUBU_GRPC_MAX_RECV_BYTES",
        "BUBU_GRPC_CHANNEL_SEND_TIMEOUT",
        "api_token",
        "BUBU_SECRET_api",
        "BUBU_SECRET_api_NAME",
        "BUBU_ENGRAM_NAME",
        "BUBU_ENGRAM_VERSION",
        "BUBU_GRPC_TLS_CERT_FILE",
        "BUBU_STARTED_AT",
        "BUBU_STEP_CONFIG",
        "BUBU_STORAGE_PROVIDER",
        "BUBU_STORAGE_S3_BUCKET",
    ]
    assert [name for name in names if name in order] == order
    assert "BUBU_TEMPLATE_CONTEXT" not in names
    assert names.index("BUBU_STORAGE_TIMEOUT") == names.index("BUBU_MAX_INLINE_SIZE") + 1
    assert value("BUBU_STORAGE_TIMEOUT", full) == "60s"
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("timeout", "text"),
    [
        (timedelta(minutes=5), "5m0s"),
        (timedelta(hours=1), "1h0m0s"),
        (timedelta(seconds=1.5), "1.5s"),
        (timedelta(milliseconds=500), "500ms"),
    ],
)
def test_the_step_timeout_is_spelled_as_go_does(timeout: timedelta, text: str) -> None:
    assert value("BUBU_STEP_TIMEOUT", workload(timeout=timeout)) == text


def test_the_time_to_end_is_told_where_it_is_not_the_usual_one() -> None:
    longer = replace(EngramSettings(), graceful_shutdown_timeout_seconds=45)
    name = "BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT"
    assert name not in dict(listed(workload()))
    assert name not in dict(listed(workload(settings=longer, drain=timedelta(seconds=20))))
    assert value(name, workload(settings=longer)) == "45s"
    assert value(name, workload(settings=longer, drain=timedelta(seconds=2.5))) == "2.5s"
    assert value(name, workload(drain=timedelta(days=20))) == "1728000s"


def test_operator_settings_reach_the_container() -> None:
    settings = replace(
        EngramSettings(),
        grpc_port=50052,
        max_recv_msg_bytes=1,
        max_send_msg_bytes=2,
        dial_timeout_seconds=3,
        channel_buffer_size=4,
        reconnect_max_retries=0,
        reconnect_base_backoff_millis=1500,
        reconnect_max_backoff_seconds=5,
        hang_timeout_seconds=6,
        message_timeout_seconds=7,
        storage_timeout_seconds=8,
    )
    told = dict(listed(workload(settings=settings, policy={"debug": True, "max_inline_size_bytes": 0})))
    assert told["BUBU_GRPC_PORT"] == "50052"
    assert told["BUBU_GRPC_CLIENT_MAX_RECV_BYTES"] == "1"
    assert told["BUBU_GRPC_CLIENT_MAX_SEND_BYTES"] == "2"
    assert told["BUBU_GRPC_DIAL_TIMEOUT"] == "3s"
    assert told["BUBU_GRPC_CHANNEL_BUFFER_SIZE"] == "4"
    assert told["BUBU_GRPC_RECONNECT_MAX_RETRIES"] == "10"
    assert told["BUBU_GRPC_RECONNECT_BASE_BACKOFF"] == "1.5s"
    assert told["BUBU_GRPC_RECONNECT_MAX_BACKOFF"] == "5s"
    assert told["BUBU_GRPC_HANG_TIMEOUT"] == "6s"
    assert told["BUBU_GRPC_CHANNEL_SEND_TIMEOUT"] == "7s"
    assert told["BUBU_STORAGE_TIMEOUT"] == "8s"
    assert (told["BUBU_DEBUG"], told["BUBU_MAX_INLINE_SIZE"]) == ("true", "0")


def test_the_first_start_is_told_in_utc() -> None:
    started = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC).astimezone()
    assert value("BUBU_STARTED_AT", workload(started_at=started)) == "2025-01-02T03:04:05Z"


def expanded(text: str) -> str:
    """The value that Kubernetes makes of a literal that refers to no variable known to Kubernetes."""
    result, position = "", 0
    while position < len(text):
        if text.startswith("$$", position):
            position += 1
        result += text[position]
        position += 1
    return result


@pytest.mark.parametrize("name", ["BUBU_TRIGGER_DATA", "BUBU_STEP_CONFIG", "BUBU_TEMPLATE_CONTEXT"])
@given(data=st.text(alphabet="$()aB{", max_size=30))
def test_payloads_arrive_as_they_were_whatever_they_say_to_kubernetes(name: str, data: str) -> None:
    attempt = workload(trigger_data=data, step_config=data, template_context=data)
    written: str = value(name, attempt)
    assert "$" not in written.replace("$$", "")
    assert expanded(written) == data


@pytest.mark.parametrize(
    ("name", "field_name"),
    [
        ("BUBU_TRIGGER_DATA", "trigger_data"),
        ("BUBU_STEP_CONFIG", "step_config"),
        ("BUBU_TEMPLATE_CONTEXT", "template_context"),
    ],
)
def test_a_payload_too_large_for_a_process_is_refused(name: str, field_name: str) -> None:
    most = MAX_VARIABLE_BYTES - len(name) - 1
    fits: dict[str, Any] = {field_name: "ä" * (most // 2)}
    too_large: dict[str, Any] = {field_name: "x" * (most + 1)}
    batch_environment(workload(**fits))
    with pytest.raises(EnvironmentTooLargeError) as caught:
        batch_environment(workload(**too_large))
    assert (caught.value.name, caught.value.size_bytes) == (name, MAX_VARIABLE_BYTES + 1)


def test_dollars_do_not_count_twice() -> None:
    most = MAX_VARIABLE_BYTES - len("BUBU_TRIGGER_DATA=")
    assert value("BUBU_TRIGGER_DATA", workload(trigger_data="$" * most)) == "$" * (2 * most)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the bound is that of Linux")
def test_the_bound_is_what_the_kernel_accepts() -> None:
    longest = "x" * (MAX_VARIABLE_BYTES - len("V="))
    assert subprocess.run(["/bin/true"], env={"V": longest}, check=False).returncode == 0
    with pytest.raises(OSError, match=os.strerror(7)):
        subprocess.run(["/bin/true"], env={"V": longest + "x"}, check=False)


CONTEXT = {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "baggage": "price=$5"}


def test_the_context_of_a_trace_comes_last_and_reaches_the_program_unchanged() -> None:
    env = batch_environment(workload(trace_context=CONTEXT))
    assert [variable["name"] for variable in env[-2:]] == ["TRACEPARENT", "BAGGAGE"]
    assert (env[-2]["value"], env[-1]["value"]) == (CONTEXT["traceparent"], "price=$$5")
    assert [variable["name"] for variable in batch_environment(WORKLOAD)] == [variable["name"] for variable in env[:-2]]


def test_a_variable_of_the_container_has_priority_over_the_context() -> None:
    own = [{"name": "TRACEPARENT", "value": "mine"}]
    assert [variable["name"] for variable in trace_environment(workload(trace_context=CONTEXT), own)] == ["BAGGAGE"]
