"""The environment of a batch container: names, values and their order.

Source: StepRun contract 13 (the numbers below are its rows). Kubernetes expands ``$(NAME)`` and turns ``$$`` into ``$``
in literal values. So every ``$`` in a payload is doubled, and the payload arrives unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from bubu_contract.durations import format_duration
from bubu_contract.instants import format_instant
from core.workloads.secrets import secret_environment
from core.workloads.step_workload import StepWorkload
from core.workloads.storage import storage_environment
from core.workloads.tls import tls_environment
from core.workloads.variables import MAX_VARIABLE_BYTES

EnvVar = dict[str, Any]

TEMPLATE_CONTEXT: Final = "BUBU_TEMPLATE_CONTEXT"
TRACE_VARIABLES: Final = ("TRACEPARENT", "TRACESTATE", "BAGGAGE")
GRACE: Final = "BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT"
DEFAULT_DRAIN: Final = timedelta(seconds=20)
"""What an SDK takes without the variable ``GRACE``."""


class EnvironmentTooLargeError(Exception):
    """A value is too large for a process; ``name`` is its variable, ``size_bytes`` its size."""

    def __init__(self, name: str, size_bytes: int) -> None:
        super().__init__(
            f"{name} would be {size_bytes} bytes; a process accepts at most {MAX_VARIABLE_BYTES} bytes of "
            "NAME=value; name an object store with controller.storage.provider, where the operator puts large inputs, "
            "or pass large data by storage reference"
        )
        self.name = name
        self.size_bytes = size_bytes


def batch_environment(workload: StepWorkload) -> list[EnvVar]:
    """``container.env``, in the contract's order; a storage variable replaces an earlier one with the same name, in
    place.

    Raises:
        EnvironmentTooLargeError: a payload exceeds ``MAX_VARIABLE_BYTES``.
    """
    env = [
        *identity_environment(workload),  # 1-6
        escaped("BUBU_TRIGGER_DATA", workload.trigger_data),  # 7
        *_runtime(workload),  # 8-15
        *_downward(),  # 16-18
        *([literal("BUBU_SKIP_INPUT_TEMPLATING", "true")] if workload.skip_input_templating else []),  # 19
        *_grpc(workload),  # 20-31
        *secret_environment(workload),  # 32
        literal("BUBU_ENGRAM_NAME", workload.engram_name),  # 33
        literal("BUBU_ENGRAM_VERSION", workload.engram_version),  # 34
    ]
    env += tls_environment(workload, {variable["name"] for variable in env})  # 35
    env += [
        literal("BUBU_STARTED_AT", format_instant(workload.started_at)),  # 36
        escaped("BUBU_STEP_CONFIG", workload.step_config),  # 37
    ]
    if workload.template_context is not None:
        env.append(escaped(TEMPLATE_CONTEXT, workload.template_context))  # 38
    env.append(literal("BUBU_SKIP_SCHEMA_VALIDATION", "true"))  # an extension: the operator has validated already
    for variable in storage_environment(workload.policy.storage):  # 39
        put(env, variable)
    return env + trace_environment(workload, env)


def trace_environment(workload: StepWorkload, env: Iterable[EnvVar] = ()) -> list[EnvVar]:
    """The span of the attempt, an extension; ``env`` has the other variables, which have priority.

    Source: OpenTelemetry, Environment Variables as Context Propagation Carriers.
    """
    taken = {variable["name"] for variable in env} if workload.trace_context else ()
    context = {name.upper(): value for name, value in workload.trace_context.items()}
    return [escaped(name, value) for name, value in context.items() if name not in taken]


def identity_environment(workload: StepWorkload) -> list[EnvVar]:
    """The names of Story, run and step."""
    return [
        literal("BUBU_STORY_NAME", workload.story_name),
        literal("BUBU_STORY_VERSION", workload.story_version.strip()),
        literal("BUBU_STORYRUN_ID", workload.story_run_name),
        literal("BUBU_STEP_NAME", workload.step_id),
        literal("BUBU_STEPRUN_NAME", workload.step_run_name),
        literal("BUBU_STEPRUN_NAMESPACE", workload.namespace),
    ]


def _runtime(workload: StepWorkload) -> list[EnvVar]:
    settings, limit = workload.settings, workload.timeout
    assert limit is not None, "a Job has a deadline"
    return [
        literal("BUBU_EXECUTION_MODE", "batch"),
        literal("BUBU_HYBRID_BRIDGE", "false"),
        literal("BUBU_GRPC_PORT", str(settings.grpc_port)),
        literal("BUBU_MAX_INLINE_SIZE", str(workload.policy.max_inline_size_bytes)),
        literal("BUBU_STORAGE_TIMEOUT", seconds_of(settings.storage_timeout_seconds)),
        literal("BUBU_STEP_TIMEOUT", format_duration(limit)),
        literal("BUBU_MAX_RECURSION_DEPTH", str(workload.max_recursion_depth)),
        literal("BUBU_DEBUG", str(workload.policy.debug).lower()),
        *_grace(workload),
    ]


def _grace(workload: StepWorkload) -> list[EnvVar]:
    """An extension: the function has as long to end as the operator waits for it, where that is not the default."""
    return [] if drain_of(workload) == DEFAULT_DRAIN else [grace_variable(workload)]


def grace_variable(workload: StepWorkload) -> EnvVar:
    """How long a canceled function has to end, in plain seconds if they are whole."""
    drain = drain_of(workload)
    whole = drain // timedelta(seconds=1)
    return literal(GRACE, seconds_of(whole) if drain == timedelta(seconds=whole) else format_duration(drain))


def drain_of(workload: StepWorkload) -> timedelta:
    """How long a canceled function has to end."""
    return workload.drain or timedelta(seconds=workload.settings.graceful_shutdown_timeout_seconds)


def _downward() -> list[EnvVar]:
    fields = {
        "BUBU_POD_NAME": "metadata.name",
        "BUBU_POD_NAMESPACE": "metadata.namespace",
        "BUBU_SERVICE_ACCOUNT_NAME": "spec.serviceAccountName",
    }
    return [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]


def _grpc(workload: StepWorkload) -> list[EnvVar]:
    settings = workload.settings
    receive, send = str(settings.max_recv_msg_bytes), str(settings.max_send_msg_bytes)
    message_timeout = seconds_of(settings.message_timeout_seconds)
    backoff = timedelta(milliseconds=settings.reconnect_base_backoff_millis)
    values = {
        "BUBU_GRPC_MAX_RECV_BYTES": receive,
        "BUBU_GRPC_MAX_SEND_BYTES": send,
        "BUBU_GRPC_CLIENT_MAX_RECV_BYTES": receive,
        "BUBU_GRPC_CLIENT_MAX_SEND_BYTES": send,
        "BUBU_GRPC_DIAL_TIMEOUT": seconds_of(settings.dial_timeout_seconds),
        "BUBU_GRPC_CHANNEL_BUFFER_SIZE": str(settings.channel_buffer_size),
        "BUBU_GRPC_RECONNECT_MAX_RETRIES": str(settings.reconnect_max_retries or 10),
        "BUBU_GRPC_RECONNECT_BASE_BACKOFF": format_duration(backoff),
        "BUBU_GRPC_RECONNECT_MAX_BACKOFF": seconds_of(settings.reconnect_max_backoff_seconds),
        "BUBU_GRPC_HANG_TIMEOUT": seconds_of(settings.hang_timeout_seconds),
        "BUBU_GRPC_MESSAGE_TIMEOUT": message_timeout,
        "BUBU_GRPC_CHANNEL_SEND_TIMEOUT": message_timeout,
    }
    return [literal(name, value) for name, value in values.items()]


def escaped(name: str, value: str) -> EnvVar:
    """A variable whose value reaches the program unchanged.

    Raises:
        EnvironmentTooLargeError: it exceeds ``MAX_VARIABLE_BYTES``.
    """
    size = len(name) + 1 + len(value.encode())
    if size > MAX_VARIABLE_BYTES:
        raise EnvironmentTooLargeError(name, size)
    return literal(name, value.replace("$", "$$"))


def literal(name: str, value: str) -> EnvVar:
    """A variable whose value has no ``$``."""
    return {"name": name, "value": value}


def seconds_of(seconds: int) -> str:
    """Plain seconds (``300s``), as the contract writes them, not Go's ``5m0s``."""
    return f"{seconds}s"


def put(env: list[EnvVar], variable: EnvVar) -> None:
    """Adds the variable, or replaces the one of its name, in place."""
    for index, existing in enumerate(env):
        if existing["name"] == variable["name"]:
            env[index] = variable
            return
    env.append(variable)
