"""The writer of a run whose writes meet another version, while what it reads stays behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio
from trio.testing import MockClock

from core.engine.errors import StaleError
from fuzz.engine.adapters import ModelRunStore
from fuzz.engine.canonical import engram
from fuzz.engine.cluster import Object
from fuzz.engine.world import open_world


class OutrunRunStore(ModelRunStore):
    """Somebody has written, and the watch does not tell until ``told_at``."""

    told_at: float = 30.0
    refusals: int = 0

    async def patch_run_status(self, run: Object, patch: Mapping[str, Any]) -> Object:
        if trio.current_time() < self.told_at:
            self.refusals += 1
            raise StaleError("another version is stored")
        return await super().patch_run_status(run, patch)


async def test_a_write_that_meets_another_version_again_and_again_is_tried_less_and_less(
    autojump_clock: MockClock, scenario: Any
) -> None:
    async with open_world() as world:
        one = scenario(world, [engram("a")])
        world.start()
        context = world.supervisor._engine
        able = context.runs
        store = OutrunRunStore(able.cluster, able.process)
        object.__setattr__(context, "runs", store)
        world.supervisor.adopt(one.key)
        assert await world.until_ended(one.key)
        ended_at = trio.current_time()

    assert store.refusals < 60
    assert store.told_at <= ended_at < store.told_at + 3
