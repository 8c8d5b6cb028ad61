"""Rules for a StoryRun beyond its schema. Source: admission contract 8."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from bubu_contract.submission import story_run_name
from core.api.keys import (
    ANNOTATION_CACHE_LOOKUP,
    ANNOTATION_CACHE_REUSE,
    ANNOTATION_TRIGGER_INPUT_HASH,
    ANNOTATION_TRIGGER_TOKEN,
)
from core.api.objects import ReadOnlyObject
from core.api.resource import STORY_RUN
from core.api.schema import DNS_LABEL
from core.api.text import text
from webhooks.cluster_view import ClusterView
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import change, payload, submission
from webhooks.validate.reference import Link

INPUTS_SIZE: Final = Rule("run/inputs-size", "2")
INPUTS_OFFLOADED: Final = Rule("run/inputs-offloaded", "8.1", severity=Severity.WARNING)
HASH_REQUIRED: Final = Rule("run/hash-required", "8.1", CauseType.REQUIRED)
HASH: Final = Rule("run/hash", "8.1")
HASH_UNCHECKED: Final = Rule("run/hash-unchecked", "8.3", severity=Severity.WARNING)
TOKEN_FROZEN: Final = Rule("run/token-frozen", "8.2", CauseType.FORBIDDEN)
HASH_FROZEN: Final = Rule("run/hash-frozen", "8.2", CauseType.FORBIDDEN)
REUSE: Final = Rule("run/reuse", "8.1")
SPEC_FROZEN: Final = Rule("run/spec-frozen", "8.3", CauseType.FORBIDDEN)

_TOKEN_PATH: Final = f'metadata.annotations["{ANNOTATION_TRIGGER_TOKEN}"]'
_HASH_PATH: Final = f'metadata.annotations["{ANNOTATION_TRIGGER_INPUT_HASH}"]'
_REUSE_PATH: Final = f'metadata.annotations["{ANNOTATION_CACHE_REUSE}"]'
_LABEL: Final = re.compile(DNS_LABEL)


def validate(new: ReadOnlyObject, old: ReadOnlyObject | None, world: ClusterView) -> list[Finding]:
    """All errors in a StoryRun that matches its schema; an update may only cancel the run and change metadata."""
    if change.is_deleted(new):
        return []
    return list(_created(new, world) if old is None else _updated(new, old))


def _created(new: ReadOnlyObject, world: ClusterView) -> Iterator[Finding]:
    wanted, inputs = submission.story_link(new, STORY_RUN), new["spec"].get("inputs")
    yield from submission.check_story(new, wanted, world)
    limit = world.settings.runs.max_inline_inputs_size_bytes
    yield from payload.check_size(INPUTS_SIZE, inputs, "spec.inputs", limit)
    yield from submission.check_inputs(new, wanted, world)
    if payload.holds_storage_reference(inputs) and submission.schema_of(wanted, world) is not None:
        message = "are partly in storage; that part is only checked against the schema when the run starts"
        yield INPUTS_OFFLOADED.at("spec.inputs", message, "give small inputs inline")
    token = _annotation(new, ANNOTATION_TRIGGER_TOKEN)
    if token:
        yield from _identity(new, wanted, token)
    yield from _reuse(new)


def _reuse(new: ReadOnlyObject) -> Iterator[Finding]:
    """A finding if the run asks for the outputs of a run that cannot exist, or of itself, or for none as well."""
    annotations = change.fields_of(change.metadata_of(new).get("annotations"))
    if ANNOTATION_CACHE_REUSE not in annotations:
        return
    earlier = _annotation(new, ANNOTATION_CACHE_REUSE)
    if _LABEL.fullmatch(earlier) is None:
        message = f"{earlier!r} is not the name of a StoryRun"
        yield REUSE.at(_REUSE_PATH, message, "name an earlier run of this namespace, or remove the annotation")
    elif earlier == change.metadata_of(new).get("name"):
        yield REUSE.at(_REUSE_PATH, "names the run itself", "name an earlier run")
    elif _annotation(new, ANNOTATION_CACHE_LOOKUP).lower() == "false":
        message = f"contradicts {ANNOTATION_CACHE_LOOKUP}: false, which makes every step execute"
        yield REUSE.at(_REUSE_PATH, message, "remove one of the two annotations")


def _identity(new: ReadOnlyObject, wanted: Link, token: str) -> Iterator[Finding]:
    """Findings if name and hash are not derived from the token and the inputs."""
    name = story_run_name(wanted.namespace, wanted.name, token)
    yield from submission.check_name(new, name, "Story and trigger token")
    given, inputs = _annotation(new, ANNOTATION_TRIGGER_INPUT_HASH), new["spec"].get("inputs")
    if not given:
        yield HASH_REQUIRED.at(_HASH_PATH, "is required with a trigger token", "add the hash of the inputs")
    elif given != submission.hash_of(inputs):
        if payload.holds_storage_reference(inputs):
            message = "is not the hash of the inputs as given; the hash of the stored inputs is not checked here"
            yield HASH_UNCHECKED.at(_HASH_PATH, message, "give the hash of the inputs as they are submitted")
        else:
            yield HASH.at(_HASH_PATH, "is not the hash of the inputs", f"use {submission.hash_of(inputs)}")


def _updated(new: ReadOnlyObject, old: ReadOnlyObject) -> Iterator[Finding]:
    before, token = _annotation(old, ANNOTATION_TRIGGER_TOKEN), _annotation(new, ANNOTATION_TRIGGER_TOKEN)
    if token != before:
        yield TOKEN_FROZEN.at(_TOKEN_PATH, "may not be added, changed or removed", "start another run")
    elif token and _annotation(new, ANNOTATION_TRIGGER_INPUT_HASH) != _annotation(old, ANNOTATION_TRIGGER_INPUT_HASH):
        yield HASH_FROZEN.at(_HASH_PATH, "may not be changed or removed", "start another run")
    if any(_annotation(new, key) != _annotation(old, key) for key in (ANNOTATION_CACHE_REUSE, ANNOTATION_CACHE_LOOKUP)):
        yield from _reuse(new)
    fields = sorted({*new["spec"], *(old.get("spec") or {})})
    for field in change.changed_fields(new["spec"], old.get("spec") or {}, fields):
        is_canceled = field == "cancelRequested" and new["spec"].get(field) is True
        if not is_canceled:
            message = "may only be set to true" if field == "cancelRequested" else "may not be changed"
            yield SPEC_FROZEN.at(f"spec.{field}", message, "start another run")


def _annotation(run: ReadOnlyObject, key: str) -> str:
    return text(change.fields_of(change.metadata_of(run).get("annotations")).get(key))
