"""The TLS Secret of an Engram inside its container. Source: StepRun contract 15.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.api.keys import ANNOTATION_ENGRAM_TLS_SECRET, ANNOTATION_TLS_SECRET
from core.workloads.step_workload import StepWorkload

TLS_VOLUME: Final = "engram-tls"
TLS_MOUNT_PATH: Final = "/var/run/tls"

_VARIABLES: Final = {
    "BUBU_GRPC_TLS_CERT_FILE": f"{TLS_MOUNT_PATH}/tls.crt",
    "BUBU_GRPC_TLS_KEY_FILE": f"{TLS_MOUNT_PATH}/tls.key",
    "BUBU_GRPC_CA_FILE": f"{TLS_MOUNT_PATH}/ca.crt",
    "BUBU_GRPC_CLIENT_CERT_FILE": f"{TLS_MOUNT_PATH}/tls.crt",
    "BUBU_GRPC_CLIENT_KEY_FILE": f"{TLS_MOUNT_PATH}/tls.key",
    "BUBU_GRPC_REQUIRE_TLS": "true",
}


def tls_secret_name(engram: Mapping[str, Any]) -> str:
    """The Secret that the Engram's annotations name; empty when they name none."""
    annotations = (engram.get("metadata") or {}).get("annotations") or {}
    name: str = annotations.get(ANNOTATION_ENGRAM_TLS_SECRET) or annotations.get(ANNOTATION_TLS_SECRET) or ""
    return name.strip()


def tls_environment(workload: StepWorkload, taken: set[str]) -> list[dict[str, Any]]:
    """The variables, without those whose names are in ``taken``."""
    if not workload.tls_secret:
        return []
    return [{"name": name, "value": value} for name, value in _VARIABLES.items() if name not in taken]


def tls_volumes(workload: StepWorkload) -> list[dict[str, Any]]:
    if not workload.tls_secret:
        return []
    return [{"name": TLS_VOLUME, "secret": {"secretName": workload.tls_secret}}]


def tls_volume_mounts(workload: StepWorkload) -> list[dict[str, Any]]:
    if not workload.tls_secret:
        return []
    return [{"name": TLS_VOLUME, "mountPath": TLS_MOUNT_PATH, "readOnly": True}]
