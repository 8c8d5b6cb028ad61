"""How an event becomes a request: deduplication, retries, and limits, from the environment of the container. Pure.

The operator sets these variables from the Impulse and its template. Source: Trigger contract 5.3, 5.4 and 5.6.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from bubu_contract import durations, submission
from bubu_sdk.text_template import TemplateDataError, TemplateSyntaxError, TextTemplate
from bubu_sdk.trigger_errors import TriggerPolicyError

TOKEN_VARIABLE: Final = "BUBU_TRIGGER_TOKEN"  # noqa: S105 - the name of a variable
DEFAULT_BASE_SECONDS: Final = 1.0
DEFAULT_MAX_SECONDS: Final = 300.0
JITTER: Final = 0.25
_PREFIX: Final = "BUBU_TRIGGER_"
_MAX_DIGITS: Final = 9
_ROOTS: Final = ("inputs", "story", "impulse")


class DedupeMode(StrEnum):
    """How repeated events are recognised."""

    NONE = "none"
    TOKEN = "token"  # noqa: S105 - the word of the contract
    KEY = "key"


class Backoff(StrEnum):
    """How the pause between attempts grows."""

    EXPONENTIAL = "exponential"
    LINEAR = "linear"
    CONSTANT = "constant"


@dataclass(frozen=True)
class Retry:
    """How a failed submission is repeated."""

    attempts: int = 1
    """In total, at least 1."""
    base_seconds: float = DEFAULT_BASE_SECONDS
    max_seconds: float = DEFAULT_MAX_SECONDS
    backoff: Backoff = Backoff.EXPONENTIAL

    def pause_seconds(self, failures: int, chance: float) -> float:
        """The pause after the given number of failures (1, 2, …).

        Args:
            chance: from 0 to 1; 0.5 gives the exact pause, 0 and 1 give 25 % less and more.
        """
        if self.backoff is Backoff.CONSTANT:
            exact = self.base_seconds
        elif self.backoff is Backoff.LINEAR:
            exact = self.base_seconds * failures
        else:
            exact = self.base_seconds * 2.0 ** min(failures - 1, 1000)
        return min(exact, self.max_seconds) * (1 - JITTER + 2 * JITTER * chance)


@dataclass(frozen=True)
class Limits:
    """What the throttle allows; 0 means no limit."""

    in_flight: int = 0
    per_second: int = 0
    burst: int = 0
    """How many submissions may exceed the rate at once; 0 means as many as the rate."""


@dataclass(frozen=True)
class DeliveryPolicy:
    """Everything about the delivery of events that the environment says."""

    mode: DedupeMode | None = None
    """``None``: the environment contains no policy."""
    key_template: TextTemplate | None = None
    """Set if, and only if, the mode is ``key``."""
    token: str = ""
    """The key of calls that give none."""
    retry: Retry = field(default_factory=Retry)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Identity:
    """``spec.deliveryIdentity`` without the hash of the inputs."""

    mode: DedupeMode
    submission_id: str
    key: str = ""

    @property
    def text(self) -> str:
        """The text from which the names of StoryTrigger and StoryRun follow."""
        return self.key or self.submission_id


def load(environ: Mapping[str, str]) -> DeliveryPolicy:
    """The policy in ``environ``.

    Raises:
        TriggerPolicyError: a variable cannot be used; names it.
    """
    read = _Reader(environ)
    mode, template = _dedupe(read)
    base = read.seconds("RETRY_BASE_DELAY", DEFAULT_BASE_SECONDS)
    return DeliveryPolicy(
        mode=mode,
        key_template=template,
        token=environ.get(TOKEN_VARIABLE, "").strip(),
        retry=Retry(
            attempts=max(1, read.count("RETRY_MAX_ATTEMPTS")),
            base_seconds=base,
            max_seconds=read.seconds("RETRY_MAX_DELAY", DEFAULT_MAX_SECONDS),
            backoff=Backoff(read.word("RETRY_BACKOFF", tuple(Backoff)) or Backoff.EXPONENTIAL),
        ),
        limits=Limits(
            in_flight=read.count("THROTTLE_MAX_IN_FLIGHT"),
            per_second=read.count("THROTTLE_RATE_PER_SECOND"),
            burst=read.count("THROTTLE_BURST"),
        ),
    )


def resolve_key(policy: DeliveryPolicy, given: str | None, roots: Mapping[str, Any]) -> str:
    """The key of one request; empty if it has none.

    Args:
        given: the key that the caller gives, if any.
        roots: ``inputs`` as the caller gives them, ``story`` and ``impulse`` with ``name`` and ``namespace``.
    Raises:
        TriggerPolicyError: the mode requires a key and there is none, or the given key differs from the computed one.
    """
    key = (given or "").strip() or policy.token
    if policy.mode is DedupeMode.KEY:
        assert policy.key_template is not None
        computed = _computed(policy.key_template, roots)
        if key and key != computed:
            raise TriggerPolicyError(
                f"the given key differs from the one of {_PREFIX}DEDUPE_KEY_TEMPLATE; with mode key, give none"
            )
        return computed
    if policy.mode is DedupeMode.TOKEN and not key:
        raise TriggerPolicyError(f"mode token needs a key: give one with the call, or set {TOKEN_VARIABLE}")
    if len(key) > submission.MAX_KEY_CHARACTERS:
        raise TriggerPolicyError(
            f"the key has {len(key)} characters; at most {submission.MAX_KEY_CHARACTERS} are allowed"
        )
    return key


def identity_of(policy: DeliveryPolicy, key: str, submission_id: str | None, fresh: str) -> Identity:
    """The identity of one request.

    Args:
        submission_id: of the caller, for requests without a key: a repeated call with the same id is the same request.
        fresh: the id of a request that has neither.
    """
    if key:
        mode = DedupeMode.KEY if policy.mode is DedupeMode.KEY else DedupeMode.TOKEN
        return Identity(mode, submission.submission_id(key), key)
    return Identity(DedupeMode.NONE, submission.submission_id((submission_id or "").strip() or fresh))


def _computed(key_template: TextTemplate, roots: Mapping[str, Any]) -> str:
    try:
        text = key_template.render(roots).strip()
    except TemplateDataError as error:
        raise TriggerPolicyError(f"the key cannot be computed: {error}") from error
    if not text:
        raise TriggerPolicyError(f"the key template {key_template.text!r} gives a blank text")
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _dedupe(read: _Reader) -> tuple[DedupeMode | None, TextTemplate | None]:
    mode, text = read.word("DEDUPE_MODE", tuple(DedupeMode)), read.text("DEDUPE_KEY_TEMPLATE")
    if mode != DedupeMode.KEY:
        if text and not mode:
            raise TriggerPolicyError(f"{_PREFIX}DEDUPE_KEY_TEMPLATE needs {_PREFIX}DEDUPE_MODE=key")
        return (DedupeMode(mode) if mode else None), None
    if not text:
        raise TriggerPolicyError(f"{_PREFIX}DEDUPE_MODE=key needs {_PREFIX}DEDUPE_KEY_TEMPLATE")
    try:
        return DedupeMode.KEY, TextTemplate(text, _ROOTS)
    except TemplateSyntaxError as error:
        raise TriggerPolicyError(f"{_PREFIX}DEDUPE_KEY_TEMPLATE: {error}") from error


class _Reader:
    """Reads variables strictly: a wrong value is an error, because a wrong policy loses or doubles runs."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str) -> str:
        return self._environ.get(f"{_PREFIX}{name}", "").strip()

    def word(self, name: str, words: tuple[str, ...]) -> str:
        word = self.text(name).lower()
        if word and word not in words:
            raise TriggerPolicyError(f"{_PREFIX}{name} is {word!r}; it must be one of {', '.join(words)}")
        return word

    def count(self, name: str) -> int:
        text = self.text(name)
        if text and not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
            raise TriggerPolicyError(f"{_PREFIX}{name} is {text!r}; it must be a whole number, 0 or more")
        return int(text or "0")

    def seconds(self, name: str, default: float) -> float:
        text = self.text(name)
        if not text:
            return default
        try:
            seconds = durations.parse_duration(text).total_seconds()
        except ValueError as error:
            raise TriggerPolicyError(f"{_PREFIX}{name}: {error}") from error
        if seconds < 0:
            raise TriggerPolicyError(f"{_PREFIX}{name} is {text!r}; it must be zero, which is the default, or more")
        return seconds or default
