"""Who may use the console of a step: what its binding says about keys, verbs and time. Pure.

A command that wants to see or send packets makes a key, and writes its SHA-256 into an annotation of the binding. So
only users who may change the bindings of a namespace may use their consoles. The hub itself knows no users.
Source: streaming contract 5.5.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final

import orjson

from bubu_contract.instants import parse_instant_or_none
from core.api.objects import Object
from hub.bindings import MOST_WATCHED, console_requests

KEY_BYTES: Final = 32
KEY_HEADER: Final = "x-bobrapet-console-key"
"""The key, as 64 hexadecimal digits. An API server keeps ``Authorization`` for itself, and passes this on."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_LONGEST: Final = 1_024


class ConsoleVerb(StrEnum):
    """What a command does."""

    TAP = "tap"
    SEND = "send"


class TapEnd(StrEnum):
    """Why a tap ends, as its last line says."""

    RUN_ENDED = "RunEnded"
    STEP_FINISHED = "StepFinished"
    EXPIRED = "Expired"


class ConsoleReason(StrEnum):
    """Why the console refuses a request. Commands decide by it."""

    UNKNOWN_KEY = "ConsoleUnknownKey"
    """Nobody has asked with this key, or the hub has not seen it yet."""
    EXPIRED = "ConsoleExpired"
    WRONG_VERB = "ConsoleWrongVerb"
    MALFORMED = "ConsoleMalformed"
    """An annotation that asks for the console cannot be used."""
    NOT_SERVED = "ConsoleNotServed"
    BUSY = "ConsoleBusy"
    INVALID = "ConsoleInvalid"
    FULL = "ConsoleFull"
    REFUSED = "ConsoleRefused"
    NOT_FOUND = "ConsoleNotFound"


class ConsoleRefusalError(Exception):
    """The console does not do what it was asked for."""

    def __init__(self, reason: ConsoleReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class ConsoleGrantError(ValueError):
    """An annotation that asks for a console cannot be used. The message names every field."""


@dataclass(frozen=True, slots=True)
class ConsoleGrant:
    """A command that may use the console of one step."""

    until: datetime
    digest: bytes
    """SHA-256 of its key."""
    verbs: frozenset[ConsoleVerb]

    def is_live(self, now: datetime) -> bool:
        """An instant that is far away is a mistake, and does not count."""
        return now < self.until <= now + MOST_WATCHED


def read_grant(text: str) -> ConsoleGrant:
    """What an annotation says.

    Raises:
        ConsoleGrantError: it cannot be used.
    """
    if len(text) > _LONGEST:
        raise ConsoleGrantError(f"it has {len(text)} characters; at most {_LONGEST} are allowed")
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise ConsoleGrantError("it must be a JSON object with until, keySHA256 and verbs")
    problems = []
    until, digest, verbs = parse_instant_or_none(found.get("until")), found.get("keySHA256"), found.get("verbs")
    if until is None:
        problems.append("until must be an instant, for example 2026-01-02T03:04:05Z")
    if not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
        problems.append("keySHA256 must be 64 lower-case hexadecimal digits")
    if not (isinstance(verbs, list) and verbs and all(isinstance(verb, str) and verb in _VERBS for verb in verbs)):
        problems.append(f"verbs must be a list of {', '.join(ConsoleVerb)}")
    if problems:
        raise ConsoleGrantError("; ".join(problems))
    assert until is not None, "a problem above"
    return ConsoleGrant(until, bytes.fromhex(str(digest)), frozenset(map(ConsoleVerb, verbs or ())))


def live_grants(binding: Object, now: datetime) -> list[ConsoleGrant]:
    """The commands that may use the console of a binding now."""
    return [grant for grant in _readable(binding) if grant.is_live(now)]


def authorise(binding: Object | None, key: bytes, verb: ConsoleVerb, now: datetime) -> ConsoleGrant:
    """Whether the holder of ``key`` may do ``verb`` with the binding now. Takes the same time for all wrong keys.

    Raises:
        ConsoleRefusalError: it may not.
    """
    digest, found = sha256(key).digest(), None
    for grant in _readable(binding or {}):
        if hmac.compare_digest(grant.digest, digest):
            found = grant
    if found is None:
        raise _unknown(binding)
    if not found.is_live(now):
        text = "the request for the console has expired, or is more than five minutes ahead; compare the clocks"
        raise ConsoleRefusalError(ConsoleReason.EXPIRED, text)
    if verb not in found.verbs:
        raise ConsoleRefusalError(ConsoleReason.WRONG_VERB, f"the request for the console does not name {verb}")
    return found


def _unknown(binding: Object | None) -> ConsoleRefusalError:
    """It says more only to those who have written something that nobody can read."""
    for name, text in console_requests(binding or {}).items():
        try:
            read_grant(text)
        except ConsoleGrantError as error:
            return ConsoleRefusalError(ConsoleReason.MALFORMED, f"the annotation {name} cannot be used: {error}")
    text = "no annotation of the binding allows this key, or the hub has not seen it yet"
    return ConsoleRefusalError(ConsoleReason.UNKNOWN_KEY, text)


def _readable(binding: Object) -> list[ConsoleGrant]:
    found = []
    for text in console_requests(binding).values():
        try:
            found.append(read_grant(text))
        except ConsoleGrantError:
            continue  # the command that wrote it gets the reason with its first request
    return found


_VERBS: Final = frozenset(ConsoleVerb)
