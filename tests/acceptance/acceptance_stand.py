"""The stand of an acceptance scenario: the few things that it may do and see, on any rig.

A scenario is an async function of a ``Stand``, written once. ``scenario`` makes a test of it for each rig: the engine
on the model cluster under a virtual clock, the whole operator on the embedded cluster, and on a real API server.
Times are those of the rig, so scenarios use tenths of seconds.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol, TypeVar

from bubu_sdk.cancellation import Clock
from bubu_sdk.kube import Cluster as SdkCluster
from core.api.conditions import find_condition
from core.api.objects import Object
from core.api.resource import STORY_RUN, Resource
from core.policy.settings import QueueSettings
from fuzz.engine.worker import Act, Script

Scripts = dict[str, tuple[Script, ...]]
T = TypeVar("T")

DEADLINE_SECONDS: Final = 20.0
"""For anything that should happen at once. A busy machine is not a defect."""
ENGRAM_NAME: Final = "work"
"""The only Engram. ``Stand.scripts`` says what its containers do."""
IMPULSE_TEMPLATE_NAME: Final = "work"
"""The only ImpulseTemplate, on the servers. Scenarios themselves say whether its Pods are ready."""
LISTENER: Final[Object] = {
    "supportedModes": ["deployment", "statefulset"],
    "secretSchema": {"zed": {"mountType": "file"}, "api": {"expectedKeys": ["token"]}},
    "deliveryPolicy": {"retry": {"maxAttempts": 3, "baseDelay": "1s", "maxDelay": "5m"}},
}
"""Its spec, besides version and image."""
NARROW, ALSO_NARROW, AGING = "narrow", "also-narrow", "aging"
QUEUES: Final = {
    NARROW: QueueSettings(concurrency=1, priority_aging_seconds=0),
    ALSO_NARROW: QueueSettings(concurrency=1, priority_aging_seconds=0),
    AGING: QueueSettings(concurrency=1, priority_aging_seconds=1),
}
"""Each is for one scenario, because queues belong to the whole cluster."""

DONE: Final = (Script(after_seconds=0.0),)
FAILS: Final = (Script(Act.FAIL, 0.0, exit_code=1, exit_class="terminal"),)
HANGS: Final = (Script(Act.HANG, 0.0),)


class Rig(StrEnum):
    MODEL = "model"
    LOCALCLUSTER = "localcluster"
    REAL = "real"


@dataclass(frozen=True, slots=True)
class SdkSide:
    """What the SDK needs of a rig. Only its own threads may use it."""

    cluster: SdkCluster
    clock: Clock


ON_MODEL: Final = (Rig.MODEL,)
"""For what a test elsewhere shows on both servers."""
ON_SERVERS: Final = (Rig.LOCALCLUSTER, Rig.REAL)
"""For what a controller does that the model has not."""


class Stand(Protocol):
    """A namespace for one scenario, an operator, and containers that follow scripts."""

    @property
    def rig(self) -> Rig: ...

    @property
    def namespace(self) -> str: ...

    @property
    def scripts(self) -> Scripts:
        """What containers do.

        The key is the full name of the step (``fan/a``) or its last part. There is one script per attempt. The
        last one is for all later attempts, too. A step without scripts succeeds at once.
        """

    @property
    def ran(self) -> list[str]:
        """Full names of the steps whose containers have started, in that order."""

    @property
    def at_once(self) -> int:
        """The largest number of containers that were alive at the same time."""

    def hold(self, step: str, then: Script = DONE[0]) -> None:
        """Let the containers of a step run until ``let_go``, and then do ``then`` at once."""

    def let_go(self, step: str) -> None:
        """Let go of steps in the order in which they were held. On the model, time does it."""

    # What users do.

    async def create(self, kind: Resource, name: str, spec: Object, **metadata: Any) -> Object:
        """The created object.

        Raises:
            AlreadyExistsError: the name is taken.
        """

    async def patch(self, kind: Resource, name: str, patch: Object, subresource: str = "") -> None:
        """Send a merge patch of the object, or through its subresource."""

    async def delete(self, kind: Resource, name: str) -> None: ...

    async def sdk(self, work: Callable[[SdkSide], T]) -> T:
        """The result of ``work``, which calls the SDK and blocks."""

    async def read(self, kind: Resource, name: str) -> Object:
        """The object as the API server has it now."""

    # What can be seen without a request. It may be slightly out of date.

    def find(self, kind: Resource, name: str) -> Object | None: ...

    def all(self, kind: Resource) -> list[Object]: ...

    def told(self) -> set[tuple[str, str]]:
        """Type and reason of every Event in the namespace."""

    async def until(self, look: Callable[[], T], what: str, seconds: float = DEADLINE_SECONDS) -> T:
        """The first true answer of ``look``, which is called again whenever something has changed.

        Raises:
            AssertionError: there was none in time; the message has ``what`` and the present state.
        """

    async def pause(self, seconds: float) -> None: ...

    # The operator.

    def away(self, **settings: Any) -> AbstractAsyncContextManager[None]:
        """No operator runs during the block. The next operator is a new one with ``settings`` (of ``RunSettings``)."""


Play = Callable[[Stand], Awaitable[None]]


class Outcomes(Protocol):
    """The outcomes of scenarios on one rig."""

    def of(self, play: Scenario) -> None:
        """Raise the error that the scenario raised."""


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    play: Play
    disturbs: bool
    """Whether it stops the operator or changes its settings. Such scenarios run after those that need the operator."""
    rigs: Collection[Rig]


def scenario(*, disturbs: bool = False, rigs: Collection[Rig] = tuple(Rig)) -> Callable[[Play], Any]:
    """Make a test of a scenario for each rig, or for some."""

    def decorate(play: Play) -> Any:
        name = getattr(play, "__name__", "")
        what = Scenario(name, play, disturbs, rigs)

        def test(outcomes: Outcomes) -> None:
            outcomes.of(what)

        test.__name__ = test.__qualname__ = name
        test.__doc__ = inspect.getdoc(play)
        test.__module__ = play.__module__
        vars(test)["scenario"] = what
        return test

    return decorate


# Words with which scenarios describe Stories, runs and steps.


def engram(name: str, *needs: str, **more: Any) -> Object:
    """A step of the only Engram. ``with_`` and ``if_`` stand for the keywords."""
    return _step(name, {"ref": {"name": ENGRAM_NAME}}, needs, more)


def primitive(name: str, type_: str, *needs: str, **more: Any) -> Object:
    return _step(name, {"type": type_}, needs, more)


def call(name: str, *needs: str, story: str = "child", **settings: Any) -> Object:
    """An ``executeStory`` step.

    ``settings`` are fields of its ``with`` beside the reference; ``with_`` is the keyword.
    """
    more = {key.removesuffix("_"): value for key, value in settings.items()}
    return primitive(name, "executeStory", *needs, with_={"storyRef": {"name": story}, **more})


def _step(name: str, kind: Object, needs: Iterable[str], more: Mapping[str, Any]) -> Object:
    found = {"name": name, **kind}
    if needs:
        found["needs"] = list(needs)
    return found | {key.removesuffix("_"): value for key, value in more.items()}


def status_of(obj: Object | None) -> Object:
    status: Object = (obj or {}).get("status") or {}
    return status


def phases(run: Object | None) -> dict[str, str]:
    return {name: state["phase"] for name, state in (status_of(run).get("stepStates") or {}).items()}


def message(run: Object | None, step: str) -> str:
    return str(((status_of(run).get("stepStates") or {}).get(step) or {}).get("message") or "")


def condition(run: Object, type_: str) -> tuple[str, str]:
    """Status and reason of the condition."""
    found = find_condition(status_of(run).get("conditions") or [], type_)
    assert found is not None, status_of(run)
    return str(found["status"]), str(found["reason"])


def annotation(obj: Object | None, name: str) -> str | None:
    found = (((obj or {}).get("metadata") or {}).get("annotations") or {}).get(name)
    return None if found is None else str(found)


def reference(obj: Object) -> Object:
    """The entry in ``ownerReferences`` of an object that ``obj`` controls."""
    metadata = obj["metadata"]
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def succeeded(run: Object) -> bool:
    """For assertions. If the run did not succeed, the error shows its status."""
    assert status_of(run).get("phase") == "Succeeded", status_of(run)
    return True


async def ended(stand: Stand, name: str = "run", seconds: float = DEADLINE_SECONDS) -> Object:
    """Wait until the run has ended; returns it."""
    await stand.until(lambda: status_of(stand.find(STORY_RUN, name)).get("finishedAt"), f"{name} ends", seconds)
    run = stand.find(STORY_RUN, name)
    assert run is not None
    return run


async def reached(stand: Stand, step: str, phase: str, name: str = "run") -> None:
    """Return once the step of the run is in that phase."""
    look = stand.find
    await stand.until(lambda: phases(look(STORY_RUN, name)).get(step) == phase, f"{step} of {name} is {phase}")
