"""What is said on Control: answers to directives of the hub, receipts, refusals. Source: Streaming contract 11.3."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Final

from bubu_sdk.streaming.chunks import Part
from bubu_wire.codec import encode
from bubu_wire.messages import ControlAction, ControlRequest, ControlResponse

DELIVERED: Final = "downstream.delivered"
_ERROR_BYTES: Final = 900

NAMES: Final[Mapping[int, str]] = {
    ControlAction.NOOP: "noop",
    ControlAction.START: "start",
    ControlAction.STOP: "stop",
    ControlAction.START_UPSTREAM: "start-upstream",
    ControlAction.STOP_UPSTREAM: "stop-upstream",
    ControlAction.START_DOWNSTREAM: "start-downstream",
    ControlAction.STOP_DOWNSTREAM: "stop-downstream",
    ControlAction.HEARTBEAT: "heartbeat",
    ControlAction.CONNECTOR_READY: "connector.ready",
    ControlAction.CONNECTOR_CAPABILITIES: "connector.capabilities",
    ControlAction.HANDOFF_DRAINING: "handoff.draining",
    ControlAction.HANDOFF_CUTOVER: "handoff.cutover",
    ControlAction.HANDOFF_READY: "handoff.ready",
    ControlAction.ACK: "ack",
    ControlAction.ERROR: "error",
    ControlAction.CODEC_SELECT: "codec-select",
}
_HANDLED: Final[Mapping[int, str]] = {
    ControlAction.CONNECTOR_READY: "startup",
    ControlAction.CONNECTOR_CAPABILITIES: "capabilities",
    ControlAction.HANDOFF_DRAINING: "handoff",
    ControlAction.HANDOFF_CUTOVER: "handoff",
    ControlAction.HANDOFF_READY: "handoff",
}


def answer_to(directive: ControlResponse) -> bytes | None:
    """The acknowledgement of a directive, encoded; None for one that is an acknowledgement itself."""
    action, name = directive.action, directive.custom_action or NAMES.get(directive.action, "")
    if directive.custom_action:
        return _acknowledged(name, handled=False, reason="no_control_handler")
    if action == ControlAction.ACK:
        return None
    if action in (ControlAction.NOOP, ControlAction.UNSPECIFIED):
        return _acknowledged(name or "noop", handled=False, reason="noop")
    if action in _HANDLED:
        return _acknowledged(name, handled=True, reason=_HANDLED[action])
    return _acknowledged(name or str(int(action)), handled=False, reason="no_control_handler")


def encoded_receipt(part: Part) -> bytes:
    """The receipt of a sequenced packet: what ``encode`` makes of the same ControlRequest, written at once."""
    sequence, size = b"%d" % part.sequence, b"%d" % part.size_bytes
    return b"".join(
        (
            *(b"\x12", _SIZES[len(sequence) + 12], b"\x0a\x08sequence\x12", _SIZES[len(sequence)], sequence),
            *(b"\x12", _SIZES[len(size) + 14], b"\x0a\x0asize_bytes\x12", _SIZES[len(size)], size),
            _rest_of_receipt(part.stream_id, part.partition),
        )
    )


@functools.lru_cache(maxsize=256)
def _rest_of_receipt(stream_id: str, partition: str) -> bytes:
    metadata = {"stream_id": stream_id} | ({"partition": partition} if partition else {})
    return encode(ControlRequest(metadata=metadata, custom_action=DELIVERED))


_SIZES: Final = tuple(bytes((size,)) for size in range(0x80))


def refusal(reason: str, part: Part) -> bytes:
    """Tells the hub that a packet cannot be used."""
    metadata = {"message": _cut(reason), "reason": "undecodable"}
    if part.sequence:
        metadata |= {"stream_id": part.stream_id, "sequence": str(part.sequence), "partition": part.partition}
    return encode(ControlRequest(ControlAction.ERROR, metadata))


def _acknowledged(name: str, *, handled: bool, reason: str) -> bytes:
    metadata = {"handled": "true" if handled else "false", "reason": reason, "type": name}
    return encode(ControlRequest(ControlAction.ACK, metadata))


def _cut(text: str) -> str:
    return text.encode("utf-8", "replace")[:_ERROR_BYTES].decode("utf-8", "ignore")
