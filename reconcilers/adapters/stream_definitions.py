"""What a step of a realtime Story is bound to besides its Engram: its Transport, with the settings of both sides.

A Transport that does not exist is awaited like an Engram. One that cannot be used, or settings that contradict each
other, fail the step with all errors at once: admission refuses them, but it may have been down. Source: streaming
contract 3, 4 and 6.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.api.objects import Object, ReadOnlyObject
from core.api.phases import Reason
from core.api.text import text
from core.engine.errors import MissingReferenceError, RejectedError
from core.policy.streaming import merged_problems, merged_settings
from core.policy.transport_problems import why_unusable
from core.story.story import read_story
from core.story.streams import StreamNeighbours, neighbours_of
from core.workloads.stream_binding import BoundTransport
from core.workloads.stream_environment import transports_variable
from core.workloads.stream_workload import StreamMode, chosen_mode


@dataclass(frozen=True, slots=True)
class ResolvedStream:
    """The adapter's part of a ``Binding`` of a realtime step."""

    mode: StreamMode | None
    """None: its Engram runs as a Job, which the hub starts for each packet."""
    transport: BoundTransport
    transports: str
    """``BUBU_TRANSPORTS``."""
    neighbours: StreamNeighbours


def serves_stream(story: ReadOnlyObject, step: Mapping[str, Any]) -> bool:
    """Whether the step is one of the main steps of a realtime Story; its compensations and ``finally`` are batch steps.

    Names are unique in a Story, branches of ``parallel`` steps included.
    """
    return any(each.realtime and each.name == step["name"] for each in read_story(story).groups["steps"])


def stream_mode(step: Mapping[str, Any], engram: Object, template: Object) -> StreamMode | None:
    """The mode of the step's Engram; None: each packet starts a Job.

    Raises:
        MissingReferenceError: it runs as a Job, and the step gets no packets.
        RejectedError: its container has no SDK.
    """
    mode, where = chosen_mode(engram), f"{engram['metadata'].get('namespace')}/{engram['metadata']['name']}"
    if not step.get("ref"):
        raise RejectedError(
            f"step {step['name']!r}: a script ends, so it cannot serve a realtime Story; use an Engram of mode "
            "deployment or statefulset, or move the step to finally"
        )
    if mode is None and not step.get("needs"):
        raise MissingReferenceError(
            f"step {step['name']!r}: Engram {where} runs as a Job, which each packet starts, and a step without needs "
            "gets no packets; use an Engram with spec.mode: deployment or statefulset, or name a step in needs",
            reason=Reason.ENGRAM_REFERENCE_INVALID,
        )
    if mode is None:
        return None
    if template["spec"].get("container") is not None:
        raise RejectedError(
            f"step {step['name']!r}: the container of EngramTemplate {template['metadata']['name']} has no SDK, so it "
            "cannot serve a stream; use a template whose image has a streaming SDK"
        )
    return mode


def declared_transport(story: ReadOnlyObject, step: Mapping[str, Any]) -> ReadOnlyObject:
    """The entry of ``spec.transports`` that the step uses: the one that it names, else the first.

    Raises:
        RejectedError: there is none.
    """
    declared = story["spec"].get("transports") or ()
    wanted = text(step.get("transport"))
    for transport in declared:
        if not wanted or text(transport.get("name")) == wanted:
            return transport  # type: ignore[no-any-return]
    if wanted:
        names = ", ".join(text(transport.get("name")) for transport in declared) or "none"
        why = f"transport {wanted!r} is not declared in spec.transports of the Story, which declares: {names}"
        remedy = "declare it, or correct steps[].transport"
    else:
        why = "the Story declares no transport, and a realtime step needs one"
        remedy = "add an entry with name and transportRef to spec.transports"
    raise _refused(step, f"{why}; {remedy}")


def resolved_stream(
    mode: StreamMode | None,
    story: ReadOnlyObject,
    step: Mapping[str, Any],
    declared: ReadOnlyObject,
    transport: Object,
    kinds: Mapping[str, str],
) -> ResolvedStream:
    """The stream of a step that uses ``transport``, which the Story declares as ``declared``.

    ``kinds``: of the Transports that exist, for ``transports_variable``.

    Raises:
        RejectedError: the Transport or the merged settings cannot be used; with every problem.
    """
    name, spec = transport["metadata"]["name"], transport["spec"]
    if unusable := why_unusable(spec):
        raise _refused(step, f"Transport {name} cannot be used: {'; '.join(map(str, unusable))}")
    settings = merged_settings(spec, declared)
    if problems := merged_problems(settings):
        what = f"the settings of transport {declared.get('name')!r}, merged over those of Transport {name}"
        raise _refused(step, f"{what}, cannot be used: {'; '.join(map(str, problems))}")
    return ResolvedStream(
        mode,
        BoundTransport(name, spec, settings),
        transports_variable(story["spec"]["transports"], kinds),
        neighbours_of(step["name"], read_story(story).groups["steps"]),
    )


def kind_of(transport: ReadOnlyObject) -> str:
    """What SDKs learn about a Transport: its provider, else its driver."""
    spec = transport.get("spec") or {}
    return text(spec.get("provider")) or text(spec.get("driver"))


def _refused(step: Mapping[str, Any], why: str) -> RejectedError:
    return RejectedError(f"step {step['name']!r}: {why}", reason=Reason.TRANSPORT_REFERENCE_INVALID)
