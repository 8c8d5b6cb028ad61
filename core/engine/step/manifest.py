"""The StepRuns and child StoryRuns of steps, as they are created. Pure. Source: StoryRun contract 1, 11.2 to 11.5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from bubu_contract import identity
from core.api import keys
from core.api.objects import Object, story_depth
from core.api.resource import STEP_RUN, STORY_RUN
from core.engine.plan import StepPlan
from core.engine.ports import Binding
from core.engine.slots.scheduling import Scheduling
from core.engine.step.assignment import assignment_of
from core.engine.step.record import executor_of, is_final
from core.workloads.script import is_script, script_of
from kubewire import copy_value, values_equal

_DECIDE_NOTHING: Final = frozenset({"templateGeneration", "retry"})
"""Fields of a StepRun's spec by which no code decides; the API server fills in what ``retry`` lacks."""


def step_run_name(run_name: str, step: str) -> str:
    """Name of the StepRun of the step with that full name: ``fan/a`` of ``nightly`` is ``nightly-fan-a``."""
    return identity.compose(run_name, *step.split("/"))


def step_run_manifest(
    run: Object,
    story: Object,
    step: StepPlan,
    binding: Binding,
    input_: Mapping[str, Any] | None,
    idempotency_key: str,
    scheduling: Scheduling,
    revision: str,
    *,
    left_to_container: bool = False,
) -> Object:
    """The manifest of a step's StepRun.

    ``input_`` is ``merged_input``: its templates are not resolved, except for a branch, which can read more variables.
    ``left_to_container``: those of a branch are not resolved either, because only its container can do that.
    """
    metadata = run["metadata"]
    run_name = str(metadata["name"])
    labels = {
        keys.LABEL_STORY_RUN: identity.label_value(run_name),
        keys.LABEL_STORY_NAME: _story_label(str(story["metadata"]["name"])),
        **scheduling.labels,
    }
    annotations = {keys.ANNOTATION_CREATED_BY_RUN: str(metadata["uid"]), keys.ANNOTATION_VELERO_STATUS: "true"}
    if revision:
        annotations[keys.ANNOTATION_STORY_REVISION] = revision
    if story["metadata"].get("namespace", metadata["namespace"]) != metadata["namespace"]:
        annotations[keys.ANNOTATION_STORY_NAMESPACE] = story["metadata"]["namespace"]
    manifest: Object = {
        "apiVersion": STEP_RUN.api_version,
        "kind": STEP_RUN.kind,
        "metadata": {
            "name": step_run_name(run_name, step.name),
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [controller_reference(run)],
        },
        "spec": {
            "storyRunRef": {"name": run_name},
            "stepId": step.step_id,
            "idempotencyKey": idempotency_key,
            "executor": binding.executor,
        },
    }
    if is_script(step.declared):
        manifest["spec"]["script"] = copy_value(dict(script_of(step.declared)))
    else:
        manifest["spec"]["engramRef"] = copy_value(dict(step.declared["ref"]))
        manifest["spec"]["templateGeneration"] = binding.template_generation
    correlation = str((metadata.get("annotations") or {}).get(keys.ANNOTATION_CORRELATION_ID) or "")
    if correlation.strip():
        labels[keys.LABEL_CORRELATION_ID] = identity.label_value(correlation)
        annotations[keys.ANNOTATION_CORRELATION_ID] = correlation
    if step.is_branch:
        labels[keys.LABEL_PARENT_STEP] = identity.label_value(step.parts[-2])
        annotations[keys.ANNOTATION_STEP_PATH] = step.name
        if left_to_container:
            annotations[keys.ANNOTATION_INPUT_LEFT] = "true"
    manifest["metadata"]["annotations"] = annotations
    if input_ is not None:
        manifest["spec"]["input"] = input_
    timeout = (step.declared.get("execution") or {}).get("timeout")
    if timeout:
        manifest["spec"]["timeout"] = timeout
    if binding.retry_spec:
        manifest["spec"]["retry"] = copy_value(dict(binding.retry_spec))
    return manifest


def is_touched(step_run: Object) -> bool:
    """Whether its status has anything, or its attempt is assigned: then work has been done for it, and it must not be
    created again.
    """
    return bool(step_run.get("status")) or assignment_of(step_run) is not None


def is_of_reference(step_run: Object) -> bool:
    """Whether the Go operator has created it. It gives every StepRun a finalizer, and does not know executors."""
    held = keys.FINALIZER_STEP_RUN in (step_run["metadata"].get("finalizers") or ())
    return held and not step_run["spec"].get("executor")


def is_edited(step_run: Object) -> bool:
    """Whether its spec has been changed since it was created. The operator never changes the spec of a StepRun.

    The API server counts changes of the spec in ``metadata.generation``; it also counts the start of a deletion. The Go
    operator changes timeout and retry policy of its StepRuns, so for them the number says nothing.
    """
    metadata = step_run["metadata"]
    if is_of_reference(step_run):
        return False
    return int(metadata.get("generation") or 1) > 1 and not metadata.get("deletionTimestamp")


def why_not_continued(step_run: Object) -> str | None:
    """Why a step for which work has been done, and whose end is not recorded, cannot go on; None: it can."""
    if not is_under_way(step_run) or not is_edited(step_run):
        return None
    name = step_run["metadata"]["name"]
    return f"the spec of StepRun {name} was changed after it had been created; start another run"


def is_under_way(step_run: Object) -> bool:
    """Whether work has been done for it, and its end is not recorded."""
    return is_touched(step_run) and not is_final(step_run.get("status") or {})


def why_not_the_work(wanted: Object, stored: Object) -> str | None:
    """The first field in which the work of a stored StepRun differs from the wanted one; None: it is the same work.

    Of the labels and annotations, only those count that say which step it is and who resolves its input.
    """
    want, have = ({**of["spec"], "executor": executor_of(of)} for of in (wanted, stored))
    for field in sorted({*want, *have} - _DECIDE_NOTHING):
        if not values_equal(want.get(field), have.get(field)):
            return f"spec.{field}"
    for key in (keys.ANNOTATION_STEP_PATH, keys.ANNOTATION_INPUT_LEFT):
        values = ((of["metadata"].get("annotations") or {}).get(key) for of in (wanted, stored))
        if len(set(values)) > 1:
            return f'metadata.annotations["{key}"]'
    return None


def is_left_to_container(step_run: Object) -> bool:
    """Whether the container of a branch has to resolve the templates in the input of its StepRun."""
    return (step_run["metadata"].get("annotations") or {}).get(keys.ANNOTATION_INPUT_LEFT) == "true"


def child_run_name(run_name: str, step: str, iteration: int | None = None) -> str:
    """Name of the StoryRun that an ``executeStory`` step starts; each iteration of a loop has its own."""
    return identity.compose(run_name, *step.split("/"), *([] if iteration is None else [str(iteration)]))


def child_run_manifest(
    run: Object,
    step: StepPlan,
    target: Object,
    inputs: Mapping[str, Any] | None,
    iteration: int | None,
    handed_down: Object,
    revision: str,
) -> Object:
    """The StoryRun of an ``executeStory`` step, in the namespace of ``run``.

    ``handed_down``: labels and annotations for its scheduling. Source: StoryRun contract 11.5.
    """
    metadata, of = run["metadata"], target["metadata"]
    labels = {
        keys.LABEL_PARENT_STORY_RUN: identity.label_value(str(metadata["name"])),
        keys.LABEL_PARENT_STEP: identity.label_value(step.parts[-1]),
    }
    annotations = {
        keys.ANNOTATION_STEP_PATH: step.name,
        keys.ANNOTATION_STORY_DEPTH: str(story_depth(run) + 1),
        keys.ANNOTATION_CREATED_BY_RUN: str(metadata["uid"]),
        keys.ANNOTATION_VELERO_STATUS: "true",
    }
    if revision:
        annotations[keys.ANNOTATION_PARENT_STORY_REVISION] = revision
    correlation = str((metadata.get("annotations") or {}).get(keys.ANNOTATION_CORRELATION_ID) or "")
    if correlation.strip():
        labels[keys.LABEL_CORRELATION_ID] = identity.label_value(correlation)
        annotations[keys.ANNOTATION_CORRELATION_ID] = correlation
    spec: Object = {"storyRef": {"name": of["name"], "namespace": of["namespace"], "uid": of["uid"]}}
    if inputs is not None:
        spec["inputs"] = inputs
    return {
        "apiVersion": STORY_RUN.api_version,
        "kind": STORY_RUN.kind,
        "metadata": {
            "name": child_run_name(str(metadata["name"]), step.name, iteration),
            "namespace": metadata["namespace"],
            "labels": labels | handed_down["labels"],
            "annotations": annotations | handed_down["annotations"],
            "ownerReferences": [controller_reference(run)],
        },
        "spec": spec,
    }


def controller_reference(run: Object) -> Object:
    """The owner reference by which a StoryRun controls the objects that its steps create."""
    return {
        "apiVersion": STORY_RUN.api_version,
        "kind": STORY_RUN.kind,
        "name": str(run["metadata"]["name"]),
        "uid": run["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def merged_input(base: Mapping[str, Any] | None, overlay: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The step's ``with`` over the Engram's: objects are merged, other values replaced; None if neither is set."""
    if base is None and overlay is None:
        return None
    return _merged(base or {}, overlay or {})


def size_bytes(value: Any) -> int:
    """Length of the compact JSON, in bytes."""
    return len(orjson.dumps(value))


def idempotency_key(namespace: str, run_name: str, step: str, rendered: object = None) -> str:
    """``rendered`` (from ``idempotencyKeyTemplate``), trimmed and cut to 256 bytes; if blank, the automatic key."""
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
    """The Story's name, unchanged if a label can hold it."""
    return name if len(name) <= identity.MAX_NAME_LENGTH else identity.label_value(name)
