"""Object storage in memory, for reconcilers under test."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from core.engine.errors import StorageUnavailableError
from core.engine.payload_port import Offload
from core.payloads.address import Folder, ObjectPlace
from core.payloads.dehydrate import OffloadBounds, plan
from core.payloads.store import Store

_Answer = TypeVar("_Answer")


@dataclass
class MemoryPayloads:
    """Stores values in a dict; ``outage`` is the answer instead, if it is set."""

    objects: dict[str, bytes] = field(default_factory=dict)
    outage: str = ""

    async def fetch(self, value: Any, *, namespace: str, field: str, depth: int, below: str = "") -> Any:
        raise AssertionError(f"no reconciler reads stored data: {field} of {namespace}, {value}, {depth}, {below}")

    async def read_object(self, key: str, *, namespace: str) -> bytes | None:
        raise AssertionError(f"no reconciler reads {key} of {namespace}")

    async def write_object(self, key: str, content: bytes, *, namespace: str) -> None:
        raise AssertionError(f"no reconciler writes {key} of {namespace}: {content!r}")

    async def copy_object(self, source: str, target: str, *, namespace: str) -> None:
        raise AssertionError(f"no reconciler copies {source} to {target} in {namespace}")

    async def use(self, namespace: str, action: Callable[[Store], Awaitable[_Answer]]) -> _Answer:
        raise AssertionError(f"no reconciler under test uses the store of {namespace}: {action}")

    async def offload(self, value: Any, wanted: Offload, *, field: str) -> Any:
        if self.outage:
            raise StorageUnavailableError(f"{field}: {self.outage}")
        place = ObjectPlace(Folder(wanted.stored_as.value), wanted.namespace, wanted.owner)
        planned = plan(value, place, OffloadBounds(wanted.total_bytes, wanted.inline_bytes, wanted.depth))
        self.objects |= {each.key: each.content for each in planned.objects}
        return planned.remaining
