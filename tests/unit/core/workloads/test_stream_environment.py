"""The environment of a realtime step. (core/workloads/stream_environment.py)"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from core.policy.settings import EngramSettings
from core.workloads.environment import EnvironmentTooLargeError
from core.workloads.stream_environment import stream_environment, transports_variable
from core.workloads.stream_workload import StreamWorkload
from tests.unit.core.workloads.stream_samples import binding, stream

CONTRACT_ORDER = (
    *("BUBU_WORKLOAD_MODE", "BUBU_EXECUTION_MODE", "BUBU_GRPC_PORT", "BUBU_MAX_RECURSION_DEPTH"),
    *("BUBU_POD_NAME", "BUBU_POD_NAMESPACE", "BUBU_SERVICE_ACCOUNT_NAME"),
    *("BUBU_MAX_INLINE_SIZE", "BUBU_STORAGE_TIMEOUT", "BUBU_TRACE_PROPAGATION", "BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT"),
    *("BUBU_GRPC_MAX_RECV_BYTES", "BUBU_GRPC_MAX_SEND_BYTES"),
    *("BUBU_GRPC_CLIENT_MAX_RECV_BYTES", "BUBU_GRPC_CLIENT_MAX_SEND_BYTES"),
    *("BUBU_GRPC_DIAL_TIMEOUT", "BUBU_GRPC_CHANNEL_BUFFER_SIZE", "BUBU_GRPC_RECONNECT_MAX_RETRIES"),
    *("BUBU_GRPC_RECONNECT_BASE_BACKOFF", "BUBU_GRPC_RECONNECT_MAX_BACKOFF"),
    *("BUBU_GRPC_HANG_TIMEOUT", "BUBU_GRPC_MESSAGE_TIMEOUT", "BUBU_GRPC_HEARTBEAT_INTERVAL"),
    *("BUBU_STORY_NAME", "BUBU_STORYRUN_ID", "BUBU_STEP_NAME", "BUBU_STEPRUN_NAME", "BUBU_STEPRUN_NAMESPACE"),
    *("BUBU_STARTED_AT", "BUBU_STEP_CONFIG", "BUBU_TRIGGER_DATA", "BUBU_SKIP_INPUT_TEMPLATING"),
    *("BUBU_TRANSPORTS", "BUBU_TRANSPORT_BINDING", "BUBU_TRANSPORT_DRIVER", "BUBU_TRANSPORT_ENDPOINT"),
    *("BUBU_TRANSPORT_BINARY_TYPES", "BUBU_TRANSPORT_HEARTBEAT_INTERVAL", "BUBU_TRANSPORT_SECURITY_MODE"),
    "BUBU_CONNECTOR_GENERATION",
)


def values(workload: StreamWorkload) -> dict[str, Any]:
    return {variable["name"]: variable.get("value") for variable in stream_environment(workload)}


def test_the_order_is_that_of_the_contract() -> None:
    assert tuple(values(stream())) == CONTRACT_ORDER


def test_what_drops_messages_is_not_set() -> None:
    assert "BUBU_GRPC_CHANNEL_SEND_TIMEOUT" not in values(stream())


@pytest.mark.parametrize(
    ("settings", "variable", "value"),
    [
        ({"dial_timeout_seconds": 10}, "BUBU_GRPC_DIAL_TIMEOUT", "3600s"),
        ({"dial_timeout_seconds": 7200}, "BUBU_GRPC_DIAL_TIMEOUT", "7200s"),
        ({"channel_buffer_size": 16}, "BUBU_GRPC_CHANNEL_BUFFER_SIZE", "64"),
        ({"channel_buffer_size": 200}, "BUBU_GRPC_CHANNEL_BUFFER_SIZE", "200"),
        ({"message_timeout_seconds": 30}, "BUBU_GRPC_MESSAGE_TIMEOUT", "600s"),
        ({"message_timeout_seconds": 900}, "BUBU_GRPC_MESSAGE_TIMEOUT", "900s"),
        ({"hang_timeout_seconds": 0}, "BUBU_GRPC_HANG_TIMEOUT", "60s"),
        ({"hang_timeout_seconds": 20}, "BUBU_GRPC_HANG_TIMEOUT", "20s"),
        ({"reconnect_max_retries": 10}, "BUBU_GRPC_RECONNECT_MAX_RETRIES", "-1"),
    ],
)
def test_settings_count_where_they_suffice_for_a_stream(settings: dict[str, Any], variable: str, value: str) -> None:
    with_needs = stream(step={"settings": EngramSettings(**settings)}, binding=binding(upstream=("listen",)))
    assert values(with_needs)[variable] == value


def test_a_source_keeps_one_message() -> None:
    """The Go SDK discards what it keeps when the source returns."""
    settings = EngramSettings(channel_buffer_size=200)
    assert values(stream(step={"settings": settings}))["BUBU_GRPC_CHANNEL_BUFFER_SIZE"] == "1"
    chosen = {"env": {"BUBU_GRPC_CHANNEL_BUFFER_SIZE": "32"}}
    assert values(stream(chosen, step={"settings": settings}))["BUBU_GRPC_CHANNEL_BUFFER_SIZE"] == "32"


def test_settings_of_the_transport_set_our_variables_and_those_that_are_there() -> None:
    wanted = {"BUBU_NEW": "a$b", "BUBU_GRPC_HANG_TIMEOUT": "5s", "PATH": "/evil", "AWS_REGION": "x"}
    found = values(stream({"env": wanted}))
    assert (found["BUBU_NEW"], found["BUBU_GRPC_HANG_TIMEOUT"]) == ("a$$b", "5s")
    assert not {"PATH", "AWS_REGION"} & found.keys()


def test_settings_of_the_transport_change_neither_who_the_container_is_nor_what_the_operator_decides() -> None:
    names = ("BUBU_STEPRUN_NAME", "BUBU_POD_NAME", "BUBU_TRANSPORT_BINDING", "BUBU_CONNECTOR_GENERATION")
    forged = dict.fromkeys((*names, "BUBU_TRANSPORT_SECURITY_MODE", "BUBU_STEP_TIMEOUT"), "forged")
    found = values(stream({"env": forged}, step={"timeout": timedelta(hours=1)}))
    assert "forged" not in found.values()
    assert found["BUBU_STEP_TIMEOUT"] == "1h0m0s"


def test_only_a_hub_with_tls_needs_its_authority() -> None:
    assert "SSL_CERT_DIR" not in values(stream())
    assert values(stream(has_authority=True))["SSL_CERT_DIR"] == "/etc/ssl/certs:/var/run/bubu/hub-ca"


def test_only_a_step_whose_packets_bring_its_with_is_told_so() -> None:
    assert values(stream(with_in_packets=True))["BUBU_WITH_IN_PACKETS"] == "true"
    assert "BUBU_WITH_IN_PACKETS" not in values(stream())


def test_a_payload_that_no_process_accepts_is_refused() -> None:
    with pytest.raises(EnvironmentTooLargeError, match="BUBU_TRIGGER_DATA"):
        stream_environment(stream(step={"trigger_data": "x" * 200_000}))


def test_sdks_are_told_provider_or_driver_and_both_spellings_of_the_config() -> None:
    text = transports_variable(
        [{"name": "a", "transportRef": " voice "}, {"name": "b", "transportRef": "gone"}], {"voice": "livekit"}
    )
    assert text == (
        '[{"config":{"modeReason":"streaming-default","transportRef":"voice"},"kind":"livekit","mode":"hot","name":"a",'
        '"typedConfig":{"modeReason":"streaming-default","transportRef":"voice"}},'
        '{"config":{"modeReason":"streaming-default","transportRef":"gone"},"kind":"gone","mode":"hot","name":"b",'
        '"typedConfig":{"modeReason":"streaming-default","transportRef":"gone"}}]'
    )
