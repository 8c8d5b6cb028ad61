"""Reads the values of settings out of a Job: the one that the operator would create, or the one that exists. Pure.

The same function reads both, so a value that is shown is one that the Job has. An API server fills in defaults and
rewrites quantities; ``is_same`` allows for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from core.api.objects import ReadOnlyObject
from core.api.quantity import parse_quantity
from core.policy.volumes import SOURCES
from core.workloads.step_workload import ENGRAM_CONTAINER
from core.workloads.storage import STORAGE_VOLUME
from core.workloads.tls import TLS_VOLUME
from core.workloads.volumes import SHARED_MEMORY_VOLUME

_OWN_VOLUMES: Final = (STORAGE_VOLUME, TLS_VOLUME, SHARED_MEMORY_VOLUME)
_RESOURCES: Final = {"cpu": "cpu", "memory": "memory", "ephemeral-storage": "ephemeralStorage"}
_GROUPS: Final = {"requests": "Request", "limits": "Limit"}
_PROBES: Final = ("liveness", "readiness", "startup")
_AMOUNTS: Final = ("resources.", "extended_resources.", "shared_memory")
"""Settings, or their beginnings, that are quantities."""
_STORE: Final = {
    "BUBU_STORAGE_PROVIDER": "provider",
    "BUBU_STORAGE_S3_BUCKET": "bucket",
    "BUBU_STORAGE_S3_REGION": "region",
    "BUBU_STORAGE_S3_ENDPOINT": "endpoint",
    "BUBU_S3_FORCE_PATH_STYLE": "usePathStyle",
    "BUBU_STORAGE_GCS_BUCKET": "bucket",
    "BUBU_STORAGE_GCS_ENDPOINT": "endpoint",
    "BUBU_STORAGE_AZURE_ACCOUNT": "account",
    "BUBU_STORAGE_AZURE_CONTAINER": "container",
    "BUBU_STORAGE_AZURE_ENDPOINT": "endpoint",
    "BUBU_STORAGE_PATH": "path",
}
_USER: Final = re.compile(r"//[^/]*@")
"""User and password in an address."""
_NUMBERS: Final = {"BUBU_MAX_INLINE_SIZE": "max_inline_size_bytes", "BUBU_MAX_RECURSION_DEPTH": "max_recursion_depth"}


def job_values(job: ReadOnlyObject, secrets: Mapping[str, str]) -> dict[str, Any]:
    """Setting → value; a setting that the Job does not have is absent.

    ``secrets``: logical name → Secret. Such a name is among the values if the Job uses the Secret; the Job itself has
    no logical names.
    """
    spec: ReadOnlyObject = job["spec"]
    pod: ReadOnlyObject = spec["template"]["spec"]
    container = _container(pod)
    return dict(
        (
            *_of_job(spec),
            *_of_pod(pod),
            *_of_container(container),
            *_of_environment(container),
            *_of_volumes(pod, container),
            *((f"secrets.{name}", secret) for name, secret in secrets.items() if secret in _secrets_in(pod, container)),
        )
    )


def is_same(setting: str, wanted: Any, found: Any) -> bool:
    """Whether a Job that was created with ``wanted`` would have ``found``."""
    return _covers(wanted, found, is_amount=setting.startswith(_AMOUNTS))


def _of_job(spec: ReadOnlyObject) -> Iterator[tuple[str, Any]]:
    for field, setting in (
        ("backoffLimit", "backoff_limit"),
        ("ttlSecondsAfterFinished", "ttl_seconds_after_finished"),
        ("activeDeadlineSeconds", "active_deadline_seconds"),
    ):
        if field in spec:
            yield setting, spec[field]


def _of_pod(pod: ReadOnlyObject) -> Iterator[tuple[str, Any]]:
    security = pod.get("securityContext") or {}
    for block, field, setting in (
        (pod, "restartPolicy", "restart_policy"),
        (pod, "serviceAccountName", "service_account_name"),
        (pod, "terminationGracePeriodSeconds", "termination_grace_period_seconds"),
        (pod, "tolerations", "tolerations"),
        (pod, "affinity", "affinity"),
        (pod, "priorityClassName", "priority_class_name"),
        (pod, "runtimeClassName", "runtime_class_name"),
        (security, "runAsNonRoot", "run_as_non_root"),
        (security, "runAsUser", "run_as_user"),
        (security, "seccompProfile", "seccomp_profile"),
        (security, "fsGroup", "fs_group"),
    ):
        if block.get(field) is not None:
            yield setting, block[field]
    for key, value in (pod.get("nodeSelector") or {}).items():
        yield f"node_selector.{key}", value
    for secret in pod.get("imagePullSecrets") or ():
        yield f"image_pull_secrets.{secret['name']}", secret["name"]


def _of_container(container: ReadOnlyObject) -> Iterator[tuple[str, Any]]:
    security = container.get("securityContext") or {}
    for block, field, setting in (
        (container, "image", "image"),
        (container, "imagePullPolicy", "image_pull_policy"),
        (security, "readOnlyRootFilesystem", "read_only_root_filesystem"),
        (security, "allowPrivilegeEscalation", "allow_privilege_escalation"),
    ):
        if block.get(field) is not None:
            yield setting, block[field]
    if dropped := (security.get("capabilities") or {}).get("drop"):
        yield "drop_capabilities", dropped
    for group, ending in _GROUPS.items():
        for name, amount in ((container.get("resources") or {}).get(group) or {}).items():
            if name in _RESOURCES:
                yield f"resources.{_RESOURCES[name]}{ending}", amount
            elif group == "limits":
                yield f"extended_resources.{name}", amount
    for probe in _PROBES:
        if container.get(f"{probe}Probe"):
            yield f"probes.{probe}", container[f"{probe}Probe"]


def _of_environment(container: ReadOnlyObject) -> Iterator[tuple[str, Any]]:
    values = {each["name"]: each.get("value") for each in container.get("env") or ()}
    if values.get("BUBU_DEBUG") is not None:
        yield "debug", values["BUBU_DEBUG"] == "true"
    if values.get("BUBU_STEP_TIMEOUT") is not None:
        yield "timeout", values["BUBU_STEP_TIMEOUT"]
    for name, setting in _NUMBERS.items():
        if (values.get(name) or "").isdecimal():
            yield setting, int(values[name])
    store = {field: values[name] for name, field in _STORE.items() if values.get(name) is not None}
    if store:
        if values.get("BUBU_STORAGE_TIMEOUT"):
            store["timeout"] = [each["value"] for each in container["env"] if each["name"] == "BUBU_STORAGE_TIMEOUT"][
                -1
            ]
        if "endpoint" in store:
            store["endpoint"] = _USER.sub("//***@", store["endpoint"])
        yield "storage", store


def _of_volumes(pod: ReadOnlyObject, container: ReadOnlyObject) -> Iterator[tuple[str, Any]]:
    mounts = {mount["name"]: mount for mount in container.get("volumeMounts") or ()}
    for volume in pod.get("volumes") or ():
        name, mount = volume["name"], mounts.get(volume["name"]) or {}
        if name == TLS_VOLUME:
            yield "tls_secret", (volume.get("secret") or {}).get("secretName")
        elif name == STORAGE_VOLUME:
            yield "storage_volume", {key: value for key, value in volume.items() if key != "name"}
        elif name == SHARED_MEMORY_VOLUME:
            yield "shared_memory", (volume.get("emptyDir") or {}).get("sizeLimit")
        elif name not in _OWN_VOLUMES and any(volume.get(source) is not None for source in SOURCES):
            shown = {key: value for key, value in mount.items() if key != "name"}
            yield f"volumes.{name}", {**shown, **{key: value for key, value in volume.items() if key != "name"}}


def _secrets_in(pod: ReadOnlyObject, container: ReadOnlyObject) -> frozenset[str]:
    """Names of the Secrets that the container uses."""
    references = (
        *((each.get("valueFrom") or {}).get("secretKeyRef") or {} for each in container.get("env") or ()),
        *(each.get("secretRef") or {} for each in container.get("envFrom") or ()),
    )
    volumes = ((volume.get("secret") or {}).get("secretName") for volume in pod.get("volumes") or ())
    return frozenset(str(name) for name in (*(each.get("name") for each in references), *volumes) if name)


def _container(pod: ReadOnlyObject) -> ReadOnlyObject:
    containers: Sequence[ReadOnlyObject] = pod.get("containers") or ()
    own = [each for each in containers if each.get("name") == ENGRAM_CONTAINER]
    return (own or list(containers) or [{}])[0]


def _amount(value: Any) -> Any:
    try:
        return parse_quantity(str(value))
    except ValueError:
        return value


def _covers(wanted: Any, found: Any, *, is_amount: bool = False) -> bool:
    """Whether ``found`` is ``wanted``, perhaps with more fields in objects."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return all(
            key in found and _covers(value, found[key], is_amount=key == "sizeLimit") for key, value in wanted.items()
        )
    if isinstance(wanted, list | tuple) and isinstance(found, list | tuple):
        return len(wanted) == len(found) and all(map(_covers, wanted, found))
    return bool(_amount(wanted) == _amount(found)) if is_amount else bool(wanted == found)
