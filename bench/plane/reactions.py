"""Measures how soon a run continues after an approval, a cancellation, a child's end, or a condition that becomes true.

Ten runs are alive at any time. For an action of a user, the time starts when the request is sent. For an event that the
run sees itself, it starts when the measuring side has seen it, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TypeAlias

import trio

from bench.plane.figure import Figure
from bench.plane.stand import PlaneStand
from bench.report import percentile
from bench.stand import NAMESPACE, start_run
from core.api.keys import LABEL_JOB_NAME
from core.api.objects import Object
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, JOB, POD, STEP_RUN, STORY, STORY_RUN, Resource
from core.kube.client import KubeClient
from core.kube.informer import Change, Informer

RUNS = 400
"""Runs of each kind."""
ALIVE = 10
PAUSE_SECONDS = (1.0, 4.0)
"""The range of the time that a run waits for a user. If it were shorter, the start of runs would limit the result. If
it were equal for all runs, they would continue at the same moments.
"""
TARGET_MS = 200
DEADLINE_SECONDS = 300.0
_SEEN = (STORY_RUN, STEP_RUN, JOB, POD)


@dataclass
class _Wait:
    holds: Callable[[Object | None], bool]
    at: float = 0.0
    over: trio.Event = field(default_factory=trio.Event)

    def look(self, obj: Object | None) -> None:
        if not self.over.is_set() and self.holds(obj):
            self.at = trio.current_time()
            self.over.set()


@dataclass
class Sight:
    """The objects that the watches have seen, and when."""

    latest: dict[tuple[Resource, str], Object | None] = field(default_factory=dict)
    """The latest objects by kind and name; Pods by the name of their Job."""
    _waits: dict[tuple[Resource, str], list[_Wait]] = field(default_factory=dict)

    async def when(self, kind: Resource, name: str, holds: Callable[[Object | None], bool]) -> float:
        """Waits until ``holds`` is true; returns when that was seen. An object that does not exist any more is None."""
        wait = _Wait(holds)
        if (kind, name) in self.latest:
            wait.look(self.latest[kind, name])
        self._waits.setdefault((kind, name), []).append(wait)
        await wait.over.wait()
        self._waits[kind, name].remove(wait)
        return wait.at

    def note(self, kind: Resource, change: Change) -> None:
        metadata = change.object["metadata"]
        name = (metadata.get("labels") or {}).get(LABEL_JOB_NAME, "") if kind is POD else metadata["name"]
        self.latest[kind, name] = change.new
        for wait in self._waits.get((kind, name), ()):
            wait.look(change.new)


Measured: TypeAlias = dict[str, list[float]]
"""Key of a figure → seconds."""
Play: TypeAlias = Callable[[PlaneStand, Sight, str, float, Measured], Awaitable[None]]


async def reactions(stand: PlaneStand) -> list[Figure]:
    await _install(stand.client)
    measured: Measured = {key: [] for key in _WORDS}
    async with _open_sight(stand.client) as sight:
        for kind, play in (("approval", _approve), ("cancel", _cancel), ("child", _call), ("until", _come_true)):
            await _play_all(stand, sight, kind, play, measured)
    return [
        Figure(
            f"reaction.{key}.p{percent}",
            f"{words}, p{percent}",
            percentile(measured[key], percent) * 1000,
            "ms",
            at_most=bound,
        )
        for key, words in _WORDS.items()
        for percent, bound in ((50, None), (99, TARGET_MS))
    ]


_WORDS = {
    "approval": "approval → next step's Job",
    "cancel.job": "cancel → its Job deleted",
    "cancel.pod": "… its Pod deleted",
    "child": "child's end → its parent's next Job",
    "until": "`until` comes true → next step's Job",
}


async def _play_all(stand: PlaneStand, sight: Sight, kind: str, play: Play, measured: Measured) -> None:
    limiter, pauses = trio.CapacityLimiter(ALIVE), Random(kind)

    async def one(number: int) -> None:
        async with limiter:
            name = f"{kind}-{number}"
            await start_run(stand.client, f"reaction-{kind}", name)
            await play(stand, sight, name, pauses.uniform(*PAUSE_SECONDS), measured)
            await sight.when(STORY_RUN, name, _has_ended)

    with trio.fail_after(DEADLINE_SECONDS):
        async with trio.open_nursery() as nursery:
            for number in range(RUNS):
                nursery.start_soon(one, number)


async def _approve(stand: PlaneStand, sight: Sight, name: str, pause: float, measured: Measured) -> None:
    await sight.when(STORY_RUN, name, lambda run: _step(run, "gate") == "Paused")
    await trio.sleep(pause)
    started = trio.current_time()
    await _approved(stand, name)
    measured["approval"].append(await sight.when(JOB, f"{name}-next", _is_there) - started)


async def _cancel(stand: PlaneStand, sight: Sight, name: str, pause: float, measured: Measured) -> None:
    job = f"{name}-endless"
    await sight.when(POD, job, _is_there)
    await trio.sleep(pause)
    started = trio.current_time()
    await _patch(stand, STORY_RUN, name, {"spec": {"cancelRequested": True}})
    measured["cancel.job"].append(await sight.when(JOB, job, _is_going) - started)
    measured["cancel.pod"].append(await sight.when(POD, job, _is_going) - started)


async def _call(stand: PlaneStand, sight: Sight, name: str, pause: float, measured: Measured) -> None:
    child = f"{name}-sub"
    await sight.when(STORY_RUN, child, lambda run: _step(run, "gate") == "Paused")
    await trio.sleep(pause)
    await _approved(stand, child)
    ended = await sight.when(STORY_RUN, child, _has_ended)
    measured["child"].append(await sight.when(JOB, f"{name}-next", _is_there) - ended)


async def _come_true(stand: PlaneStand, sight: Sight, name: str, pause: float, measured: Measured) -> None:
    await sight.when(STORY_RUN, name, lambda run: _step(run, "ready") == "Paused")
    await sight.when(STEP_RUN, f"{name}-endless", _is_there)
    await trio.sleep(pause)
    started = trio.current_time()
    await _patch(stand, STEP_RUN, f"{name}-endless", {"status": {"signals": {"state": {"ready": True}}}}, "status")
    measured["until"].append(await sight.when(JOB, f"{name}-next", _is_there) - started)
    await sight.when(STORY_RUN, name, lambda run: _step(run, "next") == "Succeeded")
    await _patch(stand, STORY_RUN, name, {"spec": {"cancelRequested": True}})


async def _approved(stand: PlaneStand, name: str) -> None:
    await _patch(stand, STORY_RUN, name, {"status": {"gates": {"gate": {"state": "Approved"}}}}, "status")


async def _patch(stand: PlaneStand, kind: Resource, name: str, patch: Object, subresource: str | None = None) -> None:
    await stand.client.patch(kind, name, patch, namespace=NAMESPACE, subresource=subresource)


def _step(run: Object | None, step: str) -> str:
    states = ((run or {}).get("status") or {}).get("stepStates") or {}
    return str((states.get(step) or {}).get("phase") or "")


def _has_ended(run: Object | None) -> bool:
    return bool(((run or {}).get("status") or {}).get("finishedAt"))


def _is_there(obj: Object | None) -> bool:
    return obj is not None


def _is_going(obj: Object | None) -> bool:
    return obj is None or bool(obj["metadata"].get("deletionTimestamp"))


async def _install(client: KubeClient) -> None:
    for image in ("noop", "endless"):
        template = {"image": f"bench/{image}:1", "version": "1", "supportedModes": ["job"]}
        await _create(client, ENGRAM_TEMPLATE, f"reaction-{image}", template)
        await _create(client, ENGRAM, f"reaction-{image}", {"templateRef": {"name": f"reaction-{image}"}})
    following = {"name": "next", "ref": {"name": "reaction-noop"}}
    endless = {"name": "endless", "ref": {"name": "reaction-endless"}}
    stories: dict[str, list[Object]] = {
        "approval": [{"name": "gate", "type": "gate"}, {**following, "needs": ["gate"]}],
        "cancel": [endless],
        "called": [{"name": "gate", "type": "gate"}],
        "child": [
            {"name": "sub", "type": "executeStory", "with": {"storyRef": {"name": "reaction-called"}}},
            {**following, "needs": ["sub"]},
        ],
        "until": [
            endless,
            {"name": "ready", "type": "wait", "with": {"until": "{{ steps.endless.signals.state.ready }}"}},
            {**following, "needs": ["ready"]},
        ],
    }
    for name, steps in stories.items():
        await _create(client, STORY, f"reaction-{name}", {"steps": steps})


async def _create(client: KubeClient, kind: Resource, name: str, spec: Object) -> None:
    where = {"namespace": NAMESPACE} if kind.namespaced else {}
    body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name, **where}, "spec": spec}
    await client.create(kind, body)


@asynccontextmanager
async def _open_sight(client: KubeClient) -> AsyncIterator[Sight]:
    sight = Sight()
    async with trio.open_nursery() as nursery:
        for kind in _SEEN:
            informer = Informer(client, kind, namespace=NAMESPACE)
            informer.add_handler(partial(sight.note, kind))
            await nursery.start(informer.run)
        yield sight
        nursery.cancel_scope.cancel()
