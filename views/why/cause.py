"""Why a run does not go on: one record for each thing that is waited for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from core.api.objects import Object


class CauseKind(StrEnum):
    """What is waited for; stable, for programs."""

    OPERATOR = "operator"
    STORY = "story"
    PERMISSION = "permission"
    STORAGE = "storage"
    CANCEL = "cancel"
    NEEDS = "needs"
    QUEUE = "queue"
    GATE = "gate"
    WAIT = "wait"
    SLEEP = "sleep"
    CHILD = "child"
    BRANCHES = "branches"
    RETRY = "retry"
    IMAGE = "image"
    NODE = "node"
    CONTAINER = "container"
    JOB = "job"
    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that a run waits for, or that it failed with."""

    kind: CauseKind
    namespace: str
    run: str
    step: str
    """Empty: the run itself."""
    text: str
    """A sentence whose subject is the step."""
    since: datetime | None = None
    until: datetime | None = None
    then: str = ""
    """What happens at ``until``."""
    who: str = ""
    """Who can change it."""
    commands: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    """More, name by name."""
    last_lines: tuple[str, ...] = ()
    """Of the step's log."""
    via: tuple[str, ...] = ()
    """``RUN/STEP`` on the way here, from the run that was asked about: through child runs and needs."""


@dataclass(frozen=True, slots=True)
class Explanation:
    namespace: str
    run: str
    step: str
    """Which was asked about; empty: the whole run."""
    story: str
    phase: str
    message: str
    since: datetime | None
    """When the run began, or was made."""
    until: datetime | None
    """When the run itself is out of time."""
    causes: tuple[Cause, ...]
    later: tuple[tuple[str, tuple[str, ...]], ...]
    """Steps that have not begun, and what each still needs."""
    unseen: tuple[str, ...]
    """What one may not see, so that it is missing here."""
    summary: str = ""
    """The whole answer, where there is nothing to wait for."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one run, at one moment."""

    run: Object
    story: Object | None
    step_runs: Mapping[str, Object] = field(default_factory=dict)
    """By step."""
    jobs: Mapping[str, Object] = field(default_factory=dict)
    """By name of the StepRun."""
    pods: Mapping[str, Object] = field(default_factory=dict)
    """The newest one, by name of the StepRun."""
    warnings: Mapping[str, str] = field(default_factory=dict)
    """The last warning about a Job that has no Pod, by name of the StepRun."""
    children: Mapping[str, Facts] = field(default_factory=dict)
    """Of the StoryRuns that steps started the last one, by step."""
    last_lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of the log, by step."""
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
    """What to type about an object in a namespace."""

    def __call__(self, namespace: str, verb: str, *arguments: str) -> str: ...
