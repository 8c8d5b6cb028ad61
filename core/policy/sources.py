"""The objects that define how a step's workload runs, read layer by layer into one common set of settings.

This module only reads; ``core.policy.layers`` decides which layer wins. Service accounts in Engrams, Stories and steps
are not read at all, so their authors cannot borrow permissions. Source: StepRun contract 10.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from core.api.objects import ReadOnlyObject
from core.policy.credentials import operators_secret
from core.policy.settings import OperatorSettings, StorageProvider

OPERATOR: Final = "operator"
TEMPLATE: Final = "EngramTemplate"
LISTENER_TEMPLATE: Final = "ImpulseTemplate"
TEMPLATES: Final = (TEMPLATE, LISTENER_TEMPLATE)
"""The layers of templates, whose authors may lower security settings more than other authors."""

_SHIPPED_KEYS: Final = ("cpuRequest", "cpuLimit", "memoryRequest", "memoryLimit")
_RESOURCE_KEYS: Final = (*_SHIPPED_KEYS, "ephemeralStorageRequest", "ephemeralStorageLimit")
_PROBE_KEYS: Final = ("liveness", "readiness", "startup")
_OF_JOBS: Final = ("backoff_limit", "ttl_seconds_after_finished", "restart_policy", "warm")
"""Settings without a meaning for a listener, which does not end."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The objects of the layers; ``step`` is the step as declared, ``step_run_overrides`` are those of its StepRun."""

    settings: OperatorSettings
    template: ReadOnlyObject
    engram: ReadOnlyObject
    story: ReadOnlyObject
    step: ReadOnlyObject
    step_run_overrides: ReadOnlyObject | None = None
    namespace: str = ""
    """The namespace of the containers; empty: the namespace of Engram and Story."""


class Layer(NamedTuple):
    """One layer; None is a value that it does not set."""

    label: str
    values: dict[str, Any]
    definition: ReadOnlyObject | None = None
    """The namespaced object that the layer was read from."""


def layers_of(sources: Sources) -> list[Layer]:
    """Every layer, the most general one first."""
    template, engram, story = (_spec(source) for source in (sources.template, sources.engram, sources.story))
    execution = _block(template, "execution")
    story_policy = _block(story, "policy")
    overrides = _block(engram, "overrides")
    step_execution = _block(sources.step, "execution")
    return [
        Layer(OPERATOR, {**_operator(sources.settings), "image": sources.settings.default_engram_image or None}),
        Layer(TEMPLATE, _template(template, execution)),
        Layer("Engram executionPolicy", _engram_policy(_block(engram, "executionPolicy")), sources.engram),
        Layer("Engram overrides", {**_overrides(overrides), "secrets": engram.get("secrets")}, sources.engram),
        Layer("Story policy", _story(story_policy), sources.story),
        Layer("Story step", {**_overrides(step_execution), "secrets": sources.step.get("secrets")}, sources.story),
        Layer("StepRun", _step_run(sources.step_run_overrides or {})),
    ]


def layers_of_impulse(settings: OperatorSettings, template: ReadOnlyObject, impulse: ReadOnlyObject) -> list[Layer]:
    """Every layer of a listener, the most general one first. Source: Trigger contract 6.2 and 6.3.

    Only here, ``serviceAccountName`` is read: a policy requires that the author may create Pods.
    """
    spec, described = _spec(impulse), _spec(template)
    execution, amounts = _block(spec, "execution"), _block(_block(spec, "workload"), "resources")
    from_template = _template(described, _block(described, "execution"))
    from_workload = {"resources": _amounts(amounts), **_placement(_block(amounts, "placement"))}
    account = (execution.get("serviceAccountName") or "").strip() or None
    return [
        Layer(OPERATOR, {**_operator(settings), "image": settings.default_impulse_image or None}),
        Layer(LISTENER_TEMPLATE, {key: value for key, value in from_template.items() if key not in _OF_JOBS}),
        Layer("Impulse workload", from_workload, impulse),
        Layer(
            "Impulse execution",
            {**_overrides(execution), "warm": None, "secrets": spec.get("secrets"), "service_account_name": account},
            impulse,
        ),
    ]


def _operator(settings: OperatorSettings) -> dict[str, Any]:
    own, default = settings.engram_resources, settings.default_resources
    quantities = (
        own.cpu_request or default.cpu_request,
        own.cpu_limit or default.cpu_limit,
        own.memory_request or default.memory_request,
        own.memory_limit or default.memory_limit,
    )
    resources = {key: quantity for key, quantity in zip(_SHIPPED_KEYS, quantities, strict=True) if quantity}
    security = settings.security
    return {
        "image_pull_policy": settings.pull_policy.value,
        "resources": resources,
        "run_as_non_root": security.run_as_non_root,
        "read_only_root_filesystem": security.read_only_root_filesystem,
        "allow_privilege_escalation": security.allow_privilege_escalation,
        "run_as_user": security.run_as_user,
        "drop_capabilities": security.drop_capabilities,
        "backoff_limit": settings.job.backoff_limit,
        "ttl_seconds_after_finished": settings.job.ttl_seconds_after_finished,
        "restart_policy": settings.job.restart_policy.value,
        "max_inline_size_bytes": settings.engram.max_inline_size_bytes,
        "service_account_name": security.service_account_name or None,
        "storage": operator_storage(settings),
    }


def operator_storage(settings: OperatorSettings) -> dict[str, Any] | None:
    """The operator's own store as a storage policy; None if it has none."""
    storage = settings.storage
    match storage.provider:
        case StorageProvider.S3:
            s3: dict[str, Any] = {"bucket": storage.s3_bucket, "usePathStyle": storage.s3_use_path_style}
            s3 |= {"region": storage.s3_region} if storage.s3_region else {}
            s3 |= {"endpoint": storage.s3_endpoint} if storage.s3_endpoint else {}
            if storage.s3_auth_secret_name:
                s3["authentication"] = {"secretRef": {"name": storage.s3_auth_secret_name}}
            return {"s3": s3, "timeoutSeconds": settings.engram.storage_timeout_seconds}
        case StorageProvider.GCS:
            gcs: dict[str, Any] = {"bucket": storage.gcs_bucket}
            return _in_cloud(settings, "gcs", gcs, storage.gcs_endpoint)
        case StorageProvider.AZURE:
            azure: dict[str, Any] = {"account": storage.azure_account, "container": storage.azure_container}
            return _in_cloud(settings, "azure", azure, storage.azure_endpoint)
        case StorageProvider.FILE:
            file = {"path": storage.file_path, "volumeClaimName": storage.file_volume_claim_name}
            return {"file": file, "timeoutSeconds": settings.engram.storage_timeout_seconds}
        case StorageProvider.NONE:
            return None


def _in_cloud(settings: OperatorSettings, provider: str, store: dict[str, Any], endpoint: str) -> dict[str, Any]:
    """A block that only the operator writes (``core.policy.credentials.OPERATORS_BLOCKS``)."""
    if endpoint:
        store["endpoint"] = endpoint
    if secret := operators_secret(settings.storage):
        store["authentication"] = {"secretRef": {"name": secret}}
    return {provider: store, "timeoutSeconds": settings.engram.storage_timeout_seconds}


def _template(template: ReadOnlyObject, execution: ReadOnlyObject) -> dict[str, Any]:
    recommended = _block(execution, "resources")
    security = _block(execution, "security")
    job = _block(execution, "job")
    probes = _block(execution, "probes")
    no_escalation = security.get("requiresNoPrivilegeEscalation")
    return {
        "image": (template.get("image") or "").strip() or None,
        "image_pull_policy": _block(execution, "images").get("pullPolicy"),
        "resources": _present(
            {key: recommended.get(f"recommended{key[0].upper()}{key[1:]}") for key in _RESOURCE_KEYS}
        ),
        "extended_resources": recommended.get("extended"),
        **_placement(_block(execution, "placement")),
        **_pod(execution),
        "run_as_non_root": security.get("requiresNonRoot"),
        "read_only_root_filesystem": security.get("requiresReadOnlyRoot"),
        "allow_privilege_escalation": None if no_escalation is None else not no_escalation,
        "run_as_user": security.get("recommendedRunAsUser"),
        "backoff_limit": job.get("recommendedBackoffLimit"),
        "ttl_seconds_after_finished": job.get("recommendedTtlSecondsAfterFinished"),
        "restart_policy": job.get("recommendedRestartPolicy"),
        "storage": execution.get("storage"),
        "probes": _present({key: probes.get(key) for key in _PROBE_KEYS}),
        "warm": execution.get("warm"),
    }


def _engram_policy(policy: ReadOnlyObject) -> dict[str, Any]:
    """As in the reference, security, storage and settings of Jobs in an Engram's ``executionPolicy`` are not read."""
    return {
        **_resources(_block(policy, "resources")),
        **_pod(policy),
        **_placement(_block(policy, "placement")),
        "cache": policy.get("cache"),
        "warm": policy.get("warm"),
    }


def _story(policy: ReadOnlyObject) -> dict[str, Any]:
    execution = _block(policy, "execution")
    job = _block(execution, "job")
    return {
        **_resources(_block(execution, "resources")),
        **_pod(execution),
        **_security(_block(execution, "security")),
        "backoff_limit": job.get("backoffLimit"),
        "ttl_seconds_after_finished": job.get("ttlSecondsAfterFinished"),
        "restart_policy": job.get("restartPolicy"),
        **_placement(_block(execution, "placement")),
        "cache": execution.get("cache"),
        "storage": policy.get("storage") or execution.get("storage"),
        "warm": execution.get("warm"),
    }


def _overrides(block: ReadOnlyObject) -> dict[str, Any]:
    """The ``ExecutionOverrides`` of Engrams and steps. Service accounts in it are ignored on purpose."""
    probes = _block(block, "probes")
    disabled: dict[str, Any] = {key: {} for key in _PROBE_KEYS if probes.get(f"disable{key.capitalize()}")}
    return {
        "image_pull_policy": block.get("imagePullPolicy"),
        **_resources(_block(block, "resources")),
        **_pod(block),
        **_security(_block(block, "security")),
        **_placement(_block(block, "placement")),
        "cache": block.get("cache"),
        "max_inline_size_bytes": block.get("maxInlineSize"),
        "debug": block.get("debug"),
        "storage": block.get("storage"),
        "probes": disabled or None,
        "warm": block.get("warm"),
    }


def _step_run(overrides: ReadOnlyObject) -> dict[str, Any]:
    return {
        "resources": _present({key: overrides.get(key) for key in _RESOURCE_KEYS}),
        "extended_resources": overrides.get("extendedResources"),
        **_pod(overrides),
        "backoff_limit": overrides.get("backoffLimit"),
        "ttl_seconds_after_finished": overrides.get("ttlSecondsAfterFinished"),
        "restart_policy": overrides.get("restartPolicy"),
        **_placement(_block(overrides, "placement")),
        "cache": overrides.get("cache"),
        "debug": overrides.get("debug"),
    }


def _amounts(resources: ReadOnlyObject) -> dict[str, Any] | None:
    """``requests`` and ``limits`` of Kubernetes, as the settings name them: ``cpuRequest``."""
    return _present(
        {
            f"{name}{ending}": _block(resources, group).get(name)
            for group, ending in (("requests", "Request"), ("limits", "Limit"))
            for name in ("cpu", "memory", "ephemeralStorage")
        }
    )


def _resources(block: ReadOnlyObject) -> dict[str, Any]:
    return {
        "resources": _present({key: block.get(key) for key in _RESOURCE_KEYS}),
        "extended_resources": block.get("extended"),
    }


def _pod(block: ReadOnlyObject) -> dict[str, Any]:
    """The fields of ``core.api.volumes.PodNeeds``, which all layers have."""
    return {
        "volumes": block.get("volumes"),
        "shared_memory": block.get("sharedMemory"),
        "priority_class_name": block.get("priorityClassName") or None,
        "runtime_class_name": block.get("runtimeClassName") or None,
        "image_pull_secrets": block.get("imagePullSecrets"),
    }


def _security(block: ReadOnlyObject) -> dict[str, Any]:
    return {
        "run_as_non_root": block.get("runAsNonRoot"),
        "read_only_root_filesystem": block.get("readOnlyRootFilesystem"),
        "allow_privilege_escalation": block.get("allowPrivilegeEscalation"),
        "run_as_user": block.get("runAsUser"),
    }


def _placement(block: ReadOnlyObject) -> dict[str, Any]:
    tolerations = block.get("tolerations")
    return {
        "node_selector": block.get("nodeSelector"),
        "tolerations": None if tolerations is None else tuple(tolerations),
        "affinity": block.get("affinity"),
    }


def _present(values: Mapping[str, Any]) -> dict[str, Any] | None:
    return {key: value for key, value in values.items() if value not in (None, "")} or None


def _spec(source: ReadOnlyObject) -> ReadOnlyObject:
    spec: ReadOnlyObject = source.get("spec") or {}
    return spec


def _block(parent: ReadOnlyObject, key: str) -> ReadOnlyObject:
    block: ReadOnlyObject = parent.get(key) or {}
    return block
