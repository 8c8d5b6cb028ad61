"""Requests that must not start twice: the hash of their inputs, and the names that are derived from their identity.

Pure, and byte-exact with the contract: every client with the same key finds the same StoryTrigger and the same run.
Source: Trigger contract 2.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from core.api import canonical

MAX_KEY_CHARACTERS: Final = 256
MAX_SUBMISSION_ID_CHARACTERS: Final = 253
_MAX_NAME_BYTES: Final = 253
_SHORT_BYTES: Final = 8
_OTHERS: Final = re.compile(r"[^a-z0-9]+")


def input_hash(inputs: Mapping[str, Any] | None) -> str:
    """Hexadecimal SHA-256 of the canonical JSON; missing inputs equal empty ones, and every number is a double.

    Raises:
        PayloadError: the inputs cannot be written as JSON.
    """
    return hashlib.sha256(canonical.encode(_canonical(inputs or {})).encode()).hexdigest()


def story_run_name(story_namespace: str, story: str, identity: str) -> str:
    """The name of the run that a request starts; ``identity`` is its key, or its submission id when it has no key.

    >>> story_run_name("default", "test-story", "customer-42")
    'test-story-customer-42-f8f3cb97448c569e'
    """
    short = _short(f"{story_namespace}/{story}/{identity}")
    readable = _OTHERS.sub("-", _lower(identity)).strip("-")
    if not readable:
        ending = short
    elif readable != identity or story_namespace:
        ending = f"{readable}-{short}"
    else:
        ending = readable
    name = f"{story}-{ending}"
    if len(name) <= _MAX_NAME_BYTES:
        return name
    room = _MAX_NAME_BYTES - 1 - len(short)
    beginning = story[:room].strip("-") if len(story) > room else story
    return f"{beginning or 's'}-{short}"


def trigger_name(story_namespace: str, story: str, identity: str) -> str:
    """The name of the StoryTrigger of a request; ``identity`` as for ``story_run_name``.

    >>> trigger_name("default", "orders", "customer-42")
    'orders-trigger-2939e86abcbefb1a'
    """
    return _composed(story, "-trigger-", f"{story_namespace}/{story}/{identity}")


def claim_name(namespace: str, step_run: str, effect_key: str) -> str:
    """The name of the EffectClaim for an effect of a StepRun.

    >>> claim_name("default", "run-1-charge", "deliver-webhook")
    'run-1-charge-effect-8329de16458124ff'
    """
    return _composed(step_run, "-effect-", f"{namespace}/{step_run}/{effect_key}")


def _composed(beginning: str, word: str, hashed: str) -> str:
    short = _short(hashed)
    room = _MAX_NAME_BYTES - len(word) - len(short)
    if len(beginning) > room:
        beginning = beginning[:room].rstrip("-") or "s"
    return f"{beginning}{word}{short}"


def _short(text: str) -> str:
    digest = hashlib.sha1(text.encode("utf-8", "replace"), usedforsecurity=False)
    return digest.hexdigest()[: 2 * _SHORT_BYTES]


def _lower(text: str) -> str:
    """Lower case, character by character, as in the contract's reference: no character becomes two."""
    return "".join(letter.lower()[:1] for letter in text)


def _canonical(value: Any) -> Any:
    match value:
        case bool():
            return value
        case int():
            return _as_double(value)
        case str():
            return _with_whole_letters(value)
        case Mapping():
            return {_with_whole_letters(key): _canonical(child) for key, child in value.items()}
        case list() | tuple():
            return [_canonical(child) for child in value]
        case _:
            return value


def _as_double(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise canonical.NotSerializableError("a number in the inputs is too large for JSON") from None


def _with_whole_letters(text: str) -> str:
    """Replaces half a surrogate pair, which is not a character, by the replacement character."""
    return "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in text)
