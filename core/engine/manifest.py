"""The StepRun of an engram step, as it is created. Pure. Source: StoryRun contract 1 and 11.2, 11.3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from core.api import identity, keys
from core.api.resource import STEP_RUN, STORY_RUN
from core.engine.ports import Binding, Object
from core.kube.wire import copy_value


def step_run_name(run_name: str, step: str) -> str:
    return identity.compose(run_name, step)


def step_run_manifest(
    run: Object,
    story: Object,
    step: Mapping[str, Any],
    binding: Binding,
    input_: Mapping[str, Any] | None,
    idempotency_key: str,
) -> Object:
    """The manifest; ``input_`` is ``merged_input``, its templates unresolved."""
    metadata, spec = run["metadata"], story.get("spec") or {}
    run_name, step_name = str(metadata["name"]), str(step["name"])
    policy = spec.get("policy") or {}
    labels = {
        keys.LABEL_STORY_RUN: identity.label_value(run_name),
        keys.LABEL_STORY_NAME: _story_label(str(story["metadata"]["name"])),
        keys.LABEL_QUEUE: identity.label_value(str(policy.get("queue") or "default")),
        keys.LABEL_QUEUE_PRIORITY: str(policy.get("priority") or 0),
    }
    manifest: Object = {
        "apiVersion": STEP_RUN.api_version,
        "kind": STEP_RUN.kind,
        "metadata": {
            "name": step_run_name(run_name, step_name),
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": STORY_RUN.api_version,
                    "kind": STORY_RUN.kind,
                    "name": run_name,
                    "uid": metadata["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "storyRunRef": {"name": run_name},
            "stepId": step_name,
            "idempotencyKey": idempotency_key,
            "engramRef": copy_value(dict(step["ref"])),
            "templateGeneration": binding.template_generation,
        },
    }
    correlation = str((metadata.get("annotations") or {}).get(keys.ANNOTATION_CORRELATION_ID) or "")
    if correlation.strip():
        labels[keys.LABEL_CORRELATION_ID] = identity.label_value(correlation)
        manifest["metadata"]["annotations"] = {keys.ANNOTATION_CORRELATION_ID: correlation}
    if input_ is not None:
        manifest["spec"]["input"] = input_
    timeout = (step.get("execution") or {}).get("timeout")
    if timeout:
        manifest["spec"]["timeout"] = timeout
    if binding.retry_spec:
        manifest["spec"]["retry"] = copy_value(dict(binding.retry_spec))
    return manifest


def merged_input(base: Mapping[str, Any] | None, overlay: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The Engram's ``with`` under the step's: objects merge, everything else is replaced; None when neither is set."""
    if base is None and overlay is None:
        return None
    return _merged(base or {}, overlay or {})


def size_bytes(value: Any) -> int:
    """Length of the compact JSON."""
    return len(orjson.dumps(value))


def idempotency_key(namespace: str, run_name: str, step: str, rendered: object = None) -> str:
    """``rendered`` (of ``idempotencyKeyTemplate``), trimmed and cut to 256 bytes; blank gives the automatic key."""
    text = _text(rendered).strip()
    if not text:
        return identity.idempotency_key(namespace, run_name, step)
    return text.encode()[: identity.MAX_IDEMPOTENCY_KEY_BYTES].decode(errors="ignore")


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _merged(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    result = {key: copy_value(value) for key, value in base.items()}
    for key, value in overlay.items():
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            result[key] = _merged(below, value)
        else:
            result[key] = copy_value(value)
    return result


def _story_label(name: str) -> str:
    """The Story's name, raw where a label can hold it."""
    return name if len(name) <= identity.MAX_NAME_LENGTH else identity.label_value(name)
