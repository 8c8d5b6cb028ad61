"""Runs that an upgrade meets in every state: at work, in a loop, asleep, at a gate, in a back-off, calling, queued.

Containers write a line when they start, so that the tests see whatever was executed twice; those that are held end when
the test releases the runs whose names begin with the same word.
"""

from __future__ import annotations

import sys
from collections import Counter
from functools import partial
from typing import Final

from core.api.objects import Object
from core.api.resource import ENGRAM, STEP_RUN, STORY_RUN
from tests.e2e.operator_rig import FLOWS, ROOT, OperatorRig, eventually, status_of, step

STORIES: Final = ("chain", "fan", "loop", "gated", "calling", "sleepy", "flaky")
"""The last two begin a time that passes; so they start last."""
SERIAL: Final = "serial"
"""A Story whose second run waits for the first."""
BACKOFF: Final = "30s"
"""How long one run sleeps and another one waits to try again. Both begin before the operator is replaced, and end after
it if the machine is not too busy.
"""


HELD: Final = 8
"""Containers that start before the test releases any: chain, fan (2), loop (2), calling, serial; and flaky."""
EXECUTIONS: Final = 13
"""Of all runs, without those of the step that fails first."""


_GREETER: Final = ROOT / "tests/e2e/engrams/warm_greeter.py"


class WarmWorkload:
    """A step that a warm worker executes, or a Job where there are no warm workers."""

    def __init__(self, rig: OperatorRig) -> None:
        self._rig = rig

    async def install(self) -> None:
        rig = self._rig
        warm = {"overrides": {"warm": {"replicas": 1}}}
        await rig.engram("greeter", engram=warm, supportedModes=["job", "worker"])
        variables = (f"PYTHONPATH={ROOT / 'sdk'}", f"EXECUTIONS={rig.directory / 'executions'}")
        rig.add_images({"test/greeter": {"command": ["/usr/bin/env", *variables, sys.executable, str(_GREETER)]}})
        await rig.story("greeting", step("greet", "greeter"))

    async def execute(self, name: str) -> str:
        """A run from its start to its success; returns the executor of its step."""
        await self._rig.run(name, "greeting")
        await self._rig.ended(name, "Succeeded")
        step_run = await self._rig.client.get(STEP_RUN, f"{name}-greet", FLOWS)
        return str(step_run["spec"].get("executor") or "job")

    async def switch_off(self) -> None:
        await self._rig.merge(ENGRAM, "greeter", {"spec": {"overrides": {"warm": {"enabled": False}}}})


class UpgradeWorkload:
    def __init__(self, rig: OperatorRig) -> None:
        self._rig = rig
        self._executions = rig.directory / "executions"
        self._executions.touch()

    async def install(self) -> None:
        """Create Engrams and Stories."""
        rig = self._rig
        note = f"echo $BUBU_STORYRUN_ID/$BUBU_STEP_NAME >> {self._executions}"
        await rig.engram("held", f"{note}; until test -e {rig.directory}/${{BUBU_STORYRUN_ID%%-*}}; do sleep 0.1; done")
        await rig.engram("quick", note)
        tried = f"{rig.directory}/tried-$BUBU_STORYRUN_ID"
        await rig.engram("flaky", f"{note}; test -e {tried} || {{ touch {tried}; exit 137; }}")
        branches = [step("left", "held"), step("right", "held")]
        looped = {"forEach": "{{ inputs.items }}", "steps": [step("each", "held")]}
        retry = {"retry": {"maxRetries": 2, "delay": BACKOFF, "backoff": "constant"}}
        await rig.story("chain", step("a", "held"), step("b", "held", needs=["a"]), step("c", "quick", needs=["b"]))
        await rig.story("fan", {"name": "fan", "type": "parallel", "with": {"steps": branches}})
        await rig.story("loop", {"name": "loop", "type": "parallel", "with": looped})
        await rig.story(
            "sleepy",
            {"name": "pause", "type": "sleep", "with": {"duration": BACKOFF}},
            step("after", "quick", needs=["pause"]),
        )
        await rig.story("gated", {"name": "ask", "type": "gate"}, step("after", "quick", needs=["ask"]))
        await rig.story("flaky", step("flaky", execution=retry), step("after", "quick", needs=["flaky"]))
        await rig.story("called", step("a", "held"))
        await rig.story("calling", {"name": "call", "type": "executeStory", "with": {"storyRef": {"name": "called"}}})
        await rig.story(SERIAL, step("a", "held"), policy={"concurrency": 1})

    async def start(self, word: str) -> None:
        """Start a run of each Story, whose names begin with ``word``; returns when each is where the test wants it."""
        await self._rig.run(f"{word}-{SERIAL}-1", SERIAL)
        await self._reached(f"{word}-{SERIAL}-1/a")
        await self._rig.run(f"{word}-{SERIAL}-2", SERIAL)
        for name in STORIES:
            await self._rig.run(f"{word}-{name}", name, inputs={"items": ["x", "y"]})
        for name, pending in (("gated", "ask"), ("calling", "call"), ("sleepy", "pause")):
            await self._rig.until(STORY_RUN, f"{word}-{name}", partial(_is_at, pending))

        async def all_held() -> bool:
            return self.executions(word).total() == HELD

        await eventually(all_held, lambda: f"not all are at work: {self.executions(word)}")

    async def release(self, word: str) -> None:
        """Approve the gate, and let the held containers end."""
        approved = {"status": {"gates": {"ask": {"state": "Approved"}}}}
        await self._rig.client.patch(
            STORY_RUN, f"{word}-gated", approved, namespace=FLOWS, subresource="status", field_manager="a-person"
        )
        (self._rig.directory / word).touch()

    async def all_ended(self, word: str) -> None:
        """All runs have succeeded, and each step was executed once; the one that failed first, twice."""
        for name in (*STORIES, f"{SERIAL}-1", f"{SERIAL}-2"):
            await self._rig.ended(f"{word}-{name}", "Succeeded", seconds=120)
        executed = self.executions(word)
        assert executed.pop(f"{word}-flaky/flaky") == 2
        assert set(executed.values()) == {1}, executed
        assert executed.total() == EXECUTIONS, executed

    def executions(self, word: str) -> Counter[str]:
        """How often each step of the runs of that word was executed."""
        return Counter(line for line in self._executions.read_text().split() if line.startswith(f"{word}-"))

    async def _reached(self, execution: str) -> None:
        async def noted() -> bool:
            return execution in self._executions.read_text().split()

        await eventually(noted, lambda: f"{execution} was not executed: {self._executions.read_text()}")


def _is_at(name: str, run: Object) -> bool:
    state = (status_of(run).get("stepStates") or {}).get(name) or {}
    return state.get("phase") in ("Running", "Paused", "Blocked")
