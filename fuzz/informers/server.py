"""An API server that sends the given bytes: pages of lists, and lines of a watch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

import httpx
import orjson
import trio


class BytesServer(httpx.AsyncBaseTransport):
    """Lists ``items`` in the requested pages and sends ``lines`` to the first watch; later watches receive nothing.

    A request for a single object, as from the resync, returns a list without items.
    """

    def __init__(self, items: Sequence[bytes], lines: Sequence[bytes], told: Callable[[], None]) -> None:
        self._items = items
        self._lines = [*lines]
        self._told = told
        self.lists = 0
        self.watches = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        params = request.url.params
        if "watch" in params:
            self.watches += 1
            lines, self._lines = self._lines, []
            return httpx.Response(200, stream=_Lines(lines, self._told))
        self.lists += 1
        begin = int(params.get("continue") or 0)
        end = begin + int(params.get("limit") or len(self._items))
        head = orjson.dumps({"resourceVersion": "1000", "continue": str(end) if end < len(self._items) else ""})
        items = b",".join(self._items[begin:end])
        return httpx.Response(200, content=b'{"kind":"List","metadata":%s,"items":[%s]}' % (head, items))


class _Lines(httpx.AsyncByteStream):
    def __init__(self, lines: Sequence[bytes], told: Callable[[], None]) -> None:
        self._lines = lines
        self._told = told

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for line in self._lines:
            yield line + b"\n"
        if self._lines:
            self._told()
        await trio.sleep_forever()
