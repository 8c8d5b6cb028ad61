"""An operator that follows its ConfigMap, and programs for its steps."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio

from core.api.objects import Object
from core.api.resource import CONFIG_MAP, ENGRAM, JOB, SECRET, STORY_RUN
from core.api.store_credentials import keys_of
from core.engine.clock import system_now
from core.kube.events import EventRecorder
from core.ownership.ownership import WHOLE_CLUSTER
from core.policy.config import parse_config
from manager.config_source import ConfigSource
from tests.integration.operator_cluster import (
    NAMESPACE_NAME,
    OPERATOR_NAMESPACE,
    OperatorCluster,
)

CONFIG_NAME: Final = "bobrapet-operator-config"


class LogTexts(logging.Handler):
    """What the operator logs: messages with their fields."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(f"{record.getMessage()} {getattr(record, 'bobrapet_fields', {})}")


@dataclass
class LiveOperator:
    """A running operator that reads its settings from a ConfigMap. ``directory`` is the test's."""

    world: OperatorCluster
    source: ConfigSource
    directory: Path
    log: LogTexts = field(default_factory=LogTexts)

    @property
    def store(self) -> Path:
        """The folder of the object store, where the settings name it."""
        return self.directory / "store"

    async def prepare(self) -> None:
        """The Engrams of the plays. What waits, waits until the test ends."""
        await self.world.engram("noop")
        await self.world.engram("broken", "exit 137")
        says = """printf '{"n":{"$bubuStorageRef":"%s"}}' "$KEY\""""
        key = {"name": "KEY", "value": "{{ inputs.key }}"}
        await self.world.engram("says", says, container={"result": {"from": "stdout"}, "env": [key]})
        await self.world.engram("patient", "sleep 60")
        await self.world.engram("stubborn", "trap '' TERM; sleep 60")
        far = {"version": "1.0.0", "templateRef": {"name": "noop"}}
        obj = {"apiVersion": ENGRAM.api_version, "kind": ENGRAM.kind, "metadata": {"name": "far"}, "spec": far}
        await self.world.client.create(ENGRAM, obj, namespace=OPERATOR_NAMESPACE)
        names = (key for provider in ("s3", "gcs", "azure") for key in keys_of(provider))
        access = {"metadata": {"name": "store-keys"}, "stringData": dict.fromkeys(names, "x")}
        await self.world.client.create(SECRET, access, namespace=OPERATOR_NAMESPACE)

    async def configure(self, data: Mapping[str, str]) -> None:
        """Write the ConfigMap, and wait until the operator follows it, or refuses it."""
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_NAME}, "data": dict(data)}
        await self.world.client.apply(
            CONFIG_MAP, body, namespace=OPERATOR_NAMESPACE, field_manager="administrator", force=True
        )
        wanted = parse_config(data).settings

        async def is_seen() -> bool:
            await trio.lowlevel.checkpoint()
            return bool(self.source.problem) if wanted is None else self.source.current() == wanted

        await self.world.eventually(is_seen)

    async def start(self, name: str, *steps: Object, inputs: Object | None = None, **spec: Any) -> None:
        """A Story with these steps and a run of it, both with this name."""
        await self.world.story(name, *steps, **spec)
        await self.world.create(STORY_RUN, name, {"storyRef": {"name": name}, "inputs": inputs or {}})

    async def finish(self, name: str, *steps: Object, inputs: Object | None = None, **spec: Any) -> Object:
        """The same; returns the run once it has ended."""
        await self.start(name, *steps, inputs=inputs, **spec)
        return await self.world.finished(name)

    async def jobs_of(self, run: str, count: int = 1) -> list[Object]:
        """The Jobs of the run, once there are so many."""
        found: list[Object] = []

        async def are_there() -> bool:
            listed = (await self.world.client.list(JOB, NAMESPACE_NAME)).items
            found[:] = [job for job in listed if job["metadata"]["name"].startswith(f"{run}-")]
            return len(found) >= count

        await self.world.eventually(are_there)
        return found


@asynccontextmanager
async def open_live_operator(world: OperatorCluster, directory: Path) -> AsyncIterator[LiveOperator]:
    """An operator for the block that follows its ConfigMap, as ``manager.run`` connects the two."""
    async with trio.open_nursery() as nursery:
        events = EventRecorder(world.client, now=system_now)
        nursery.start_soon(events.run)
        source = ConfigSource(world.client, OPERATOR_NAMESPACE, CONFIG_NAME, events)
        await nursery.start(source.run)
        async with world.operator_owning(WHOLE_CLUSTER, source.current) as (operator, _):
            source.listeners.append(operator.settings_changed)
            live = LiveOperator(world, source, directory)
            await live.prepare()
            logger = logging.getLogger("bobrapet")
            level = logger.level
            logger.addHandler(live.log)
            try:
                yield live
            finally:
                logger.removeHandler(live.log)
                logger.setLevel(level)
        nursery.cancel_scope.cancel()
