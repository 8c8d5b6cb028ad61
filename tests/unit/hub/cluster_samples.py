"""TransportBindings and Stories as the operator writes them, for tests of the hub."""

from __future__ import annotations

from typing import Any, Final

from bubu_contract.identity import compose, label_value
from core.api import keys
from core.api.objects import Object
from core.api.pinned_story import kept_story, revision_manifest
from core.api.resource import STORY, STORY_RUN, TRANSPORT_BINDING

ENDPOINT: Final = "127.0.0.1:9000"


def transport_binding(
    step: str,
    *,
    run: str = "run-1",
    run_uid: str = "run-uid",
    uid: str = "",
    namespace: str = "team",
    generation: int = 1,
    finished: bool = False,
    revision: str = "story-0",
    settings: Object | None = None,
    **metadata: Any,
) -> Object:
    """The binding of one step. With ``uid``, as it is stored."""
    annotations = {
        keys.ANNOTATION_ROUTING_MODE: "hub",
        keys.ANNOTATION_CONNECTOR_GENERATION: str(generation),
        keys.ANNOTATION_STORY_REVISION: revision,
    } | ({keys.ANNOTATION_STREAM_FINISHED: "true"} if finished else {})
    return {
        "apiVersion": TRANSPORT_BINDING.api_version,
        "kind": TRANSPORT_BINDING.kind,
        "metadata": {
            "name": compose(run, step, "transport"),
            "namespace": namespace,
            "labels": {keys.LABEL_STORY_RUN: label_value(run), keys.LABEL_STEP: label_value(step)},
            "annotations": annotations,
            **({"uid": uid, "resourceVersion": "1", "generation": 1} if uid else {}),
            **metadata,
        },
        "spec": {
            "transportRef": "voice",
            "driver": "grpc",
            "stepName": step,
            "engramName": compose(run, step),
            "storyRunRef": {"name": run, "namespace": namespace, "uid": run_uid},
            "binary": {"direction": "bidirectional", "mimeTypes": ["text/plain", "application/json"]},
            "connectorEndpoint": ENDPOINT,
            "rawSettings": settings or {},
        },
    }


def realtime_story(*steps: Object, name: str = "voice", namespace: str = "team") -> Object:
    """A Story as it is stored."""
    return {
        "apiVersion": STORY.api_version,
        "kind": STORY.kind,
        "metadata": {"name": name, "namespace": namespace, "uid": f"{name}-uid", "generation": 1},
        "spec": {"pattern": "realtime", "steps": list(steps)},
    }


def engram_step(name: str, *needs: str, **fields: Any) -> Object:
    """With ``needs=None`` its place in the list says whose packets it gets."""
    return {"name": name, "ref": {"name": f"{name}-engram"}, "needs": list(needs), **fields}


def primitive_step(name: str, *needs: str, type_: str = "condition") -> Object:
    return {"name": name, "type": type_, "needs": list(needs)}


def pinned_revision(story: Object) -> Object:
    """The ControllerRevision of a Story."""
    return revision_manifest(kept_story(story))


def realtime_run(name: str = "run-1", *, story: str = "voice", namespace: str = "team", **spec: Any) -> Object:
    """A StoryRun."""
    return {
        "apiVersion": STORY_RUN.api_version,
        "kind": STORY_RUN.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"storyRef": {"name": story}, **spec},
    }
