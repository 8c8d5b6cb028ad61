"""Structured logs: one JSON line (or one coloured line) per record on standard error, without secrets.

``get_logger`` costs nothing at import: records go through the standard library, and structlog, which is slow to load,
is imported only by ``configure_logging``. Records of libraries are written in the same form.
Source: operator contract 10.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TextIO

REDACTED: Final = "[redacted]"

_ROOT: Final = "bobrapet"
_SECRET_WORDS: Final = (
    "token",
    "secret",
    "password",
    "passwd",
    "authorization",
    "credential",
    "privatekey",
    "apikey",
    "cookie",
    *("passphrase", "accesskey", "accountkey", "sessionkey", "signingkey", "encryptionkey", "decryptionkey", "sshkey"),
    *("masterkey", "sharedkey", "connectionstring", "webhookurl", "sasurl", "jwt", "bearer"),
)
_LAST_WORD: Final = re.compile(
    r"(?:^|[^A-Za-z])(?:pass|pwd|auth|otp|totp|sas|dsn)$|(?-i:[a-z0-9](?:Pass|Pwd|Auth|Otp|Totp|Sas|Dsn)$)",
    re.IGNORECASE,
)
"""Words that only name a secret at the end of a name: ``DB_PASS``, but not ``bypass`` and ``auth_mode``."""
_NAMES_OF_SECRETS: Final = frozenset({"secretname", "secretref", "tokenpath", "tokenfile"})
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_NOISY_LIBRARIES: Final = ("httpx", "httpcore", "hypercorn.access")
_DEEPEST: Final = 6

TraceOf = Callable[[str, str], Mapping[str, str]]
"""Returns ``trace_id`` and ``span_id`` of a run (``namespace/name``), or of its step of a path; empty: not traced."""


def no_trace(_: str, __: str) -> Mapping[str, str]:
    """No run is traced."""
    return {}


_trace_of: ContextVar[TraceOf] = ContextVar("ids of the trace of a run", default=no_trace)
_bound: ContextVar[Mapping[str, Any]] = ContextVar("bobrapet_log_fields", default={})  # noqa: B039 - never mutated, only replaced


class LogFormat(StrEnum):
    JSON = "json"
    CONSOLE = "console"


class Logger:
    """A named logger with fields; ``bind`` returns one with more fields."""

    __slots__ = ("_fields", "_logger", "name")

    def __init__(self, name: str, fields: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self._logger = logging.getLogger(f"{_ROOT}.{name}")
        self._fields = dict(fields or {})

    def bind(self, **fields: Any) -> Logger:
        return Logger(self.name, {**self._fields, **fields})

    def is_enabled_for(self, level: int) -> bool:
        return self._logger.isEnabledFor(level)

    def debug(self, message: str, **fields: Any) -> None:
        self.write(logging.DEBUG, message, fields)

    def info(self, message: str, **fields: Any) -> None:
        self.write(logging.INFO, message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        self.write(logging.WARNING, message, fields)

    def error(self, message: str, *, error: BaseException | None = None, **fields: Any) -> None:
        """An error record; with ``error``, also its text and its stack trace."""
        self.write(logging.ERROR, message, fields, error)

    def write(self, level: int, message: str, fields: Mapping[str, Any], error: BaseException | None = None) -> None:
        if self._logger.isEnabledFor(level):
            shown = {**_bound.get(), **self._fields, **fields}
            if "run" in shown and "trace_id" not in shown:
                shown |= _trace_of.get()(str(shown["run"]), str(shown.get("step") or ""))
            self._logger.log(level, "%s", message, exc_info=error, extra={"bobrapet_fields": shown})


def get_logger(name: str) -> Logger:
    """The logger with the name ``name``; use one of the logger names of the contract where one fits."""
    return Logger(name)


@contextmanager
def log_fields(**fields: Any) -> Iterator[None]:
    """Add ``fields`` to every record of this task, and of tasks that it starts inside the block."""
    before = _bound.get()
    token = _bound.set({**before, **fields})
    try:
        yield
    finally:
        _bound.reset(token)


@contextmanager
def log_traces(trace_of: TraceOf) -> Iterator[None]:
    """Add the ids of its trace to every record with ``run``, of this task and of tasks that it starts inside."""
    token = _trace_of.set(trace_of)
    try:
        yield
    finally:
        _trace_of.reset(token)


def configure_logging(
    log_format: LogFormat = LogFormat.JSON, *, level: str = "info", stream: TextIO | None = None
) -> None:
    """Send all records of ``level`` and above to ``stream`` (standard error); may be called again to change the format.

    Raises:
        ValueError: ``level`` is not a level name.
    """
    number = _level_number(level)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_formatter(log_format, colours=(stream or sys.stderr).isatty()))
    root = logging.getLogger()
    for old in [known for known in root.handlers if getattr(known, "bobrapet_owned", False)]:
        root.removeHandler(old)
        old.close()
    handler.bobrapet_owned = True  # type: ignore[attr-defined]  # a mark of ours on a standard handler
    root.addHandler(handler)
    root.setLevel(max(number, logging.INFO))
    logging.getLogger(_ROOT).setLevel(number)
    for name in _NOISY_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


def set_level(level: str) -> None:
    """Change the level of our own records while the process runs; the one live knob."""
    logging.getLogger(_ROOT).setLevel(_level_number(level))


def redact(value: Any, *, depth: int = 0) -> Any:
    """``value`` with everything blanked that sits under a secret-sounding key or reads like a bearer token."""
    if isinstance(value, str):
        return _BEARER.sub(rf"\1 {REDACTED}", value)
    if depth >= _DEEPEST:
        return value if isinstance(value, (int, float, bool, type(None))) else REDACTED
    if isinstance(value, Mapping):
        return {
            key: REDACTED if is_secret_key(str(key)) and item else redact(item, depth=depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact(item, depth=depth + 1) for item in value]
    return value


def is_secret_key(key: str) -> bool:
    """Whether a value under this key is taken for a secret."""
    plain = key.lower().replace("-", "").replace("_", "")
    if plain in _NAMES_OF_SECRETS:
        return False
    return any(word in plain for word in _SECRET_WORDS) or bool(_LAST_WORD.search(key))


def _level_number(level: str) -> int:
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"log level {level!r} is unknown; use debug, info, warning or error")
    return number


def _formatter(log_format: LogFormat, *, colours: bool) -> logging.Formatter:
    import structlog

    chain: list[Any] = [_fields_of_record, structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if log_format is LogFormat.CONSOLE:
        console = structlog.dev.ConsoleRenderer(colors=colours, event_key="msg", timestamp_key="ts")
        chain += [_printable_fields, console]
    else:
        chain += [_error_as_fields, structlog.processors.JSONRenderer(serializer=_json_line)]
    return structlog.stdlib.ProcessorFormatter(processors=chain, foreign_pre_chain=[])


def _fields_of_record(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    record: logging.LogRecord = event["_record"]
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    name = record.name.removeprefix(f"{_ROOT}.")
    result: dict[str, Any] = {"level": record.levelname.lower(), "ts": at, "logger": name}
    result["msg"] = redact(str(event["event"]))
    for key, value in redact(getattr(record, "bobrapet_fields", {})).items():
        result.setdefault(key, value)
    exc_info = event.get("exc_info") or record.exc_info
    if exc_info and exc_info[1] is not None:
        result["exc_info"] = exc_info
    result["_record"], result["_from_structlog"] = record, False
    return result


def _printable_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """With escapes for what a terminal would obey: names and messages come from objects of users."""
    if exc_info := event.pop("exc_info", None):
        lines = logging.Formatter().formatException(exc_info).split("\n")
        event["exception"] = "\n".join(map(_printable, lines))
    return {key: _printable(value) if key != "exception" else value for key, value in event.items()}


def _printable(value: Any) -> Any:
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in value)


def _error_as_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if exc_info := event.pop("exc_info", None):
        event["error"] = redact(str(exc_info[1]) or type(exc_info[1]).__name__)
        event["stacktrace"] = redact(logging.Formatter().formatException(exc_info))
    return event


def _json_line(event: Mapping[str, Any], **_: Any) -> str:
    import orjson

    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
