"""What only a realtime Story has: steps that serve a stream, primitives for each packet, a time to drain. Pure.

The main steps with ``ref`` run side by side, each in a container of its own, until their stream ends. The primitives
among the main steps are carried out by the hub, for each packet, so a run has no state of them. Compensations and
``finally`` are lists of a batch Story. Source: streaming contract 3.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from core.api.objects import Object
from core.expressions import analysis
from core.story.kinds import NOT_IN_STREAMS, PER_PACKET, StepKind
from core.story.step import Step
from core.story.story import read_story

OUTPUT_OF_STEP: Final = "output"
"""In the output of the run of such a step (``story_of_step``), the output of the step."""


def problems_of(steps: Sequence[Step]) -> list[str]:
    """What keeps the main steps of a realtime Story from running; admission refuses the same."""
    found = [problem for step in steps for problem in _problems(step)]
    if not any(step.serves_stream for step in steps):
        found.append("spec.steps: no step has a ref, so nothing would serve a stream; add one, or use pattern: batch")
    return found


def why_not_static(value: object) -> str | None:
    """Why ``value`` cannot be the ``with`` of a step that serves a stream: it is evaluated once, before any packet."""
    read = analysis.references_of(value)
    if not (read.steps or read.unknown_steps or "steps" in read.roots):
        return None
    return "with is evaluated once, before any packet, and reads inputs only; move what reads steps into runtime"


def story_of_step(story: Object, name: str, inputs: Mapping[str, Any]) -> Object | None:
    """The batch Story that a packet runs for a step whose Engram runs as a Job: this one step, with the inputs of the
    run as they are. None: ``story`` has no such step.

    What the Story says about runs as a whole (turns, schemas, clean-up) is about those of the stream.
    """
    read = read_story(story)
    found = next((step for step in read.groups["steps"] if step.name == name), None)
    if found is None or not found.serves_stream:
        return None
    left_out = ("needs", "if", "runtime", "with", "transport")
    left = {key: value for key, value in found.declared.items() if key not in left_out}
    own = {key: value for key, value in read.spec.items() if key in ("version", "policy")}
    step = {**left, "with": {key: f"{{{{ inputs[{json.dumps(key)}] }}}}" for key in inputs}}
    output = {OUTPUT_OF_STEP: f"{{{{ steps[{json.dumps(name)}].output }}}}"}
    metadata = {key: value for key, value in story["metadata"].items() if key != "generation"}  # no stored version
    return {**story, "metadata": metadata, "spec": {**own, "pattern": "batch", "steps": [step], "output": output}}


def drain_timeout(spec: Mapping[str, Any]) -> timedelta | None:
    """How long the streams of a run may take to drain: the longest time of its transports; None: none sets one."""
    transports = spec.get("transports")
    settings = [_path(each, "streaming", "lifecycle") for each in transports] if isinstance(transports, list) else []
    seconds = [each.get("drainTimeoutSeconds") for each in settings]
    longest = max((each for each in seconds if isinstance(each, int) and not isinstance(each, bool)), default=0)
    return timedelta(seconds=longest) if longest > 0 else None


def _problems(step: Step) -> Iterator[str]:
    named, type_ = f"{step.place} ({step.declared.get('name')})", step.declared.get("type")
    if step.declared.get("run"):
        yield f"{named}: a script cannot serve a stream; use pattern: batch, or move it to finally"
    elif step.declared.get("ref"):
        why = why_not_static(step.declared.get("with"))
        if why is not None:
            yield f"{named}: {why}"
    elif type_ in NOT_IN_STREAMS:
        yield f"{named}: {type_} is not possible in a realtime Story; use pattern: batch, or move it to finally"
    elif type_ not in PER_PACKET:
        yield f"{named}: type {type_!r} is unknown; write ref for an Engram, or one of {', '.join(PER_PACKET)}"
    for branch in step.branches if step.kind is StepKind.PARALLEL else ():
        yield from _problems(branch)


def _path(value: object, *keys: str) -> Mapping[str, Any]:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}
