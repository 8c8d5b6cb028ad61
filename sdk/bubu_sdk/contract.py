"""The environment variables with which the operator configures a batch container.

There are two steps, so that a malformed environment can still be reported: ``Identity`` never fails, ``Environment``
can fail. Source: SDK contract 10, 11.1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from bubu_contract import durations, instants
from bubu_sdk.errors import ContextError, Object

DEFAULT_STEP_TIMEOUT_SECONDS: Final = 1800.0
"""Applies only without ``BUBU_STEP_TIMEOUT``; the operator always sets it."""
DEFAULT_GRACE_SECONDS: Final = 20.0
DEFAULT_OPERATION_TIMEOUT_SECONDS: Final = 30.0
DEFAULT_PATCH_RETRIES: Final = 5
DEFAULT_INLINE_BYTES: Final = 1024
DEFAULT_RECURSION_DEPTH: Final = 10
DEFAULT_STORAGE_TIMEOUT_SECONDS: Final = 300.0

TRUE_WORDS: Final = frozenset({"1", "true", "t", "yes", "y", "on"})
_SECRET, _CONFIG = "BUBU_SECRET_", "BUBU_CONFIG_"
_TRACE_PARENT: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")
"""Source: W3C Trace Context 3.2."""


@dataclass(frozen=True)
class Identity:
    """The identity of this container. An empty string means that the environment does not contain it."""

    story: str = ""
    story_version: str = ""
    story_run: str = ""
    step: str = ""
    step_run: str = ""
    namespace: str = ""
    engram: str = ""
    engram_version: str = ""
    pod: str = ""
    trace_id: str = ""
    """32 hexadecimal digits; empty: the attempt is in no trace."""
    span_id: str = ""
    """The span of the attempt, 16 hexadecimal digits."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Identity:
        """The identity in ``environ``; never fails."""
        trace = _TRACE_PARENT.fullmatch(environ.get("TRACEPARENT", "").strip())
        return cls(
            story=environ.get("BUBU_STORY_NAME", ""),
            story_version=environ.get("BUBU_STORY_VERSION", ""),
            story_run=environ.get("BUBU_STORYRUN_ID", ""),
            step=environ.get("BUBU_STEP_NAME", ""),
            step_run=environ.get("BUBU_STEPRUN_NAME", ""),
            namespace=environ.get("BUBU_STEPRUN_NAMESPACE", "") or environ.get("BUBU_POD_NAMESPACE", ""),
            engram=environ.get("BUBU_ENGRAM_NAME", ""),
            engram_version=environ.get("BUBU_ENGRAM_VERSION", ""),
            pod=environ.get("BUBU_POD_NAME", ""),
            trace_id=trace[1] if trace else "",
            span_id=trace[2] if trace else "",
        )

    @property
    def idempotency_key(self) -> str:
        """The same in all attempts; pass it to the services that the step calls."""
        tail = f"storyrun/{self.story_run}/steprun/{self.step_run}"
        return f"ns/{self.namespace}/{tail}" if self.namespace else tail

    def schema_id(self, what: str) -> str:
        """The ``$bubuStorageSchema`` of this step's ``output`` or ``logs``; empty if a necessary name is missing."""
        if self.namespace and self.engram:
            return f"bubu://engram/{self.namespace}/{self.engram}/{what}"
        if self.story and self.step:
            story = f"{self.namespace}/{self.story}" if self.namespace else self.story
            return f"bubu://story/{story}/steps/{self.step}/{what}"
        return ""


@dataclass(frozen=True)
class Environment:
    """The whole environment, parsed and checked."""

    identity: Identity
    started_at: datetime
    trigger_data: Object
    step_config: Object
    """``BUBU_STEP_CONFIG``, overridden by each ``BUBU_CONFIG_<key>``."""
    template_context: Object
    transports: tuple[Object, ...]
    secret_descriptors: Mapping[str, str]
    step_timeout_seconds: float
    grace_seconds: float
    """The time that user code has to react to a cancellation."""
    operation_timeout_seconds: float
    """The time limit of one status update, including its retries."""
    patch_retries: int
    max_inline_bytes: int
    max_depth: int
    storage_timeout_seconds: float
    skip_input_templating: bool
    skip_schema_validation: bool
    """The operator checks inputs and outputs itself, so the container need not look for the schemas."""
    strict_unmarshal: bool
    hybrid_bridge: bool
    debug: bool
    warnings: tuple[str, ...] = field(default=())
    """Warnings for the log: which values were ignored, and why."""


class _Reader:
    """Reads settings as leniently as the contract says: an invalid number is a warning, not an error."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.warnings: list[str] = []

    def text(self, name: str) -> str:
        return self._environ.get(name, "").strip()

    def truthy(self, name: str, *extra: str) -> bool:
        return self.text(name).lower() in TRUE_WORDS.union(extra)

    def seconds(self, name: str, default: float) -> float:
        text = self.text(name)
        if not text:
            return default
        try:
            seconds = durations.parse_duration(text).total_seconds()
        except ValueError as error:
            self.warnings.append(f"{name} ignored: {error}")
            return default
        if seconds <= 0:
            self.warnings.append(f"{name} ignored: {text!r} is not greater than zero")
            return default
        return seconds

    def integer(self, name: str, default: int, least: int) -> int:
        text = self.text(name)
        if not text:
            return default
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            self.warnings.append(f"{name} ignored: {text!r} is not an integer of at least {least}")
            return default
        return number

    def object(self, name: str) -> Object:
        """A JSON object; a blank value and ``null`` are the empty object.

        Raises:
            ContextError: not JSON, or not an object; names the variable.
        """
        value = self._json(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ContextError(f"{name} must be a JSON object, not {type(value).__name__}")
        return value

    def transports(self) -> tuple[Object, ...]:
        """``BUBU_TRANSPORTS``, checked.

        Raises:
            ContextError: an entry is malformed; names ``BUBU_TRANSPORTS[i]``.
        """
        value = self._json("BUBU_TRANSPORTS")
        if value is None:
            return ()
        if not isinstance(value, list):
            raise ContextError(f"BUBU_TRANSPORTS must be a JSON array, not {type(value).__name__}")
        seen: set[str] = set()
        return tuple(_transport(item, index, seen) for index, item in enumerate(value))

    def _json(self, name: str) -> Any:
        text = self.text(name)
        if not text:
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ContextError(f"{name} is not valid JSON: {error}") from error


def load(environ: Mapping[str, str], *, now: datetime, streams: bool = False) -> Environment:
    """The checked environment of a batch container, or of one whose program streams.

    Raises:
        ContextError: a JSON variable is malformed, the execution mode is another, or the inline limit is invalid.
    """
    read = _Reader(environ)
    _check_mode(read.text("BUBU_EXECUTION_MODE").lower(), streams=streams)
    trigger_data, config = read.object("BUBU_TRIGGER_DATA"), read.object("BUBU_STEP_CONFIG")
    template_context, transports = read.object("BUBU_TEMPLATE_CONTEXT"), read.transports()
    config |= {name.removeprefix(_CONFIG): value for name, value in environ.items() if name.startswith(_CONFIG)}
    config.pop("HYDRATION_MAX_DEPTH", None)
    config.pop("HYDRATION_MAX_NODES", None)
    return Environment(
        identity=Identity.of(environ),
        started_at=_started_at(read, now),
        trigger_data=trigger_data,
        step_config=config,
        template_context=template_context,
        transports=transports,
        secret_descriptors=_secret_descriptors(environ),
        step_timeout_seconds=read.seconds("BUBU_STEP_TIMEOUT", DEFAULT_STEP_TIMEOUT_SECONDS),
        grace_seconds=read.seconds("BUBU_GRPC_GRACEFUL_SHUTDOWN_TIMEOUT", DEFAULT_GRACE_SECONDS),
        operation_timeout_seconds=read.seconds("BUBU_K8S_OPERATION_TIMEOUT", DEFAULT_OPERATION_TIMEOUT_SECONDS),
        patch_retries=_patch_retries(read.text("BUBU_K8S_PATCH_MAX_RETRIES")),
        max_inline_bytes=_inline_bytes(read.text("BUBU_MAX_INLINE_SIZE")),
        max_depth=read.integer("BUBU_MAX_RECURSION_DEPTH", DEFAULT_RECURSION_DEPTH, least=1),
        storage_timeout_seconds=read.seconds("BUBU_STORAGE_TIMEOUT", DEFAULT_STORAGE_TIMEOUT_SECONDS),
        skip_input_templating=read.truthy("BUBU_SKIP_INPUT_TEMPLATING"),
        skip_schema_validation=read.truthy("BUBU_SKIP_SCHEMA_VALIDATION"),
        strict_unmarshal=read.truthy("BUBU_RUNTIME_STRICT_UNMARSHAL"),
        hybrid_bridge=read.truthy("BUBU_HYBRID_BRIDGE") and bool(read.text("BUBU_TRANSPORT_BINDING")),
        debug=read.truthy("BUBU_DEBUG", "debug"),
        warnings=tuple(read.warnings),
    )


def _check_mode(mode: str, *, streams: bool) -> None:
    if streams:
        if mode in ("batch", "job"):
            raise ContextError(
                f"BUBU_EXECUTION_MODE is {mode!r}, but this program is a streaming engram; "
                "set the Engram's mode to 'deployment', or use an image whose program is a batch engram"
            )
        return
    if mode not in ("", "batch", "job", "hybrid"):
        raise ContextError(
            f"BUBU_EXECUTION_MODE is {mode!r}, but this program is a batch engram; "
            "set the Engram's mode to 'job', or use an image whose program streams"
        )


def _started_at(read: _Reader, now: datetime) -> datetime:
    text = read.text("BUBU_STARTED_AT")
    try:
        return instants.parse_instant(text) if text else now
    except ValueError as error:
        read.warnings.append(f"BUBU_STARTED_AT ignored: {error}")
        return now


def _secret_descriptors(environ: Mapping[str, str]) -> dict[str, str]:
    names = {name.removeprefix(_SECRET): value for name, value in environ.items() if name.startswith(_SECRET)}
    return {name: names[name] for name in sorted(names) if name and not name.endswith("_NAME") and "__" not in name}


def _patch_retries(text: str) -> int:
    try:
        return max(0, int(text))
    except ValueError:
        return DEFAULT_PATCH_RETRIES


def _inline_bytes(text: str) -> int:
    if not text:
        return DEFAULT_INLINE_BYTES
    try:
        limit = int(text)
    except ValueError:
        limit = -1
    if limit < 0:
        raise ContextError(f"BUBU_MAX_INLINE_SIZE is {text!r}; it must be a whole number of bytes, 0 or more")
    return limit


def _transport(item: Any, index: int, seen: set[str]) -> Object:
    where = f"BUBU_TRANSPORTS[{index}]"
    if not isinstance(item, dict):
        raise ContextError(f"{where} must be an object")
    name, kind = str(item.get("name") or "").strip(), str(item.get("kind") or "").strip()
    mode = str(item.get("mode") or "hot").strip()
    if not name or not kind:
        raise ContextError(f"{where} needs a name and a kind")
    if name in seen:
        raise ContextError(f"{where}: the name {name!r} is used twice")
    if mode not in ("hot", "fallback"):
        raise ContextError(f"{where}: mode {mode!r} is neither 'hot' nor 'fallback'")
    seen.add(name)
    typed = item.get("typedConfig") or item.get("typed_config")
    return {**item, "name": name, "kind": kind, "mode": mode, "typedConfig": typed or {}}
