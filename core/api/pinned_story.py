"""A Story as it was when a run started: an ``apps/v1`` ControllerRevision, named by its content. Pure.

The name has a hash of the whole content, so equal Stories have equal names, and every reader can check that the content
matches the name. A revision has no owner: runs need it even when the Story is gone.
"""

from __future__ import annotations

import hashlib
from typing import Final

import orjson

from bubu_contract.identity import label_value
from core.api import keys
from core.api.objects import Object
from core.api.resource import CONTROLLER_REVISION, STORY

SELECTOR: Final = f"{keys.LABEL_APP_MANAGED_BY}={keys.FIELD_MANAGER},{keys.LABEL_STORY_NAME}"
"""Selects the revisions of this operator."""

_READ_ANNOTATIONS: Final = (keys.ANNOTATION_CONTROLLER_RESOLVE,)
_DIGEST_LENGTH: Final = 16
_LONGEST_NAME: Final = 253


class TooDeepError(ValueError):
    """A Story (*user*) is nested so deeply that it cannot be sent to an API server again."""


def kept_story(story: Object) -> Object:
    """The part of a Story that determines its runs, as a Story. Shares its spec with ``story``."""
    own = story["metadata"]
    metadata: Object = {name: own[name] for name in ("name", "namespace", "uid", "generation") if name in own}
    annotations = own.get("annotations") or {}
    if read := {name: annotations[name] for name in _READ_ANNOTATIONS if name in annotations}:
        metadata["annotations"] = read
    kind = {"apiVersion": STORY.api_version, "kind": STORY.kind}
    return {**kind, "metadata": metadata, "spec": story.get("spec") or {}}


def revision_name(kept: Object) -> str:
    """The name of the revision for ``kept``: the Story's name, cut to fit, and the hash of the content.

    Raises:
        TooDeepError
    """
    try:
        text = orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        place = f"{kept['metadata'].get('namespace')}/{kept['metadata']['name']}"
        raise TooDeepError(f"Story {place} is nested too deeply to be kept for its runs; flatten it") from error
    digest = hashlib.sha256(text).hexdigest()[:_DIGEST_LENGTH]
    room = _LONGEST_NAME - _DIGEST_LENGTH - 1
    return f"{str(kept['metadata']['name'])[:room].rstrip('-.')}-{digest}"


def current_revision(story: Object | None) -> str | None:
    """The name of the revision for the Story as it is; None if there is no Story, or it is nested too deeply."""
    try:
        return None if story is None else revision_name(kept_story(story))
    except TooDeepError:
        return None


def revision_manifest(kept: Object) -> Object:
    """The ControllerRevision of ``kept``."""
    metadata = kept["metadata"]
    return {
        "apiVersion": CONTROLLER_REVISION.api_version,
        "kind": CONTROLLER_REVISION.kind,
        "metadata": {
            "name": revision_name(kept),
            "namespace": metadata["namespace"],
            "labels": {
                keys.LABEL_APP_MANAGED_BY: keys.FIELD_MANAGER,
                keys.LABEL_STORY_NAME: label_value(str(metadata["name"])),
            },
        },
        "data": kept,
        "revision": metadata.get("generation", 0),
    }


def holds_what_its_name_says(revision: Object) -> bool:
    """Whether a ControllerRevision, read completely, is one that ``pin`` creates; other clients could create one of
    that name.
    """
    data = revision.get("data")
    kept: Object = data if isinstance(data, dict) else {}
    metadata = kept.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("namespace") != revision["metadata"].get("namespace"):
        return False
    try:
        return isinstance(metadata.get("name"), str) and revision_name(kept) == revision["metadata"]["name"]
    except TooDeepError:
        return False


def without_spec(revision: Object) -> Object:
    """A revision with only the metadata of its Story; ``data`` is empty when the content does not match the name."""
    data = {"metadata": revision["data"]["metadata"]} if holds_what_its_name_says(revision) else {}
    metadata = {name: value for name, value in revision["metadata"].items() if name != "managedFields"}
    return {**revision, "metadata": metadata, "data": data}


def story_of(revision: Object) -> tuple[str, str] | None:
    """Namespace and name of the Story of a trimmed revision; None when it is not one of ours."""
    metadata = (revision.get("data") or {}).get("metadata")
    return (metadata["namespace"], metadata["name"]) if metadata else None
