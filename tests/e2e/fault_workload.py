"""Stories whose runs meet a fault in every state of a run, and the users who start, cancel and delete them.

Steps record each start of their program in one file, so that the tests see whatever was executed twice.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import trio

from core.api.resource import JOB, POD, STEP_RUN, STORY_RUN
from core.kube.errors import AlreadyExistsError, KubeError, NotFoundError
from tests.integration.operator_cluster import NAMESPACE_NAME, OperatorCluster, eventually, status_of, step

RUNS: Final = ("greetings", "diamond", "flaky", "failing", "slow", "sleepy", "canceled", "deleted", "mayfly")
"""Each run belongs to a Story with the same name."""
GONE: Final = ("deleted", "mayfly")
"""Removed before the end: a user deletes one, and the other one is removed because its time is over."""
INEXACT: Final = (*GONE, "doomed", "fleeting")
"""Stories and Engrams that count only what they still find of these runs."""
ENGRAMS: Final = Path(__file__).parent / "engrams"
_TRY_AGAIN_SECONDS: Final = 0.2
_PERSON_SECONDS: Final = 240.0


class Workload:
    """One execution of the work on an emptied cluster, with its own ``directory``."""

    def __init__(self, cluster: OperatorCluster, directory: Path) -> None:
        self.cluster = cluster
        self._executions = directory / "executions"
        self._tried = directory / "tried"

    async def install(self) -> None:
        """Create Engrams and Stories."""
        note = f"echo $BUBU_STORYRUN_ID/$BUBU_STEP_NAME >> {self._executions}"
        cluster = self.cluster
        greeter = [sys.executable, str(ENGRAMS / "plain_greeter.py"), str(self._executions)]
        await cluster.engram("greeter", command=greeter)
        for name in ("nap", "fleeting"):
            await cluster.engram(name, f"{note}; sleep 0.3")
        # Nothing is asked between the last question about an attempt and its Job. On a kubelet no attempt begins and
        # ends within that moment; here it could.
        fails = f"touch {self._tried}; sleep 0.5; exit 137"
        await cluster.engram("flaky", f"{note}; test -e {self._tried} || {{ {fails}; }}")
        await cluster.engram("bad", f"{note}; exit 3")
        for name in ("endless", "doomed"):
            await cluster.engram(name, f"{note}; exec sleep 600")
        no_retry = {"retry": {"maxRetries": 0}}
        await cluster.story(
            "greetings",
            step("greet", "greeter", **{"with": {"name": "{{ inputs.who }}"}}),
            step("again", "greeter", **{"with": {"name": "{{ steps.greet.output.greeting }}"}}),
        )
        await cluster.story(
            "diamond",
            step("a", "nap"),
            step("b", "nap", needs=["a"]),
            step("c", "nap", needs=["a"]),
            step("d", "nap", needs=["b", "c"]),
        )
        await cluster.story(
            "flaky",
            step("flaky", execution={"retry": {"maxRetries": 3, "delay": "100ms"}}),
            step("after", "nap", needs=["flaky"]),
        )
        await cluster.story(
            "failing",
            step("bad", execution=no_retry),
            step("allowed", "bad", allowFailure=True, execution=no_retry),
            step("never", "nap", needs=["bad"]),
            policy={"continueOnStepFailure": True},
        )
        await cluster.story("slow", step("slow", "endless", execution={"timeout": "4s", **no_retry}))
        await cluster.story(
            "sleepy",
            step("before", "nap"),
            {"name": "sleep", "type": "sleep", "needs": ["before"], "with": {"duration": "2s"}},
            step("after", "nap", needs=["sleep"]),
        )
        await cluster.story("canceled", step("endless"))
        await cluster.story("deleted", step("endless", "doomed"))
        retention = {"execution": {"job": {"storyRunRetentionSeconds": -1}}}
        await cluster.story("mayfly", step("a", "fleeting"), policy=retention)

    async def play(self) -> None:
        """Start every run, cancel one and delete one while they are at work; returns when the users have done so."""
        for name in RUNS:
            await self.start(name, **({"inputs": {"who": "world"}} if name == "greetings" else {}))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel, "canceled")
            nursery.start_soon(self._delete, "deleted")

    async def play_rare(self, number: int) -> None:
        """One more run that is canceled and one more that is removed when its time is over; returns when both are."""
        canceled, mayfly = f"canceled-{number}", f"mayfly-{number}"
        await self.start(canceled, storyRef={"name": "canceled"})
        await self.start(mayfly, storyRef={"name": "mayfly"})
        await self._cancel(canceled)

        async def over() -> bool:
            runs = {run["metadata"]["name"]: run for run in (await self.cluster.client.list(STORY_RUN)).items}
            return mayfly not in runs and bool(status_of(runs[canceled]).get("finishedAt"))

        await eventually(over, seconds=_PERSON_SECONDS)
        executions = self.executions()
        assert executions[f"{canceled}/endless"] == executions[f"{mayfly}/a"] == 1

    async def start(self, name: str, **spec: Any) -> None:
        async def create() -> None:
            try:
                await self.cluster.create(STORY_RUN, name, {"storyRef": {"name": name}} | spec)
            except AlreadyExistsError:
                return  # the first try succeeded, and its answer was lost

        await insist(create)

    def executions(self) -> Counter[str]:
        """For each ``run/step``, how often its program was started."""
        if not self._executions.exists():
            return Counter()
        return Counter(self._executions.read_text().split())

    async def _cancel(self, name: str) -> None:
        await self._until_at_work(name)
        patch = {"spec": {"cancelRequested": True}}

        async def cancel() -> None:
            await self.cluster.client.patch(STORY_RUN, name, patch, namespace=NAMESPACE_NAME)

        await insist(cancel)

    async def _delete(self, name: str) -> None:
        await self._until_at_work(name)

        async def delete() -> None:
            try:
                await self.cluster.client.delete(STORY_RUN, name, NAMESPACE_NAME)
            except NotFoundError:
                return

        await insist(delete)

    async def _until_at_work(self, name: str) -> None:
        """Wait until its program runs, and the operator has recorded that."""

        async def running() -> None:
            while True:
                try:
                    found = await self.cluster.client.get(STEP_RUN, f"{name}-endless", NAMESPACE_NAME)
                    if status_of(found).get("phase") == "Running" and self.executions()[f"{name}/endless"]:
                        return
                except NotFoundError:
                    pass
                await trio.sleep(0.05)

        try:
            await insist(running)
        except trio.TooSlowError:
            raise AssertionError(f"{name} is not at work: {await self._how_it_is(name)}") from None

    async def _how_it_is(self, name: str) -> str:
        """All that is stored of a run, for the message of a test that has waited in vain."""
        stored = {
            kind.plural: [
                {"name": obj["metadata"]["name"], "metadata": obj["metadata"], "status": obj.get("status")}
                for obj in (await self.cluster.client.list(kind, NAMESPACE_NAME)).items
                if obj["metadata"]["name"].startswith(name)
            ]
            for kind in (STORY_RUN, STEP_RUN, JOB, POD)
        }
        return f"{self.executions()}\n{json.dumps(stored, indent=1)}"


async def insist(act: Callable[[], Awaitable[None]], *, seconds: float = _PERSON_SECONDS) -> None:
    """Do what a user does who gets no answer: try again, up to a limit.

    Raises:
        KubeError: of the last try.
    """
    give_up_at = trio.current_time() + seconds
    with trio.fail_at(give_up_at):
        while True:
            try:
                await act()
                return
            except KubeError:
                if trio.current_time() + _TRY_AGAIN_SECONDS > give_up_at:
                    raise
            await trio.sleep(_TRY_AGAIN_SECONDS)
