"""The names of settings and layers for people: fields, keys of the operator's ConfigMap, objects. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from core.policy.sources import OPERATOR, TEMPLATE
from core.policy.timing import BUILT_IN

_FIELDS: Final = {
    "image": "image",
    "image_pull_policy": "imagePullPolicy",
    "image_pull_secrets": "imagePullSecrets",
    "resources": "resources",
    "extended_resources": "resources.extended",
    "shared_memory": "sharedMemory",
    "volumes": "volumes",
    "node_selector": "placement.nodeSelector",
    "tolerations": "placement.tolerations",
    "affinity": "placement.affinity",
    "priority_class_name": "priorityClassName",
    "runtime_class_name": "runtimeClassName",
    "run_as_non_root": "security.runAsNonRoot",
    "run_as_user": "security.runAsUser",
    "read_only_root_filesystem": "security.readOnlyRootFilesystem",
    "allow_privilege_escalation": "security.allowPrivilegeEscalation",
    "drop_capabilities": "security.dropCapabilities",
    "seccomp_profile": "security.seccompProfile",
    "fs_group": "security.fsGroup",
    "service_account_name": "serviceAccountName",
    "probes": "probes",
    "secrets": "secrets",
    "tls_secret": "tlsSecret",
    "storage": "storage",
    "storage_volume": "storage.volume",
    "storage_secret": "storage.secret",
    "cache": "cache",
    "max_inline_size_bytes": "maxInlineSize",
    "max_recursion_depth": "maxRecursionDepth",
    "debug": "debug",
    "timeout": "timeout",
    "active_deadline_seconds": "job.activeDeadlineSeconds",
    "backoff_limit": "job.backoffLimit",
    "ttl_seconds_after_finished": "job.ttlSecondsAfterFinished",
    "restart_policy": "job.restartPolicy",
    "termination_grace_period_seconds": "terminationGracePeriodSeconds",
    "retry": "retry",
}
"""Beginning of a setting → its field; in the order in which they are shown."""
_ORDER: Final = {field: position for position, field in enumerate(_FIELDS.values())}

_KEYS: Final = {
    "image_pull_policy": "images.pull-policy",
    "run_as_non_root": "security.run-as-non-root",
    "run_as_user": "security.run-as-user",
    "fs_group": "security.run-as-user",
    "read_only_root_filesystem": "security.read-only-root-filesystem",
    "allow_privilege_escalation": "security.allow-privilege-escalation",
    "drop_capabilities": "security.drop-capabilities",
    "service_account_name": "security.service-account-name",
    "storage": "controller.storage.*",
    "storage_volume": "controller.storage.file.volume-claim-name",
    "max_inline_size_bytes": "engram.default-max-inline-size",
    "max_recursion_depth": "engram.default-max-recursion-depth",
    "timeout": "timeout.default-step",
    "active_deadline_seconds": "timeout.default-step",
    "backoff_limit": "job.backoff-limit",
    "ttl_seconds_after_finished": "job.ttl-seconds-after-finished",
    "restart_policy": "job.restart-policy",
    "termination_grace_period_seconds": "engram.default-termination-grace-period-seconds",
    "retry.maxRetries": "retry.max-retries",
    "retry.delay": "retry.exponential-backoff-base",
    "retry.maxDelay": "retry.exponential-backoff-max",
}
_RESOURCE_KEYS: Final = {
    "resources.cpuRequest": "cpu-request",
    "resources.cpuLimit": "cpu-limit",
    "resources.memoryRequest": "memory-request",
    "resources.memoryLimit": "memory-limit",
}
_BOUNDED: Final = {
    "run_as_non_root": "security.lowered-by",
    "read_only_root_filesystem": "security.lowered-by",
    "allow_privilege_escalation": "security.lowered-by",
    "tolerations": "security.tolerations",
    "priority_class_name": "security.priority-classes",
    "runtime_class_name": "security.runtime-classes",
}
"""Settings that layers may not choose freely → the operator's key that bounds them."""
_CLASSES: Final = ("priority_class_name", "runtime_class_name")
"""Bounded settings that templates may choose freely."""


def field_of(setting: str) -> str:
    """``node_selector.zone`` → ``placement.nodeSelector.zone``."""
    name, dot, rest = setting.partition(".")
    return f"{_FIELDS.get(name, name)}{dot}{rest}"


def position_of(field: str) -> tuple[int, str]:
    """A sort key for the results of ``field_of``: the order of this page, then the names within a group."""
    group = field
    while group and group not in _ORDER:
        group = group.rpartition(".")[0]
    return _ORDER.get(group, len(_ORDER)), field


def key_of(setting: str, config: Mapping[str, str] | None) -> str:
    """The key of the operator's ConfigMap that sets the operator's value; empty if there is none."""
    if setting in _RESOURCE_KEYS:
        own, common = (f"resources.{place}.{_RESOURCE_KEYS[setting]}" for place in ("engram", "default"))
        if config is None:
            return f"{own} or {common}"
        return own if config.get(own) else common
    if setting == "storage_secret":
        provider = (config or {}).get("controller.storage.provider") or "s3"
        return f"controller.storage.{provider}.auth-secret-name"
    return _KEYS.get(setting, "")


def bound_of(setting: str, layer: str) -> str:
    """The operator's key that decides whether ``layer`` may choose this setting; empty if it may."""
    name = setting.partition(".")[0]
    return "" if layer in (OPERATOR, "") or (layer == TEMPLATE and name in _CLASSES) else _BOUNDED.get(name, "")


def source_of(layer: str, setting: str, engram: str, template: str, config: Mapping[str, str] | None) -> str:
    """The layer in words, with the object or the key in it."""
    if layer == OPERATOR:
        key = key_of(setting, config)
        is_set = config is None or key in config or key.endswith("*")
        return f"operator setting {key}" + ("" if is_set else " (built-in)")
    if layer == TEMPLATE:
        return f"EngramTemplate {template}"
    if layer == BUILT_IN:
        return "built-in"
    kind, _, part = layer.partition(" ")
    return f"Engram {engram} {part}" if kind == "Engram" else layer
