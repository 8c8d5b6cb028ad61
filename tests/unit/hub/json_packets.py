"""JSON packets as an SDK sends them, and what a receiver makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from bubu_wire.codec import decode, encode
from bubu_wire.inspection import PACKET_MIME
from bubu_wire.messages import BinaryFrame, DataRequest, DataResponse


def json_packet(
    payload: Any = None, inputs: Any = None, *, message_id: str = "", with_structs: bool = True, **metadata: str
) -> bytes:
    """A packet as the Go SDK sends it: payload and inputs are in the frame, and again in the Struct fields."""
    content: dict[str, Any] = {"version": "v1", "kind": "data"}
    if message_id:
        content["messageId"] = message_id
        metadata["bubu.envelope.message_id"] = message_id
    content |= {name: value for name, value in (("payload", payload), ("inputs", inputs)) if value is not None}
    frame = BinaryFrame(orjson.dumps(content), PACKET_MIME, 7)
    structs: dict[str, Mapping[str, Any] | None] = {"payload": payload, "inputs": inputs} if with_structs else {}
    return encode(DataRequest(frame, metadata, **structs))  # type: ignore[arg-type]  # only those two


def received(message: bytes) -> tuple[Any, Any]:
    """Payload and inputs, as an SDK reads them: from the frame first."""
    packet = decode(DataResponse, message)
    is_json = isinstance(packet.frame, BinaryFrame) and packet.frame.mime_type == PACKET_MIME
    content = orjson.loads(packet.frame.payload) if is_json else {}  # type: ignore[union-attr]  # is_json says so
    inputs = content.get("inputs", packet.inputs)
    return content.get("payload", packet.payload), inputs if inputs is None else dict(inputs)


def metadata_of(message: bytes) -> Mapping[str, str]:
    return decode(DataResponse, message).metadata
