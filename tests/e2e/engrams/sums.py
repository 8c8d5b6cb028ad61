"""Three streaming Engrams: numbers, their sums, and a file of what arrived. ``sums.py count|add|keep FOLDER [HOST]``.

The source does what files in ``FOLDER`` say: numbers flow while ``flow`` is there, and it returns once ``end`` is. It
notes in ``sent`` which numbers it has handed to the SDK, and makes ``returned`` at its end. ``HOST`` stands for this
machine.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bubu_sdk import Messages, StreamContext, stream

PAUSE_SECONDS = 0.01
"""Between two numbers."""


@dataclass
class Number:
    n: int


@dataclass
class Sum:
    n: int
    count: int
    total: int


@stream
def count(ctx: StreamContext) -> Iterator[Number]:
    folder = Path(sys.argv[2])
    number = 0
    with (folder / "sent").open("a", buffering=1) as sent:
        while not (folder / "end").exists() and not ctx.cancelled.wait(PAUSE_SECONDS):
            if (folder / "flow").exists():
                yield Number(number)
                sent.write(f"{number}\n")
                number += 1
    (folder / "returned").touch()


@stream
def add(messages: Messages[Number]) -> Iterator[Sum]:
    """How many numbers it has got, and their sum, which only this process knows."""
    total = 0
    for count, message in enumerate(messages, start=1):
        total += message.data.n
        yield Sum(message.data.n, count, total)


@stream
def keep(messages: Messages[Sum]) -> None:
    """A line for each: number, count, total, and the instant of ``time.monotonic``, which all processes share."""
    with (Path(sys.argv[2]) / "kept").open("a", buffering=1) as kept:
        for message in messages:
            found = message.data
            kept.write(f"{found.n} {found.count} {found.total} {time.monotonic()}\n")


def _stand_for_this_machine(name: str) -> None:
    real = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **options: Any) -> Any:
        return real("127.0.0.1" if host == name else host, *rest, **options)

    socket.getaddrinfo = resolve


if __name__ == "__main__":
    if len(sys.argv) > 3:
        _stand_for_this_machine(sys.argv[3])
    {"count": count, "add": add, "keep": keep}[sys.argv[1]].run()
