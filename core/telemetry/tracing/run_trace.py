"""The place of a StoryRun in a trace: the ids of its spans, derived from what is stored of it. Pure.

The ids follow from the UID of the run, the path of the step and the number of the attempt. So a restarted operator, or
another one, continues the same tree, and a span that is exported twice has the same id both times. A run that is
started again (redrive) gets other ids for its steps; they are below the same first span.
Source: operator contract 9; ``status.trace`` of StoryRun contract 3 and StepRun contract 4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.api import keys
from core.api.objects import Object, controller_of, step_path
from core.api.resource import STORY_RUN
from core.telemetry.tracing.sampler import ALWAYS, Sampler
from core.telemetry.tracing.trace_parent import (
    MAX_BAGGAGE_CHARACTERS,
    MAX_STATE_CHARACTERS,
    TraceParent,
    parse_trace_parent,
    passed_on,
)

_TRACE_DIGITS: Final = 32
_SPAN_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class TraceRules:
    """What the settings say about traces."""

    records: bool = False
    """``telemetry.enabled``: runs are traced."""
    propagates: bool = False
    """``telemetry.trace-propagation``: the context of a caller is read, and that of a step is handed to its
    container.
    """
    sampler: Sampler = ALWAYS


OFF: Final = TraceRules()


def untraced() -> TraceRules:
    """The rules while nothing is said about traces."""
    return OFF


@dataclass(frozen=True, slots=True)
class RunTrace:
    """One run in its trace. All ids are lower-case hexadecimal digits."""

    trace_id: str
    sampled: bool
    scope: tuple[str, ...]
    """The UID of the run, and the redrives that it has answered last."""
    parent_id: str = ""
    """The span of the caller; empty: the run begins the trace."""
    state: str = ""
    """``tracestate`` of the caller."""
    baggage: str = ""

    @property
    def first_id(self) -> str:
        """The span of the run when it first ran; ``status.trace.spanId``."""
        return span_id_of(*self.scope[:1], "run")

    @property
    def root_id(self) -> str:
        """The span of the run as it runs now: the first one, or that of its redrive."""
        return span_id_of(*self.scope, "run")

    @property
    def above_root(self) -> str:
        """The span above ``root_id``; empty: there is none."""
        return self.parent_id if self.root_id == self.first_id else self.first_id

    def queue_id(self, path: str = "") -> str:
        """The wait of the step for a slot; without ``path``, that of the run for its turn."""
        return span_id_of(*self.scope, "queued", path)

    def step_id(self, path: str) -> str:
        return span_id_of(*self.scope, "step", path)

    def above_step(self, path: str) -> str:
        """The span above that of the step: the step around it, else the run."""
        around = path.rpartition("/")[0]
        return self.step_id(around) if around else self.root_id

    def attempt_id(self, path: str, number: int) -> str:
        """``number``: 0 for the first attempt."""
        return span_id_of(*self.scope, "attempt", path, str(number))

    def retry_id(self, path: str, number: int) -> str:
        """The wait for the attempt ``number``."""
        return span_id_of(*self.scope, "retry", path, str(number))

    def status_of(self, span_id: str) -> Object:
        """``status.trace`` of the object that the span covers."""
        return {"traceId": self.trace_id, "spanId": span_id, "sampled": self.sampled}

    def context_of(self, span_id: str) -> dict[str, str]:
        """``traceparent``, and ``tracestate`` and ``baggage`` where there are any, for what happens below a span."""
        context = {"traceparent": TraceParent(self.trace_id, span_id, self.sampled).header}
        return context | {name: value for name, value in self._handed_down().items() if value}

    def _handed_down(self) -> dict[str, str]:
        return {"tracestate": self.state, "baggage": self.baggage}


def run_trace(run: Mapping[str, Any], rules: TraceRules) -> RunTrace:
    """The place of the run: as it is recorded, else below the caller that its annotations name, else a new trace.

    A run that another run has started is always below the step that has started it.
    """
    metadata, recorded = run["metadata"], _fields((run.get("status") or {}).get("trace"))
    annotations = _fields(metadata.get("annotations"))
    inherits = rules.propagates or is_called(run)
    caller = parse_trace_parent(annotations.get(keys.ANNOTATION_TRACE_PARENT)) if inherits else None
    known = str(recorded.get("traceId"))
    trace_id = known if _is_trace_id(known) else caller.trace_id if caller else trace_id_of(str(metadata["uid"]))
    caller = caller if caller is not None and caller.trace_id == trace_id else None
    sampled = recorded.get("sampled")
    redrives = (keys.ANNOTATION_REDRIVE_OBSERVED, keys.ANNOTATION_REDRIVE_FROM_STEP_OBSERVED)
    return RunTrace(
        trace_id,
        sampled if isinstance(sampled, bool) else rules.sampler.is_sampled(trace_id, caller),
        (str(metadata["uid"]), *(f"{name}={annotations[name]}" for name in redrives if annotations.get(name))),
        caller.span_id if caller else "",
        passed_on(annotations.get(keys.ANNOTATION_TRACE_STATE), MAX_STATE_CHARACTERS) if caller else "",
        passed_on(annotations.get(keys.ANNOTATION_BAGGAGE), MAX_BAGGAGE_CHARACTERS) if inherits else "",
    )


def is_called(run: Mapping[str, Any]) -> bool:
    """Whether another run has started this one."""
    owner = controller_of(run) or {}
    by_packet = ((run["metadata"].get("labels") or {}).get(keys.LABEL_APP_MANAGED_BY)) == keys.PACKET_RUN_MANAGER
    return owner.get("kind") == STORY_RUN.kind or by_packet


def context_for_attempt(run: Mapping[str, Any], path: str, attempt: int, rules: TraceRules) -> dict[str, str]:
    """What the container of an attempt gets; empty: nothing.

    While runs are not traced, it is the context of the caller, unchanged.
    """
    if not rules.propagates:
        return {}
    trace = run_trace(run, rules)
    if rules.records:
        return trace.context_of(trace.attempt_id(path, attempt))
    return trace.context_of(trace.parent_id) if trace.parent_id else {}


def context_for_child(run: Mapping[str, Any], path: str, rules: TraceRules) -> dict[str, str]:
    """The annotations of a StoryRun that the step starts; empty: none."""
    if rules.records:
        trace = run_trace(run, rules)
        context = trace.context_of(trace.step_id(path))
    elif rules.propagates:
        trace = run_trace(run, rules)
        context = trace.context_of(trace.parent_id) if trace.parent_id else {}
    else:
        return {}
    return {_ANNOTATIONS[name]: value for name, value in context.items()}


def with_trace(obj: Mapping[str, Any], patch: Mapping[str, Any], rules: TraceRules, run: Object | None) -> Object:
    """``patch``, with ``trace`` if the object has none and the patch gives it a phase; as it is otherwise.

    ``run``: the StoryRun that ``obj`` is or belongs to; None: not known.
    """
    wanted = rules.records and run is not None and patch.get("phase") and not (obj.get("status") or {}).get("trace")
    if not wanted or run is None:
        return dict(patch)
    trace = run_trace(run, rules)
    span_id = trace.first_id if obj["metadata"]["uid"] == run["metadata"]["uid"] else trace.step_id(step_path(obj))
    return {**patch, "trace": trace.status_of(span_id)}


_ANNOTATIONS: Final = {
    "traceparent": keys.ANNOTATION_TRACE_PARENT,
    "tracestate": keys.ANNOTATION_TRACE_STATE,
    "baggage": keys.ANNOTATION_BAGGAGE,
}


def trace_id_of(uid: str) -> str:
    """Not the UID itself: samplers need an id whose last bits are random, and in a UID some are fixed."""
    return hashlib.sha256(f"bobrapet trace\0{uid}".encode()).hexdigest()[:_TRACE_DIGITS]


def span_id_of(*parts: str) -> str:
    return hashlib.sha256("\0".join(("bobrapet span", *parts)).encode(errors="replace")).hexdigest()[:_SPAN_DIGITS]


def _is_trace_id(text: str) -> bool:
    return parse_trace_parent(f"00-{text}-{'1' * _SPAN_DIGITS}-01") is not None


def _fields(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
