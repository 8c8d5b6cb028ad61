"""The TransportBinding of a realtime step, and what its container learns about it. Pure.

The operator writes the spec once, and the hub reads it. Its annotations change: which generation the hub admits, and
how the step ends. Source: streaming contract 5.1, 5.2 and 6.4.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bubu_contract.identity import label_value
from core.api import keys
from core.api.canonical import encode
from core.api.objects import Object, ReadOnlyObject
from core.api.resource import TRANSPORT_BINDING
from core.story.streams import StreamNeighbours
from core.workloads.binding_token import issue_token
from core.workloads.step_workload import StepWorkload
from core.workloads.stream_workload import (
    StreamWorkload,
    binding_name,
    controlled_by_step_run,
    generation_of,
    stream_annotations,
)
from core.workloads.variables import MAX_VARIABLE_BYTES

BINDING_VARIABLE: Final = "BUBU_TRANSPORT_BINDING"
PROTOCOL: Final = "1.0.0"
HUB_ROUTING: Final = "hub"
"""Every packet passes through the hub, also with ``routing.mode: p2p``."""
FINISHED: Final = "true"
RUNS_JOBS: Final = "true"
DRAINED: Final = "drained"
CANCELED: Final = "canceled"

_BOTH: Final = "bidirectional"


class BindingTooLargeError(Exception):
    """The settings of the transport do not fit into an environment variable."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(
            f"{BINDING_VARIABLE} would be {size_bytes} bytes; a process accepts at most {MAX_VARIABLE_BYTES} bytes of "
            "NAME=value; make the settings of the transport smaller (Transport spec.defaultSettings and "
            "spec.streaming, Story spec.transports[].settings and .streaming)"
        )
        self.size_bytes = size_bytes


@dataclass(frozen=True, slots=True)
class MessageSchemas:
    """JSON Schemas that the hub checks messages against, of the template at the time when the binding is created."""

    of_inputs: Mapping[str, Any] | None = None
    """Of what ``runtime`` gives to the step with each message; None for a step without it."""
    of_outputs: Mapping[str, Any] | None = None
    """Of what the step sends."""


@dataclass(frozen=True, slots=True)
class BoundTransport:
    """The Transport of a step, and the merged settings (``core.policy.streaming``)."""

    name: str
    spec: ReadOnlyObject
    settings: Mapping[str, Any]


def binding_manifest(
    step: StepWorkload,
    story_run_uid: str,
    transport: BoundTransport,
    neighbours: StreamNeighbours,
    endpoint: str,
    revision: str,
    schemas: MessageSchemas = MessageSchemas(),
    *,
    with_in_packets: bool = False,
) -> Object:
    """The binding to create for an attempt.

    Args:
        revision: the name of the Story as the run executes it.
        with_in_packets: whether the step's ``with`` comes with each packet.
    """
    obj = controlled_by_step_run(step, binding_name(step.story_run_name, step.step_id), TRANSPORT_BINDING)
    obj["metadata"]["labels"] = {
        keys.LABEL_STORY_RUN: label_value(step.story_run_name),
        keys.LABEL_STEP: label_value(step.step_id),
    }
    optional = {
        keys.ANNOTATION_DOWNSTREAM_STEPS: ",".join(neighbours.downstream),
        keys.ANNOTATION_UPSTREAM_STEPS: ",".join(neighbours.upstream),
        keys.ANNOTATION_STORY_REVISION: revision,
        keys.ANNOTATION_WITH_IN_PACKETS: "true" if with_in_packets else "",
        keys.ANNOTATION_TRACE_PARENT: step.step_trace_parent,
    }
    obj["metadata"]["annotations"] = {
        keys.ANNOTATION_ROUTING_MODE: HUB_ROUTING,
        keys.ANNOTATION_CONNECTOR_GENERATION: str(generation_of(step.attempt)),
        **stream_annotations(step),
        **{name: value for name, value in optional.items() if value},
    }
    offered = transport.spec
    spec: Object = {
        "transportRef": transport.name,
        "driver": offered["driver"],
        "stepName": step.step_id,
        "engramName": step.step_run_name,
        "storyRunRef": {"name": step.story_run_name, "namespace": step.namespace, "uid": story_run_uid},
        "connectorEndpoint": endpoint,
        "rawSettings": dict(transport.settings),
    }
    for field, key, offer in (
        ("audio", "codecs", "supportedAudio"),
        ("video", "codecs", "supportedVideo"),
        ("binary", "mimeTypes", "supportedBinary"),
    ):
        if offered.get(offer):
            spec[field] = {"direction": _BOTH, key: list(offered[offer])}
    for field, schema in (("inputSchema", schemas.of_inputs), ("outputSchema", schemas.of_outputs)):
        if schema:  # an empty one accepts everything
            spec[field] = dict(schema)
    return {**obj, "spec": spec}


def binding_document(workload: StreamWorkload, name: str) -> str:
    """``{"name", "namespace", "binding"}``: what an SDK reads. ``name`` is the token, or the bare name for people."""
    spec = workload.binding["spec"]
    info = {
        "transportRef": spec["transportRef"],
        "driver": spec["driver"],
        "endpoint": workload.endpoint,
        "audioCodecs": codecs_of(spec, "audio"),
        "videoCodecs": codecs_of(spec, "video"),
        "payload": base64.b64encode(encode(spec.get("rawSettings") or {}).encode()).decode("ascii"),
        "binaryTypes": mime_types_of(spec),
        "protocolVersion": PROTOCOL,
    }
    document = {
        "name": name,
        "namespace": workload.step.namespace,
        "binding": {key: value for key, value in info.items() if value},
    }
    return encode(document)


def binding_variable(workload: StreamWorkload, key: bytes) -> str:
    """The value of ``BINDING_VARIABLE``, with the token that ``key`` signs: only for the Secret.

    Raises:
        BindingTooLargeError: no process accepts it.
    """
    metadata = workload.binding["metadata"]
    token = issue_token(key, metadata["namespace"], metadata["name"], metadata["uid"], workload.generation)
    value = binding_document(workload, token)
    size = len(BINDING_VARIABLE) + 1 + len(value.encode())
    if size > MAX_VARIABLE_BYTES:
        raise BindingTooLargeError(size)
    return value


def codecs_of(spec: ReadOnlyObject, lane: str) -> list[str]:
    """The names of the codecs of ``audio`` or ``video``, each once, best first."""
    codecs = (spec.get(lane) or {}).get("codecs") or ()
    return list(dict.fromkeys(str(codec["name"]) for codec in codecs))


def mime_types_of(spec: ReadOnlyObject) -> list[str]:
    return list((spec.get("binary") or {}).get("mimeTypes") or ())


def admitted_generation(binding: ReadOnlyObject) -> int:
    """The lowest generation that the hub admits; 0 if the annotation is missing."""
    text = _annotations(binding).get(keys.ANNOTATION_CONNECTOR_GENERATION) or ""
    return int(text) if text.isdecimal() else 0


def is_finished(binding: ReadOnlyObject) -> bool:
    """Whether no client of the step will connect again."""
    return _annotations(binding).get(keys.ANNOTATION_STREAM_FINISHED) == FINISHED


def runs_jobs(binding: ReadOnlyObject) -> bool:
    """Whether the step has no workload, because the hub starts a Job for each packet."""
    return _annotations(binding).get(keys.ANNOTATION_STREAM_JOBS) == RUNS_JOBS


def ending_of(binding: ReadOnlyObject) -> str:
    """``DRAINED`` or ``CANCELED`` if the operator ends the step; empty: it does not."""
    return _annotations(binding).get(keys.ANNOTATION_STREAM_ENDING) or ""


def is_source(binding: ReadOnlyObject) -> bool:
    """Whether the step gets no packets."""
    return not _annotations(binding).get(keys.ANNOTATION_UPSTREAM_STEPS)


def is_drained(binding: ReadOnlyObject) -> bool:
    """Whether the hub says that all has ended that the step needs, and that nothing is left that it must get."""
    return ((binding.get("status") or {}).get("stream") or {}).get("drained") is True


def asks_to_return(binding: ReadOnlyObject) -> str:
    """The instant since which a client of a source asks to connect again; empty: none does, or it may."""
    stream: Mapping[str, Any] = (binding.get("status") or {}).get("stream") or {}
    asks = str(stream.get("returning") or "")
    return "" if asks == _annotations(binding).get(keys.ANNOTATION_STREAM_MAY_RETURN) else asks


def gives_with(binding: ReadOnlyObject) -> bool:
    """Whether the hub sends the step's ``with`` beside each packet."""
    return _annotations(binding).get(keys.ANNOTATION_WITH_IN_PACKETS) == "true"


def next_generation_patch(generation: int) -> dict[str, Any]:
    """The annotations of a binding whose next attempt starts."""
    return {
        keys.ANNOTATION_CONNECTOR_GENERATION: str(generation),
        keys.ANNOTATION_STREAM_FINISHED: None,
        keys.ANNOTATION_STREAM_ENDING: None,
    }


def _annotations(binding: ReadOnlyObject) -> Mapping[str, str]:
    found: Mapping[str, str] = binding["metadata"].get("annotations") or {}
    return found
