"""What a streaming function yields: packets with a JSON payload, or with audio, video or any bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

OCTETS: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Audio:
    """Sound.

    Args:
        pcm: the bytes, encoded as ``codec`` says; at most 10 MiB.
        sample_rate_hz: 8,000 to 192,000.
        channels: 1 to 8.
        codec: for example ``pcm16`` or ``opus``; at most 32 bytes.
        timestamp_ms: Unix time in milliseconds; 0 if unknown.
    """

    pcm: bytes = field(repr=False)
    sample_rate_hz: int
    channels: int = 1
    codec: str = ""
    timestamp_ms: int = 0


@dataclass(frozen=True, slots=True)
class Video:
    """A picture, or a part of an encoded film.

    Args:
        payload: the bytes; at most 10 MiB.
        codec: for example ``h264``; required unless ``raw``.
        width, height: pixels; required if ``raw``.
        timestamp_ms: Unix time in milliseconds; 0 if unknown.
        raw: the bytes are pixels.
    """

    payload: bytes = field(repr=False)
    codec: str = ""
    width: int = 0
    height: int = 0
    timestamp_ms: int = 0
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Binary:
    """Bytes of any type; at most 64 MiB, above 8 MiB sent in chunks.

    Args:
        payload: the bytes.
        mime_type: for example ``image/png``; at most 255 bytes.
        timestamp_ms: Unix time in milliseconds; 0 if unknown.
    """

    payload: bytes = field(repr=False)
    mime_type: str = OCTETS
    timestamp_ms: int = 0


Frame = Audio | Video | Binary


@dataclass(slots=True)
class Packet:
    """An output with more than its payload. To yield a dict, a dataclass, a model or a frame alone needs no Packet.

    Args:
        payload: a dict, dataclass or model. ``Binary`` frames cannot have one.
        frame: audio, video or other bytes.
        metadata: at most 100 pairs; names up to 128 bytes, values up to 1,024.
        kind: letters, digits, ``.``, ``_`` and ``-``; empty is ``data``.
        message_id: names this output; without it the SDK derives one from the message that it answers.
        inputs: a dict, dataclass or model for steps that read inputs.
    """

    payload: Any = None
    frame: Frame | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    kind: str = ""
    message_id: str = ""
    inputs: Any = None
