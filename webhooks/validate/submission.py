"""Requests for a run: the Story, the inputs, and the names and hashes that let a request start only once.

StoryRun and StoryTrigger share all of it; EffectClaim shares the check of names.
Source: admission contract 3.10, 8.1 and 10.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from bubu_contract import submission
from bubu_contract.canonical import NotJsonError
from core.api.objects import ReadOnlyObject, packet_step
from core.api.resource import STORY, STORY_RUN, Resource
from core.workloads.live_run import is_always_on, is_live_run_of
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import payload, reference, schema
from webhooks.validate.change import namespace_of
from webhooks.validate.reference import Link

STORY_DENIED: Final = Rule("submission/story-denied", "3.7", CauseType.FORBIDDEN)
STORY_MISSING: Final = Rule("submission/story-missing", "3.9", CauseType.NOT_FOUND)
STORY_VERSION: Final = Rule("submission/story-version", "3.8")
STORY_ALWAYS_ON: Final = Rule("submission/story-always-on", "8.1", CauseType.FORBIDDEN)
INPUTS_REFERENCE: Final = Rule("submission/inputs-reference", "3.3")
INPUTS_NAMESPACE: Final = Rule("submission/inputs-namespace", "3.3", CauseType.FORBIDDEN)
INPUTS_SCHEMA: Final = Rule("submission/inputs-schema", "8.1")
INPUT_UNKNOWN: Final = Rule("submission/input-unknown", "8.1", severity=Severity.WARNING)
NAME: Final = Rule("submission/name", "3.10")


def story_link(new: ReadOnlyObject, source: Resource) -> Link:
    """The Story that an object of kind ``source`` refers to."""
    return reference.link(source, namespace_of(new), STORY, new["spec"]["storyRef"])


def check_story(new: ReadOnlyObject, wanted: Link, world: ClusterView) -> Iterator[Finding]:
    """Findings if the reference is not allowed, or the Story does not exist, is not of the pinned version, or is always
    on, so that only the operator starts its run.
    """
    path = "spec.storyRef"
    yield from reference.denial(STORY_DENIED, wanted, world, path)
    found = reference.find(wanted, world)
    yield from reference.missing(STORY_MISSING, wanted, found, f"{path}.name")
    yield from reference.version_mismatch(STORY_VERSION, new["spec"]["storyRef"], wanted, found, f"{path}.version")
    if isinstance(found, Unseen) or _is_of_packet(new):
        return
    if is_always_on(found.get("spec") or {}) and not is_live_run_of(new, found):
        name = wanted.name
        message = f"Story {name!r} has streamingStrategy: PerStory, so the operator keeps its only run"
        yield STORY_ALWAYS_ON.at(f"{path}.name", message, "use that run, or set streamingStrategy: PerStoryRun")


def check_inputs(new: ReadOnlyObject, wanted: Link, world: ClusterView) -> Iterator[Finding]:
    """Checks the form of the references in ``spec.inputs``, and the inputs with the Story's schema."""
    inputs = new["spec"].get("inputs")
    yield from payload.check_references(
        INPUTS_REFERENCE, INPUTS_NAMESPACE, inputs, "spec.inputs", wanted.source, namespace_of(new), world
    )
    inputs_schema = schema_of(wanted, world)
    if inputs_schema is not None and not _is_of_packet(new):
        yield from schema.check_document(INPUTS_SCHEMA, inputs_schema, inputs, "spec.inputs")
        source = f"the inputsSchema of {wanted}"
        yield from schema.check_names(INPUT_UNKNOWN, inputs_schema, inputs, "spec.inputs", source)


def _is_of_packet(new: ReadOnlyObject) -> bool:
    """Whether a packet starts one step of the Story; then the inputs are those of that step. Only the hub says so."""
    return new.get("kind") == STORY_RUN.kind and bool(packet_step(new))


def schema_of(wanted: Link, world: ClusterView) -> Any:
    """The Story's ``inputsSchema``; None if it has none or is unknown."""
    found = reference.find(wanted, world)
    return None if isinstance(found, Unseen) else (found.get("spec") or {}).get("inputsSchema")


def check_name(new: ReadOnlyObject, name: str, of_what: str) -> Iterator[Finding]:
    """A finding if the object does not have the name that is derived from ``of_what``."""
    metadata = new.get("metadata") or {}
    if metadata.get("generateName"):
        yield NAME.at("metadata.generateName", f"the name is derived from {of_what}", f"set metadata.name: {name}")
    elif metadata.get("name") != name:
        message = f"{metadata.get('name') or ''!r} is not the name derived from {of_what}"
        yield NAME.at("metadata.name", message, f"use {name}")


def hash_of(inputs: Any) -> str | None:
    """The hash of unchanged inputs; ``None`` if JSON cannot represent them."""
    try:
        return submission.input_hash(inputs)
    except NotJsonError:
        return None
