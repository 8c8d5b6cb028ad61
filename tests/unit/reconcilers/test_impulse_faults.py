"""The controller of Impulses when answers get lost and processes die: the end is the same, and one listener runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest
import trio

from core.api.objects import Object, is_being_deleted
from core.engine.errors import PortError
from kubewire import apply_merge_patch
from reconcilers.runtime.outcome import Done
from tests.unit.reconcilers.impulse_world import PORTS, ImpulseStage, StoringServer, open_stage
from tests.unit.reconcilers.reconciler_samples import stored

WORKLOADS: Final = ("deployments", "statefulsets")
AUTH: Object = {"auth": {"expectedKeys": ["token"]}}
MOST_REQUESTS: Final = 60


@dataclass(frozen=True)
class Fault:
    """The request with this number gets no answer; ``done``: the server has acted on it."""

    number: int
    done: bool
    dies: bool
    """Whether the process dies then, and another one goes on."""


class FaultyServer(StoringServer):
    def __init__(self, fault: Fault | None) -> None:
        super().__init__()
        self._fault = fault
        self.has_failed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        fault = self._fault
        fails = fault is not None and len(self.requests) == fault.number and not self.has_failed
        if fault is None or not fails:
            answer = await super().handle_async_request(request)
            self._check()
            return answer
        self.has_failed = True
        if fault.done:
            await super().handle_async_request(request)
            self._check()
        raise httpx.ReadError("the connection broke")

    def _check(self) -> None:
        listeners = [name for plural, name in self.objects if plural in WORKLOADS]
        assert len(listeners) <= 1, f"two listeners at a time: {listeners}"


async def settle(stage: ImpulseStage, *, dies: bool) -> None:
    """Reconcile until nothing is left to do. After a failure it tries again before it hears anything."""
    for _ in range(20):
        before, outcome = len(stage.server.writes), None
        try:
            outcome = await stage.reconcile()
        except PortError:
            if dies:
                stage.restart()
            with suppress(PortError):
                await stage.reconcile()
        has_changed = run_what_is_stored(stage)
        if outcome == Done() and not has_changed and len(stage.server.writes) == before:
            return
    raise AssertionError(f"it does not settle: {stage.server.requests[-10:]}")


def run_what_is_stored(stage: ImpulseStage) -> bool:
    """Kubernetes does its work: Pods of workloads in deletion end, those of others become ready; then all is heard."""
    has_changed = False
    for plural, name in [key for key in stage.server.objects if key[0] in WORKLOADS]:
        workload = stage.server.objects[plural, name]
        if is_being_deleted(workload):
            stage.server.ended(plural, name)
            has_changed = True
        elif (replicas := workload["spec"]["replicas"]) != (workload.get("status") or {}).get("replicas"):
            status = {"replicas": replicas, "readyReplicas": replicas}
            stage.server.put(plural, apply_merge_patch(workload, {"status": status}))
            has_changed = True
    stage.hear_everything()
    return has_changed


Step = Callable[[ImpulseStage], Any]


def another_template(stage: ImpulseStage) -> None:
    spec = {"image": "other", "version": "1", "supportedModes": ["deployment", "statefulset"]}
    stage.know("impulsetemplates", stored("ImpulseTemplate", "next", namespace="", spec=spec))
    stage.change("impulses", "hook", spec={"templateRef": {"name": "next"}}, metadata={"generation": 3})


def annotated(value: str | None) -> Step:
    return lambda stage: stage.change("impulses", "hook", metadata={"annotations": {"bubustack.io/suspend": value}})


SCENARIOS: Final[dict[str, tuple[Step, ...]]] = {
    "rollout": (lambda stage: stage.change("impulsetemplates", "webhook", spec={"image": "next"}),),
    "mode": (
        lambda stage: stage.change(
            "impulses", "hook", spec={"workload": {"mode": "statefulset"}}, metadata={"generation": 2}
        ),
    ),
    "template": (another_template,),
    "suspension": (annotated("true"), annotated(None)),
    "account": (
        lambda stage: stage.change(
            "impulses", "hook", spec={"execution": {"serviceAccountName": "mine"}}, metadata={"generation": 2}
        ),
    ),
}


async def play(scenario: str, fault: Fault | None) -> tuple[FaultyServer, dict[tuple[str, str], Object]]:
    """What is stored at the end, apart from versions and UIDs."""
    server, dies = FaultyServer(fault), fault is not None and fault.dies
    async with open_stage(server) as stage:
        stage.definitions(template={"execution": PORTS, "secretSchema": AUTH}, secrets={"auth": "keys"})
        server.put("secrets", stored("Secret", "keys", data={"token": "eA=="}))
        steps: tuple[Step, ...] = (lambda stage: None, *SCENARIOS[scenario])
        for step in steps:
            step(stage)
            await settle(stage, dies=dies)
    return server, {key: without_identity(obj) for key, obj in server.objects.items()}


def without_identity(obj: Object) -> Object:
    metadata = {key: value for key, value in obj["metadata"].items() if key not in ("resourceVersion", "uid")}
    return {**obj, "metadata": metadata}


@pytest.mark.parametrize("dies", [False, True], ids=["lives", "dies"])
@pytest.mark.parametrize("done", [False, True], ids=["not-done", "done"])
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_whichever_answer_is_lost_the_end_is_the_same_and_two_listeners_never_run(
    scenario: str, done: bool, dies: bool, autojump_clock: trio.testing.MockClock
) -> None:
    _, wanted = await play(scenario, None)
    for number in range(MOST_REQUESTS):
        server, reached = await play(scenario, Fault(number, done, dies))
        if not server.has_failed:
            break
        assert reached == wanted, f"request {number}: {server.requests[number]}"
    else:
        raise AssertionError("the scenario has more requests than this test tries")
    assert number > 10
