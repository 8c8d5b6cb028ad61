"""The engrams of the measurement of the streaming SDK: each answers a message with one of its own.

``python -m bench.stream_engram plain`` (or ``typed``, ``asyncio``, ``trio``).
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from bubu_sdk import AsyncMessages, Messages, StreamFunction, stream


@dataclass
class Chat:
    text: str
    number: int
    user: dict[str, str]


@dataclass
class Answer:
    text: str
    number: int


@stream
def plain(messages: Messages[Any]) -> Iterator[dict[str, Any]]:
    for message in messages:
        yield {"text": message.data["text"].upper(), "number": message.data["number"]}


@stream
def typed(messages: Messages[Chat]) -> Iterator[Answer]:
    for message in messages:
        yield Answer(message.data.text.upper(), message.data.number)


async def transform(messages: AsyncMessages[Any]) -> AsyncIterator[dict[str, Any]]:
    async for message in messages:
        yield {"text": message.data["text"].upper(), "number": message.data["number"]}


STYLES: dict[str, StreamFunction] = {
    "plain": plain,
    "typed": typed,
    "asyncio": stream(backend="asyncio")(transform),
    "trio": stream(backend="trio")(transform),
}


if __name__ == "__main__":
    STYLES[sys.argv[1]].run()
