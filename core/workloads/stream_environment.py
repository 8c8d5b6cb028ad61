"""The environment of the container of a realtime step: names, values and their order. Pure.

Source: streaming contract 6.4, StepRun contract 22. What differs, and why:

- The SDK holds at least 64 messages, because the Go SDK drops receipts beyond its buffer; a source holds one.
- It waits for an hour for a hub: the Go SDK ends its process after that time, and not only one attempt to connect.
- It reconnects without end, and soon: the Go SDK never refills its budget of retries.
- A held producer waits for ten minutes before it gives its connection up, and a silent hub is left after one.
- ``BUBU_GRPC_CHANNEL_SEND_TIMEOUT`` is not set: with it, SDKs drop what they cannot send in time.
- ``BUBU_TRANSPORT_BINDING`` comes from a Secret, because it contains the token of the container.
- ``BUBU_WITH_IN_PACKETS`` tells the Python SDK that inputs beside a packet are the step's ``with``, and not its data.
- ``SSL_CERT_DIR`` makes the container trust the authority of the hub.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

from bubu_contract.durations import format_duration
from bubu_contract.instants import format_precise_instant
from core.api.canonical import encode
from core.policy.streaming import CHANNEL_BUFFER, CHANNEL_BUFFER_VARIABLE, variables_of
from core.workloads.environment import EnvVar, escaped, grace_variable, literal, put, seconds_of, trace_environment
from core.workloads.secrets import secret_environment
from core.workloads.storage import storage_environment
from core.workloads.stream_binding import BINDING_VARIABLE, codecs_of, is_source, mime_types_of
from core.workloads.stream_credentials import BINDING_ENTRY, CERTIFICATE_FOLDERS
from core.workloads.stream_workload import StreamWorkload
from core.workloads.tls import tls_environment

MESSAGE_TIMEOUT_SECONDS: Final = 600
"""The shortest message timeout: longer than the pauses of a receiver that holds its producers."""
HANG_TIMEOUT_SECONDS: Final = 60
"""The hang timeout where the operator's settings have none: six heartbeats."""
RECONNECT_BASE_MILLIS: Final = 100
"""The longest first pause between two attempts to reach the hub, which often starts at the same time as a container."""
RECONNECT_MAX_SECONDS: Final = 2
"""The longest pause between two attempts: a hub that has started again is used at once."""
WITHOUT_END: Final = "-1"
DIAL_TIMEOUT_SECONDS: Final = 3600
"""How long a container waits for a hub that is away before it ends: the Go SDK takes the time for one connection as
the time for all. The Python SDK tries again after ten seconds at most.
"""
SOURCE_BUFFER: Final = "1"
"""``BUBU_GRPC_CHANNEL_BUFFER_SIZE`` of a source: the Go SDK discards its buffer when the source returns, and needs it
only for receipts.
"""
HOT: Final = "hot"
HOT_REASON: Final = "streaming-default"

_TRANSPORT: Final = "BUBU_TRANSPORT_"
_OWNED: Final = frozenset(
    {
        BINDING_VARIABLE,
        "BUBU_STORY_NAME",
        "BUBU_STORYRUN_ID",
        "BUBU_STEP_NAME",
        "BUBU_STEPRUN_NAME",
        "BUBU_STEPRUN_NAMESPACE",
        "BUBU_POD_NAME",
        "BUBU_POD_NAMESPACE",
        "BUBU_SERVICE_ACCOUNT_NAME",
    }
)
"""Who the container is: no settings of a transport change that."""


def transports_variable(declared: Iterable[Mapping[str, Any]], kinds: Mapping[str, str]) -> str:
    """``BUBU_TRANSPORTS``: the transports that a Story declares, for SDKs.

    The reference writes ``config``, newer SDKs read ``typedConfig``, so both are there.

    Args:
        declared: ``spec.transports``.
        kinds: provider, else driver, of the Transports that exist, by name.
    """
    found = []
    for transport in declared:
        name = str(transport["transportRef"]).strip()
        config = {"transportRef": name, "modeReason": HOT_REASON}
        found.append(
            {
                "name": transport["name"],
                "kind": kinds.get(name) or name,
                "mode": HOT,
                "config": config,
                "typedConfig": config,
            }
        )
    return encode(found)


def stream_environment(workload: StreamWorkload) -> list[EnvVar]:
    """``container.env``.

    Raises:
        EnvironmentTooLargeError: a payload does not fit into one environment variable.
    """
    step = workload.step
    env = [*_runtime(workload), *_grpc(workload), *_identity(workload), *_payloads(workload), *_binding(workload)]
    present = {variable["name"] for variable in env}
    for name, value in variables_of(workload.settings).items():
        if (name.startswith("BUBU_") or name in present) and name not in _OWNED:
            put(env, escaped(name, value))
    put(env, literal("BUBU_TRANSPORT_SECURITY_MODE", "tls"))
    if step.timeout is not None:
        put(env, literal("BUBU_STEP_TIMEOUT", format_duration(step.timeout)))
    for variable in (*secret_environment(step), *storage_environment(step.policy.storage)):
        put(env, variable)
    env += tls_environment(step, {variable["name"] for variable in env})
    if workload.has_authority:
        put(env, literal("SSL_CERT_DIR", CERTIFICATE_FOLDERS))
    put(env, literal("BUBU_CONNECTOR_GENERATION", str(workload.generation)))
    return env + trace_environment(step, env)


def _runtime(workload: StreamWorkload) -> list[EnvVar]:
    step, settings = workload.step, workload.step.settings
    return [
        literal("BUBU_WORKLOAD_MODE", workload.mode.value),
        literal("BUBU_EXECUTION_MODE", "realtime"),
        literal("BUBU_GRPC_PORT", str(settings.grpc_port)),
        literal("BUBU_MAX_RECURSION_DEPTH", str(step.max_recursion_depth)),
        _downward("BUBU_POD_NAME", "metadata.name"),
        _downward("BUBU_POD_NAMESPACE", "metadata.namespace"),
        _downward("BUBU_SERVICE_ACCOUNT_NAME", "spec.serviceAccountName"),
        literal("BUBU_MAX_INLINE_SIZE", str(step.policy.max_inline_size_bytes)),
        literal("BUBU_STORAGE_TIMEOUT", seconds_of(settings.storage_timeout_seconds)),
        literal("BUBU_TRACE_PROPAGATION", str(step.propagates_trace).lower()),
        grace_variable(step),
    ]


def _grpc(workload: StreamWorkload) -> list[EnvVar]:
    settings = workload.step.settings
    receive, send = str(settings.max_recv_msg_bytes), str(settings.max_send_msg_bytes)
    backoff = timedelta(milliseconds=min(settings.reconnect_base_backoff_millis, RECONNECT_BASE_MILLIS))
    values = {
        "BUBU_GRPC_MAX_RECV_BYTES": receive,
        "BUBU_GRPC_MAX_SEND_BYTES": send,
        "BUBU_GRPC_CLIENT_MAX_RECV_BYTES": receive,
        "BUBU_GRPC_CLIENT_MAX_SEND_BYTES": send,
        "BUBU_GRPC_DIAL_TIMEOUT": seconds_of(max(settings.dial_timeout_seconds, DIAL_TIMEOUT_SECONDS)),
        CHANNEL_BUFFER_VARIABLE: SOURCE_BUFFER
        if is_source(workload.binding)
        else str(max(settings.channel_buffer_size, CHANNEL_BUFFER)),
        "BUBU_GRPC_RECONNECT_MAX_RETRIES": WITHOUT_END,
        "BUBU_GRPC_RECONNECT_BASE_BACKOFF": format_duration(backoff),
        "BUBU_GRPC_RECONNECT_MAX_BACKOFF": seconds_of(
            min(settings.reconnect_max_backoff_seconds, RECONNECT_MAX_SECONDS)
        ),
        "BUBU_GRPC_HANG_TIMEOUT": seconds_of(settings.hang_timeout_seconds or HANG_TIMEOUT_SECONDS),
        "BUBU_GRPC_MESSAGE_TIMEOUT": seconds_of(max(settings.message_timeout_seconds, MESSAGE_TIMEOUT_SECONDS)),
        "BUBU_GRPC_HEARTBEAT_INTERVAL": seconds_of(settings.grpc_heartbeat_interval_seconds),
    }
    return [literal(name, value) for name, value in values.items()]


def _identity(workload: StreamWorkload) -> list[EnvVar]:
    step = workload.step
    return [
        literal("BUBU_STORY_NAME", step.story_name),
        literal("BUBU_STORYRUN_ID", step.story_run_name),
        literal("BUBU_STEP_NAME", step.step_id),
        literal("BUBU_STEPRUN_NAME", step.step_run_name),
        literal("BUBU_STEPRUN_NAMESPACE", step.namespace),
        literal("BUBU_STARTED_AT", format_precise_instant(step.started_at)),
    ]


def _payloads(workload: StreamWorkload) -> list[EnvVar]:
    step = workload.step
    env = [escaped("BUBU_STEP_CONFIG", step.step_config), escaped("BUBU_TRIGGER_DATA", step.trigger_data)]
    if step.skip_input_templating:  # as in batch: data is not evaluated again
        env.append(literal("BUBU_SKIP_INPUT_TEMPLATING", "true"))
    if workload.with_in_packets:
        env.append(literal("BUBU_WITH_IN_PACKETS", "true"))
    return env


def _binding(workload: StreamWorkload) -> list[EnvVar]:
    spec = workload.binding["spec"]
    reference = {"name": workload.secret_name, "key": BINDING_ENTRY}
    env = [
        escaped("BUBU_TRANSPORTS", workload.transports),
        {"name": BINDING_VARIABLE, "valueFrom": {"secretKeyRef": reference}},
    ]
    values = {
        "DRIVER": str(spec["driver"]),
        "ENDPOINT": workload.endpoint,
        "AUDIO_CODECS": ",".join(codecs_of(spec, "audio")),
        "VIDEO_CODECS": ",".join(codecs_of(spec, "video")),
        "BINARY_TYPES": ",".join(mime_types_of(spec)),
        "HEARTBEAT_INTERVAL": seconds_of(workload.heartbeat_seconds),
    }
    return env + [escaped(f"{_TRANSPORT}{name}", value) for name, value in values.items() if value]


def _downward(name: str, path: str) -> EnvVar:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
