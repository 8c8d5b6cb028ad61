"""Where an acceptance scenario is played: the little it may do and see, whatever the rig.

A scenario is an async function of a ``Stand``, written once. ``scenario`` makes a test of it for each rig: the engine
on the model cluster under a virtual clock, the whole operator on the embedded cluster, the same on a real API server.
Times are those of the rig, so scenarios are written in tenths of seconds.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol, TypeVar

from core.api.conditions import find_condition
from core.api.objects import Object
from core.api.resource import STORY_RUN, Resource
from core.policy.settings import QueueSettings
from fuzz.engine.worker import Act, Script

Scripts = dict[str, tuple[Script, ...]]
T = TypeVar("T")

DEADLINE_SECONDS: Final = 20.0
"""For anything that should happen at once; a machine that is busy is no defect."""
ENGRAM_NAME: Final = "work"
"""The one Engram there is: what its containers do is in ``Stand.scripts``."""
NARROW, ALSO_NARROW, AGING = "narrow", "also-narrow", "aging"
QUEUES: Final = {
    NARROW: QueueSettings(concurrency=1, priority_aging_seconds=0),
    ALSO_NARROW: QueueSettings(concurrency=1, priority_aging_seconds=0),
    AGING: QueueSettings(concurrency=1, priority_aging_seconds=1),
}
"""Each for one scenario: they are of the whole cluster."""

DONE: Final = (Script(after_seconds=0.0),)
FAILS: Final = (Script(Act.FAIL, 0.0, exit_code=1, exit_class="terminal"),)
HANGS: Final = (Script(Act.HANG, 0.0),)


class Rig(StrEnum):
    MODEL = "model"
    LOCALCLUSTER = "localcluster"
    REAL = "real"


class Stand(Protocol):
    """A namespace of its own, an operator, and containers that follow scripts."""

    @property
    def rig(self) -> Rig: ...

    @property
    def namespace(self) -> str: ...

    @property
    def scripts(self) -> Scripts:
        """What containers do: by full name of the step (``fan/a``) or its last part, one script an attempt, the last
        for all later ones. A step that is not named succeeds at once."""

    @property
    def ran(self) -> list[str]:
        """Full names of the steps whose containers have started, in that order."""

    @property
    def at_once(self) -> int:
        """The most containers that were alive at one time."""

    def hold(self, step: str, then: Script = DONE[0]) -> None:
        """Let the containers of a step run until they are let go, and then do ``then`` at once."""

    def let_go(self, step: str) -> None:
        """In the order in which steps were held: on the model, time does it."""

    # What people do.

    async def create(self, kind: Resource, name: str, spec: Object, **metadata: Any) -> Object: ...

    async def patch(self, kind: Resource, name: str, patch: Object, subresource: str = "") -> None:
        """A merge patch of the object, or through its subresource."""

    async def delete(self, kind: Resource, name: str) -> None: ...

    # What can be seen, without asking: it may be a moment old.

    def find(self, kind: Resource, name: str) -> Object | None: ...

    def all(self, kind: Resource) -> list[Object]: ...

    def told(self) -> set[tuple[str, str]]:
        """Type and reason of every Event in the namespace."""

    async def until(self, look: Callable[[], T], what: str, seconds: float = DEADLINE_SECONDS) -> T:
        """The first true answer of ``look``, which is asked again whenever something has changed.

        Raises:
            AssertionError: there was none in time; the text says ``what`` and how things stand.
        """

    async def pause(self, seconds: float) -> None: ...

    # The operator.

    def away(self, **settings: Any) -> AbstractAsyncContextManager[None]:
        """No operator for the block; the one that comes after it is new, and has ``settings`` (of ``RunSettings``)."""


Play = Callable[[Stand], Awaitable[None]]


class Outcomes(Protocol):
    """How scenarios went on one rig."""

    def of(self, play: Scenario) -> None:
        """Raise what the scenario raised."""


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    play: Play
    disturbs: bool
    """It stops the operator or changes its settings: played after those that need it to stay."""


def scenario(*, disturbs: bool = False) -> Callable[[Play], Any]:
    """Make a test of a scenario for each rig."""

    def decorate(play: Play) -> Any:
        name = getattr(play, "__name__", "")
        what = Scenario(name, play, disturbs)

        def test(outcomes: Outcomes) -> None:
            outcomes.of(what)

        test.__name__ = test.__qualname__ = name
        test.__doc__ = inspect.getdoc(play)
        test.__module__ = play.__module__
        vars(test)["scenario"] = what
        return test

    return decorate


# Words in which scenarios speak of Stories, runs and steps.


def engram(name: str, *needs: str, **more: Any) -> Object:
    """A step of the one Engram; ``with_`` and ``if_`` stand for the keywords."""
    return _step(name, {"ref": {"name": ENGRAM_NAME}}, needs, more)


def primitive(name: str, type_: str, *needs: str, **more: Any) -> Object:
    return _step(name, {"type": type_}, needs, more)


def call(name: str, *needs: str, story: str = "child", **settings: Any) -> Object:
    """An ``executeStory`` step; ``settings`` is its ``with`` beside the reference, and ``with_`` the keyword in it."""
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
    """Status and reason."""
    found = find_condition(status_of(run).get("conditions") or [], type_)
    assert found is not None, status_of(run)
    return str(found["status"]), str(found["reason"])


def annotation(obj: Object | None, name: str) -> str | None:
    found = (((obj or {}).get("metadata") or {}).get("annotations") or {}).get(name)
    return None if found is None else str(found)


def reference(obj: Object) -> Object:
    """As it stands in ``ownerReferences`` of what the object controls."""
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
    """For assertions: what there is to know of a run that did not."""
    assert status_of(run).get("phase") == "Succeeded", status_of(run)
    return True


async def ended(stand: Stand, name: str = "run", seconds: float = DEADLINE_SECONDS) -> Object:
    """The run once it has ended."""
    await stand.until(lambda: status_of(stand.find(STORY_RUN, name)).get("finishedAt"), f"{name} ends", seconds)
    run = stand.find(STORY_RUN, name)
    assert run is not None
    return run


async def reached(stand: Stand, step: str, phase: str, name: str = "run") -> None:
    """Return once the step of the run is in that phase."""
    look = stand.find
    await stand.until(lambda: phases(look(STORY_RUN, name)).get(step) == phase, f"{step} of {name} is {phase}")
