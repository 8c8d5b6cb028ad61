"""A realtime run with a source, a transform and a sink, and what the hub says of them."""

from __future__ import annotations

from typing import Any

from bubu_contract.identity import compose
from core.api import keys
from core.api.objects import Object

RUN = "buoy-1"
RUN_UID = "run-uid"
BEGAN = "2026-01-02T11:59:00Z"
NEEDS = {"replay": "", "days": "replay", "page": "days"}


def story(**more: Any) -> Object:
    steps = [
        {"name": name, "ref": {"name": name}, **({"needs": [need]} if need else {})} for name, need in NEEDS.items()
    ]
    return {
        "metadata": {"name": "buoy", "namespace": "team"},
        "spec": {"pattern": "realtime", "steps": steps, "transports": [{"name": "x", "transportRef": "x"}], **more},
    }


def run(phase: str = "Running", *, states: Object | None = None, spec: Object | None = None) -> Object:
    metadata = {"namespace": "team", "name": RUN, "uid": RUN_UID, "creationTimestamp": BEGAN}
    found = {name: {"phase": "Running", "startedAt": BEGAN} for name in NEEDS} if states is None else states
    status = {"phase": phase, "startedAt": BEGAN, "stepStates": found}
    return {"metadata": metadata, "spec": {"storyRef": {"name": "buoy"}, **(spec or {})}, "status": status}


def step_run(step: str, **status: Any) -> Object:
    return {
        "metadata": {"name": compose(RUN, step), "namespace": "team", "creationTimestamp": BEGAN},
        "spec": {"stepId": step, "executor": "stream", "retry": {"maxRetries": 3}},
        "status": {"phase": "Running", **status},
    }


def binding(
    step: str, *, connected: bool = True, reported: bool = True, annotations: Object | None = None, **stream: Any
) -> Object:
    """What the hub reports; ``reported=False``: it has never said anything."""
    after = next((name for name, need in NEEDS.items() if need == step), "")
    neighbours = {
        **({keys.ANNOTATION_UPSTREAM_STEPS: NEEDS[step]} if NEEDS[step] else {}),
        **({keys.ANNOTATION_DOWNSTREAM_STEPS: after} if after else {}),
    }
    counts = {"connected": connected, "received": 0, "delivered": 0, "lost": 0, "waiting": 0, "drained": False}
    ready = {"type": "Ready", "status": "True" if connected else "False", "lastTransitionTime": BEGAN}
    reason = "TransportReady" if connected else "AwaitingTransport"
    message = "a client serves the step" if connected else "no client serves the step yet"
    status = {"conditions": [{**ready, "reason": reason, "message": message}], "stream": {**counts, **stream}}
    return {
        "metadata": {
            "name": compose(RUN, step, "transport"),
            "namespace": "team",
            "creationTimestamp": BEGAN,
            "annotations": {**neighbours, **(annotations or {})},
        },
        "spec": {"stepName": step, "storyRunRef": {"name": RUN, "uid": RUN_UID}},
        **({"status": status} if reported else {}),
    }
