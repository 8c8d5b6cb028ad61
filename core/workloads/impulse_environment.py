"""The environment of a listener's container: names, values and their order. Pure.

Source: Trigger contract 6.6. As for steps, every ``$`` in a value is doubled, so that Kubernetes does not expand it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from core.workloads.environment import EnvVar, escaped
from core.workloads.impulse_workload import ListenerWorkload
from core.workloads.secrets import secret_environment
from core.workloads.storage import storage_environment

_DEDUPE: Final = {"mode": "BUBU_TRIGGER_DEDUPE_MODE", "keyTemplate": "BUBU_TRIGGER_DEDUPE_KEY_TEMPLATE"}
_RETRY: Final = {
    "maxAttempts": "BUBU_TRIGGER_RETRY_MAX_ATTEMPTS",
    "baseDelay": "BUBU_TRIGGER_RETRY_BASE_DELAY",
    "maxDelay": "BUBU_TRIGGER_RETRY_MAX_DELAY",
    "backoff": "BUBU_TRIGGER_RETRY_BACKOFF",
}
_THROTTLE: Final = {
    "maxInFlight": "BUBU_TRIGGER_THROTTLE_MAX_IN_FLIGHT",
    "ratePerSecond": "BUBU_TRIGGER_THROTTLE_RATE_PER_SECOND",
    "burst": "BUBU_TRIGGER_THROTTLE_BURST",
}
_STORAGE_TIMEOUT: Final = "BUBU_STORAGE_TIMEOUT"
_POD: Final = {"BUBU_POD_NAME": "metadata.name", "BUBU_POD_NAMESPACE": "metadata.namespace"}


def impulse_environment(workload: ListenerWorkload) -> list[EnvVar]:
    """``container.env``, in the contract's order; the Pod's own name and namespace follow.

    Raises:
        EnvironmentTooLargeError: a value is too large for a process.
    """
    values = {
        "BUBU_IMPULSE_NAME": workload.impulse_name,
        "BUBU_IMPULSE_NAMESPACE": workload.namespace,
        "BUBU_TARGET_STORY_NAME": workload.story_name,
        "BUBU_TARGET_STORY_NAMESPACE": workload.story_namespace,
        "BUBU_DEBUG": str(workload.policy.debug).lower(),
        "BUBU_MAX_INLINE_SIZE": str(workload.policy.max_inline_size_bytes),
        "BUBU_MAX_RECURSION_DEPTH": str(workload.max_recursion_depth),
        **({} if workload.step_config is None else {"BUBU_STEP_CONFIG": workload.step_config}),
        **dict(_named(_DEDUPE, workload.dedupe)),
        **dict(_named(_RETRY, workload.retry)),
        **dict(_named(_THROTTLE, workload.throttle)),
    }
    env = [escaped(name, value) for name, value in values.items()]
    env += [_unexpanded(variable) for variable in (*_storage(workload), *secret_environment(workload))]
    return env + [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in _POD.items()]


def _named(names: Mapping[str, str], fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The variables of the fields that are set and not blank."""
    for field, name in names.items():
        text = "" if fields.get(field) is None else str(fields[field]).strip()
        if text:
            yield name, text


def _storage(workload: ListenerWorkload) -> Iterator[EnvVar]:
    env = storage_environment(workload.policy.storage)
    yield from env
    if env and not any(variable["name"] == _STORAGE_TIMEOUT for variable in env):
        yield {"name": _STORAGE_TIMEOUT, "value": f"{workload.storage_timeout_seconds}s"}


def _unexpanded(variable: EnvVar) -> EnvVar:
    return escaped(variable["name"], variable["value"]) if "value" in variable else variable
