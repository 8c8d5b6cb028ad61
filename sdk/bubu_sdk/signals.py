"""Reports of a running step: signal values in the status, and events about them.

The status contains a summary of each value (size, hash, type), the value itself if it is small and contains no
credential, and envelopes made for display. Source: SDK contract 17. Events are numbered per StepRun, not per process,
so that the events of a retried attempt are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from bubu_contract import canonical
from bubu_sdk import encode, logs, redaction
from bubu_sdk.errors import Object
from bubu_sdk.kube import KubeError
from bubu_sdk.status import SHOWN_VALUE, SignalEvent, StatusUpdate
from bubu_sdk.steprun import StepRunClient

PATCH_TIMEOUT_SECONDS: Final = 3.0
DEFAULT_MAX_PAYLOAD_BYTES: Final = 8192
DEFAULT_SAMPLE_BYTES: Final = 2048
SHOWN_VALUE_BYTES: Final = 256
"""Values up to this size, as compact JSON, are in the status."""

log = logging.getLogger(logs.SDK_LOGGER)


def emit(
    steprun: StepRunClient,
    key: str,
    value: Any,
    *,
    now: datetime,
    max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
) -> None:
    """Write ``update`` within 3 s. A signal says how far the work is, so an outage of the API server does not end it.

    Raises:
        OutputError, ValueError: as ``update``.
        StepRunError: another Pod owns the StepRun.
        KubeError: the API server refuses the signal.
    """
    try:
        steprun.update(update(key, value, now=now, max_payload_bytes=max_payload_bytes), PATCH_TIMEOUT_SECONDS)
    except KubeError as error:
        if not error.is_outage:
            raise
        log.warning("signal %r is not stored: %s", key, error)


def update(key: str, value: Any, *, now: datetime, max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES) -> StatusUpdate:
    """The status update that emits ``value`` under ``key``; ``None`` deletes the key.

    A value of at most 256 bytes without credentials is stored beside its summary, as ``value``. Every other value is
    stored as a summary with ``redacted: true``; an envelope of at most ``max_payload_bytes`` is stored as it is.

    Raises:
        OutputError: the value cannot be written as JSON.
        ValueError: the key is blank.
    """
    if not key.strip():
        raise ValueError("a signal needs a key")
    if value is None:
        return StatusUpdate(signals={key: None}, signal_events=(SignalEvent(key, now),))
    plain = encode.to_json(value, f"signal {key!r}")
    brief = summary(plain)
    shown: Object = {**brief, "redacted": True}
    if is_envelope(plain) and brief["sizeBytes"] <= max_payload_bytes:
        shown = _without_credentials(plain)
    elif brief["sizeBytes"] <= SHOWN_VALUE_BYTES and redaction.is_harmless(plain):
        shown = {**brief, SHOWN_VALUE: plain}
    return StatusUpdate(signals={key: shown}, signal_events=(SignalEvent(key, now, brief),))


def summary(value: Any) -> Object:
    """Size, hash and kind of a plain JSON value, without the value itself."""
    import hashlib  # imported here, because most steps never need it and it costs milliseconds

    body = canonical.encode(value)
    brief: Object = {"sizeBytes": len(body), "sha256": hashlib.sha256(body).hexdigest(), "type": _kind(value)}
    if isinstance(value, (str, list, Mapping)):
        brief["details"] = {"len": len(value.encode()) if isinstance(value, str) else len(value)}
    return brief


def text_envelope(
    text: str,
    *,
    format: str = "text",  # noqa: A002 - the wire name
    content_type: str = "text/plain",
    sample: bool = True,
    attributes: Object | None = None,
) -> Object:
    """A signal value for people: the first 2048 bytes of ``text``, with its format, size and hash.

    Args:
        sample: False leaves the text out, so that only its format, size and hash are stored.
    """
    import hashlib  # imported here, because most steps never need it and it costs milliseconds

    body = text.encode(errors="replace")
    meta: Object = {
        "format": format,
        "contentType": content_type,
        "sizeBytes": len(body),
        "hashSha256": hashlib.sha256(body).hexdigest(),
    }
    if attributes:
        meta["attributes"] = attributes
    if not sample:
        return {"meta": meta}
    shown = redaction.cut(text, DEFAULT_SAMPLE_BYTES)
    return {"meta": meta, "sample": {"text": shown} | ({"truncated": True} if shown != text else {})}


def is_envelope(value: Any) -> bool:
    """Whether a value is an envelope: a ``meta`` with a format, and at most a ``sample`` in addition."""
    return (
        isinstance(value, Mapping)
        and {"meta"} <= set(value) <= {"meta", "sample"}
        and isinstance(value["meta"], Mapping)
        and {"format", "sizeBytes"} <= set(value["meta"])
    )


def _without_credentials(envelope: Object) -> Object:
    return {name: redaction.hidden(value) for name, value in envelope.items()}


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    if isinstance(value, str):
        return "string"
    return "map" if isinstance(value, Mapping) else "array"
