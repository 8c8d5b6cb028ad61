"""One listener. Tests change one field at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from core.api.objects import Object
from core.workloads.impulse_workload import ListenerMode, ListenerWorkload
from tests.unit.core.workloads.workload_samples import POLICY

LISTENER = ListenerWorkload(
    namespace="team-a",
    impulse_name="voice-hook",
    impulse_uid="impulse-uid",
    template_name="livekit-webhook",
    story_namespace="team-a",
    story_name="report",
    mode=ListenerMode.DEPLOYMENT,
    policy=POLICY,
    dedupe={},
    retry={},
    throttle={},
    step_config=None,
    secret_schema={},
    max_recursion_depth=32,
    storage_timeout_seconds=300,
    account="voice-hook-impulse-runner",
    service_name="voice-hook-livekit-webhook-impulse",
)
LABELS = {
    "app.kubernetes.io/name": "bobrapet-impulse",
    "app.kubernetes.io/instance": "voice-hook",
    "app.kubernetes.io/managed-by": "bobrapet-operator",
}
OWNER = {
    "apiVersion": "bubustack.io/v1alpha1",
    "kind": "Impulse",
    "name": "voice-hook",
    "uid": "impulse-uid",
    "controller": True,
    "blockOwnerDeletion": True,
}


def listening(*, policy: dict[str, Any] | None = None, **fields: Any) -> ListenerWorkload:
    return replace(LISTENER, policy=replace(POLICY, **(policy or {})), **fields)


def impulse(name: str = "voice-hook", **spec: Any) -> Object:
    given = {"templateRef": {"name": "livekit-webhook"}, "storyRef": {"name": "report"}, **spec}
    metadata = {"name": name, "namespace": "team-a", "uid": "impulse-uid", "generation": 1}
    return {"apiVersion": "bubustack.io/v1alpha1", "kind": "Impulse", "metadata": metadata, "spec": given}


def template(**spec: Any) -> Object:
    given = {"image": "registry.example/hook:1", "version": "1", "supportedModes": ["deployment"], **spec}
    return {"kind": "ImpulseTemplate", "metadata": {"name": "livekit-webhook"}, "spec": given}


def story(**policy: Any) -> Object:
    return {"kind": "Story", "metadata": {"name": "report", "namespace": "team-a"}, "spec": {"policy": policy}}
