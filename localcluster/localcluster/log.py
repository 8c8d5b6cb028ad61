"""Log records with fields, through the standard library: fast to import; a failed write to the log is ignored.

The fields are in ``record.bobrapet_fields``. A process with its own handler formats them. A process without one calls
``log_to_stderr``.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class LogForm(StrEnum):
    TEXT = "text"
    """For people: one line, with the fields after the message."""
    JSON = "json"
    """For the log of an embedded cluster: one JSON object per line."""


class Logger:
    """Writes events, with names in snake case and with fields."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, event: str, **fields: Any) -> None:
        self._logger.info("%s", event, extra={"bobrapet_fields": fields})

    def warning(self, event: str, **fields: Any) -> None:
        self._logger.warning("%s", event, extra={"bobrapet_fields": fields})

    def exception(self, event: str, **fields: Any) -> None:
        """Write an event with the exception that is being handled."""
        self._logger.error("%s", event, exc_info=True, extra={"bobrapet_fields": fields})


def get_logger(name: str) -> Logger:
    return Logger(name)


def log_to_stderr(form: LogForm) -> None:
    """Write all records of level ``info`` and above to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter() if form is LogForm.JSON else _TextFormatter())
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
    for library in ("httpx", "httpcore"):
        logging.getLogger(library).setLevel(logging.WARNING)


class _TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        return super().formatMessage(record) + "".join(f" {name}={value!r}" for name, value in _fields(record).items())


class _JsonFormatter(logging.Formatter):
    """The operator's own log format, so that both can write to the same file."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"level": record.levelname.lower(), "ts": at, "logger": record.name, "msg": record.getMessage()}
        line |= _fields(record)
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = str(record.exc_info[1]) or type(record.exc_info[1]).__name__
            line["stacktrace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "bobrapet_fields", {})
    return fields
