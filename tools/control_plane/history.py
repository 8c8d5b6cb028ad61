"""Every write to the cluster's objects, in the order of etcd: what was created how often, and how it ended.

etcd itself reports the writes, so that nothing slow, stale or broken is in between.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import orjson
import trio

_REGISTRY: Final = "/registry/"
_NOISE: Final = ("events", "leases", "masterleases", "minions", "endpointslices")
"""Kinds that many programs write all the time."""


@dataclass(frozen=True, slots=True)
class Write:
    """One revision of one object."""

    key: str
    """Kind, namespace and name: ``runs.bubustack.io/stepruns/team/one-a``, ``jobs/team/one-a``."""
    created: bool
    content: dict[str, Any] | None
    """None if the object was deleted. Empty for built-in kinds, which are not stored as JSON."""

    @property
    def deleted(self) -> bool:
        return self.content is None


@dataclass
class History:
    """The writes since it was opened."""

    writes: list[Write] = field(default_factory=list)

    def creations(self) -> Counter[str]:
        return Counter(write.key for write in self.writes if write.created)

    def deletions(self) -> Counter[str]:
        return Counter(write.key for write in self.writes if write.deleted)

    def of(self, prefix: str) -> Iterator[Write]:
        """Writes to objects whose keys begin with ``prefix``."""
        return (write for write in self.writes if write.key.startswith(prefix))


@asynccontextmanager
async def open_history(etcd_url: str) -> AsyncIterator[History]:
    """Records the writes from now on, during the block."""
    history = History()
    async with following(etcd_url, history.writes.append):
        yield history


@asynccontextmanager
async def following(
    etcd_url: str, note: Callable[[Write], None], *, under: str = "", without: Collection[str] = _NOISE
) -> AsyncIterator[None]:
    """``note`` gets each write from now on, during the block; only those to keys that begin with ``under``.

    ``without``: kinds whose writes are left out.
    """

    def chosen(write: Write) -> None:
        if write.key.partition("/")[0] not in without:
            note(write)

    timeout = httpx.Timeout(30, read=None)
    async with (
        httpx.AsyncClient(base_url=etcd_url, trust_env=False, timeout=timeout) as client,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(_follow, client, chosen, f"{_REGISTRY}{under}")
        yield
        nursery.cancel_scope.cancel()


async def _follow(
    client: httpx.AsyncClient, note: Callable[[Write], None], prefix: str, *, task_status: trio.TaskStatus[None]
) -> None:
    after_last = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    first, last = (base64.b64encode(key.encode()).decode() for key in (prefix, after_last))
    wanted = {"create_request": {"key": first, "range_end": last}}
    async with client.stream("POST", "/v3/watch", json=wanted) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            result = orjson.loads(line)["result"]
            if result.get("created"):
                task_status.started()
            assert not result.get("canceled"), result
            for event in result.get("events") or ():
                note(_write(event))


def _write(event: dict[str, Any]) -> Write:
    pair = event["kv"]
    key = base64.b64decode(pair["key"]).decode().removeprefix(_REGISTRY)
    if event.get("type") == "DELETE":
        return Write(key, created=False, content=None)
    return Write(key, pair["create_revision"] == pair["mod_revision"], _content(base64.b64decode(pair["value"])))


def _content(stored: bytes) -> dict[str, Any]:
    return orjson.loads(stored) if stored.startswith(b"{") else {}
