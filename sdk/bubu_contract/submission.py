"""Requests and effects that must not happen twice: the hash of inputs, and the names that follow from a key.

Byte-exact: every client with the same key finds the same StoryTrigger, StoryRun or EffectClaim.
Source: Trigger contract 2, 8.4.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from bubu_contract import canonical

MAX_KEY_CHARACTERS: Final = 256
MAX_NAME_BYTES: Final = 253
"""Of the name of an object, and of a submission id."""
_DIGEST_CHARACTERS: Final = 16
_OTHERS: Final = re.compile(r"[^a-z0-9]+")
_HALF: Final = re.compile("[\ud800-\udfff]")


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


def trigger_name(story_namespace: str, story: str, identity: str) -> str:
    """The name of the StoryTrigger; ``identity`` is the key of the request, or its submission id if it has no key.

    >>> trigger_name("default", "test-story", "customer-42")
    'test-story-trigger-f8f3cb97448c569e'
    """
    return _composed(story, f"-trigger-{_short_hash(story_namespace, story, identity)}")


def claim_name(namespace: str, step_run: str, effect_key: str) -> str:
    """The name of the EffectClaim for one effect of one StepRun.

    >>> claim_name("default", "run-1-charge", "deliver-webhook")
    'run-1-charge-effect-8329de16458124ff'
    """
    return _composed(step_run, f"-effect-{_short_hash(namespace, step_run, effect_key)}")


def story_run_name(story_namespace: str, story: str, identity: str) -> str:
    """The name of the StoryRun that the request starts.

    >>> story_run_name("default", "test-story", "customer-42")
    'test-story-customer-42-f8f3cb97448c569e'
    """
    short = _short_hash(story_namespace, story, identity)
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


def _short_hash(*parts: str) -> str:
    """The hexadecimal digits at the end of a name."""
    seed = "/".join(parts).encode("utf-8", "replace")
    return hashlib.sha1(seed, usedforsecurity=False).hexdigest()[:_DIGEST_CHARACTERS]


def _composed(beginning: str, ending: str) -> str:
    room = MAX_NAME_BYTES - len(ending)
    if len(beginning) > room:
        beginning = beginning[:room].rstrip("-") or "s"
    return f"{beginning}{ending}"


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
