"""Watches runs, StepRuns, Jobs and Pods from outside and notes when it saw each event, with one clock for all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from bench.stand import NAMESPACE
from core.api.objects import Object
from core.api.phases import Phase
from core.api.resource import JOB, POD, STEP_RUN, STORY_RUN, Resource
from core.kube.client import KubeClient
from core.kube.informer import Change, Informer


@dataclass
class Observer:
    """The observed events; instants are ``trio.current_time()``."""

    job_created: dict[str, list[float]] = field(default_factory=dict)
    """Job name → when each Job of that name was first seen."""
    pod_ended: dict[str, list[float]] = field(default_factory=dict)
    """Name of a Pod's Job → when a Pod was first seen Succeeded or Failed."""
    pod_succeeded: dict[str, int] = field(default_factory=dict)
    """Name of a Pod's Job → how many Pods succeeded."""
    step_ended: dict[str, list[float]] = field(default_factory=dict)
    """Name of a StepRun, which is also that of its Job → when a terminal status was first seen."""
    run_ended: dict[str, float] = field(default_factory=dict)
    run_phase: dict[str, str] = field(default_factory=dict)
    changed: trio.Event = field(default_factory=trio.Event)
    """Set when a run has ended or a Job was created; the two may be seen in either order."""

    async def wait_for_runs(self, count: int) -> None:
        while len(self.run_ended) < count:
            await self.changed.wait()

    def note_job(self, change: Change) -> None:
        if change.old is None and change.new is not None:
            self.job_created.setdefault(change.new["metadata"]["name"], []).append(trio.current_time())
            self._tell()

    def note_pod(self, change: Change) -> None:
        phase, before = _phase(change.new), _phase(change.old)
        if change.new is None or phase == before or phase not in ("Succeeded", "Failed"):
            return
        for owner in change.new["metadata"].get("ownerReferences") or ():
            self.pod_ended.setdefault(owner["name"], []).append(trio.current_time())
            if phase == "Succeeded":
                self.pod_succeeded[owner["name"]] = self.pod_succeeded.get(owner["name"], 0) + 1

    def note_step(self, change: Change) -> None:
        phase, before = _phase(change.new), _phase(change.old)
        if change.new is not None and phase != before and phase in set(Phase) and Phase(phase).terminal:
            self.step_ended.setdefault(change.new["metadata"]["name"], []).append(trio.current_time())

    def note_run(self, change: Change) -> None:
        if change.new is None:
            return
        name = change.new["metadata"]["name"]
        if (change.new.get("status") or {}).get("finishedAt") and name not in self.run_ended:
            self.run_ended[name] = trio.current_time()
            self.run_phase[name] = _phase(change.new)
            self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


@asynccontextmanager
async def open_observer(client: KubeClient, namespace: str = NAMESPACE) -> AsyncIterator[Observer]:
    observer = Observer()
    async with trio.open_nursery() as nursery:
        for resource, note in (
            (JOB, observer.note_job),
            (POD, observer.note_pod),
            (STEP_RUN, observer.note_step),
            (STORY_RUN, observer.note_run),
        ):
            await nursery.start(_informer(client, resource, namespace, note).run)
        yield observer
        nursery.cancel_scope.cancel()


def _informer(client: KubeClient, resource: Resource, namespace: str, note: Any) -> Informer:
    informer = Informer(client, resource, namespace=namespace)
    informer.add_handler(note)
    return informer


def _phase(obj: Object | None) -> str:
    phase: str = ((obj or {}).get("status") or {}).get("phase", "")
    return phase
