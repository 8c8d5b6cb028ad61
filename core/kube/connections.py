"""Connections kept alive and handed out one by one, most recently used first.

A request takes one lane, a transport with a single connection, and gives it back with the end of its answer; taking and
giving back cost the same however many there are, which cannot be said of httpx's own pool. Lanes live as long as this
transport; idle connections in them are closed by the server, or when they are next looked at.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

import httpx
import trio


class RawTransport(Protocol):
    """What httpx's transports offer, as far as it is needed here."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response: ...

    async def aclose(self) -> None: ...


class LaneTransport(httpx.AsyncBaseTransport):
    """As many lanes as there are requests at a time; how many that may be is the caller's to bound.

    Args:
        open_lane: makes a transport that keeps one connection.
    """

    def __init__(self, open_lane: Callable[[], RawTransport]) -> None:
        self._open_lane = open_lane
        self._lanes: list[RawTransport] = []
        self._free: list[RawTransport] = []

    def __repr__(self) -> str:
        return f"<LaneTransport: {len(self._lanes)} lanes, {len(self._free)} free>"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        lane = self._take()
        try:
            response = await lane.handle_async_request(request)
        except BaseException:
            self._free.append(lane)  # what broke was its connection, and that is closed
            raise
        if response.is_closed:  # its body came with it
            self._free.append(lane)
            return response
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _LentStream(response.stream, lambda: self._free.append(lane))
        return response

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):  # cancelled at the first, it would leave the others open; none waits
            for lane in self._lanes:
                await lane.aclose()

    def _take(self) -> RawTransport:
        if self._free:
            return self._free.pop()
        lane = self._open_lane()
        self._lanes.append(lane)
        return lane


class _LentStream(httpx.AsyncByteStream):
    """The body of an answer; its end gives the lane back, once."""

    def __init__(self, stream: httpx.AsyncByteStream, give_back: Callable[[], None]) -> None:
        self._stream = stream
        self._give_back: Callable[[], None] | None = give_back

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        give_back, self._give_back = self._give_back, None
        try:
            await self._stream.aclose()
        finally:
            if give_back is not None:
                give_back()
