"""Writes JSON lines to stdout, and keeps the last mebibyte for the store.

Source: SDK contract 12.1 (1), 19. A failure here never changes the outcome of a step.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Final, TextIO

from bubu_contract.references import (
    STORAGE_CONTENT_TYPE,
    STORAGE_REFERENCE,
    STORAGE_SCHEMA,
    STORAGE_SCHEMA_VERSION,
)
from bubu_sdk import redaction, traces
from bubu_sdk.contract import Identity
from bubu_sdk.errors import Object

CAPTURE_BYTES: Final = 1024 * 1024
CONTENT_TYPE: Final = "application/x-ndjson"
USER_LOGGER: Final = "engram"
IMPULSE_LOGGER: Final = "impulse"
SDK_LOGGER: Final = "bubu_sdk"

_SEPARATORS: Final = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}
STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Handler):
    """Writes each record as one JSON line with redacted credentials, and keeps the newest 1 MiB."""

    def __init__(self, identity: Identity | Mapping[str, object], stream: TextIO | None = None) -> None:
        """Write to ``stream``, default stdout. Every line has the names of the step, or the given fields."""
        super().__init__()
        self._stream = stream
        self._common = dict(identity) if isinstance(identity, Mapping) else names_of(identity)
        self._lines: deque[bytes] = deque()
        self._size_bytes = 0
        self._buffer_lock = threading.Lock()

    def add(self, **fields: object) -> None:
        """Every line from now on has these fields, too."""
        self._common = {**self._common, **fields}

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self._line(record)
            self._remember(line.encode(errors="replace"))
            self._write(line)
        except Exception:  # noqa: BLE001 - logging's own edge: a broken record or a closed stdout must not fail the step
            self.handleError(record)

    def _write(self, line: str) -> None:
        stream = self._stream or sys.stdout
        stream.write(line)
        stream.flush()

    def captured(self) -> bytes:
        """The newest lines, at most 1 MiB."""
        with self._buffer_lock:
            return b"".join(self._lines)

    def _line(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": redaction.redact(record.getMessage()),
            **self._common,
        }
        entry |= redaction.hidden({key: value for key, value in vars(record).items() if key not in STANDARD_FIELDS})
        if record.exc_info and record.exc_info[1] is not None:
            entry["stacktrace"] = redaction.redact(traces.of_user_code(record.exc_info[1]))
        return to_line(entry | self._common)  # fields that the program adds do not replace the names of the step

    def _remember(self, line: bytes) -> None:
        with self._buffer_lock:
            self._lines.append(line)
            self._size_bytes += len(line)
            while self._size_bytes > CAPTURE_BYTES:
                self._size_bytes -= len(self._lines.popleft())


def to_line(entry: Mapping[str, object]) -> str:
    """A line of JSON that is one line for those, too, who divide text at all separators that Unicode has."""
    text = json.dumps(entry, ensure_ascii=False)
    return (text if text.isascii() else text.translate(_SEPARATORS)) + "\n"


def names_of(identity: Identity) -> dict[str, object]:
    """The fields of a line that say which step wrote it, and in which trace."""
    names: dict[str, object] = {"storyRun": identity.story_run, "step": identity.step, "stepRun": identity.step_run}
    if identity.trace_id:
        names |= {"trace_id": identity.trace_id, "span_id": identity.span_id}
    return names


class Attached:
    """While entered, sends records of the root logger (or of the loggers of user and SDK) to ``handler``.

    Secrets that become known meanwhile are forgotten at the end; those of a process (``root``) never are, because it
    prints until it ends.
    """

    def __init__(self, handler: JsonLines, *, debug: bool, root: bool) -> None:
        self._handler = handler
        self._level = logging.DEBUG if debug else logging.INFO
        names = (None,) if root else (USER_LOGGER, IMPULSE_LOGGER, SDK_LOGGER)
        self._loggers = [logging.getLogger(name) for name in names]
        self._levels = [logger.level for logger in self._loggers]
        self._secrets = nullcontext() if root else redaction.scope()

    def __enter__(self) -> JsonLines:
        self._secrets.__enter__()
        for logger in self._loggers:
            logger.addHandler(self._handler)
            logger.setLevel(self._level)
        return self._handler

    def __exit__(self, *_: object) -> None:
        self._secrets.__exit__(None, None, None)
        for logger, level in zip(self._loggers, self._levels, strict=True):
            logger.removeHandler(self._handler)
            logger.setLevel(level)


def link(identity: Identity, key: str) -> Object:
    """The reference to the lines that are stored at ``key``."""
    node: Object = {STORAGE_REFERENCE: key, STORAGE_CONTENT_TYPE: CONTENT_TYPE}
    if schema := identity.schema_id("logs"):
        node[STORAGE_SCHEMA] = schema
        if version := identity.engram_version or identity.story_version:
            node[STORAGE_SCHEMA_VERSION] = version
    return node


def object_key(identity: Identity, now: datetime) -> str:
    """``<ns>/logs/<storyRun>/<step>/<stepRun>/<unix nanoseconds>.log``."""
    whole, micros = int(now.timestamp()), now.microsecond
    stamp = whole * 1_000_000_000 + micros * 1_000
    parts = (identity.namespace, "logs", identity.story_run, identity.step, identity.step_run, f"{stamp}.log")
    return "/".join(part for part in parts if part)
