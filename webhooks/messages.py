"""Findings as text for users of the API server: in a Status, and as warnings. Pure.

kubectl shows the causes of a 422, field by field, and leaves out the message; other clients show the message and not
the causes. So both have every finding, within bounds. Warnings are sent in HTTP headers: the API server cuts each
header at 256 characters and drops everything beyond 4096 in total. Warnings are shortened here, so that they keep their
meaning.
Source: admission contract 1.4; Kubernetes documentation, dynamic admission control, response.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from core.api.resource import Resource
from webhooks.finding import Finding

MAX_WARNING_BYTES: Final = 256
MAX_WARNINGS_BYTES: Final = 3_584
"""Total size of the warnings; other webhooks and the API server itself may add some."""
MAX_CAUSE_CHARACTERS: Final = 2_000
MAX_MESSAGE_CHARACTERS: Final = 8_000
MAX_CAUSES: Final = 500

_WHOLE: Final = "spec"
"""The field that stands for the object as a whole; clients that list causes show a field."""
_ELLIPSIS: Final = "…"
_SHORTEST_PATH: Final = 60


def message(resource: Resource, name: str, errors: Sequence[Finding]) -> str:
    """``Story.bubustack.io "x" is invalid: spec.steps[0]: …``; several errors have one line each."""
    begin = f'{resource.kind}.{resource.group} "{name}" is invalid:'
    if len(errors) == 1:
        return _cut(f"{begin} {_line(errors[0])}", MAX_MESSAGE_CHARACTERS)
    lines, room = [begin], MAX_MESSAGE_CHARACTERS
    for shown, error in enumerate(errors):
        line = f"* {_line(error)}"
        room -= len(line) + 1
        if room < 0:
            lines.append(f"* and {len(errors) - shown} more")
            break
        lines.append(line)
    return "\n".join(lines)


def causes(errors: Sequence[Finding]) -> list[dict[str, str]]:
    """The causes, for programs and for kubectl: reason, message with its remedy, field."""
    return [
        {"reason": error.rule.cause.value, "message": _explained(error), "field": error.path or _WHOLE}
        for error in errors[:MAX_CAUSES]
    ]


def warnings(findings: Sequence[Finding]) -> list[str]:
    """One line for each warning; if some are left out, the last line counts them."""
    lines: list[str] = []
    room = MAX_WARNINGS_BYTES
    for finding in findings:
        line = _short(finding)
        room -= len(line.encode())
        if room < MAX_WARNING_BYTES and len(lines) + 1 < len(findings):
            return [*lines, f"and {len(findings) - len(lines)} more warnings; `bobrapet lint FILE` shows all"]
        lines.append(line)
    return lines


def _line(error: Finding) -> str:
    return f"{error.path or _WHOLE}: {_explained(error)}"


def _explained(error: Finding) -> str:
    text = f"{error.message} ({error.remedy})" if error.remedy else error.message
    return _cut(f"{text}\n{error.excerpt}" if error.excerpt else text, MAX_CAUSE_CHARACTERS)


def _short(finding: Finding) -> str:
    """The whole finding; if it is too long, without its remedy, or with only the beginning of its message."""
    path, text = _one_line(finding.path), _one_line(finding.message)
    for line in (f"{path}: {text} ({_one_line(finding.remedy)})", f"{path}: {text}"):
        if path and finding.remedy and len(line.encode()) <= MAX_WARNING_BYTES:
            return line
    if len(path.encode()) > _SHORTEST_PATH and len(f"{path}: {text}".encode()) > MAX_WARNING_BYTES:
        room = max(_SHORTEST_PATH, MAX_WARNING_BYTES - len(text.encode()) - 2)
        path = _ELLIPSIS + _end(path, room - len(_ELLIPSIS.encode()))
    return _begin(f"{path}: {text}" if path else text, MAX_WARNING_BYTES)


def _one_line(text: str) -> str:
    """The text without characters that a header cannot have."""
    return "".join(character if character.isprintable() else " " for character in text)


def _begin(text: str, size: int) -> str:
    encoded = text.encode()
    if len(encoded) <= size:
        return text
    return encoded[: size - len(_ELLIPSIS.encode())].decode(errors="ignore") + _ELLIPSIS


def _end(text: str, size: int) -> str:
    encoded = text.encode()
    return encoded[max(0, len(encoded) - size) :].decode(errors="ignore")


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + _ELLIPSIS
