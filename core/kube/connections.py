"""Connections that are kept alive and lent one by one, most recently used first.

A request takes one lane (a transport with a single connection) and returns it at the end of its answer. Taking and
returning a lane costs the same for any number of lanes, unlike in httpx's own pool. Lanes live as long as this
transport. The server closes their idle connections, or the lane closes one at its next use.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

import httpx
import trio


class RawTransport(Protocol):
    """The part of the interface of httpx's transports that is needed here."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response: ...

    async def aclose(self) -> None: ...


class LaneTransport(httpx.AsyncBaseTransport):
    """One lane for each concurrent request; the caller must bound their number.

    Args:
        open_lane: creates a transport that keeps one connection.
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
            self._free.append(lane)  # if something broke, it was the connection, which is closed now
            raise
        if response.is_closed:  # the body was read with the head
            self._free.append(lane)
            return response
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _LentStream(response.stream, lambda: self._free.append(lane))
        return response

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):  # else a cancellation would leave lanes open; closing never waits
            for lane in self._lanes:
                await lane.aclose()

    def _take(self) -> RawTransport:
        if self._free:
            return self._free.pop()
        lane = self._open_lane()
        self._lanes.append(lane)
        return lane


class _LentStream(httpx.AsyncByteStream):
    """The body of an answer; at its end it returns the lane, once."""

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
