"""Measures operators beside thousands of finished runs on a real control plane, and without them.

The finished runs are copies of one that was executed; some still have their StepRun.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Iterable
from copy import deepcopy
from pathlib import Path
from typing import Final

import trio

from bench.handover import Handover, measure_handover
from bench.history import FINISHED, RECENT
from bench.plane.stand import PlaneStand, open_plane_stand
from bench.plane.work import one_step_runs
from bench.report import Row, milliseconds
from bench.stand import NAMESPACE
from bubu_contract.identity import label_value
from core.api import keys
from core.api.objects import Object, has_ended
from core.api.resource import STEP_RUN, STORY_RUN, Resource
from core.kube.client import KubeClient
from core.workloads.restored import is_alien
from deployment.permissions.roles import DEFAULT_INSTALLATION

AT_ONCE: Final = 16
"""Requests of the copying."""
DEADLINE_SECONDS: Final = 1_200.0
SEED: Final = "seed"
_OF_THE_SERVER: Final = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")


def measure() -> list[Row]:
    return trio.run(_measure)


async def _measure() -> list[Row]:
    with trio.fail_after(DEADLINE_SECONDS), tempfile.TemporaryDirectory(prefix="bobrapet-bench-") as folder:
        async with open_plane_stand() as stand:
            work = await one_step_runs(stand)
            await work.start(SEED)
            run, step_run = await _ended(stand.client, STORY_RUN), await _ended(stand.client, STEP_RUN)
            await stand.operator.stop()
            story = run["spec"]["storyRef"]["name"]
            without = await _handover(stand, story, "before", Path(folder))
            await _copy(stand.client, run, step_run)
            beside = await _handover(stand, story, "after", Path(folder))
    return [
        *_compared("CPU of an operator at its start", without, beside, lambda one: f"{one.start:.1f} s"),
        *_compared("its memory at rest", without, beside, lambda one: f"{one.memory / 2**20:.0f} MiB"),
        *_compared(
            "an operator that has waited for the Lease gets it → first Job of a run, p50",
            without,
            beside,
            lambda one: milliseconds(one.seconds),
        ),
    ]


def _compared(what: str, without: Handover, beside: Handover, shown: Callable[[Handover], str]) -> Iterable[Row]:
    yield Row(f"{what}: no finished runs", shown(without))
    yield Row(f"{what}: beside {FINISHED:,} finished runs, {RECENT:,} StepRuns", shown(beside))


async def _handover(stand: PlaneStand, story: str, prefix: str, directory: Path) -> Handover:
    account = DEFAULT_INSTALLATION
    kubeconfig = await stand.plane.kubeconfig_of(account.service_account, account.namespace)
    return await measure_handover(stand.client, kubeconfig, story, prefix, directory)


async def _ended(client: KubeClient, kind: Resource) -> Object:
    while True:
        found = [obj for obj in (await client.list(kind, NAMESPACE)).items if has_ended(obj)]
        if found:
            return found[0]
        await trio.sleep(0.2)


async def _copy(client: KubeClient, run: Object, step_run: Object) -> None:
    """While no operator works: it would execute a copy before its status is written."""

    async def copy(number: int) -> None:
        name = f"finished-{number}"
        made = await _store(client, STORY_RUN, _fresh(run, name))
        if number < RECENT:
            await _store(client, STEP_RUN, _of_run(_fresh(step_run, f"{name}-{step_run['spec']['stepId']}"), made))

    await _each(range(FINISHED), copy)


def _of_run(step_run: Object, run: Object) -> Object:
    """The copy of a StepRun, as if ``run`` had created it: not one that a backup has brought back."""
    name, uid = run["metadata"]["name"], run["metadata"]["uid"]
    step_run["metadata"]["ownerReferences"][0] |= {"name": name, "uid": uid}
    step_run["metadata"]["annotations"][keys.ANNOTATION_CREATED_BY_RUN] = uid
    step_run["metadata"]["labels"][keys.LABEL_STORY_RUN] = label_value(name)
    step_run["spec"]["storyRunRef"]["name"] = name
    assert not is_alien(step_run)
    return step_run


async def _store(client: KubeClient, kind: Resource, obj: Object) -> Object:
    made = await client.create(kind, obj, namespace=NAMESPACE)
    status = {**obj["status"], **({"observedUid": made["metadata"]["uid"]} if "observedUid" in obj["status"] else {})}
    return await client.patch(
        kind, made["metadata"]["name"], {"status": status}, namespace=NAMESPACE, subresource="status"
    )


def _fresh(obj: Object, name: str) -> Object:
    copy = deepcopy(obj)
    copy["metadata"] = {key: value for key, value in copy["metadata"].items() if key not in _OF_THE_SERVER}
    copy["metadata"]["name"] = name
    return copy


async def _each(numbers: Iterable[int], work: Callable[[int], Awaitable[None]]) -> None:
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def one(number: int) -> None:
        async with limiter:
            await work(number)

    async with trio.open_nursery() as nursery:
        for number in numbers:
            nursery.start_soon(one, number)
