"""Composed names, label values and keys that identify work across restarts.

Byte-exact with the contract, except that sanitizing keeps only ``[a-z0-9]`` (the reference keeps any Unicode letter and
then builds names that the API server refuses). Source: StoryRun contract 1.1 and 1.2, StepRun contract 2.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

MAX_NAME_LENGTH: Final = 63
MAX_IDEMPOTENCY_KEY_BYTES: Final = 256
RUNNER_SUFFIX: Final = "engram-runner"
POD_SUFFIX_LENGTH: Final = 5
"""Number of random characters at the end of the names of a Job's Pods."""

_NAMELESS = "resource"
_NAME_PREFIX_LENGTH = 50
_NAME_DIGEST_LENGTH = 12
_LABEL_PREFIX_LENGTH = 52
_LABEL_DIGEST_LENGTH = 10
_OTHER_CHARACTERS = re.compile(r"[^a-z0-9]+")
_ALIAS_CHARACTERS = re.compile(r"[^A-Za-z0-9_]")


def compose(*parts: str) -> str:
    """The DNS-1123 name of an object that belongs to ``parts``, e.g. run and step; at most 63 characters.

    >>> compose("demo-run", "fetch")
    'demo-run-fetch'
    """
    joined = "-".join(clean for part in parts if (clean := _sanitize(part))) or _NAMELESS
    if len(joined) <= MAX_NAME_LENGTH:
        return joined
    digest = hashlib.sha256(b"".join(part.encode() + b"\0" for part in parts)).hexdigest()[:_NAME_DIGEST_LENGTH]
    return f"{joined[:_NAME_PREFIX_LENGTH].removesuffix('-')}-{digest}"


def compose_with_suffix(base: str, suffix: str) -> str:
    """Like ``compose`` for two parts, but the suffix is never cut."""
    base, suffix = _sanitize(base) or _NAMELESS, _sanitize(suffix) or _NAMELESS
    joined = f"{base}-{suffix}"
    if len(joined) <= MAX_NAME_LENGTH:
        return joined
    digest = hashlib.sha256(f"{base}\0{suffix}\0".encode()).hexdigest()[:_NAME_DIGEST_LENGTH]
    room = MAX_NAME_LENGTH - len(suffix) - 1 - _NAME_DIGEST_LENGTH - 1
    return f"{base[:room].removesuffix('-')}-{digest}-{suffix}"


def label_value(text: str) -> str:
    """A valid label value for ``text``; at most 63 characters."""
    clean = _sanitize(text) or _NAMELESS
    if len(clean) <= MAX_NAME_LENGTH:
        return clean
    digest = hashlib.sha256(clean.encode()).hexdigest()[:_LABEL_DIGEST_LENGTH]
    return f"{clean[:_LABEL_PREFIX_LENGTH].strip('-_.')}-{digest}"


def runner_name(story_run: str) -> str:
    """The name of the ServiceAccount, Role and RoleBinding of a run's containers."""
    return compose_with_suffix(story_run, RUNNER_SUFFIX)


def is_pod_name(pod: str, job: str) -> bool:
    """Whether the Job controller can have created a Pod of that name for the Job.

    The API server cuts the prefix so that name and suffix fit into a DNS label; so of two Jobs with the same first 58
    characters, either can have created the Pod.

    >>> is_pod_name("demo-run-fetch-x7k2p", "demo-run-fetch")
    True
    """
    prefix = f"{job}-"[: MAX_NAME_LENGTH - POD_SUFFIX_LENGTH]
    return len(pod) == len(prefix) + POD_SUFFIX_LENGTH and pod.startswith(prefix)


def idempotency_key(namespace: str, story_run: str, step: str) -> str:
    """The automatic key of a step: stable across retries and redrives, at most 256 bytes."""
    key = f"storyrun/{story_run}/step/{step}"
    if namespace:
        key = f"ns/{namespace}/{key}"
    if len(key.encode()) <= MAX_IDEMPOTENCY_KEY_BYTES:
        return key
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def step_alias(name: str) -> str:
    """A step name for templates: every character outside ``[A-Za-z0-9_]`` becomes ``_``."""
    return _ALIAS_CHARACTERS.sub("_", name)


def _sanitize(text: str) -> str:
    return _OTHER_CHARACTERS.sub("-", text.strip().lower()).strip("-")
