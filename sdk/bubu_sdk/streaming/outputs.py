"""Makes the packets of an output: what it has from the message that it answers, its name, its chunks.

The name of an output follows from the message, the step and a count, so that a message that is worked on twice, in two
processes, has outputs of the same names. Source: Streaming contract 11.4.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any, Final

from bubu_sdk.contract import Identity
from bubu_sdk.errors import OutputError
from bubu_sdk.streaming.chunks import split, stream_id_of
from bubu_sdk.streaming.inbox import Delivery
from bubu_sdk.streaming.translation import INHERITED, JOIN_KEY, MESSAGE_ID, packet_of, request_of

_NAME_BYTES: Final = 200
_VALUE_CHARACTERS: Final = 256
"""At most 1,024 bytes."""


class Outputs:
    """Thread-safe: the counter is."""

    def __init__(self, identity: Identity, unix_ms: Callable[[], int]) -> None:
        self._step = identity.step or "step"
        self._stream_id = stream_id_of(identity.namespace, identity.story_run, identity.step)
        self._unix_ms = unix_ms
        self._process = os.urandom(8).hex()
        self._numbers = itertools.count(1)

    def packets_of(self, value: Any, delivery: Delivery | None, number: int) -> list[bytes]:
        """The packets of output ``number`` of a message, or of none; no packets for None.

        Raises:
            OutputError: it has no form in packets; names the place.
        """
        packet = packet_of(value)
        if packet is None:
            return []
        metadata = {} if delivery is None else _inherited(delivery)
        metadata[MESSAGE_ID] = packet.message_id or self._name(delivery, number)
        request = request_of(packet, metadata, self._unix_ms())
        if isinstance(request, bytes):
            return [request]
        try:
            return list(split(request, self._stream_id, f"{self._process}-{next(self._numbers)}"))
        except ValueError as error:
            raise OutputError(str(error)) from error

    def _name(self, delivery: Delivery | None, number: int) -> str:
        if delivery is None:
            return f"{self._process}-{next(self._numbers)}"
        place = delivery.place
        origin = delivery.content.message_id
        if not origin and place.sequence:
            origin = f"{place.stream_id}/{place.partition}/{place.sequence}"
        if not origin:
            origin = f"{self._process}-m{delivery.number}"
        return fitting(f"{origin}:{self._step}.{number}", _NAME_BYTES)


def _inherited(delivery: Delivery) -> dict[str, str]:
    """Values come from outside, in JSON packets without a bound: one that does not fit is left out."""
    found = delivery.content.metadata
    metadata = {name: found[name] for name in INHERITED if name in found and len(found[name]) <= _VALUE_CHARACTERS}
    join_key = found.get(JOIN_KEY) or delivery.content.message_id
    if join_key:
        metadata[JOIN_KEY] = fitting(join_key, _NAME_BYTES)
    return metadata


def fitting(name: str, most: int) -> str:
    """``name``, or its hash if it is longer than ``most`` bytes of UTF-8. Equal names stay equal."""
    raw = name.encode("utf-8", "surrogatepass")
    if len(raw) <= most:
        return name
    import hashlib  # rarely needed

    return hashlib.sha256(raw).hexdigest()
