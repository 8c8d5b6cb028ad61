"""The scenarios whose requests are counted. Each has a namespace of its own, so all may run at the same time."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from core.api.objects import Object
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, EVENT, NAMESPACE, STEP_RUN, STORY, STORY_RUN, Resource
from core.engine.clock import system_now
from tests.e2e.operator_rig import ROOT, OperatorRig, status_of, step
from tests.e2e.write_budget.counting import Sent, sent_requests
from tests.e2e.write_budget.judging import Played, Warned

_PROGRAMS: Final = Path(__file__).parent.parent / "engrams"
_RETRY: Final[Object] = {"execution": {"retry": {"maxRetries": 2, "delay": "10ms"}}}


@dataclass(frozen=True)
class Scene:
    """A namespace with the objects of one scenario; its run has the name of the scenario."""

    rig: OperatorRig
    name: str
    warned: Counter[Warned] = field(default_factory=Counter)
    """The Warnings that were stored before the run was created, such as of a Story before its Engram."""

    async def engram(
        self, name: str, script: str = "exit 0", command: list[str] | None = None, warm: Object | None = None
    ) -> None:
        image = f"budget/{self.name}-{name}"
        self.rig.add_images({image: {"command": command or ["/bin/sh", "-c", script]}})
        template, modes = f"{self.name}-{name}", ["job"] if warm is None else ["job", "worker"]
        await self.create(ENGRAM_TEMPLATE, template, {"version": "1", "image": image, "supportedModes": modes})
        overrides = {} if warm is None else {"overrides": {"warm": warm}}
        await self.create(ENGRAM, name, {"templateRef": {"name": template}, **overrides})

    async def sdk_engram(self, name: str, program: str, *arguments: str, **variables: str) -> None:
        words = [f"{key}={value}" for key, value in {"PYTHONPATH": str(ROOT / "sdk"), **variables}.items()]
        command = ["/usr/bin/env", *words, sys.executable, str(_PROGRAMS / program), *arguments]
        await self.engram(name, command=command)

    async def story(self, *steps: Object, name: str = "", **spec: Any) -> None:
        await self.create(STORY, name or self.name, {"steps": list(steps), **spec})

    async def start(self, **spec: Any) -> None:
        await self.settle()
        await self.run(self.name, **spec)

    async def settle(self) -> None:
        """Wait until the operator has written the status of all definitions, which is not part of the run."""
        for resource in (ENGRAM, STORY):
            for each in (await self.rig.client.list(resource, self.name)).items:
                await self.until(resource, each["metadata"]["name"], _is_settled)
        self.warned.update(_warnings(await self._events()))

    async def run(self, name: str, **spec: Any) -> None:
        await self.create(STORY_RUN, name, {"storyRef": {"name": self.name}, **spec})

    async def played(self) -> Played:
        """What was sent since the run was created, as far as it is about this namespace."""
        here = [each for each in sent_requests(self.rig.audit_events()) if each.namespace == self.name]
        [created_at] = [each.at for each in here if _creates(each, self.name)]
        return Played([each for each in here if each.at >= created_at], _warnings(await self._events()) - self.warned)

    async def _events(self) -> list[Object]:
        """Those about objects of ours."""
        found = (await self.rig.client.list(EVENT, self.name)).items
        return [event for event in found if "bubustack.io/" in event["regarding"]["apiVersion"]]

    async def create(self, resource: Resource, name: str, spec: Object) -> None:
        await self.rig.create(resource, name, {"spec": spec}, self.name)

    async def until(self, resource: Resource, name: str, holds: Callable[[Object], bool]) -> Object:
        return await self.rig.until(resource, name, holds, namespace=self.name, seconds=180)

    async def ended(self, phase: str = "Succeeded", name: str = "") -> Object:
        """Wait until the run of the scenario has ended, or another of this namespace."""
        name = name or self.name
        run = await self.until(STORY_RUN, name, lambda obj: bool(status_of(obj).get("finishedAt")))
        assert status_of(run)["phase"] == phase, run["status"]
        return run

    async def step_is(self, name: str, phase: str) -> None:
        def holds(run: Object) -> bool:
            return bool((status_of(run).get("stepStates") or {}).get(name, {}).get("phase") == phase)

        await self.until(STORY_RUN, self.name, holds)


def _warnings(events: list[Object]) -> Counter[Warned]:
    found = [event for event in events if event["type"] == "Warning"]
    return Counter(Warned(str(event["regarding"]["kind"]), str(event["reason"])) for event in found)


def _creates(sent: Sent, run: str) -> bool:
    return (sent.request.verb, sent.request.target, sent.name) == ("create", "storyruns", run) and sent.code == 201


def _is_settled(definition: Object) -> bool:
    """Whether nothing about the definition is left to be written: each Engram here is used by one Story."""
    status = status_of(definition)
    uses = 1 if definition["kind"] == ENGRAM.kind else 0
    return status.get("validationStatus") == "valid" and status.get("usageCount") == uses


Play = Callable[[Scene], Awaitable[None]]


async def one_step(scene: Scene) -> None:
    await scene.engram("work")
    await scene.story(step("a", "work"))
    await scene.start()
    await scene.ended()


async def one_step_with_the_sdk(scene: Scene) -> None:
    await scene.sdk_engram("work", "plain_greeter.py", str(scene.rig.directory / f"{scene.name}-executions"))
    await scene.story(step("a", "work"))
    await scene.start()
    await scene.ended()


async def a_further_run(scene: Scene) -> None:
    """The second run of a Story. That of the first is over when it starts, with all counts."""
    await scene.engram("work")
    await scene.story(step("a", "work"))
    await scene.run("first")
    await scene.ended(name="first")
    await scene.until(ENGRAM, "work", lambda obj: status_of(obj).get("totalExecutions") == 1)
    await scene.until(STORY, scene.name, lambda obj: status_of(obj).get("triggers") == 1)
    await scene.start()
    await scene.ended()


async def three_warm_steps(scene: Scene) -> None:
    await _warm_steps(scene, "abc")


async def eight_warm_steps(scene: Scene) -> None:
    await _warm_steps(scene, "abcdefgh")


async def _warm_steps(scene: Scene, names: str) -> None:
    variables = (f"PYTHONPATH={ROOT / 'sdk'}", f"EXECUTIONS={scene.rig.directory / f'{scene.name}-executions'}")
    command = ["/usr/bin/env", *variables, sys.executable, str(_PROGRAMS / "warm_greeter.py")]
    await scene.engram("work", command=command, warm={"idleTimeout": "1h"})
    await scene.story(*_chained(names))
    await scene.start()
    await scene.ended()


async def five_steps_in_a_row(scene: Scene) -> None:
    await scene.engram("work")
    await scene.story(*_chained("abcde"))
    await scene.start()
    await scene.ended()


def _chained(names: str) -> list[Object]:
    return [step("a", "work"), *(step(name, "work", needs=[before]) for before, name in pairwise(names))]


async def ten_branches(scene: Scene) -> None:
    await scene.engram("work")
    branches = {"forEach": list(range(10)), "steps": [step("item", "work")]}
    await scene.story({"name": "fan", "type": "parallel", "with": branches})
    await scene.start()
    await scene.ended()


async def a_retry(scene: Scene) -> None:
    marker = scene.rig.directory / f"{scene.name}-tried"
    await scene.engram("work", f"test -e {marker} || {{ touch {marker}; exit 137; }}")
    await scene.story({**step("a", "work"), **_RETRY})
    await scene.start()
    await scene.ended()


async def an_approved_gate(scene: Scene) -> None:
    await scene.engram("work")
    await scene.story({"name": "ask", "type": "gate"}, {**step("a", "work"), "needs": ["ask"]})
    await scene.start()
    await scene.step_is("ask", "Paused")
    decision = {"status": {"gates": {"ask": {"state": "Approved"}}}}
    await scene.rig.client.patch(STORY_RUN, scene.name, decision, namespace=scene.name, subresource="status")
    await scene.ended()


async def a_sleep(scene: Scene) -> None:
    await scene.story({"name": "rest", "type": "sleep", "with": {"duration": "2s"}})
    await scene.start()
    await scene.ended()


async def a_wait(scene: Scene) -> None:
    await _wait(scene, timeout="1h")


async def a_wait_without_timeout(scene: Scene) -> None:
    await _wait(scene)


async def _wait(scene: Scene, **options: str) -> None:
    """The condition comes true when the run has waited for some seconds. To look at the time costs no request."""
    until = '{{ ge (now | date "20060102150405" | int) (int inputs.at) }}'
    await scene.story({"name": "ready", "type": "wait", "with": {"until": until, "pollInterval": "500ms", **options}})
    await scene.settle()
    await scene.run(scene.name, inputs={"at": f"{system_now() + timedelta(seconds=5):%Y%m%d%H%M%S}"})
    await scene.ended()


async def a_child_run(scene: Scene) -> None:
    await scene.story({"name": "nothing", "type": "condition", "if": "false"}, name="called")
    await scene.story({"name": "call", "type": "executeStory", "with": {"storyRef": {"name": "called"}}})
    await scene.start()
    await scene.ended()


async def no_container(scene: Scene) -> None:
    await scene.story({"name": "a", "type": "condition"}, {"name": "b", "type": "condition", "needs": ["a"]})
    await scene.start()
    await scene.ended()


async def a_cancel(scene: Scene) -> None:
    await scene.engram("work", "exec sleep 600")
    await scene.story(step("a", "work"))
    await scene.start()
    await scene.until(STEP_RUN, f"{scene.name}-a", lambda obj: status_of(obj).get("phase") == "Running")
    await scene.rig.client.patch(STORY_RUN, scene.name, {"spec": {"cancelRequested": True}}, namespace=scene.name)
    await scene.ended("Finished")


async def a_compensation(scene: Scene) -> None:
    await scene.engram("fails", "exit 3")
    await scene.engram("repair")
    await scene.story(step("a", "fails"), compensations=[step("undo", "repair")])
    await scene.start()
    await scene.ended("Compensated")


async def a_stored_output(scene: Scene) -> None:
    """The operator uses an object store: ``Scene.rig`` was configured for it."""
    await scene.sdk_engram("make", "large_data.py", "make", **store_variables(scene.rig))
    await scene.story({**step("a", "make"), "with": {"size": 100_000}})
    await scene.start()
    await scene.ended()


async def a_waiting_run(scene: Scene) -> None:
    """It waits when this returns, and goes on waiting."""
    await scene.story({"name": "ask", "type": "gate"})
    await scene.start()
    await scene.step_is("ask", "Paused")


def store_variables(rig: OperatorRig) -> Mapping[str, str]:
    """The authority of the object store, for programs that use it."""
    return {"SSL_CERT_FILE": str(rig.directory / "store-authority.pem")}


async def prepare(rig: OperatorRig, name: str) -> Scene:
    await rig.client.create(NAMESPACE, {"metadata": {"name": name}})
    return Scene(rig, name)
