"""Plays a campaign: runs with large outputs, and their deletion, while operator, containers and store are killed.

``make bench BENCH=stored-data`` plays the full size, ``tests/e2e/test_stored_data.py`` a small one.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
import trio

from bench.process import command_line, descendants
from bubu_contract.references import is_intact
from core.api.objects import Object
from core.api.resource import (
    CONFIG_MAP,
    ENGRAM,
    ENGRAM_TEMPLATE,
    SECRET,
    STEP_RUN,
    STORY,
    STORY_RUN,
    Resource,
)
from core.kube.client import KubeClient
from deployment.permissions.names import CONFIG_NAME
from tests.e2e.deliveries.killing import instants
from tests.e2e.deliveries.stand import OperatedPlane, open_operated_plane
from tests.e2e.object_store.gateway import BUCKET, REGION, Gateway, open_gateway
from tests.integration.operator_cluster import NAMESPACE_NAME, OPERATOR_NAMESPACE, eventually, status_of, step

_PROGRAM: Final = Path(__file__).parent.parent / "engrams" / "large_data.py"
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_CONTAINER_SECONDS: Final = 60.0
_UNTIL: Final = 0.75
"""The share of the work up to which programs are killed: the last runs may have no container any more."""
_WITHIN_SECONDS: Final = 0.5
_USERS: Final = 8
"""Who create and delete runs concurrently."""
_RETRY: Final = {"retry": {"maxRetries": 10, "delay": "200ms"}}


class StoreVictim(StrEnum):
    OPERATOR = "operator"
    CONTAINER = "container"
    STORE = "object store"


@dataclass(frozen=True, slots=True)
class StoredDataPlan:
    """What to play."""

    runs: int
    output_bytes: int
    kills: Mapping[StoreVictim, int]
    """While runs work; while they are deleted, operator and store are killed half as often again."""
    seconds: float
    """The limit for all runs, and for all deletions."""
    seed: int = 1
    at_once: int = 8
    """Steps that work concurrently."""


@dataclass
class StoredDataOutcome:
    """What has happened."""

    run_seconds: float = 0.0
    delete_seconds: float = 0.0
    stored_objects: int = 0
    stored_bytes: int = 0
    retries: int = 0
    """Attempts beyond the first ones."""
    largest_run_bytes: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    """What is wrong; empty if nothing was lost, served in part, or left."""


@dataclass(frozen=True, slots=True)
class _Stand:
    there: OperatedPlane
    gateway: Gateway

    @property
    def client(self) -> KubeClient:
        return self.there.client

    async def listed(self, resource: Resource) -> list[Object]:
        return (await self.client.list(resource, NAMESPACE_NAME)).items

    async def kill_operator(self) -> None:
        await self.there.operator.kill()
        self.there.operator.start()

    async def kill_container(self) -> None:
        """``kill -9`` of a program of a step, once there is one."""

        async def killed() -> bool:
            for pid in descendants(os.getpid()):
                if str(_PROGRAM).encode() in command_line(pid):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        return True
            await trio.lowlevel.checkpoint()
            return False

        await eventually(killed, seconds=_CONTAINER_SECONDS)


async def play(plan: StoredDataPlan, directory: Path) -> StoredDataOutcome:
    """Play ``plan`` on a control plane and an S3 server of its own, with all files and logs in ``directory``."""
    outcome = StoredDataOutcome()
    images = directory / "images.json"
    async with open_gateway(directory) as gateway:
        trust = {"SSL_CERT_FILE": str(gateway.authority.ca_file)}
        commands = {name: ["/usr/bin/env", *_lines(trust), sys.executable, str(_PROGRAM), name] for name in _ENGRAMS}
        images.write_bytes(orjson.dumps({"images": {f"test/{name}": {"command": commands[name]} for name in _ENGRAMS}}))
        async with open_operated_plane(directory, images, trust) as there:
            stand = _Stand(there, gateway)
            await _furnish(stand, plan)
            began_at = trio.current_time()
            with trio.move_on_after(plan.seconds):
                await _run_all(stand, plan, outcome)
            outcome.run_seconds = trio.current_time() - began_at
            await _examine(stand, plan, outcome)
            began_at = trio.current_time()
            with trio.move_on_after(plan.seconds):
                await _delete_all(stand, plan, outcome)
            outcome.delete_seconds = trio.current_time() - began_at
            outcome.problems += [f"{run['metadata']['name']} was not deleted" for run in await stand.listed(STORY_RUN)]
        left = gateway.object_keys()
    outcome.problems += [f"{key} is left" for key in left]
    return outcome


_ENGRAMS: Final = ("make", "measure")


async def _furnish(stand: _Stand, plan: StoredDataPlan) -> None:
    """The store's Secret and the settings of the operator, Engrams, and a Story for each letter."""
    secret = {"metadata": {"name": "store-access", "namespace": OPERATOR_NAMESPACE}}
    await stand.client.create(SECRET, {**secret, "stringData": stand.gateway.credentials})
    config = {
        "controller.storage.provider": "s3",
        "controller.storage.s3.bucket": BUCKET,
        "controller.storage.s3.region": REGION,
        "controller.storage.s3.endpoint": stand.gateway.url,
        "controller.storage.s3.use-path-style": "true",
        "controller.storage.s3.auth-secret-name": "store-access",
        "controller.storage.s3.credential-namespaces": NAMESPACE_NAME,
        "storyrun.global-concurrency": str(plan.at_once),
    }
    metadata = {"name": CONFIG_NAME, "namespace": OPERATOR_NAMESPACE}
    await stand.client.create(CONFIG_MAP, {"metadata": metadata, "data": config})

    async def create(resource: Resource, name: str, spec: Object) -> None:
        of = {"name": name} if resource is ENGRAM_TEMPLATE else {"name": name, "namespace": NAMESPACE_NAME}
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        await stand.client.create(resource, {**kind, "metadata": of, "spec": spec})

    for name in _ENGRAMS:
        template = {"version": "1.0.0", "image": f"test/{name}", "supportedModes": ["job"]}
        await create(ENGRAM_TEMPLATE, name, template)
        await create(ENGRAM, name, {"version": "1.0.0", "templateRef": {"name": name}})
    for letter in _LETTERS:
        wanted = {"size": plan.output_bytes, "letter": letter}
        made = step("make", "make", execution=_RETRY, **{"with": wanted})
        measured = step("measure", "measure", execution=_RETRY, **{"with": {"text": "{{ steps.make.output.text }}"}})
        output = {"text": "{{ steps.make.output.text }}", "measured": "{{ steps.measure.output }}"}
        await create(STORY, f"large-{letter}", {"pattern": "batch", "steps": [made, measured], "output": output})


async def _run_all(stand: _Stand, plan: StoredDataPlan, outcome: StoredDataOutcome) -> None:
    """Returns when every run has ended, and every kill has happened."""
    ended = 0

    async def start(name: str, letter: str) -> None:
        kind = {"apiVersion": STORY_RUN.api_version, "kind": STORY_RUN.kind}
        metadata = {"name": name, "namespace": NAMESPACE_NAME}
        spec = {"storyRef": {"name": f"large-{letter}"}}
        await stand.client.create(STORY_RUN, {**kind, "metadata": metadata, "spec": spec})

    async def all_ended() -> bool:
        nonlocal ended
        ended = sum(1 for run in await stand.listed(STORY_RUN) if status_of(run).get("finishedAt"))
        return ended == plan.runs

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(eventually, all_ended, seconds=plan.seconds))
        nursery.start_soon(_kill, stand, plan.kills, plan.seed, lambda: ended / plan.runs, outcome.kills, plan.seconds)
        await _together([partial(start, name, letter) for name, letter in _named(plan)])


async def _delete_all(stand: _Stand, plan: StoredDataPlan, outcome: StoredDataOutcome) -> None:
    """Returns when no run is left, and every kill has happened."""
    left = plan.runs

    async def delete(name: str) -> None:
        await stand.client.delete(STORY_RUN, name, NAMESPACE_NAME)

    async def all_gone() -> bool:
        nonlocal left
        left = len(await stand.listed(STORY_RUN))
        return not left

    kills = {victim: (plan.kills[victim] + 1) // 2 for victim in (StoreVictim.OPERATOR, StoreVictim.STORE)}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(eventually, all_gone, seconds=plan.seconds))
        nursery.start_soon(
            _kill, stand, kills, plan.seed + 1, lambda: 1 - left / plan.runs, outcome.kills, plan.seconds
        )
        await _together([partial(delete, name) for name, _ in _named(plan)])


async def _kill(
    stand: _Stand,
    kills: Mapping[StoreVictim, int],
    seed: int,
    progress: Callable[[], float],
    killed: Counter[str],
    seconds: float,
) -> None:
    """Kill each victim as often as ``kills`` says, at random instants of the whole work."""
    act: dict[StoreVictim, Callable[[], Awaitable[None]]] = {
        StoreVictim.OPERATOR: stand.kill_operator,
        StoreVictim.CONTAINER: stand.kill_container,
        StoreVictim.STORE: stand.gateway.restart,
    }

    async def again_and_again(victim: StoreVictim) -> None:
        chance = random.Random(f"{victim} {seed}")
        for share in instants(chance, kills[victim]):
            await eventually(partial(_reached, progress, share * _UNTIL), seconds=seconds)
            await trio.sleep(chance.uniform(0.0, _WITHIN_SECONDS))
            await act[victim]()
            killed[str(victim)] += 1

    async with trio.open_nursery() as nursery:
        for victim in kills:
            nursery.start_soon(again_and_again, victim)


async def _reached(progress: Callable[[], float], share: float) -> bool:
    await trio.lowlevel.checkpoint()
    return progress() >= share


async def _examine(stand: _Stand, plan: StoredDataPlan, outcome: StoredDataOutcome) -> None:
    """Note what is wrong with runs, steps and stored objects."""
    runs = {run["metadata"]["name"]: status_of(run) for run in await stand.listed(STORY_RUN)}
    step_runs = {obj["metadata"]["name"]: status_of(obj) for obj in await stand.listed(STEP_RUN)}
    outcome.retries = sum(status.get("retries", 0) for status in step_runs.values())
    outcome.largest_run_bytes = max((len(orjson.dumps(status)) for status in runs.values()), default=0)
    for name, letter in _named(plan):
        status, expected = runs.get(name, {}), {"length": plan.output_bytes, "letter": letter}
        if status.get("phase") != "Succeeded":
            outcome.problems.append(f"{name} is {status.get('phase')}: {status.get('message')}")
        elif (found := step_runs[f"{name}-measure"].get("output")) != expected:
            outcome.problems.append(f"{name} has read {found}")
        elif not isinstance(status["output"]["text"], dict):
            outcome.problems.append(f"{name} has its data in its status")
    keys = await trio.to_thread.run_sync(partial(_stored, stand.gateway.folder, stand.gateway.object_keys()))
    outcome.stored_objects, outcome.stored_bytes = len(keys), sum(size for _, size, _ in keys)
    outcome.problems += [f"{key} has other content than its key says" for key, _, intact in keys if not intact]
    referred = {key for status in runs.values() for key in _references(status.get("output"))}
    outcome.problems += [f"{key} is not there" for key in sorted(referred - {key for key, _, _ in keys})]


def _stored(folder: Path, keys: Sequence[str]) -> list[tuple[str, int, bool]]:
    """Key, size and soundness of each object."""
    contents = ((key, (folder / key).read_bytes()) for key in keys)
    return [(key, len(content), is_intact(key, content)) for key, content in contents]


def _references(output: Any) -> Iterator[str]:
    for value in (output or {}).values():
        if isinstance(value, dict) and "$bubuStorageRef" in value:
            yield value["$bubuStorageRef"]


def _named(plan: StoredDataPlan) -> Iterator[tuple[str, str]]:
    """Name and letter of each run. Every tenth name is the beginning of others."""
    return ((f"run-{number}", _LETTERS[number % len(_LETTERS)]) for number in range(plan.runs))


async def _together(calls: Sequence[Callable[[], Awaitable[None]]]) -> None:
    limiter = trio.CapacityLimiter(_USERS)

    async def limited(call: Callable[[], Awaitable[None]]) -> None:
        async with limiter:
            await call()

    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(limited, call)


def _lines(environment: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in environment.items()]
