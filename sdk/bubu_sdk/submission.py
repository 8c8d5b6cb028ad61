"""The identity of a request that starts a Story: the hash of its inputs, and the names that follow from it. Pure.

Byte-exact: every client that submits the same key gets the same StoryTrigger and the same StoryRun.
Source: Trigger contract 2.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from bubu_sdk import canonical

MAX_KEY_CHARACTERS: Final = 256
MAX_NAME_BYTES: Final = 253
_DIGEST_CHARACTERS: Final = 16
_OTHERS: Final = re.compile(r"[^a-z0-9]+")
_HALF: Final = re.compile("[\ud800-\udfff]")
_MAX_LABEL: Final = 63
_LABEL_PREFIX: Final = 52
_LABEL_DIGEST: Final = 10


def input_hash(inputs: Mapping[str, Any] | None) -> str:
    """Hexadecimal SHA-256 of the canonical JSON; missing inputs equal empty ones, and every number is a double.

    Raises:
        NotJsonError: the inputs cannot be written as JSON.
    """
    return hashlib.sha256(canonical_json(inputs or {})).hexdigest()


def canonical_json(value: Any) -> bytes:
    """The canonical JSON of ``value``, in which every number is a double.

    Raises:
        NotJsonError: the value cannot be written as JSON.
    """
    return canonical.encode(_as_doubles(value))


def short_hash(story_namespace: str, story: str, identity: str) -> str:
    """The 16 hexadecimal digits at the end of both names of a request."""
    seed = f"{story_namespace}/{story}/{identity}".encode("utf-8", "replace")
    return hashlib.sha1(seed, usedforsecurity=False).hexdigest()[:_DIGEST_CHARACTERS]


def trigger_name(story_namespace: str, story: str, identity: str) -> str:
    """The name of the StoryTrigger; ``identity`` is the key of the request, or its submission id if it has no key.

    >>> trigger_name("default", "test-story", "customer-42")
    'test-story-trigger-f8f3cb97448c569e'
    """
    ending = f"-trigger-{short_hash(story_namespace, story, identity)}"
    room = MAX_NAME_BYTES - len(ending)
    if len(story) > room:
        story = story[:room].rstrip("-") or "s"
    return f"{story}{ending}"


def story_run_name(story_namespace: str, story: str, identity: str) -> str:
    """The name of the StoryRun that the request starts.

    >>> story_run_name("default", "test-story", "customer-42")
    'test-story-customer-42-f8f3cb97448c569e'
    """
    short = short_hash(story_namespace, story, identity)
    readable = _OTHERS.sub("-", _lower(identity)).strip("-")
    if not readable:
        ending = short
    elif readable != identity or story_namespace:
        ending = f"{readable}-{short}"
    else:
        ending = readable
    name = f"{story}-{ending}"
    if len(name) <= MAX_NAME_BYTES:
        return name
    room = MAX_NAME_BYTES - 1 - len(short)
    beginning = story[:room].strip("-") if len(story) > room else story
    return f"{beginning or 's'}-{short}"


def submission_id(identity: str) -> str:
    """The ``submissionId`` for a key, or for an id of the caller: the text itself, or its hash if it is too long.

    A key may have 256 characters, a submission id only 253.
    """
    if len(identity) <= MAX_NAME_BYTES:
        return identity
    return hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest()


def storage_id(namespace: str, story_namespace: str, story: str, identity: str, inputs: Mapping[str, Any]) -> str:
    """The folder of the stored inputs of a request, below the prefix for inputs.

    It contains a hash of the inputs, so the same key with other inputs never overwrites stored data.
    """
    name = story_run_name(story_namespace, story, identity)
    if inputs:
        digest = hashlib.sha256(canonical.encode(inputs)).hexdigest()[:12]
        name = f"{name[: MAX_NAME_BYTES - 1 - len(digest)].rstrip('-')}-{digest}"
    return f"{namespace}/{name}"


def label_value(text: str) -> str:
    """A valid label value for ``text``, at most 63 characters.

    >>> label_value("Order 42 / Completed")
    'order-42-completed'
    """
    clean = _OTHERS.sub("-", text.lower()).strip("-") or "resource"
    if len(clean) <= _MAX_LABEL:
        return clean
    digest = hashlib.sha256(clean.encode()).hexdigest()[:_LABEL_DIGEST]
    return f"{clean[:_LABEL_PREFIX].strip('-')}-{digest}"


def _lower(text: str) -> str:
    """Lower case, character by character: no character becomes two."""
    return "".join(letter.lower()[:1] for letter in text)


def _as_doubles(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return double(value)
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, Mapping):
        return {_whole(key) if isinstance(key, str) else key: _as_doubles(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_doubles(child) for child in value]
    return value


def double(value: float) -> float:
    """``value`` as a double.

    Raises:
        NotJsonError: the integer is too large.
    """
    try:
        return float(value)
    except OverflowError:
        raise canonical.NotJsonError("", "a number is too large for JSON") from None


def _whole(text: str) -> str:
    """``text`` with each lone half of a surrogate pair replaced by U+FFFD."""
    return _HALF.sub("\ufffd", text)
