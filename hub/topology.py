"""What the hub must know about the cluster: the runs with their routes, and who may connect as which step.

``TopologyPort`` is how it learns. A file implements it (``topology_file``); anything that watches TransportBindings and
Stories can.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from core.api.objects import NamespacedName
from hub.routes import RouteError, RunRoutes


class Place(NamedTuple):
    """A step of a run: what one client serves at a time."""

    run: NamespacedName
    step: str

    def __str__(self) -> str:
        return f"{self.run}/{self.step}"


class Client(NamedTuple):
    """A process that serves a step."""

    generation: int
    process: str = ""
    """What it says of itself, the same on all of its connections; empty: it says nothing, as the Go SDK."""


@dataclass(frozen=True, slots=True)
class BoundStep:
    """A TransportBinding, as far as it decides who may connect."""

    place: Place
    uid: str
    generation: int = 1
    """The lowest generation that may connect."""
    is_finished: bool = False
    """No client will connect again."""
    former: Client | None = None
    """Whom a former hub has served last."""
    may_return: str | None = None
    """The instant of the return that the operator allows, as the status has it; None: nobody has to allow it."""


@dataclass(frozen=True, slots=True)
class UnservedStep:
    """A TransportBinding whose step is not served, now or at all."""

    uid: str
    why: str
    is_final: bool = False
    """Whether a client need not try again."""


@dataclass(frozen=True, slots=True)
class Topology:
    """One state of the cluster. A run that is absent has ended; make it with ``build_topology``."""

    runs: Mapping[NamespacedName, RunRoutes] = field(default_factory=dict)
    bindings: Mapping[NamespacedName, BoundStep] = field(default_factory=dict)
    unserved: Mapping[NamespacedName, UnservedStep] = field(default_factory=dict)
    """Bindings that are known and not in ``bindings``."""
    lives: Mapping[NamespacedName, str] = field(default_factory=dict)
    """What tells a run from another one of the same name, and from itself after it has ended and begun again."""
    finished: frozenset[Place] = frozenset()
    """Steps of ``runs`` whose clients have gone for good."""


class TopologyPort(Protocol):
    """Tells the hub about the cluster, level-based: what counts is the newest state."""

    async def changed(self, seen: Topology | None) -> Topology:
        """The newest topology, as soon as it is not ``seen``; at once if ``seen`` is None.

        It waits as long as nothing changes. The caller cancels it.
        """
        ...


def build_topology(runs: Iterable[RunRoutes], bindings: Mapping[NamespacedName, BoundStep]) -> Topology:
    """A topology whose bindings name steps of its runs.

    Raises:
        RouteError: two runs have one name, or a binding names a step that is not there.
    """
    by_name: dict[NamespacedName, RunRoutes] = {}
    for routes in runs:
        if routes.run in by_name:
            raise RouteError(f"run {routes.run}: it is listed twice; names must be unique in a namespace")
        by_name[routes.run] = routes
    for name, bound in bindings.items():
        known = by_name.get(bound.place.run)
        if known is None or bound.place.step not in known.steps:
            raise RouteError(f"binding {name.namespace}/{name.name}: there is no step {bound.place}")
    return Topology(by_name, dict(bindings))
