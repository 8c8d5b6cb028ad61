"""What the container of a realtime step needs to reach the hub: its token in a Secret, the hub's authority beside it.

The name of a Secret tells what is in it, and it is never changed: another token needs another Secret. The StepRun owns
it, so it goes with it. The operator needs no permission to change or delete Secrets. The authority is no secret and
changes while containers run, so each namespace with realtime steps has it in one ConfigMap, which the kubelet follows.
Pure.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from bubu_contract.identity import compose_with_suffix, label_value
from core.api import keys
from core.api.objects import Object, ReadOnlyObject
from core.api.resource import CONFIG_MAP, SECRET
from core.workloads.stream_binding import binding_variable
from core.workloads.stream_workload import StreamWorkload, controlled_by_step_run

BINDING_ENTRY: Final = "binding"
AUTHORITY_CONFIG_MAP: Final = "bobrapet-hub-trust"
AUTHORITY_ENTRY: Final = "ca.crt"
AUTHORITY_VOLUME: Final = "bubu-hub-ca"
AUTHORITY_PATH: Final = "/var/run/bubu/hub-ca"
SYSTEM_AUTHORITIES: Final = "/etc/ssl/certs"
CERTIFICATE_FOLDERS: Final = f"{SYSTEM_AUTHORITIES}:{AUTHORITY_PATH}"
"""``SSL_CERT_DIR`` of a container that trusts the hub: OpenSSL and Go read every file in these folders."""

_DIGEST_LENGTH: Final = 10
_OWN: Final = {keys.LABEL_APP_MANAGED_BY: keys.FIELD_MANAGER}


def stream_secret(workload: StreamWorkload, key: bytes) -> Object:
    """The Secret of one generation.

    Raises:
        BindingTooLargeError: the settings of the transport are too large.
    """
    step, variable = workload.step, binding_variable(workload, key).encode()
    digest = hashlib.sha256(variable).hexdigest()[:_DIGEST_LENGTH]
    name = compose_with_suffix(workload.binding["metadata"]["name"], f"g{workload.generation}-{digest}")
    obj = controlled_by_step_run(step, name, SECRET)
    obj["metadata"]["labels"] = {
        keys.LABEL_STEP_RUN: label_value(step.step_run_name),
        keys.LABEL_STORY_RUN: label_value(step.story_run_name),
    }
    value = base64.b64encode(variable).decode("ascii")
    return {**obj, "type": "Opaque", "immutable": True, "data": {BINDING_ENTRY: value}}


def authority_config_map(namespace: str, bundle: bytes) -> Object:
    """The ConfigMap with the authorities that containers of ``namespace`` trust for the hub."""
    return {
        "apiVersion": CONFIG_MAP.api_version,
        "kind": CONFIG_MAP.kind,
        "metadata": {"name": AUTHORITY_CONFIG_MAP, "namespace": namespace, "labels": dict(_OWN)},
        "data": {AUTHORITY_ENTRY: bundle.decode("ascii")},
    }


def is_authority_config_map(stored: ReadOnlyObject) -> bool:
    """Whether the operator has created the ConfigMap of that name."""
    return _OWN.items() <= (stored["metadata"].get("labels") or {}).items()


def authority_volumes(workload: StreamWorkload) -> list[Object]:
    if not workload.has_authority:
        return []
    items = [{"key": AUTHORITY_ENTRY, "path": AUTHORITY_ENTRY}]
    return [{"name": AUTHORITY_VOLUME, "configMap": {"name": AUTHORITY_CONFIG_MAP, "items": items}}]


def authority_mounts(workload: StreamWorkload) -> list[Object]:
    if not workload.has_authority:
        return []
    return [{"name": AUTHORITY_VOLUME, "mountPath": AUTHORITY_PATH, "readOnly": True}]
