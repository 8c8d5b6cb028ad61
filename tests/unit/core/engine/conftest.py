"""The in-memory world of the fuzz suite, for readable scenarios under a mock clock that jumps by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from core.api.objects import NamespacedName
from fuzz.engine.world import World


class Scenario:
    """One Story and one run of it in a world."""

    def __init__(self, world: World, steps: list[dict[str, Any]], run: Mapping[str, Any] | None = None, **spec: Any):
        self.world = world
        world.add_story("story", {"steps": steps, **spec})
        self.key: NamespacedName = world.add_run("run", "story", **(run or {}))

    async def to_the_end(self) -> dict[str, Any]:
        """Start an engine and wait until the run ends; returns its status."""
        self.world.start(self.key)
        assert await self.world.until_ended(self.key), self.status
        await self.world.quiet()
        assert self.world.crashes == []
        return self.status

    @property
    def status(self) -> dict[str, Any]:
        return self.world.status(self.key)

    @property
    def phases(self) -> dict[str, str]:
        return self.world.phases(self.key)

    def writes(self, kind: str | None = None) -> int:
        """How many effective writes the engine has made, to one kind or to all kinds."""
        return sum(
            write.actor.startswith("operator") and kind in (None, write.place[0])
            for write in self.world.cluster.history
        )


@pytest.fixture
def scenario() -> type[Scenario]:
    return Scenario
