"""Packets of the wire and what the user sees of them, in both directions.

A payload travels as a JSON packet, a binary frame that repeats kind, id, payload and inputs. Audio, video and other
bytes travel as they are. Source: Streaming contract 9, 11.4.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bubu_sdk import encode, errors
from bubu_sdk.errors import ErrorType, Object, OutputError
from bubu_sdk.streaming import packet_bytes
from bubu_sdk.streaming.packet_bytes import JSON_PACKET, Read
from bubu_sdk.streaming.packets import OCTETS, Audio, Binary, Frame, Packet, Video
from bubu_wire import codec
from bubu_wire.errors import MessageError
from bubu_wire.messages import (
    MAX_FRAME_BYTES,
    AudioFrame,
    BinaryFrame,
    DataRequest,
    VideoFrame,
)
from bubu_wire.structs import merge_struct

HEARTBEAT: Final = "bubu-heartbeat"
KIND, MESSAGE_ID, TIMESTAMP = "bubu.envelope.kind", "bubu.envelope.message_id", "bubu.envelope.timestamp_ms"
JOIN_KEY: Final = "bubu.join.key"
INHERITED: Final = (
    *("traceparent", "tracestate", "baggage"),
    *("participant", "participant.id"),
    *("partition_key", "partition-key", "bubu.partition_key", "bubu.partition"),
)
"""Metadata that an output has from the message that it answers."""
SILENT_KINDS: Final = frozenset({"heartbeat", "noop"})
_KIND: Final = re.compile(r"[A-Za-z0-9._-]{1,1024}")
_MIME: Final = re.compile(r"[^\s/]+/[^/]+")


@dataclass(slots=True)
class Content:
    """What a received packet says."""

    metadata: Mapping[str, str]
    kind: str
    message_id: str
    timestamp_ms: int
    payload: Any
    """Plain JSON, or the bytes of a binary frame; None without one."""
    inputs: Object | None
    frame: Frame | None
    given: bytes | Object | None = None
    """The step's ``with``, which the hub sends beside each packet: as a Struct that nobody has read yet, or read."""

    @property
    def all_inputs(self) -> Object | None:
        """``inputs``, else the step's ``with``."""
        if self.inputs is not None or self.given is None:
            return self.inputs
        if isinstance(self.given, bytes):
            found: dict[str, Any] = {}
            merge_struct(found, self.given, 0, len(self.given))
            self.given = found
        return self.given


class RefusedError(ValueError):
    """A packet cannot be decoded. It alone is refused; the stream goes on."""


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON value")


_JSON: Final = json.JSONDecoder(parse_constant=_no_constant)
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False)


def content_of(read: Read, data: bytes, *, with_in_packets: bool = False) -> Content | None:
    """What the packet says; None if it says nothing, as a heartbeat does.

    Args:
        with_in_packets: whether inputs in the Struct of ``data`` are the step's ``with``.
    Raises:
        RefusedError: it cannot be decoded.
    """
    metadata = read.metadata
    if metadata.get(HEARTBEAT) == "true" or metadata.get(KIND) in SILENT_KINDS:
        return None
    try:
        found = _of_json(read) if read.mime_type == JSON_PACKET else _of_frame(read)
        if found is None:
            return None
        if found.payload is None:
            found.payload = packet_bytes.payload_of(read, data)
        if found.inputs is None and with_in_packets:
            given = packet_bytes.unread_inputs_of(read, data)
            found.given = given if given is None or isinstance(given, bytes) else dict(given)
        elif found.inputs is None and (inputs := packet_bytes.inputs_of(read, data)) is not None:
            found.inputs = dict(inputs)
    except (MessageError, ValueError, RecursionError) as error:
        raise RefusedError(str(error) or type(error).__name__) from error
    if found.payload is None and found.inputs is None and found.frame is None:
        return None if read.packet is None or not read.packet.transports else found
    return found


def _of_json(read: Read) -> Content | None:
    text = read.body.decode()
    envelope = _decoded(text)
    if "\\ud" in text or "\\uD" in text:
        _check_surrogates(envelope)
    if not isinstance(envelope, dict):
        raise RefusedError("a JSON packet must be an object")
    get = envelope.get
    if (version := get("version") or "v1") != "v1":
        raise RefusedError(f"the JSON packet has the version {str(version)[:40]!r}; only v1 is known")
    metadata = read.metadata
    if own := get("metadata"):
        if not isinstance(own, dict) or not all(isinstance(value, str) for value in own.values()):
            raise RefusedError("metadata of a JSON packet must be an object of strings")
        metadata = {**own, **metadata}
    kind = get("kind") or metadata.get(KIND) or "data"
    message_id = get("messageId") or metadata.get(MESSAGE_ID) or ""
    timestamp, inputs = get("timestampMs") or 0, get("inputs")
    if not isinstance(kind, str) or not isinstance(message_id, str):
        raise RefusedError("kind and messageId of a JSON packet must be strings")
    if not isinstance(timestamp, int) or timestamp < 0:
        raise RefusedError("timestampMs of a JSON packet must be an integer of at least 0")
    if inputs is not None and not isinstance(inputs, dict):
        raise RefusedError("inputs of a JSON packet must be an object")
    if kind in SILENT_KINDS:
        return None
    timestamp = timestamp or _timestamp(metadata, read.timestamp_ms)
    return Content(metadata, kind, message_id, timestamp, get("payload"), inputs, None)


def _check_surrogates(value: Any) -> None:
    """JSON may write half a surrogate pair, which nothing could send on."""
    try:
        _ENCODER.encode(value).encode()
    except UnicodeEncodeError:
        raise RefusedError("a string has an unpaired surrogate, which UTF-8 cannot encode") from None


def _decoded(text: str) -> Any:
    """As ``decode``, without its search for blanks around."""
    if text.startswith("{"):
        value, end = _JSON.raw_decode(text)
        if end == len(text):
            return value
    return _JSON.decode(text)


def _of_frame(read: Read) -> Content:
    metadata = read.metadata
    payload: Any = None
    frame: Frame | None = None
    match None if read.packet is None else read.packet.frame:
        case AudioFrame() as sound:
            frame = Audio(sound.pcm, sound.sample_rate_hz, sound.channels, sound.codec, sound.timestamp_ms)
        case VideoFrame() as film:
            frame = Video(film.payload, film.codec, film.width, film.height, film.timestamp_ms, film.raw)
        case _ if read.body:
            frame = Binary(read.body, read.mime_type or OCTETS, read.timestamp_ms)
            payload = read.body
    timestamp = _timestamp(metadata, frame.timestamp_ms if frame is not None else 0)
    kind, name = metadata.get(KIND) or "data", metadata.get(MESSAGE_ID) or ""
    return Content(metadata, kind, name, timestamp, payload, None, frame)


def _timestamp(metadata: Mapping[str, str], otherwise: int) -> int:
    text = metadata.get(TIMESTAMP, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else otherwise


# Outputs.


def packet_of(value: Any) -> Packet | None:
    """What a function has yielded, as a Packet; None for None, which is no output."""
    if isinstance(value, Packet) or value is None:
        return value
    if isinstance(value, (Audio, Video, Binary)):
        return Packet(frame=value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Packet(frame=Binary(bytes(value)))
    if isinstance(value, BaseException):
        error = errors.as_engram_error(value, ErrorType.EXECUTION)
        return Packet(errors.structured(error, exit_code=0, exit_class=error.exit_class), kind="error")
    return Packet(value)


def request_of(packet: Packet, metadata: Mapping[str, str], timestamp_ms: int) -> bytes | DataRequest:
    """The DataRequest of an output, encoded unless its frame is too large for one packet.

    Args:
        metadata: what the output has beside its own, for example the id.
        timestamp_ms: for JSON packets, Unix time in milliseconds.
    Raises:
        OutputError: the output has no form in packets; names the place.
    """
    payload, inputs = _object(packet.payload, "payload"), _object(packet.inputs, "inputs")
    kind = packet.kind or "data"
    if kind != "data" and (not _KIND.fullmatch(kind) or kind in SILENT_KINDS):
        raise OutputError(f"kind {kind[:40]!r}: use letters, digits, '.', '_' and '-'; heartbeat and noop are reserved")
    pairs = {**metadata, **packet.metadata, KIND: kind, TIMESTAMP: str(timestamp_ms)}
    if packet.message_id:
        pairs[MESSAGE_ID] = packet.message_id
    frame = packet.frame
    if frame is None:
        if payload is None and inputs is None:
            raise OutputError("an output needs a payload, inputs or a frame")
        envelope = _envelope(kind, pairs.get(MESSAGE_ID, ""), timestamp_ms, payload, inputs)
        if len(envelope) <= MAX_FRAME_BYTES // 2:
            return packet_bytes.write_json(envelope, timestamp_ms, pairs, payload, inputs)
        return DataRequest(BinaryFrame(envelope, JSON_PACKET, timestamp_ms), pairs)
    if isinstance(frame, Binary):
        if payload is not None or inputs is not None:
            raise OutputError("a Binary frame cannot have a payload; put it into the metadata, or yield two outputs")
        return _checked_pairs(DataRequest(_binary(frame), pairs))
    return _encoded(DataRequest(_media(frame), pairs, payload, inputs))


def _envelope(kind: str, message_id: str, timestamp_ms: int, payload: Object | None, inputs: Object | None) -> bytes:
    envelope: Object = {"version": "v1", "kind": kind, "messageId": message_id, "timestampMs": timestamp_ms}
    if payload is not None:
        envelope["payload"] = payload
    if inputs is not None:
        envelope["inputs"] = inputs
    try:
        return _ENCODER.encode(envelope).encode()
    except (ValueError, RecursionError) as error:  # half surrogates, too
        raise OutputError(f"the payload cannot be written as JSON: {error}") from error


def _object(value: Any, path: str) -> Object | None:
    if value is None:
        return None
    plain = encode.to_json(value, path)
    if not isinstance(plain, dict):
        hint = "yield a dict, a dataclass, a model, bytes or a frame"
        raise OutputError(f"{path} is {type(value).__name__}, which is not a JSON object; {hint}")
    return plain


def _binary(frame: Binary) -> BinaryFrame:
    if not frame.payload:
        raise OutputError("Binary.payload must not be empty")
    if not _MIME.fullmatch(frame.mime_type) or frame.mime_type == JSON_PACKET:
        raise OutputError(f"Binary.mime_type {frame.mime_type[:40]!r} must be a MIME type such as 'image/png'")
    return BinaryFrame(bytes(frame.payload), frame.mime_type, frame.timestamp_ms)


def _media(frame: Audio | Video) -> AudioFrame | VideoFrame:
    if isinstance(frame, Audio):
        if not frame.pcm:
            raise OutputError("Audio.pcm must not be empty")
        return AudioFrame(frame.sample_rate_hz, frame.channels, bytes(frame.pcm), frame.codec, frame.timestamp_ms)
    if not frame.payload:
        raise OutputError("Video.payload must not be empty")
    if frame.raw and not (frame.width and frame.height):
        raise OutputError("a raw Video needs width and height")
    if not frame.raw and not frame.codec:
        raise OutputError("a Video needs its codec, unless it is raw")
    return VideoFrame(bytes(frame.payload), frame.codec, frame.width, frame.height, frame.timestamp_ms, frame.raw)


def _checked_pairs(request: DataRequest) -> bytes | DataRequest:
    frame = request.frame
    assert isinstance(frame, BinaryFrame)
    if len(frame.payload) > MAX_FRAME_BYTES // 2:
        packet_bytes.write_pairs(request.metadata)
        return request
    return _encoded(request)


def _encoded(request: DataRequest) -> bytes:
    packet_bytes.write_pairs(request.metadata)
    try:
        return codec.encode(request)
    except MessageError as error:
        raise OutputError(str(error)) from error
