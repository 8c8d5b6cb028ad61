"""What the hub reads of a TransportBinding: who may connect as which step, and how the step is served. Pure.

The operator writes bindings; other users of a namespace may write objects that look like them. So a binding counts only
under the name that the operator gives it, and only for a run of its own namespace. Source: streaming contract 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from bubu_contract.identity import compose
from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.objects import NamespacedName, Object
from core.api.text import text
from core.api.unreadable import why_unreadable
from core.telemetry.tracing.trace_parent import TraceParent, parse_trace_parent
from hub.topology import Client, Place

_ANNOTATIONS: Final = (
    keys.ANNOTATION_CONNECTOR_GENERATION,
    keys.ANNOTATION_STREAM_FINISHED,
    keys.ANNOTATION_STREAM_JOBS,
    keys.ANNOTATION_STREAM_MAY_RETURN,
    keys.ANNOTATION_STORY_REVISION,
    keys.ANNOTATION_STREAM_WATCHED_UNTIL,
    keys.ANNOTATION_TRACE_PARENT,
    keys.ANNOTATION_WITH_IN_PACKETS,
)
_METADATA: Final = ("name", "namespace", "uid", "resourceVersion", "generation", "deletionTimestamp")
_SPEC: Final = (
    *("stepName", "storyRunRef", "connectorEndpoint", "rawSettings", "audio", "video", "binary"),
    *("inputSchema", "outputSchema"),
)
_MAX_GENERATION_DIGITS: Final = 10
MOST_WATCHED: Final = timedelta(minutes=5)
"""How far ahead ``watched-until`` may be."""
MOST_CONSOLE_REQUESTS: Final = 16
"""Commands that may ask for the console of one step at a time."""
_CONSOLE: Final = f"{keys.ANNOTATION_STREAM_CONSOLE}."


@dataclass(frozen=True, slots=True)
class StreamBinding:
    """A TransportBinding. Equal values mean the same for the routes of a run."""

    name: NamespacedName
    uid: str
    run: NamespacedName
    run_uid: str
    step: str
    generation: int = 1
    """The lowest that may connect."""
    is_finished: bool = False
    """No client of the step will connect again."""
    is_leaving: bool = False
    """It is being deleted."""
    revision: str = ""
    """Name of the ControllerRevision with the Story of the run."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """``spec.rawSettings``."""
    input_schema: Mapping[str, Any] | None = None
    output_schema: Mapping[str, Any] | None = None
    problem: str = ""
    """Why it serves no client; empty if it can be used."""
    trace_parent: TraceParent | None = None
    """The span of the step; None: the run is not traced."""
    may_return: str = ""
    """The instant of the return that the operator allows."""
    runs_jobs: bool = False
    """No client serves the step: each packet starts a Job."""
    served: Client | None = None
    """Whom the status names as the last client."""
    with_in_packets: bool = False
    """Whether its packets bring the step's ``with``."""

    @property
    def is_over(self) -> bool:
        """Whether nothing of the run depends on it any more."""
        return self.is_finished or self.is_leaving


def binding_of(place: Place) -> NamespacedName:
    """The name of the binding of a step, as the operator gives it."""
    return NamespacedName(place.run.namespace, compose(place.run.name, place.step, "transport"))


def trimmed(binding: Object) -> Object:
    """The part of a TransportBinding that the hub keeps. Its own status is in it."""
    metadata = {name: value for name, value in binding["metadata"].items() if name in _METADATA}
    annotations = binding["metadata"].get("annotations") or {}
    metadata["annotations"] = {name: annotations[name] for name in _ANNOTATIONS if name in annotations}
    metadata["annotations"] |= console_requests(binding)
    spec = {name: value for name, value in (binding.get("spec") or {}).items() if name in _SPEC}
    rest = {name: value for name, value in binding.items() if name not in ("metadata", "spec")}
    return {**rest, "metadata": metadata, "spec": spec}


def read_binding(binding: Object) -> StreamBinding:
    """The meaning of a stored TransportBinding, damaged ones included."""
    metadata, spec = binding["metadata"], _mapping(binding.get("spec"))
    annotations = _mapping(metadata.get("annotations"))
    reference = _mapping(spec.get("storyRunRef"))
    namespace = text(metadata.get("namespace"))
    run = NamespacedName(text(reference.get("namespace")) or namespace, text(reference.get("name")))
    name = NamespacedName(namespace, text(metadata.get("name")))
    step, generation = text(spec.get("stepName")), text(annotations.get(keys.ANNOTATION_CONNECTOR_GENERATION)) or "1"
    settings = spec.get("rawSettings")
    problem = why_unreadable(binding) or _problem(name, run, text(reference.get("uid")), step, generation)
    return StreamBinding(
        name,
        text(metadata.get("uid")),
        run,
        text(reference.get("uid")),
        step,
        int(generation) if _is_generation(generation) else 1,
        annotations.get(keys.ANNOTATION_STREAM_FINISHED) == "true",
        bool(metadata.get("deletionTimestamp")),
        text(annotations.get(keys.ANNOTATION_STORY_REVISION)),
        settings if isinstance(settings, Mapping) else {},
        _mapping(spec.get("inputSchema")) or None,
        _mapping(spec.get("outputSchema")) or None,
        problem,
        parse_trace_parent(annotations.get(keys.ANNOTATION_TRACE_PARENT)),
        text(annotations.get(keys.ANNOTATION_STREAM_MAY_RETURN)),
        annotations.get(keys.ANNOTATION_STREAM_JOBS) == "true",
        _served(binding),
        annotations.get(keys.ANNOTATION_WITH_IN_PACKETS) == "true",
    )


def _served(binding: Object) -> Client | None:
    stream = _mapping(_mapping(binding.get("status")).get("stream"))
    generation = stream.get("generation")
    return Client(generation, text(stream.get("process"))) if isinstance(generation, int) else None


def watched_until(binding: Object) -> str:
    """Until when a command watches the step, as it is written; empty if none does."""
    annotations = _mapping(_mapping(binding.get("metadata")).get("annotations"))
    return text(annotations.get(keys.ANNOTATION_STREAM_WATCHED_UNTIL))


def is_watched(binding: Object, now: datetime) -> bool:
    """Whether a command watches the step now. An instant that is far away is a mistake, and does not count."""
    until = parse_instant_or_none(watched_until(binding))
    return until is not None and now < until <= now + MOST_WATCHED


def console_requests(binding: Object) -> dict[str, str]:
    """The annotations that ask for a console, by name; of too many, some."""
    annotations = _mapping(_mapping(binding.get("metadata")).get("annotations"))
    names = sorted(name for name in annotations if str(name).startswith(_CONSOLE))
    return {name: text(annotations[name]) for name in names[:MOST_CONSOLE_REQUESTS]}


def _problem(name: NamespacedName, run: NamespacedName, run_uid: str, step: str, generation: str) -> str:
    if not (run.name and run_uid and step):
        return "spec.storyRunRef.name, spec.storyRunRef.uid and spec.stepName must be set"
    if run.namespace != name.namespace:
        return f"spec.storyRunRef.namespace must be {name.namespace}, the namespace of the binding"
    if (wanted := binding_of(Place(run, step)).name) != name.name:
        return f"the binding of step {step} of run {run.name} must be named {wanted}; the operator creates it"
    if not _is_generation(generation):
        return f"the annotation {keys.ANNOTATION_CONNECTOR_GENERATION} must be a number of 1 or more"
    return ""


def _is_generation(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= _MAX_GENERATION_DIGITS and int(word) > 0


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
