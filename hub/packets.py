"""What an engram sends becomes what another one can receive, or is refused by itself.

An SDK ends its whole session when a packet cannot be understood, so each packet is checked before it is sent on: the
bounds of its fields, and the JSON of a packet in a frame. A packet without a frame gets one, because an SDK delivers
frames only. Pure. Source: streaming contract 9 to 11.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from bubu_wire.codec import decode, encode
from bubu_wire.errors import MessageError
from bubu_wire.inspection import PACKET_MIME, Inspected, Inspector
from bubu_wire.messages import BinaryFrame, DataRequest

ADDED_PAIRS: Final = ("storyrun-name", "storyrun-namespace", "current-step-id")
"""Metadata that says whom a packet goes to."""

_KIND: Final = re.compile(r"[A-Za-z0-9._-]+")
_IDLE_KINDS: Final = frozenset({"heartbeat", "noop"})
_MESSAGE_ID: Final = "bubu.envelope.message_id"
_OBJECTS: Final = ("metadata", "payload", "inputs")


class PacketChecker:
    """Checks the packets of one run."""

    def __init__(self) -> None:
        self._inspector = Inspector()

    def check(self, packet: bytes) -> Inspected:
        """An encoded DataRequest as it is sent on. Raises as ``read`` does."""
        return self.read(packet)[0]

    def read(self, packet: bytes) -> tuple[Inspected, dict[str, Any] | None]:
        """An encoded DataRequest as it is sent on, with the JSON of its frame if it has one and was not given it here.

        ``is_heartbeat`` and packets without ``has_content`` have no receiver: an SDK drops them.

        Raises:
            MessageError: no receiver could understand it. The text names the field.
        """
        found = self._inspector.inspect(packet)
        if found.document is not None and found.chunk is None:
            content = _content_of(found.document)
            if content.get("kind") in _IDLE_KINDS:
                return found._replace(has_content=False), content
            return found, content
        if not found.has_frame and found.has_content and not found.is_heartbeat:
            return self._inspector.inspect(_framed(packet)), None
        return found, None


def _content_of(document: bytes) -> dict[str, Any]:
    """The JSON of a packet that is valid, so far as an SDK requires it. Source: streaming contract 9."""
    try:
        content = orjson.loads(document)
    except orjson.JSONDecodeError as error:
        raise MessageError(f"the packet's frame is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise MessageError("the packet's frame must be a JSON object")
    get = content.get
    if get("version", "v1") not in ("v1", ""):
        raise MessageError("the packet's version must be v1")
    timestamp = get("timestampMs", 0)
    if type(timestamp) is not int or timestamp < 0:
        raise MessageError("the packet's timestampMs must be a number of milliseconds")
    kind = get("kind", "")
    if kind != "data" and (not isinstance(kind, str) or (kind and not _KIND.fullmatch(kind))):
        raise MessageError("the packet's kind must be letters, digits, '.', '_' and '-'")
    if not isinstance(get("messageId", ""), str):
        raise MessageError("the packet's messageId must be a string")
    metadata = get("metadata")
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(text, str) for text in metadata.values())
    ):
        raise MessageError("the packet's metadata must be an object of strings")
    return content


def _framed(packet: bytes) -> bytes:
    """A packet of payload and inputs alone, with the JSON frame that an SDK makes of them."""
    message = decode(DataRequest, packet)
    content: dict[str, Any] = {"version": "v1", "kind": message.metadata.get("kind", "") or "data"}
    if message_id := message.metadata.get(_MESSAGE_ID):
        content["messageId"] = message_id
    content |= {name: value for name in _OBJECTS if (value := getattr(message, name))}
    if message.transports:
        content["transports"] = [
            {
                "name": each.name,
                "kind": each.kind,
                "mode": each.mode,
                **(
                    {
                        "typedConfig": {
                            "transportRef": each.typed_config.transport_ref,
                            "modeReason": each.typed_config.mode_reason,
                        }
                    }
                    if each.typed_config
                    else {}
                ),
            }
            for each in message.transports
        ]
    frame = BinaryFrame(orjson.dumps(content), PACKET_MIME)
    return encode(
        DataRequest(frame, message.metadata, message.payload, message.inputs, message.transports, message.envelope)
    )
