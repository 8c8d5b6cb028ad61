"""The records of an explanation: one cause for each thing that a run, or a StoryTrigger, waits for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from core.api.objects import Object
from views.signals import SignalView
from views.trace_view import TraceView
from views.why.worker import PoolStanding


class CauseKind(StrEnum):
    """What the run or StoryTrigger waits for; stable, for programs."""

    OPERATOR = "operator"
    STORY = "story"
    PERMISSION = "permission"
    STORAGE = "storage"
    REFERENCE = "reference"
    DELETION = "deletion"
    CANCEL = "cancel"
    NEEDS = "needs"
    QUEUE = "queue"
    DEFINITION = "definition"
    GATE = "gate"
    WAIT = "wait"
    SLEEP = "sleep"
    CHILD = "child"
    BRANCHES = "branches"
    RETRY = "retry"
    EFFECT = "effect"
    IMAGE = "image"
    NODE = "node"
    CONTAINER = "container"
    JOB = "job"
    WORKER = "worker"
    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"
    ENDED = "ended"
    # Of steps that serve a stream.
    HUB = "hub"
    CONNECTION = "connection"
    BACKPRESSURE = "backpressure"
    DRAIN = "drain"
    # Of Impulses only.
    TEMPLATE = "template"
    CONFIGURATION = "configuration"
    """Also of a realtime run that the hub cannot serve."""
    CONFLICT = "conflict"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that a run waits for, or that it failed with."""

    kind: CauseKind
    namespace: str
    run: str
    step: str
    """Empty: the cause is about the run itself. Without a run, it is about an Impulse."""
    text: str
    """A sentence whose subject is the step or the run; about an Impulse, a whole sentence."""
    since: datetime | None = None
    until: datetime | None = None
    then: str = ""
    """What happens at ``until``."""
    who: str = ""
    """Who can change it."""
    commands: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    """More details, name by name."""
    last_lines: tuple[str, ...] = ()
    """The last lines of the log of the step, or of the Impulse's Pod."""
    via: tuple[str, ...] = ()
    """``RUN/STEP`` on the way from the explained run to this cause: through child runs and needs."""
    trigger: str = ""
    """The StoryTrigger that the cause is about; then there is no run."""
    signal: SignalView | None = None
    """What the container of the step sent last."""


@dataclass(frozen=True, slots=True)
class Explanation:
    namespace: str
    run: str
    step: str
    """The explained step; empty: the whole run."""
    story: str
    phase: str
    message: str
    since: datetime | None
    """When the run began; if it has not, when it was created."""
    until: datetime | None
    """When the timeout of the run is reached."""
    causes: tuple[Cause, ...]
    later: tuple[tuple[str, tuple[str, ...]], ...]
    """Steps that have not begun, and what each of them still needs."""
    unseen: tuple[str, ...]
    """Objects that the user may not see, so that they are missing here."""
    summary: str = ""
    """The whole answer, if the run waits for nothing."""
    trigger: str = ""
    """The StoryTrigger, if the question was about one; without a run, the explanation is about the StoryTrigger."""
    trace: TraceView | None = None
    """Of the explained step or run; None: the run is not traced."""


@dataclass(frozen=True, slots=True)
class HubStanding:
    """Whether a hub serves the cluster."""

    is_there: bool
    since: datetime | None = None
    """Since when there is none, if known."""
    who: str = ""
    """Who can bring it back."""
    commands: tuple[str, ...] = ()
    """How to look at it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The known objects of one run, at one moment."""

    run: Object
    story: Object | None
    step_runs: Mapping[str, Object] = field(default_factory=dict)
    """By step."""
    jobs: Mapping[str, Object] = field(default_factory=dict)
    """By name of their StepRun."""
    pods: Mapping[str, Object] = field(default_factory=dict)
    """The newest Pod, by name of its StepRun."""
    claims: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    """EffectClaims, by name of their StepRun; only of steps that have been tried again."""
    warnings: Mapping[str, str] = field(default_factory=dict)
    """The last warning about a Job that has no Pod, or a Pod whose container does not start, by name of the StepRun."""
    processor: Mapping[str, str] = field(default_factory=dict)
    """How much of the processor the last container of a step that timed out had used, by name of the StepRun; only the
    embedded cluster says so."""
    children: Mapping[str, Facts] = field(default_factory=dict)
    """The last StoryRun that each step started, by step."""
    earlier_children: Mapping[str, tuple[Facts, ...]] = field(default_factory=dict)
    """The StoryRuns that a loop started before, by step, oldest first; of these only the StoryRun itself is known."""
    last_lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The last lines of the log, by step."""
    bindings: Mapping[str, Object] = field(default_factory=dict)
    """TransportBindings of a realtime run, by step."""
    pools: Mapping[str, PoolStanding] = field(default_factory=dict)
    """Pools of warm workers, by name; only those that an unfinished step waits for."""
    hub: HubStanding | None = None
    """None: not known, or the run has no streams."""
    unseen: tuple[str, ...] = ()

    @property
    def namespace(self) -> str:
        return str(self.run["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.run["metadata"]["name"])

    @property
    def status(self) -> Object:
        status: Object = self.run.get("status") or {}
        return status

    def state(self, step: str) -> Object:
        state: Object = (self.status.get("stepStates") or {}).get(step) or {}
        return state


class CommandIn(Protocol):
    """The command to type for an object in a namespace."""

    def __call__(self, namespace: str, verb: str, *arguments: str) -> str: ...
