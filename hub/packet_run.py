"""The StoryRun that a packet starts: its name, its content, and what its end means for the packet. Pure.

The hub is not the operator, so the parent owns such a run without controlling it, and none of its annotations is the
operator's. To the engine it is a run like any other: it has the retention of its own Story, because a stream may start
any number. It goes with its parent, and is canceled with it. Source: streaming contract 12.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from bubu_contract.identity import compose, label_value
from bubu_contract.references import STORAGE_PATH
from core.api import keys
from core.api.conditions import truncated
from core.api.objects import Object, has_ended, is_being_deleted, is_owned_by, packet_step, story_depth
from core.api.phases import Phase
from core.api.resource import STORY_RUN
from core.expressions.paths import is_reference
from core.story.realtime import OUTPUT_OF_STEP
from hub.child_runs import ChildOrder, ChildRunError
from kubewire import values_equal

MAX_DEPTH: Final = 10
"""The default of ``storyrun.max-story-depth``: the hub does not read the settings of the operator."""
SELECTOR: Final = f"{keys.LABEL_APP_MANAGED_BY}={keys.PACKET_RUN_MANAGER}"
"""Selects the StoryRuns that packets have started."""
_DIGEST_LENGTH: Final = 16
_MAX_MESSAGE: Final = 300
_METADATA: Final = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp")


def packet_run_name(order: ChildOrder) -> str:
    """The same for the same packet of the same run: what a packet says is only in the digest."""
    identity = "\0".join((order.parent_uid, order.step, order.key))
    return compose(order.parent.name, order.step, hashlib.sha256(identity.encode()).hexdigest()[:_DIGEST_LENGTH])


def packet_run_manifest(order: ChildOrder, parent: Object) -> Object:
    """The StoryRun to create. ``parent``: the StoryRun of the stream as it is stored.

    Raises:
        ChildRunError: the parent starts nothing any more, or Stories call each other too deeply.
    """
    metadata, spec = parent["metadata"], parent.get("spec") or {}
    if order.parent_uid and metadata["uid"] != order.parent_uid:
        raise ChildRunError(f"StoryRun {order.parent} of the packet does not exist any more")
    if is_being_deleted(parent) or has_ended(parent) or spec.get("cancelRequested") is True:
        raise ChildRunError(f"StoryRun {order.parent} is ending, and starts no other runs")
    depth = story_depth(parent) + (not order.runs_step)
    if depth > MAX_DEPTH:
        text = f"Stories call each other more than {MAX_DEPTH} levels deep; check for a cycle of calls"
        raise ChildRunError(text)
    labels = {
        keys.LABEL_APP_MANAGED_BY: keys.PACKET_RUN_MANAGER,
        keys.LABEL_PARENT_STORY_RUN: label_value(order.parent.name),
        keys.LABEL_PARENT_STEP: label_value(order.step),
    }
    annotations = {keys.ANNOTATION_PACKET_DEPTH: str(depth)}
    if order.runs_step:
        annotations[keys.ANNOTATION_PACKET_STEP] = order.step
    correlation = str((metadata.get("annotations") or {}).get(keys.ANNOTATION_CORRELATION_ID) or "")
    if correlation.strip():
        labels[keys.LABEL_CORRELATION_ID] = label_value(correlation)
        annotations[keys.ANNOTATION_CORRELATION_ID] = correlation
    owner = {"apiVersion": STORY_RUN.api_version, "kind": STORY_RUN.kind, "name": metadata["name"]}
    called: Object = {"storyRef": _story(order, parent)}
    if order.inputs:
        called["inputs"] = dict(order.inputs)
    return {
        "apiVersion": STORY_RUN.api_version,
        "kind": STORY_RUN.kind,
        "metadata": {
            "name": packet_run_name(order),
            "namespace": order.parent.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [{**owner, "uid": metadata["uid"]}],
        },
        "spec": called,
    }


def why_not_the_run(wanted: Object, stored: Object) -> str:
    """Why ``stored``, which has the name of ``wanted``, is not the run that was to be created; empty when it is."""
    name = f"StoryRun {stored['metadata']['name']}"
    if is_being_deleted(stored):
        return f"{name} of an earlier packet is being deleted"
    if not is_owned_by(stored, wanted["metadata"]["ownerReferences"][0]["uid"]):
        return f"{name} exists and does not belong to this run; delete it"
    want, have = wanted["spec"], stored.get("spec") or {}
    if any(not values_equal(want.get(field) or {}, have.get(field) or {}) for field in ("storyRef", "inputs")):
        return f"{name} exists with another Story or other inputs; give each packet an id of its own"
    return ""


def result_of(run: Object) -> Mapping[str, Any]:
    """The output of a run that has ended. What is in object storage is there as a reference: the hub does not read it.

    Raises:
        ChildRunError: it has not succeeded, or its output was too large for it.
    """
    status, name = run.get("status") or {}, run["metadata"]["name"]
    message = truncated(str(status.get("message") or "no message"), _MAX_MESSAGE)
    if status.get("phase") != Phase.SUCCEEDED:
        raise ChildRunError(f"StoryRun {name} has ended as {status.get('phase')}: {message}")
    output = status.get("output")
    if packet_step(run):
        if output is None:
            raise ChildRunError(f"StoryRun {name} has no output: {message}")
        output = _of_step(output)
    return output if isinstance(output, Mapping) else {}


def _of_step(output: Mapping[str, Any]) -> Any:
    """The output of the step in that of its run, also if the whole is stored."""
    if not is_reference(output):
        return output.get(OUTPUT_OF_STEP)
    path = str(output.get(STORAGE_PATH) or "")
    return {**output, STORAGE_PATH: f"{path}.{OUTPUT_OF_STEP}" if path else OUTPUT_OF_STEP}


def trimmed(run: Object) -> Object:
    """The part of a StoryRun that tells whether it has ended."""
    metadata = {name: value for name, value in run["metadata"].items() if name in _METADATA}
    rest = {name: value for name, value in run.items() if name not in ("metadata", "spec", "status")}
    return {**rest, "metadata": metadata, "status": {"phase": (run.get("status") or {}).get("phase")}}


def _story(order: ChildOrder, parent: Object) -> Object:
    """A name without a namespace is that of a Story beside the calling one. A step is run in the name of its Story."""
    own = (parent.get("spec") or {}).get("storyRef") or {}
    namespace = order.story.get("namespace") or own.get("namespace") or order.parent.namespace
    version = order.story.get("version")
    name = own.get("name") if order.runs_step else order.story["name"]
    return {"name": name, "namespace": namespace, **({"version": version} if version else {})}
