"""Rules for a StoryTrigger beyond its schema. Source: admission contract 10."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bubu_contract.submission import trigger_name
from core.api.objects import ReadOnlyObject
from core.api.resource import STORY_TRIGGER
from core.api.text import text
from webhooks.cluster_view import ClusterView
from webhooks.finding import CauseType, Finding, Rule
from webhooks.validate import change, submission

SUBMISSION: Final = Rule("trigger/submission-id", "10", CauseType.REQUIRED)
KEY_REQUIRED: Final = Rule("trigger/key-required", "10", CauseType.REQUIRED)
KEY_UNUSED: Final = Rule("trigger/key-unused", "10", CauseType.FORBIDDEN)
HASH_REQUIRED: Final = Rule("trigger/hash-required", "10", CauseType.REQUIRED)
HASH: Final = Rule("trigger/hash", "10")
SPEC_FROZEN: Final = Rule("trigger/spec-frozen", "10", CauseType.FORBIDDEN)

_IDENTITY: Final = "spec.deliveryIdentity"


def validate(new: ReadOnlyObject, old: ReadOnlyObject | None, world: ClusterView) -> list[Finding]:
    """All errors in a StoryTrigger that matches its schema; its spec never changes."""
    if change.is_deleted(new):
        return []
    if old is None:
        return list(_created(new, world))
    fields = sorted({*new["spec"], *(old.get("spec") or {})})
    changed = change.changed_fields(new["spec"], old.get("spec") or {}, fields)
    return [SPEC_FROZEN.at(f"spec.{field}", "may not be changed", "submit another request") for field in changed]


def _created(new: ReadOnlyObject, world: ClusterView) -> Iterator[Finding]:
    wanted, identity = submission.story_link(new, STORY_TRIGGER), new["spec"]["deliveryIdentity"]
    yield from submission.check_story(new, wanted, world)
    yield from _identity(identity)
    given, inputs = text(identity.get("inputHash")), new["spec"].get("inputs")
    expected = submission.hash_of(inputs)
    if given and given != expected:
        remedy = f"use {expected}" if expected else "use finite numbers in the inputs"
        yield HASH.at(f"{_IDENTITY}.inputHash", "is not the hash of the inputs as submitted", remedy)
    asked_by = text(identity.get("key")) or text(identity.get("submissionId"))
    if asked_by:
        name = trigger_name(wanted.namespace, wanted.name, asked_by)
        yield from submission.check_name(new, name, "Story and delivery identity")
    yield from submission.check_inputs(new, wanted, world)


def _identity(identity: ReadOnlyObject) -> Iterator[Finding]:
    mode, key = identity.get("mode") or "none", text(identity.get("key"))
    if not text(identity.get("submissionId")):
        yield SUBMISSION.at(f"{_IDENTITY}.submissionId", "must not be blank", "give each submission an id")
    if key and mode == "none":
        yield KEY_UNUSED.at(f"{_IDENTITY}.key", "is not used with mode none", "set mode token or key, or remove it")
    if not key and mode != "none":
        yield KEY_REQUIRED.at(f"{_IDENTITY}.key", f"is required with mode {mode}", "give the business key")
    if key and not text(identity.get("inputHash")):
        yield HASH_REQUIRED.at(f"{_IDENTITY}.inputHash", "is required with a key", "add the hash of the inputs")
