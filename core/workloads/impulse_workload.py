"""The input of the builders of a listener: one Impulse, resolved, as one frozen record; its names and labels. Pure.

Source: Trigger contract 6.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from bubu_contract.identity import MAX_NAME_LENGTH, compose, label_value
from core.api import keys
from core.api.objects import Object, ReadOnlyObject
from core.api.resource import DEPLOYMENT, IMPULSE, STATEFUL_SET, Resource
from core.policy.layers import ExecutionPolicy

IMPULSE_CONTAINER: Final = "impulse"
APP_NAME: Final = "bobrapet-impulse"
MANAGED_BY: Final = "bobrapet-operator"
SELECTOR: Final = f"{keys.LABEL_APP_NAME}={APP_NAME},{keys.LABEL_APP_MANAGED_BY}={MANAGED_BY}"
"""Selects the objects that run Impulses, of every Impulse."""


class ListenerMode(StrEnum):
    """The kind of workload that runs a listener; the values are those of ``spec.workload.mode``."""

    DEPLOYMENT = "deployment"
    STATEFUL_SET = "statefulset"

    @property
    def resource(self) -> Resource:
        return DEPLOYMENT if self is ListenerMode.DEPLOYMENT else STATEFUL_SET


@dataclass(frozen=True, slots=True)
class ListenerWorkload:
    """One listener; its JSON payload is already encoded."""

    namespace: str
    impulse_name: str
    impulse_uid: str
    template_name: str
    story_namespace: str
    story_name: str
    mode: ListenerMode
    policy: ExecutionPolicy
    dedupe: Mapping[str, Any]
    """``mode`` and ``keyTemplate`` of the merged delivery policy."""
    retry: Mapping[str, Any]
    """``maxAttempts``, ``baseDelay``, ``maxDelay`` and ``backoff`` of the merged delivery policy."""
    throttle: Mapping[str, Any]
    step_config: str | None
    """The JSON of ``spec.with``; None when there is none."""
    secret_schema: Mapping[str, Mapping[str, Any]]
    """ImpulseTemplate ``spec.secretSchema``: logical name → definition."""
    max_recursion_depth: int
    storage_timeout_seconds: int
    """When the storage policy has none."""
    account: str
    """The ServiceAccount of the Pods."""
    service_name: str
    pod_management_policy: str = ""
    update_strategy: Mapping[str, Any] | None = None
    suspended: bool = False

    @property
    def name(self) -> str:
        """The name of the Deployment or StatefulSet."""
        return workload_name(self.impulse_name, self.template_name)


def workload_name(impulse: str, template: str) -> str:
    """
    >>> workload_name("voice-hook", "livekit-webhook"), workload_name("cron", "cron")
    ('voice-hook-livekit-webhook-impulse', 'cron-impulse')
    """
    parts = (impulse, IMPULSE_CONTAINER) if template == impulse else (impulse, template, IMPULSE_CONTAINER)
    return compose(*parts)


def instance_label(impulse: str) -> str:
    """The value of the label that names the Impulse: its name, or a valid form of a name that is too long."""
    return impulse if len(impulse) <= MAX_NAME_LENGTH else label_value(impulse)


def workload_labels(impulse: str) -> dict[str, str]:
    """The labels of the workload and of its Pods, and its selector."""
    return {
        keys.LABEL_APP_NAME: APP_NAME,
        keys.LABEL_APP_INSTANCE: instance_label(impulse),
        keys.LABEL_APP_MANAGED_BY: MANAGED_BY,
    }


def controlled_by_impulse(namespace: str, impulse: str, uid: str, name: str, resource: Resource) -> Object:
    """The beginning of an object that an Impulse controls: kind, name, labels and owner."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": workload_labels(impulse),
            "ownerReferences": [
                {
                    "apiVersion": IMPULSE.api_version,
                    "kind": IMPULSE.kind,
                    "name": impulse,
                    "uid": uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
    }


def chosen_mode(impulse: ReadOnlyObject) -> tuple[ListenerMode, str]:
    """The mode of an Impulse, and the word in its spec when that is no mode of a listener.

    Without a mode, settings of a StatefulSet choose ``statefulset``; everything else means ``deployment``.
    """
    workload = (impulse.get("spec") or {}).get("workload") or {}
    word = str(workload.get("mode") or "")
    if word in set(ListenerMode):
        return ListenerMode(word), ""
    if not word and workload.get("statefulSet"):
        return ListenerMode.STATEFUL_SET, ""
    return ListenerMode.DEPLOYMENT, word


def is_suspended(impulse: ReadOnlyObject) -> bool:
    """Whether its annotation asks for a listener without Pods."""
    annotations = (impulse.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(keys.ANNOTATION_SUSPEND) or "").strip().lower() == "true"
