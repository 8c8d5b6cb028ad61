"""A controller as one frozen row: the kind that it reconciles, its watches, its options and its permissions.

Each module of a controller ends with its row, and ``reconcilers.controllers`` lists the rows. Start-up, informers,
routes and RBAC follow from that list; docs/architecture.md says how to add a row.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from core.api.objects import Object
from core.api.permission import Permission
from core.api.resource import Resource
from core.engine.payload_port import Payloads
from core.engine.ports import Clock, EventSink
from core.engine.run.supervisor import Supervisor
from core.kube.client import KubeClient
from core.ownership.ownership import WHOLE_CLUSTER, Ownership
from core.policy.settings import ControllerSettings, OperatorSettings
from core.workloads.hub_access import HubAccess
from core.workloads.hub_lease import HubSilenceProvider, no_silence
from reconcilers.adapters.stored_payloads import ObjectStores
from reconcilers.adapters.stream_ends import StreamEnds
from reconcilers.adapters.watched_kind import WatchedKind
from reconcilers.adapters.worker_registry import WorkerRegistry
from reconcilers.adapters.world import World
from reconcilers.runtime.controller import Controller, Glance, Key, Reconcile
from reconcilers.runtime.watch import Watch


def no_hub() -> HubAccess | None:
    """The way to a hub, where there is none."""
    return None


@dataclass(frozen=True, slots=True)
class ControllerDependencies:
    """Dependencies for building a controller; each takes those that it needs."""

    client: KubeClient
    """Writes only while this process leads and owns the key that the write is made for."""
    world: World
    supervisor: Supervisor
    """The engine, which runs live runs."""
    events: EventSink
    clock: Clock
    settings: Callable[[], OperatorSettings]
    """Returns the current settings."""
    payloads: Payloads
    stores: ObjectStores
    operator_namespace: str
    ownership: Ownership = WHOLE_CLUSTER
    """Controllers need not ask: their queues hand them only keys that this process owns."""
    hub: Callable[[], HubAccess | None] = no_hub
    """Returns the access to the hub of streams, as far as it is known."""
    hub_silence: HubSilenceProvider = no_silence
    stream_ends: StreamEnds | None = None
    """What ends realtime steps, shared with their executor."""
    workers: WorkerRegistry | None = None
    """The warm workers, shared with their executor."""


@dataclass(frozen=True, slots=True)
class ControllerRegistration:
    """Everything that the operator must know about a controller."""

    name: str
    """The name in metrics and logs; unique."""
    kind: Resource
    """The kind of its keys. The objects need not exist: see ``reconcilers.story_revisions``."""
    build: Callable[[ControllerDependencies], Reconcile]
    options: Callable[[OperatorSettings], ControllerSettings]
    """Number of workers, and delays after failures; read once, when the process begins to lead."""
    watches: tuple[Watch[Key], ...]
    """Including the watch on its own kind."""
    informers: tuple[WatchedKind, ...] = ()
    """Kinds and indexes that it reads, in addition to those of ``reconcilers.adapters.world.WATCHED``."""
    permissions: tuple[Permission, ...] = ()
    """Permissions in addition to list and watch, which follow from the informers."""
    enqueue_at_start: bool = True
    """Whether every object of its kind is reconciled when the process begins to lead."""
    enqueue_when_settings_change: bool = False
    """Whether every object of its kind is reconciled when other settings of the operator come into force."""
    enqueue_only: Callable[[Object], bool] | None = None
    """Which objects these two are about, and none that is at rest; None: all. There may be many thousands of finished
    runs.
    """
    glance: Callable[[ControllerDependencies], Glance] | None = None
    """Builds what says at a glance that a key needs nothing now. Beside the queue it is not counted as a reconcile."""
    beside: Callable[[ControllerDependencies, Controller], Awaitable[None]] | None = None
    """A task that runs as long as the controller runs."""
