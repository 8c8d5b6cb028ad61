"""A client and a hub in memory, with a line between them that a test moves bytes over, and breaks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from bubu_sdk.streaming.client import StreamClient
from bubu_sdk.streaming.inbox import Delivery
from bubu_sdk.streaming.session import Session
from bubu_sdk.streaming.settings import Endpoint, Pace, Reconnect, StreamSettings
from bubu_sdk.streaming.translation import packet_of, request_of
from bubu_sdk.testing.stream_hub import HubConnection, StreamHub

SETTINGS = StreamSettings(Endpoint("127.0.0.1", 50051), "default/binding", reconnect=Reconnect(-1), pace=Pace())
UNIX_MS = 1_700_000_000_000


def encoded(value: Any, **metadata: str) -> bytes:
    """An output as one packet."""
    packet = packet_of(value)
    assert packet is not None
    request = request_of(packet, metadata, UNIX_MS)
    assert isinstance(request, bytes)
    return request


@dataclass
class Line:
    """Nothing moves by itself."""

    hub: StreamHub = field(default_factory=StreamHub)
    settings: StreamSettings = SETTINGS
    now: float = 0.0
    deliveries: list[Delivery] = field(default_factory=list)
    """Those that the function has not taken."""
    remarks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = StreamClient(self.settings, self.now, lambda: 0.5)
        self.session: Session | None = None
        self.far: HubConnection | None = None

    @property
    def is_up(self) -> bool:
        return self.session is not None

    def ready(self) -> bool:
        return self.session is not None and self.session.ready

    def failure(self) -> str | None:
        return self.client.failure

    def closed(self) -> bool:
        return self.client.closed

    def connect(self) -> None:
        assert self.client.dial_at is not None
        self.now = max(self.now, self.client.dial_at)
        self.client.dialing()
        self.session = self.client.connected(self.now, UNIX_MS)
        self.far = self.hub.connect()

    def up(self, *, arrives: bool = True) -> bool:
        """Write what the client has; ``arrives`` is False for what is still in the network when it breaks."""
        if self.session is None or self.far is None:
            return False
        data = self.client.data_to_send(self.now) or self.session.data_to_send()
        if not data:
            return False
        if arrives:
            self.far.receive(data)
        self.client.written(self.now)
        self._note()
        return True

    def down(self) -> bool:
        """Deliver what the hub has."""
        if self.session is None or self.far is None:
            return False
        data = self.far.data_to_send()
        if data:
            self.client.receive(data, self.now)
            self._note()
        return bool(data)

    def drop(self) -> None:
        """The connection breaks, and both sides see it."""
        if self.session is not None and self.far is not None:
            self.client.broken("the line is cut", self.now)
            self.far.receive(b"")
            self._note()
            self.session = self.far = None

    def move(self) -> None:
        """Until neither has anything to say."""
        while self.up() | self.down():
            pass

    def settle(self) -> None:
        """As ``move``, with new connections where one is missing."""
        for _ in range(3):
            if self.session is None and self.client.dial_at is not None:
                self.connect()
            self.move()

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.client.tick(self.now)
        self.move()

    def take(self) -> Delivery:
        delivery = self.deliveries.pop(0)
        self.client.taken(delivery)
        return delivery

    def _note(self) -> None:
        news = self.client.news
        self.deliveries += news.deliveries
        self.remarks += news.remarks
        news.deliveries, news.remarks = [], []
        if self.session is not None and self.session.ended and self.client.session is None:
            self.session = None


def payload_of(delivery: Delivery) -> Any:
    return json.loads(json.dumps(delivery.content.payload))
