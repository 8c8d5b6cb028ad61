"""A stream on the Python SDK, as that of the program on the Go SDK: ``number_stream.py source|transform|sink …``.

``source COUNT PAUSE`` sends the numbers below COUNT, with a pause like ``1ms``; ``transform`` doubles them under the
same message id; ``sink FILE`` adds a line "NUMBER ID" to FILE for each.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bubu_sdk import Messages, Packet, stream


@stream
def source() -> Iterator[Packet]:
    count, pause = int(sys.argv[2]), float(sys.argv[3].removesuffix("ms")) / 1000
    for number in range(count):
        yield Packet({"n": number}, message_id=f"message-{number}")
        time.sleep(pause)


@stream
def transform(messages: Messages) -> Iterator[Packet]:
    for message in messages:
        yield Packet({"n": 2 * message.data["n"]}, message_id=message.id)


@stream
def sink(messages: Messages) -> None:
    with Path(sys.argv[2]).open("a", buffering=1) as kept:
        for message in messages:
            kept.write(f"{message.data['n']} {message.id}\n")


if __name__ == "__main__":
    {"source": source, "transform": transform, "sink": sink}[sys.argv[1]].run()
