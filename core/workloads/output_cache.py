"""The output cache: which executions are equal, and the form of an entry. Pure.

Key and entry are those of the reference, byte for byte, so both find the entries of the other, with two additions: the
digest of an image that is pinned by one is part of the key, and so is the content of stored data, by its digest.
Source: StepRun contract 20, SDK contract 8.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from bubu_contract.instants import format_precise_instant, parse_instant_or_none
from bubu_contract.references import STORAGE_PATH, STORAGE_REFERENCE
from core.api.artifact import ARTIFACT, ArtifactError, ArtifactReference, is_artifact
from core.api.canonical import encode
from core.expressions.paths import is_reference

LATEST: Final = "latest"
_SCRIPT: Final = "_script"
"""No Engram has such a name."""
_DIGEST: Final = re.compile(r"\.sha256-([0-9a-f]{64})\.[a-z]{1,8}$")
_IMAGE_DIGEST: Final = re.compile(r"@(sha256:[0-9a-f]{64})$")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._+-]|^\.+$")


class CacheEntryError(ValueError):
    """An object is not a usable entry; the message says why."""


@dataclass(frozen=True, slots=True)
class CacheRules:
    """``cache`` of a step's policy, with its defaults."""

    key: str = ""
    """Template; blank: a hash of the inputs."""
    salt: str = ""
    reads: bool = True
    writes: bool = True
    ttl_seconds: int = 0
    """0: for ever."""
    waits: bool = True
    """Whether a step waits for an equal one that is under way, instead of running beside it."""

    @classmethod
    def of(cls, policy: Mapping[str, Any] | None) -> CacheRules | None:
        """None: the step has no cache."""
        if policy is None or policy.get("enabled") is False:
            return None
        mode = str(policy.get("mode") or "readWrite").strip().lower()
        ttl = policy.get("ttlSeconds")
        return cls(
            key=str(policy.get("key") or ""),
            salt=str(policy.get("salt") or "").strip(),
            reads=mode in ("read", "readwrite"),
            writes=mode in ("write", "readwrite"),
            ttl_seconds=max(ttl, 0) if isinstance(ttl, int) else 0,
            waits=policy.get("inFlight") != "run",
        )

    @property
    def mode(self) -> str:
        """For the annotation ``cache.bubustack.io/mode``."""
        return "readWrite" if self.reads and self.writes else "read" if self.reads else "write"


@dataclass(frozen=True, slots=True)
class CacheSubject:
    """What is executed."""

    namespace: str
    engram: str
    version: str
    """Empty: ``latest``."""
    step_id: str
    image: str = ""
    container: str = ""
    """Digest of what a container without an SDK is called with; a script is in it, too. Empty: it has an SDK."""

    def object_key(self, digest: str) -> str:
        """``cache/<namespace>/<engram>/<version>/<digest>.json``."""
        return f"{self.folder}/{segment_of_version(self.version)}/{digest}.json"

    @property
    def folder(self) -> str:
        """Of all entries of the Engram, and of the objects beside them. A script step has no Engram."""
        return f"cache/{self.namespace}/{self.owner}"

    @property
    def owner(self) -> str:
        return self.engram or _SCRIPT


def segment_of_version(version: str) -> str:
    """The segment of a key for a version of an Engram; empty: ``latest``."""
    return _UNSAFE.sub(lambda found: f"%{ord(found[0][0]):02X}", version) or LATEST


def digest_of_inputs(subject: CacheSubject, rules: CacheRules, inputs: Any) -> str:
    """The key of an execution without a key template: hexadecimal SHA-256.

    Raises:
        NotJsonError: the inputs cannot be written as JSON.
    """
    return _digest(subject, rules, f"step:{subject.step_id}|input:{encode(by_content(inputs))}")


def digest_of_key(subject: CacheSubject, rules: CacheRules, value: Any) -> str:
    """The key of an execution with a key template, from the template's value.

    Raises:
        CacheEntryError: the value is blank.
        NotJsonError: it cannot be written as JSON.
    """
    text = value.strip() if isinstance(value, str) else encode(value)
    if not text:
        raise CacheEntryError("cache.key is blank; let it name what makes two executions equal")
    return _digest(subject, rules, f"key:{text}")


def digest_of_container(template: Mapping[str, Any], call: Mapping[str, Any] | None) -> str:
    """The digest of a template's ``container``, and of what its templates give; None: only of the template.

    Raises:
        NotJsonError: it cannot be written as JSON.
    """
    return hashlib.sha256(encode({"call": call, "template": template}).encode()).hexdigest()


def _digest(subject: CacheSubject, rules: CacheRules, what: str) -> str:
    material = f"engram:{subject.engram}|version:{subject.version or LATEST}|{what}"
    if subject.container:
        material += f"|container:{subject.container}"
    if found := _IMAGE_DIGEST.search(subject.image):
        material += f"|image:{found[1]}"
    if rules.salt:
        material += f"|salt:{rules.salt}"
    return hashlib.sha256(material.encode()).hexdigest()


def by_content(value: Any) -> Any:
    """``value`` with the digest of the content instead of the key of each stored object, which has the name of a run.

    A key without a digest stays as it is. Who fetches a file checks it against the digest of its artifact.
    """
    match value:
        case Mapping() if is_artifact(value):
            return _without_key(value)
        case Mapping() if is_reference(value):
            found = _DIGEST.search(value[STORAGE_REFERENCE])
            if found is None:
                return value
            path = value.get(STORAGE_PATH)
            return {"sha256": found[1]} | ({"path": path} if path else {})
        case Mapping():
            return {key: by_content(child) for key, child in value.items()}
        case list():
            return [by_content(child) for child in value]
        case _:
            return value


def _without_key(artifact: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        ArtifactReference.of(artifact)
    except ArtifactError:
        return artifact
    return {field: value for field, value in artifact.items() if field != ARTIFACT}


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """The output of an execution."""

    output: Any
    created_at: datetime | None
    ttl_seconds: int = 0
    story_run: str = ""
    """Who has executed it; empty: an operator that does not record it."""
    step_run: str = ""

    def is_fresh(self, now: datetime) -> bool:
        if self.ttl_seconds <= 0:
            return True
        return self.created_at is not None and now < self.created_at + timedelta(seconds=self.ttl_seconds)

    def encoded(self) -> bytes:
        """The object.

        Raises:
            NotJsonError: the output cannot be written as JSON.
        """
        fields: dict[str, Any] = {"createdAt": format_precise_instant(self.created_at)} if self.created_at else {}
        if self.ttl_seconds > 0:
            fields["ttlSeconds"] = self.ttl_seconds
        if self.step_run:
            fields["source"] = {"stepRun": self.step_run, "storyRun": self.story_run}
        return encode({**fields, "output": self.output}).encode()


def read_entry(content: bytes) -> CacheEntry:
    """
    Raises:
        CacheEntryError: it is no entry, or it has no output.
    """
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise CacheEntryError("it is not JSON") from None
    if not isinstance(found, Mapping) or not found.get("output"):
        raise CacheEntryError("it has no output")
    ttl, source = found.get("ttlSeconds"), found.get("source")
    source = source if isinstance(source, Mapping) else {}
    return CacheEntry(
        output=found["output"],
        created_at=parse_instant_or_none(found.get("createdAt")),
        ttl_seconds=ttl if isinstance(ttl, int) else 0,
        story_run=str(source.get("storyRun") or ""),
        step_run=str(source.get("stepRun") or ""),
    )
