"""From what a container without an SDK has left behind to the output of its step. Pure.

How the result is read is an annotation of the Job, so a change of the template does not matter to an attempt that was
started before. Source: StepRun contract 25.3.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import orjson

from core.api.objects import ReadOnlyObject
from core.api.phases import ExitClass

MESSAGE_BYTES: Final = 4096
"""The kubelet keeps so much of the end of a termination message and says nothing about the rest."""
LOG_BYTES: Final = 1 << 20
LOG_LINES: Final = 1000
"""At most so much of a log is read, from its end."""
EXIT_CODE_KEY: Final = "exitCode"
TEXT_KEY: Final = "text"
RESULT_KEY: Final = "result"

_CLASSES: Final = {
    "retry": ExitClass.RETRY,
    "terminal": ExitClass.TERMINAL,
    "rateLimited": ExitClass.RATE_LIMITED,
}
EXIT_CODE_FIELDS: Final = tuple(_CLASSES)


class ResultSource(StrEnum):
    """Where the result is."""

    STDOUT = "stdout"
    TERMINATION_MESSAGE = "terminationMessage"
    FILE = "file"
    EXIT_CODE = "exitCode"


class ResultFormat(StrEnum):
    """How it is read."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


class UnusableResultError(ValueError):
    """What the container has left behind is not what its template declares; the message says what to do."""


@dataclass(frozen=True, slots=True)
class ResultReading:
    """How the end of a container is read."""

    source: ResultSource = ResultSource.EXIT_CODE
    format: ResultFormat = ResultFormat.AUTO
    exit_codes: Mapping[int, ExitClass] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: ReadOnlyObject) -> ResultReading:
        """That of the block ``container`` of a template."""
        result, classes = spec.get("result") or {}, spec.get("exitCodes") or {}
        codes = {code: class_ for key, class_ in _CLASSES.items() for code in classes.get(key) or ()}
        return cls(
            ResultSource(result.get("from") or ResultSource.EXIT_CODE),
            ResultFormat(result.get("format") or ResultFormat.AUTO),
            codes,
        )

    def encoded(self) -> str:
        """As one line, for an annotation."""
        codes = {str(code): str(class_) for code, class_ in sorted(self.exit_codes.items())}
        document = {"from": str(self.source), "format": str(self.format), "exitCodes": codes}
        return orjson.dumps(document).decode()

    @classmethod
    def decoded(cls, text: str) -> ResultReading:
        """
        Raises:
            ValueError: the text is not one of ``encoded``.
        """
        document = orjson.loads(text)
        try:
            codes = {int(code): ExitClass(class_) for code, class_ in document["exitCodes"].items()}
            return cls(ResultSource(document["from"]), ResultFormat(document["format"]), codes)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"a part is missing: {error}") from error


def output_of_success() -> dict[str, Any]:
    """The output of ``from: exitCode``: only an attempt that ended with 0 has one."""
    return {EXIT_CODE_KEY: 0}


def output_of_message(reading: ResultReading, message: str) -> dict[str, Any]:
    """
    Raises:
        UnusableResultError.
    """
    is_cut = len(message.encode(errors="replace")) >= MESSAGE_BYTES
    value = _document(message) if reading.format is not ResultFormat.TEXT else None
    if value is None and reading.format is not ResultFormat.TEXT:
        _refuse_no_number(message)
    # The end of a longer text may be a number, too; objects, lists and strings have a beginning.
    if value is not None and not (is_cut and not isinstance(value.value, dict | list | str)):
        return _object(value.value)
    if is_cut:
        raise UnusableResultError(
            f"the result has {MESSAGE_BYTES} bytes or more, and the node keeps only {MESSAGE_BYTES} of it: write less, "
            "or set container.result.from: stdout"
        )
    if reading.format is ResultFormat.JSON:
        what = "is empty" if not message.strip() else "is not JSON"
        raise UnusableResultError(f"the result {what}: write one JSON value, or set container.result.format: text")
    return _text(message)


def output_of_log(reading: ResultReading, log: str, *, is_whole: bool) -> dict[str, Any]:
    """
    Args:
        log: the end of the log, of whole lines.
        is_whole: whether it is all of the log.
    Raises:
        UnusableResultError.
    """
    if reading.format is not ResultFormat.TEXT:
        any_kind = reading.format is ResultFormat.JSON
        value = _document(log) if is_whole else None
        if value is None:
            _refuse_no_number(next(_lines_from_the_end(log), ""))
            value = _last_value(log, any_kind=any_kind)
        if value is not None:
            return _object(value.value)
    if reading.format is ResultFormat.JSON:
        where = "the log" if is_whole else f"the last {LOG_LINES} lines of the log"
        raise UnusableResultError(
            f"{where} has no line that is JSON: print the result as the last line, or set container.result.format: text"
        )
    if not is_whole:
        raise UnusableResultError(
            f"the log is larger than {LOG_LINES} lines or {LOG_BYTES} bytes, too large for an output: print less, or "
            "print a last line of JSON"
        )
    return _text(log)


@dataclass(frozen=True, slots=True)
class _Value:
    """A JSON value, which may be null."""

    value: Any


def _document(text: str) -> _Value | None:
    try:
        return _Value(orjson.loads(text))
    except orjson.JSONDecodeError:
        return None


def _refuse_no_number(text: str) -> None:
    """
    Raises:
        UnusableResultError: the text is an object or a list of JSON except for NaN or an infinity, as ``json.dumps`` of
            Python writes them: a result that must not become a text, or give way to an earlier line, without a word.
    """
    if not text.lstrip().startswith(("{", "[")):
        return
    found: list[str] = []
    try:
        json.loads(text, parse_constant=found.append)
    except (ValueError, RecursionError):
        return
    if found:
        raise UnusableResultError(
            f"the result contains {found[0]}, which is not JSON: write null, a number or a string instead"
        )


def _last_value(log: str, *, any_kind: bool) -> _Value | None:
    """The last line that is JSON; unless ``any_kind``, an object or a list, because a number may be part of a text."""
    for line in _lines_from_the_end(log):
        found = _document(line) if any_kind or line.lstrip().startswith(("{", "[")) else None
        if found is not None:
            return found
    return None


def _lines_from_the_end(log: str) -> Iterator[str]:
    return (line for line in reversed(log.split("\n")) if line.strip())


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {RESULT_KEY: value}


def _text(text: str) -> dict[str, Any]:
    """Without the line ends at the end, as a shell's ``$(…)``."""
    return {TEXT_KEY: text.rstrip("\r\n")}
