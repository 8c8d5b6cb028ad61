"""Moves bytes between the client and the network, and messages between the client and the function. One thread.

Needs ``h2``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from bubu_sdk import logs
from bubu_sdk.stage import NewsDesk, Stage
from bubu_sdk.streaming.client import StreamClient
from bubu_sdk.streaming.exchange import Ask, Exchange
from bubu_sdk.streaming.links import Link
from bubu_sdk.streaming.session import Session
from bubu_sdk.streaming.settings import StreamSettings
from bubu_sdk.streaming.sockets import Network

_READS: Final = 4
"""Between two writes."""
_LOOK_SECONDS: Final = 0.5
"""The longest wait: a signal that comes just before a wait does not end it."""

log = logging.getLogger(logs.SDK_LOGGER)


class Carrier:
    """The stream of one process. ``carry`` does what can be done now, ``wait`` waits until there is more."""

    def __init__(
        self,
        settings: StreamSettings,
        network: Network,
        desk: NewsDesk,
        *,
        now: Callable[[], float],
        wall: Callable[[], datetime],
        chance: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._network = network
        self._desk = desk
        self._now = now
        self._wall = wall
        self._client = StreamClient(settings, now(), chance)
        self.exchange = Exchange(network.wake)
        self.closing = False
        self._dial: Stage | None = None
        self._link: Link | None = None
        self._session: Session | None = None
        self._rest = memoryview(b"")
        """Bytes that the link has not taken."""
        self._more = False
        """There may be bytes that a wait would not see."""

    @property
    def ready(self) -> bool:
        """Whether the handshake is over, on the current connection."""
        return self._session is not None and self._session.ready

    @property
    def failure(self) -> str | None:
        """Why the stream is over."""
        return self._client.failure

    @property
    def closed(self) -> bool:
        """After ``end``: whether the hub has everything."""
        return self._client.closed

    def unsent(self) -> tuple[int, int]:
        """Packets that are not accepted, and receipts that have not left."""
        return self._client.unsent()

    def drain(self) -> None:
        """Deliver no further message."""
        self._client.drain()
        self.exchange.end_input()

    def end(self) -> None:
        """The function has ended: send what is left, then end the connection."""
        self.closing = True
        self._obey()
        self._client.close(self._now())
        self.carry()

    def carry(self) -> None:
        """Dial, read, write, and pass on."""
        self._connect()
        self._read()
        self._obey()
        self._client.tick(self._now())
        self._write()
        self._pass_on_news()

    def wait(self, until: float) -> None:
        """Until there is something to carry, or until ``until`` by the clock."""
        if self._more:
            return
        seconds = min(until, self._client.next_tick()) - self._now()
        if seconds > 0:
            link = self._link
            self._network.wait(link, sending=bool(self._rest), seconds=min(seconds, _LOOK_SECONDS))

    def close(self) -> None:
        """Give up the connection."""
        if self._link is not None:
            self._link.close()
            self._link = None

    # Inside.

    def _connect(self) -> None:
        now = self._now()
        client = self._client
        if self._dial is None and client.dial_at is not None and now >= client.dial_at:
            client.dialing()
            settings = self._settings
            self._dial = Stage("dial", lambda: self._network.dial(settings.endpoint, settings.dial_seconds), self._desk)
        if self._dial is None or not self._dial.ended:
            return
        dial, self._dial = self._dial, None
        if dial.error is not None:
            client.dial_failed(str(dial.error) or type(dial.error).__name__, now)
            return
        self._link, self._rest = dial.result, memoryview(b"")
        self._session = client.connected(now, int(self._wall().timestamp() * 1000))

    def _read(self) -> None:
        self._more = False
        for _ in range(_READS):
            if self._link is None:
                return
            try:
                data = self._link.receive()
            except OSError as error:
                self._client.broken(_text(error), self._now())
                self._leave()
                return
            if data is None:
                return
            self._client.receive(data, self._now())
            if self._session is not None and self._session.ended:
                self._leave()
                return
        self._more = True

    def _write(self) -> None:
        while self._link is not None and self._session is not None:
            if self._session.ended:
                self._leave()
                return
            if not self._rest:
                self._rest = memoryview(self._client.data_to_send(self._now()))
                if not self._rest:
                    return
            try:
                sent = self._link.send(self._rest)
            except OSError as error:
                self._client.broken(_text(error), self._now())
                self._leave()
                return
            if not sent:
                return
            self._rest = self._rest[sent:]
            if not self._rest:
                self._client.written(self._now())

    def _leave(self) -> None:
        """The session has ended: send the last data if the connection accepts it, and close the connection."""
        link, session = self._link, self._session
        self._link = self._session = None
        if link is None:
            return
        try:
            if session is not None and not self._rest:
                last = session.data_to_send()
                if last:
                    link.send(memoryview(last))
        except OSError as error:
            log.debug("the connection ended before its last data was sent: %s", error)
        finally:
            self._rest = memoryview(b"")
            link.close()

    def _obey(self) -> None:
        client = self._client
        methods: dict[Ask, Callable[..., Any]] = {
            Ask.PUT: client.put,
            Ask.TAKEN: client.taken,
            Ask.FINISH: client.finish,
            Ask.REFUSE: client.refuse,
        }
        for ask, arguments in self.exchange.asked():
            methods[ask](*arguments)

    def _pass_on_news(self) -> None:
        news = self._client.news
        if news.deliveries:
            deliveries, news.deliveries = news.deliveries, []
            self.exchange.deliver(deliveries)
        if news.freed_packets:
            packets, size = news.freed_packets, news.freed_bytes
            news.freed_packets = news.freed_bytes = 0
            self.exchange.freed(packets, size)
        if news.remarks:
            remarks, news.remarks = news.remarks, []
            for remark in remarks:
                log.warning(remark)


def _text(error: OSError) -> str:
    return f"the connection is broken: {error}"
