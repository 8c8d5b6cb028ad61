"""Plays all recordings in one embedded cluster: they are restored, then one operator of ours takes all of them over.

Our admission and our policies are in force from the start, as for whoever applies these objects again.

Three operators follow each other. The first brings the runs to their ends; people approve the gates that wait. The
second has short retentions and removes what has ended. What a test asserts is kept for each recording (``Played``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
import trio

from bubu_contract.instants import format_instant
from cli.embedded.admission import local_webhooks
from core.api.objects import Object, has_ended
from core.api.resource import DEPLOYMENT, ENGRAM, IMPULSE, JOB, POD, STEP_RUN, STORY, STORY_RUN, STORY_TRIGGER, Resource
from core.engine.clock import system_now
from core.engine.redrive.request import pending_redrive
from core.kube.client import KubeClient
from core.kube.errors import ApiError
from core.policy.settings import OperatorSettings
from tests.integration.migration.recording import NAMES, Recording, recording
from tests.integration.migration.restoring import restore
from tests.integration.operator_cluster import OperatorCluster, eventually, open_embedded, status_of

_KEPT: Final = (STORY_RUN, STEP_RUN, JOB, POD, STORY, STORY_TRIGGER, IMPULSE, DEPLOYMENT)
_DEADLINE_SECONDS: Final = 90.0
_WORKER: Final = """
echo "$BUBU_STEPRUN_NAMESPACE/$BUBU_STEPRUN_NAME" >> {log}
[ "$(grep -cx "$BUBU_STEPRUN_NAMESPACE/$BUBU_STEPRUN_NAME" {log})" = 1 ] || exit 0
case "$BUBU_STEPRUN_NAMESPACE/$BUBU_STEPRUN_NAME" in
  {endless}) exec sleep 300;;
esac
"""
ENDLESS: Final = (
    "first-step-runs/one-a",
    "time-nearly-over/one-a",
    "cancel-drains/one-a",
    "cancel-unseen/one-a",
    "timed-out/one-a",
    "being-deleted/one-b",
    "step-timeout-runs/one-a",
)
"""Steps whose first container does not end by itself."""
REPORTED: Final[Mapping[str, tuple[str, Object]]] = {"first-step-runs": ("one-a", {"ok": True})}
"""A StepRun whose container reports a success with this output once our operator has the run. Others exit with 0."""
AWAY: Final[Mapping[str, timedelta]] = dict.fromkeys(
    ("retry-backs-off", "sleeping", "step-timeout-runs", "time-nearly-over", "waiting"), timedelta(seconds=105)
)
"""How long no operator has run, where something is due two minutes after its start.

A time that began anew would be over much later.
"""
APPROVED: Final = {"gate-waits": ("approve",), "gate-in-parallel-with-step": ("approve",)}
"""Gates that are approved once our operator has the run, in the form of that operator."""

Objects = Mapping[str, Mapping[str, Object]]
"""Kind → name → object."""


@dataclass
class Played:
    """One recording."""

    recorded: Recording
    """With its instants as they were restored."""
    restored: Objects
    ended: Objects = field(default_factory=dict)
    """When all runs had ended."""
    cleaned: Objects = field(default_factory=dict)
    """After the retention of all runs."""
    starts: Counter[str] = field(default_factory=Counter)
    """How often a container of each StepRun was started, from the take-over on."""

    @property
    def run(self) -> Object:
        """The run ``one``, at its end."""
        return self.ended["StoryRun"]["one"]


async def play(directory: Path) -> dict[str, Played]:
    log = directory / "starts.log"
    log.touch()
    played: dict[str, Played] = {}

    async def restore_all(client: KubeClient) -> None:
        for name in sorted(NAMES, key=AWAY.__contains__):  # what becomes due comes last
            moved = recording(name).moved_to(system_now() - AWAY.get(name, timedelta(0)))
            await restore(client, moved)
            played[name] = Played(moved, await _objects(client, name))

    async with open_embedded(directory, restore_all, webhooks=local_webhooks()) as world:
        worker = _WORKER.format(log=log, endless="|".join(ENDLESS))
        world.images["migration/worker"] = {"command": ["/bin/sh", "-c", worker]}
        world.images["migration/listener"] = {"command": ["/bin/sh", "-c", "exec sleep 300"]}
        world.image("unused", "exit 0")  # writes the map
        async with world.operator():
            await _approve(world)
            await _is_refused(world)
            await _report(world)
            await _apply_missing(world)
            await _until(world.client, _unfinished)
        for name in NAMES:
            played[name].ended = await _objects(world.client, name)
        for line in log.read_text().split():
            namespace, _, step_run = line.partition("/")
            played[namespace].starts[step_run] += 1
        settings = OperatorSettings()
        async with world.operator(replace(settings, runs=replace(settings.runs, retention_seconds=-1))):
            await _until(world.client, lambda client: _left(client, STORY_RUN, STEP_RUN))
            for name in NAMES:
                for kind in (STORY_TRIGGER, IMPULSE, STORY):
                    await world.client.delete_collection(kind, name)
            await _until(world.client, lambda client: _left(client, STORY))
            for name in NAMES:
                played[name].cleaned = await _objects(world.client, name)
    return played


async def _objects(client: KubeClient, namespace: str) -> dict[str, dict[str, Object]]:
    return {
        kind.kind: {each["metadata"]["name"]: each for each in (await client.list(kind, namespace)).items}
        for kind in _KEPT
    }


async def _approve(world: OperatorCluster) -> None:
    """As the documentation of that operator says: a merge patch of the status that names the gate."""
    for namespace, gates in APPROVED.items():
        if namespace not in NAMES:
            continue
        patch = {"status": {"gates": {gate: {"state": "Approved"} for gate in gates}}}
        await world.client.patch(STORY_RUN, "one", patch, namespace=namespace, subresource="status")


async def _is_refused(world: OperatorCluster) -> None:
    """Admission answers."""
    with pytest.raises(ApiError, match="steps"):
        await world.story("without-steps")


async def _report(world: OperatorCluster) -> None:
    """What an SDK writes at the end of a container."""
    for namespace, (name, output) in REPORTED.items():
        if namespace not in NAMES:
            continue
        report = {"phase": "Succeeded", "exitClass": "success", "output": output}
        patch = {"status": {**report, "finishedAt": format_instant(system_now())}}
        await world.client.patch(STEP_RUN, name, patch, namespace=namespace, subresource="status")


async def _apply_missing(world: OperatorCluster) -> None:
    """The Engram that the run of ``engram-missing`` waits for."""
    if "engram-missing" in NAMES:
        metadata = {"name": "late", "namespace": "engram-missing"}
        spec = {"version": "1.0.0", "templateRef": {"name": "worker"}}
        engram = {"apiVersion": ENGRAM.api_version, "kind": ENGRAM.kind, "metadata": metadata, "spec": spec}
        await world.client.create(ENGRAM, engram)


async def _until(client: KubeClient, unfinished: Callable[[KubeClient], Awaitable[list[str]]]) -> None:
    """Wait until nothing is unfinished. Each look is a few requests for all namespaces: it delays what it waits for."""
    left: list[str] = []

    async def done() -> bool:
        left[:] = await unfinished(client)
        return not left

    try:
        await eventually(done, seconds=_DEADLINE_SECONDS)
    except trio.TooSlowError:
        raise AssertionError(f"these did not get there: {left}") from None


async def _unfinished(client: KubeClient) -> list[str]:
    """Runs that have not ended, and requests without an answer or whose run has not begun."""
    runs = (await client.list(STORY_RUN)).items
    requests = (await client.list(STORY_TRIGGER)).items
    begun = {run["metadata"]["namespace"] for run in runs}
    waiting = [each for each in requests if not status_of(each).get("decision")]
    waiting += [each for each in requests if each["metadata"]["namespace"] not in begun]
    return [_summary(each) for each in (*(run for run in runs if _is_live(run)), *waiting)]


def _is_live(run: Object) -> bool:
    return not has_ended(run) or pending_redrive(run) is not None


async def _left(client: KubeClient, *kinds: Resource) -> list[str]:
    return [_summary(each) for kind in kinds for each in (await client.list(kind)).items]


def _summary(obj: Object) -> str:
    status, metadata = status_of(obj), obj["metadata"]
    place = f"{metadata['namespace']}/{metadata['name']}"
    return f"{obj['kind']} {place} {status.get('phase')} {status.get('message')} {status.get('stepStates')}"
