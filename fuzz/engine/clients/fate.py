"""Which requests of clients fail, and at which stops a client dies or is frozen; all clients count together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from fuzz.engine.process import Fault


class StopFate(NamedTuple):
    """What happens to a client at one of its stops."""

    dies: bool
    frozen_seconds: float


@dataclass
class Fates:
    """A stop is the moment before or after a request or a wait. Stops and requests are numbered from 1."""

    kills: Collection[int] = ()
    """The stops at which the client that reaches them dies."""
    freezes: Mapping[int, float] = field(default_factory=dict)
    """The stops at which the client that reaches them is frozen, with the seconds."""
    faults: Mapping[int, Fault] = field(default_factory=dict)
    """By number of the request."""
    latency_seconds: float = 0.0
    """For each request, in each direction."""
    stops: int = 0
    moments: list[int] = field(default_factory=list)
    """The stops at which a death can make a difference: a client leaves behind what it has stored, and its effects."""
    requests: int = 0
    frozen_at: dict[str, float] = field(default_factory=dict)
    """By the name of a client: when it was frozen last."""
    failed_at: dict[str, list[float]] = field(default_factory=dict)
    """By the name of a client: when its requests had faults."""
    faulted: dict[Fault, int] = field(default_factory=lambda: dict.fromkeys(Fault, 0))
    full_until: float = 0.0
    """In virtual time: until then all their writes are refused."""
    healed: bool = False
    """Requests have no more faults."""
    _left_behind: tuple[object, ...] = ()

    def next_stop(self, client: str, left_behind: tuple[object, ...], now: float) -> StopFate:
        """``left_behind``: equal if nothing has changed outside of the client since its last stop."""
        self.stops += 1
        if (client, *left_behind) != self._left_behind:
            self.moments.append(self.stops)
            self._left_behind = (client, *left_behind)
        fate = StopFate(self.stops in self.kills, self.freezes.get(self.stops, 0.0))
        if fate.frozen_seconds:
            self.frozen_at[client] = now
        return fate

    def next_request(self, client: str, now: float) -> Fault | None:
        self.requests += 1
        fault = None if self.healed else self.faults.get(self.requests)
        if fault is not None:
            self.faulted[fault] += 1
            self.failed_at.setdefault(client, []).append(now)
        return fault

    def is_full(self, client: str, now: float) -> bool:
        """Whether a write of the client is refused now; counts it among the faults."""
        if self.healed or now >= self.full_until:
            return False
        self.failed_at.setdefault(client, []).append(now)
        return True
