"""Faults that a proxy can apply to a request and its answer, and the choice of requests.

Pure; ``proxy`` applies them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qs, urlsplit

import trio

from kubewire import status_failure

_READS: Final = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Request:
    """A request, as far as faults choose by it."""

    method: str
    target: str
    """Path and query of the request."""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def is_watch(self) -> bool:
        return parse_qs(urlsplit(self.target).query).get("watch", ["0"])[0] in {"1", "true"}

    @property
    def is_write(self) -> bool:
        return self.method not in _READS

    @property
    def name(self) -> str:
        """``PATCH stepruns/status``: method, plural and subresource, without names."""
        parts = self.path.strip("/").split("/")
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            rest = rest[2:]
        return f"{self.method} {'/'.join([*rest[:1], *rest[2:]])}"


class Fault:
    """What happens instead of passing on a request and its answer."""


@dataclass(frozen=True, slots=True)
class Refuse(Fault):
    """The server never gets the request. The client gets ``code``."""

    code: int
    reason: str
    message: str = "a fault of the test's own"
    retry_after_seconds: int | None = None

    def body(self) -> dict[str, object]:
        return {**status_failure(self.reason, self.message), "code": self.code}


@dataclass(frozen=True, slots=True)
class LoseRequest(Fault):
    """The connection breaks before the server gets the request."""


@dataclass(frozen=True, slots=True)
class LoseAnswer(Fault):
    """The server does what the request asks, and the connection breaks before the client gets the answer."""


@dataclass(frozen=True, slots=True)
class Repeat(Fault):
    """The server gets the request twice, as from a proxy that retries. The client gets the second answer."""


@dataclass(frozen=True, slots=True)
class Delay(Fault):
    """The answer comes later."""

    seconds: float


class Moment(StrEnum):
    """How far a request has come."""

    ASKED = "before the server sees it"
    DONE = "done, and the client not told"
    TOLD = "answered"


@dataclass(frozen=True, slots=True)
class Hold(Fault):
    """The request and its connection wait at ``moment``, until ``release`` is set.

    ``held`` says that it has arrived.
    """

    moment: Moment = Moment.ASKED
    release: trio.Event = field(default_factory=trio.Event)
    held: trio.Event = field(default_factory=trio.Event)

    async def wait(self) -> None:
        self.held.set()
        await self.release.wait()


@dataclass(frozen=True, slots=True)
class Cut(Fault):
    """The connection breaks after this many bytes of the answer's body, perhaps in the middle of a line."""

    after_bytes: int


@dataclass(frozen=True, slots=True)
class RepeatLines(Fault):
    """Every line of the answer comes ``times`` times: duplicate events of a watch."""

    times: int = 2


@dataclass(frozen=True, slots=True)
class Late(Fault):
    """Every piece of the answer comes ``seconds`` later than the server sent it, in the same order."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Mute(Fault):
    """A half-open connection: no part of the answer comes, and nothing breaks."""


Choice = Callable[[Request], bool]


@dataclass(slots=True)
class Rule:
    """A fault for chosen requests, a limited number of times."""

    fault: Fault
    chosen: Choice
    times: int | None = 1
    """None means every time."""
    met: int = 0
    """How often the fault was applied."""

    def takes(self, request: Request) -> bool:
        """Whether the rule takes this request. If so, it counts the request."""
        if (self.times is not None and self.met >= self.times) or not self.chosen(request):
            return False
        self.met += 1
        return True


def named(*names: str) -> Choice:
    """Requests with these names, such as ``POST jobs``."""
    return lambda request: request.name in names


def writes(request: Request) -> bool:
    return request.is_write


def watches(request: Request) -> bool:
    return request.is_watch


def a_share(share: float, among: Choice, seed: int) -> Choice:
    """This share of the requests, chosen at random. The choice repeats with ``seed``."""
    chance = random.Random(seed)
    return lambda request: among(request) and chance.random() < share


def everything(request: Request) -> bool:
    return True
