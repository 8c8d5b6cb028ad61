"""A packet as people may see it: one line of JSON, without secrets, and never longer than a screen can show. Pure.

What it costs is bounded, however large the packet is: at most 64 KiB of JSON are read, and 2,000 of its values.
Source: streaming contract 5.5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from bubu_contract.instants import format_precise_instant
from bubu_wire.errors import MessageError
from bubu_wire.inspection import PACKET_MIME, Inspected
from core.telemetry.logs import REDACTED, is_secret_key, redact
from hub.envelope import MESSAGE_ID, PacketReading

MAX_SHOWN_BYTES: Final = 4 * 1024
"""Of payload and inputs, each."""
MAX_READ_BYTES: Final = 64 * 1024
"""Of larger JSON, only the size is shown."""
MAX_VALUES: Final = 2_000
_MOST_NAMES: Final = 1_000
"""Names for which it is remembered whether they look like secrets."""
_MAX_METADATA_BYTES: Final = 8 * 1024
_MAX_TEXT: Final = MAX_SHOWN_BYTES
_DEEPEST: Final = 32
_KIND: Final = "bubu.envelope.kind"


class HiddenFields:
    """Fields that are shown to nobody, as ``recording.redactFields`` names them, beside those that look like secrets.

    A bare name means that field wherever it is; ``payload.user.email`` or ``user.email`` means a path. Lists are no
    part of a path, ``*`` is any name.
    """

    def __init__(self, fields: Iterable[str] = ()) -> None:
        self._names: set[str] = set()
        self._paths: dict[str, list[tuple[str, ...]]] = {}
        """By the last name."""
        for path in (tuple(_parts(each)) for each in fields):
            if len(path) == 1:
                self._names.add(path[0])
            else:
                self._paths.setdefault(path[-1], []).append(path)
        self._secret: dict[str, bool] = {}

    def hide(self, path: Sequence[str]) -> bool:
        """Whether the value at ``path``, which begins with payload, inputs or metadata, is hidden."""
        name = path[-1]
        if name in self._names or self._is_secret(name):
            return True
        paths = (*self._paths.get(name, ()), *self._paths.get("*", ())) if self._paths else ()
        return any(_fits(each, path) or _fits(each, path[1:]) for each in paths)

    def _is_secret(self, name: str) -> bool:
        if (known := self._secret.get(name)) is None:
            if len(self._secret) >= _MOST_NAMES:
                self._secret.clear()
            known = self._secret[name] = is_secret_key(name)
        return known


def sample_of(
    direction: str,
    others: Sequence[str],
    packet: Inspected,
    content: Mapping[str, Any] | None,
    now: datetime,
    hidden: HiddenFields,
) -> bytes:
    """One line of JSON, without its end.

    Args:
        others: the steps at the other end.
        content: the JSON of the frame, if somebody has read it already.
    """
    line: dict[str, Any] = {"at": format_precise_instant(now), "direction": direction, "steps": list(others)}
    try:
        line |= _said(packet, content, hidden)
    except (MessageError, UnicodeDecodeError, RecursionError) as error:
        line["unreadable"] = str(error)[:200]
    line["bytes"] = len(packet.body)
    return orjson.dumps(line, option=orjson.OPT_NON_STR_KEYS)


def _said(packet: Inspected, content: Mapping[str, Any] | None, hidden: HiddenFields) -> dict[str, Any]:
    found: dict[str, Any] = {}
    is_large = packet.document is not None and len(packet.document) > MAX_READ_BYTES
    reading = PacketReading(packet, {} if is_large else content)
    metadata = reading.metadata
    document: Mapping[str, Any] = {} if is_large else reading.content
    found["id"] = str(document.get("messageId") or metadata.get(MESSAGE_ID, ""))
    found["kind"] = str(document.get("kind") or metadata.get(_KIND, ""))
    if packet.partition:
        found["partition"] = packet.partition
    found["metadata"] = _metadata(metadata, hidden)
    frame = reading.frame
    if frame is not None and frame.media != PACKET_MIME:
        found["frame"] = {"kind": frame.kind, "media": frame.media, "bytes": frame.size}
    if is_large or (packet.document is None and reading.struct_bytes > MAX_READ_BYTES // 4):
        found["payloadCut"] = len(packet.document or b"") or reading.struct_bytes
        return found
    for name in ("payload", "inputs"):
        value = document.get(name)
        if value is None:
            value = (reading.payload if name == "payload" else reading.inputs) or None
        if value is not None:
            found |= _part(name, value, hidden)
    return found


def _part(name: str, value: Any, hidden: HiddenFields) -> dict[str, Any]:
    """A value under its name, or the beginning of its text, with the number of bytes that are missing."""
    copier = _Copier(hidden)
    shown = copier.copied(value, (name,))
    text = orjson.dumps(shown)
    if not copier.has_cut and len(text) <= MAX_SHOWN_BYTES:
        return {name: shown}
    whole = len(orjson.dumps(value))
    beginning = text[:MAX_SHOWN_BYTES].decode(errors="ignore")
    return {f"{name}Text": beginning, f"{name}Cut": max(whole - len(beginning.encode()), 1)}


def _metadata(metadata: Mapping[str, str], hidden: HiddenFields) -> dict[str, str]:
    found: dict[str, str] = {}
    left = _MAX_METADATA_BYTES
    for name, text in metadata.items():
        left -= len(name) + len(text)
        if left < 0:
            found["…"] = f"{len(metadata) - len(found)} more"
            break
        found[name] = REDACTED if text and hidden.hide(("metadata", name)) else str(redact(text))
    return found


class _Copier:
    """Copies a value without what is hidden, up to a number of values."""

    def __init__(self, hidden: HiddenFields) -> None:
        self.has_cut = False
        self._hidden = hidden
        self._left = MAX_VALUES

    def copied(self, value: Any, path: tuple[str, ...]) -> Any:
        self._left -= 1
        if isinstance(value, str):
            if len(value) > _MAX_TEXT:
                self.has_cut = True
            return redact(value[:_MAX_TEXT])
        if not isinstance(value, (Mapping, list)):
            return value
        if len(path) > _DEEPEST or self._left <= 0:
            self.has_cut = True
            return "…"
        if isinstance(value, Mapping):
            return self._object(value, path)
        found = []
        for item in value:
            if self._left <= 0:
                self.has_cut = True
                break
            found.append(self.copied(item, path))
        return found

    def _object(self, value: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, item in value.items():
            if self._left <= 0:
                self.has_cut = True
                break
            inner = (*path, str(name))
            found[name] = REDACTED if self._hidden.hide(inner) and item not in (None, "") else self.copied(item, inner)
        return found


def _parts(field: str) -> list[str]:
    plain = field.strip().removeprefix("$.").replace("/", ".").strip(".")
    return [part.partition("[")[0] for part in plain.split(".") if part.partition("[")[0]] or [plain]


def _fits(pattern: Sequence[str], path: Sequence[str]) -> bool:
    return len(pattern) == len(path) and all(wanted in ("*", name) for wanted, name in zip(pattern, path, strict=True))
