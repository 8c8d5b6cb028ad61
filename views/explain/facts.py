"""What an explanation of a step is made from, and the explanation itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.api.objects import Object, ReadOnlyObject


@dataclass(frozen=True, slots=True)
class StepFacts:
    """The objects that decide about the Job of one engram step, as far as the user may read them."""

    run: Object
    story: Object
    """As the run executes it."""
    step_name: str
    """The path of the step: ``fan/left`` is a branch."""
    step: ReadOnlyObject
    """As declared in the Story."""
    engram: Object | None
    """None: it does not exist."""
    template: Object | None
    config: Mapping[str, str] | None
    """``data`` of the operator's ConfigMap; empty if there is none, None if the user may not read it."""
    config_map: Object | None = None
    step_run: Object | None = None
    job: Object | None = None
    unseen: tuple[str, ...] = ()
    """Kinds of objects that the user may not read."""

    @property
    def namespace(self) -> str:
        """The namespace of the run, and of the Job."""
        namespace: str = self.run["metadata"]["namespace"]
        return namespace

    @property
    def run_name(self) -> str:
        name: str = self.run["metadata"]["name"]
        return name


@dataclass(frozen=True, slots=True)
class ExplainedValue:
    """One value of the resolved Job, or of the policy around it."""

    setting: str
    """As a path of fields: ``resources.cpuLimit``."""
    value: Any
    """JSON; None: unknown."""
    layer: str
    """The layer in the words of ``core.policy.sources``; empty: Kubernetes or the operator decide, and no layer may."""
    source: str
    """The layer for people: ``Engram fetch overrides``, ``operator setting job.backoff-limit``."""
    is_known: bool = True
    """False: it depends on the operator's settings, which the user may not read."""
    in_job: Any = None
    """The value in the Job; meaningless if the Job does not exist or does not have such values."""
    differs: bool = False
    """Whether the Job has another value."""
    why: str = ""
    """Why the Job has another value, as far as that is known."""


@dataclass(frozen=True, slots=True)
class StepExplanation:
    """The answer."""

    namespace: str
    run: str
    step: str
    engram: str
    """``namespace/name``."""
    template: str
    state: str
    """What the values are: of a Job that will be created, of one that exists, or of one that is gone."""
    job: str
    """Name of the Job; empty: it does not exist."""
    values: tuple[ExplainedValue, ...]
    notes: tuple[str, ...]
    """Values of layers that are not applied."""
    problems: tuple[str, ...]
    """Why no Job can be created; then there are no values but those of an existing Job."""
    unseen: tuple[str, ...] = ()

    @property
    def differing(self) -> list[ExplainedValue]:
        return [value for value in self.values if value.differs]
