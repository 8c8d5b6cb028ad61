"""The test service of gRPC (``grpc.testing.TestService``) on the test server, as far as its messages are needed.

The few fields are read and written by hand: a generated class would be one more thing to trust.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import trio

from bubu_wire.server import ServerConnection
from bubu_wire.status import Status, StatusCode
from tests.e2e.wire.rig import CallError, Handler, RigCall

SERVICE: Final = "/grpc.testing.TestService"
_ECHO_INITIAL: Final = "x-grpc-test-echo-initial"
_ECHO_TRAILING: Final = "x-grpc-test-echo-trailing-bin"


async def empty_call(call: RigCall) -> None:
    _begin(call)
    await call.receive()
    await call.send(b"")


async def unary_call(call: RigCall) -> None:
    """SimpleRequest: response_size=2, response_status=7. SimpleResponse: payload=1."""
    _begin(call)
    request = _fields(await call.receive() or b"")
    _raise_status(request.get(7, b""))
    await call.send(_payload(_number(request, 2)))


async def full_duplex_call(call: RigCall) -> None:
    """StreamingOutputCallRequest: response_parameters=2 {size=1, interval_us=2}, response_status=7."""
    _begin(call)
    while (message := await call.receive()) is not None:
        _raise_status(_fields(message).get(7, b""))
        for number, value in _pairs(message):
            if number == 2 and isinstance(value, bytes):
                parameters = _fields(value)
                await trio.sleep(_number(parameters, 2) / 1e6)
                await call.send(_payload(_number(parameters, 1)))


async def streaming_input_call(call: RigCall) -> None:
    """StreamingInputCallRequest: payload=1 {body=2}. StreamingInputCallResponse: aggregated_payload_size=1."""
    _begin(call)
    size = 0
    while (message := await call.receive()) is not None:
        payload = _fields(message).get(1, b"")
        assert isinstance(payload, bytes)
        body = _fields(payload).get(2, b"")
        assert isinstance(body, bytes)
        size += len(body)
    await call.send(b"\x08" + _varint(size))


HANDLERS: Final[Mapping[str, Handler]] = {
    f"{SERVICE}/EmptyCall": empty_call,
    f"{SERVICE}/UnaryCall": unary_call,
    f"{SERVICE}/StreamingInputCall": streaming_input_call,
    f"{SERVICE}/StreamingOutputCall": full_duplex_call,
    f"{SERVICE}/FullDuplexCall": full_duplex_call,
}


def _begin(call: RigCall) -> None:
    assert call.start is not None
    assert isinstance(call.wire.connection, ServerConnection)
    sent = call.start.metadata
    call.wire.connection.accept(call.number, [pair for pair in sent if pair[0] == _ECHO_INITIAL])
    call.wire.poke()
    call.trailers += [pair for pair in sent if pair[0] == _ECHO_TRAILING]


def _raise_status(status: int | bytes) -> None:
    if isinstance(status, bytes) and status:
        fields = _fields(status)
        text = fields.get(2, b"")
        assert isinstance(text, bytes)
        raise CallError(Status(StatusCode(_number(fields, 1)), text.decode()))


def _payload(size: int) -> bytes:
    payload = b"\x12" + _varint(size) + bytes(size)  # Payload: body=2
    return b"\x0a" + _varint(len(payload)) + payload


def _number(fields: Mapping[int, int | bytes], number: int) -> int:
    value = fields.get(number, 0)
    assert isinstance(value, int)
    return value


def _fields(message: bytes) -> dict[int, int | bytes]:
    return dict(_pairs(message))


def _pairs(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(message):
        key, position = _read(message, position)
        value, position = _read(message, position)
        if key & 7 == 0:
            yield key >> 3, value
        else:
            assert key & 7 == 2
            yield key >> 3, message[position : position + value]
            position += value


def _read(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
