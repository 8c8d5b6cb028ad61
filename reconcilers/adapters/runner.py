"""Ensure a run's ServiceAccount, Role and RoleBinding.

A new run costs three writes and no read; for one that has started before, what is there is read first. What exists is
checked for ownership and brought to the wanted state by the smallest patch; what belongs to somebody else is refused,
all three kinds alike. The RoleBinding comes after its Role: an API server refuses one to a Role it does not know, from
whoever may not ``bind`` at will, as we may not. Source: StoryRun contract 6.3, StepRun contract 16.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from core.api import keys
from core.api.objects import Object, is_owned_by, owners_of
from core.api.resource import ROLE, ROLE_BINDING, SERVICE_ACCOUNT, STORY_RUN, Resource
from core.engine.errors import (
    DeniedError,
    MissingReferenceError,
    NameConflictError,
    PortError,
    RejectedError,
    UnavailableError,
)
from core.engine.ports import EventSink, EventType
from core.fairness.turns import Turns
from core.kube.client import KubeClient
from core.kube.errors import AlreadyExistsError, NotFoundError
from core.kube.patch import bound_to
from core.workloads import runner, runner_rules
from reconcilers.adapters.binding import Binder
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import step_references

RUNS_ALONE: Final = 16
"""Of a namespace beside which nothing happens. A real API server takes a tenth of a second for a Role and as long for
its binding, nearly all of it waiting for its own cache before it judges who may grant what. So many runs hide that."""
RUNS_OF_ONE: Final = 8
"""Of one namespace among others."""
RUNS_AT_ONCE: Final = 24
"""Of all, which take turns."""


class RunnerAccess:
    """The identity under which the containers of a run work."""

    def __init__(self, client: KubeClient, binder: Binder, events: EventSink) -> None:
        self._client = client
        self._turns = Turns(RUNS_AT_ONCE, RUNS_OF_ONE, at_once_alone=RUNS_ALONE)
        self._binder = binder
        self._events = events

    async def ensure(self, run: Object, story: Object) -> None:
        """Idempotent.

        Raises:
            NameConflictError: an object of the name belongs to somebody else.
            UnavailableError: also while one of an earlier run of this name is still there.
            DeniedError: a template asks for rights that the operator does not hold; the message names rule and remedy.
            RejectedError.
        """
        rules = await self._extra_rules(run, story)
        async with self._turns.turn(run["metadata"]["namespace"]):
            await self._ensure_all(run, story, rules)

    async def _ensure_all(self, run: Object, story: Object, rules: list[runner_rules.Rule]) -> None:
        problems: list[PortError] = []
        role, binding = (ROLE, runner.role(run, rules)), (ROLE_BINDING, runner.role_binding(run))
        async with trio.open_nursery() as nursery:
            account = (SERVICE_ACCOUNT, runner.service_account(run, story))
            nursery.start_soon(self._ensure_each, run, [account], problems)
            nursery.start_soon(self._ensure_each, run, [role, binding], problems)
        if problems:
            raise max(problems, key=_gravity)

    async def _extra_rules(self, run: Object, story: Object) -> list[runner_rules.Rule]:
        """Of every Engram the Story refers to; a missing one contributes nothing and fails its own step later."""
        namespace = run["metadata"]["namespace"]
        rules: list[runner_rules.Rule] = []
        for step in step_references(story):
            try:
                engram, template = await self._binder.definitions(story, step)
            except MissingReferenceError:
                continue
            rules += runner_rules.extra_rules(template, engram, namespace)
            for refusal in runner_rules.refusals(template, engram, namespace):
                self._events.emit(run, EventType.WARNING, "RuleRefused", refusal)
        return rules

    async def _ensure_each(self, run: Object, wanted: list[tuple[Resource, Object]], problems: list[PortError]) -> None:
        """One after the other, up to the first problem."""
        try:
            for resource, manifest in wanted:
                await self._ensure(run, resource, manifest)
        except DeniedError as error:
            problems.append(DeniedError(_with_remedy(str(error))))
        except PortError as error:
            problems.append(error)

    async def _ensure(self, run: Object, resource: Resource, manifest: Object) -> None:
        with port_errors():
            stored = await self._read(resource, manifest) if _has_started(run) else None
            if stored is None:
                stored = await self._create(run, resource, manifest)
        if stored is not None:
            await self._correct(run, resource, stored, manifest)

    async def _create(self, run: Object, resource: Resource, manifest: Object) -> Object | None:
        """None when it was created; else what stands there already."""
        try:
            await self._client.create(resource, manifest)
        except AlreadyExistsError:
            stored = await self._read(resource, manifest)
            if stored is None:
                raise UnavailableError(f"{resource.kind} {manifest['metadata']['name']} is being replaced") from None
            return stored
        except NotFoundError as error:  # a binding whose Role has gone again, or a namespace that is going
            raise UnavailableError(str(error)) from error
        self._tell(run, resource, "Created", manifest)
        return None

    async def _correct(self, run: Object, resource: Resource, stored: Object, manifest: Object) -> None:
        name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
        if not is_owned_by(stored, run["metadata"]["uid"]):
            if _left_by_a_namesake(stored, run):
                raise UnavailableError(f"{resource.kind} {namespace}/{name} of a deleted run is still being removed")
            raise NameConflictError(
                f"{resource.kind} {namespace}/{name} exists and does not belong to this run; "
                "delete it or rename the run"
            )
        patch = _difference(stored, manifest)
        if not patch:
            return
        try:
            with port_errors():
                await self._client.patch(resource, name, bound_to(stored, patch), namespace=namespace)
        except (RejectedError, UnavailableError):
            raise
        except PortError as error:  # it changed or went while we looked: look again
            raise UnavailableError(str(error)) from error
        self._tell(run, resource, "Updated", manifest)

    async def _read(self, resource: Resource, manifest: Object) -> Object | None:
        metadata = manifest["metadata"]
        try:
            return await self._client.get(resource, metadata["name"], metadata["namespace"])
        except NotFoundError:
            return None

    def _tell(self, run: Object, resource: Resource, what: str, manifest: Object) -> None:
        message = f"{resource.kind} {manifest['metadata']['name']} {what.lower()}"
        self._events.emit(run, EventType.NORMAL, f"{resource.kind}{what}", message)


def _gravity(problem: PortError) -> int:
    """Of several problems the one is told that needs somebody most."""
    return 2 if isinstance(problem, RejectedError) else int(isinstance(problem, DeniedError))


def _with_remedy(refusal: str) -> str:
    """What the API server says, shortened to the rules, and what to do."""
    _, found, rules = refusal.partition("not currently held:")
    if not found:
        return refusal
    return (
        f"templates ask for rights that the operator does not hold and so cannot hand on: {' '.join(rules.split())}; "
        f"to allow them, label a ClusterRole that has them with {keys.LABEL_RUNNER_GRANTS}=true, "
        "or take them out of the template (spec.execution.rbac.rules)"
    )


def _has_started(run: Object) -> bool:
    return bool((run.get("status") or {}).get("startedAt"))


def _left_by_a_namesake(stored: Object, run: Object) -> bool:
    """Whether it belongs to an earlier run of the name, which is gone, so that it goes, too."""
    wanted = (STORY_RUN.kind, run["metadata"]["name"])
    return any((owner["kind"], owner["name"]) == wanted for owner in owners_of(stored))


def _difference(stored: Object, wanted: Object) -> dict[str, Any]:
    """The merge patch that brings rules, subjects and managed annotations to the wanted state; empty when they are."""
    patch: dict[str, Any] = {
        key: wanted[key] for key in ("rules", "subjects") if key in wanted and stored.get(key) != wanted[key]
    }
    have = stored["metadata"].get("annotations") or {}
    want = wanted["metadata"].get("annotations") or {}
    managed = [key for key in have.get(keys.ANNOTATION_MANAGED_STORAGE, "").split(",") if key]
    stale = {key: None for key in (*managed, keys.ANNOTATION_MANAGED_STORAGE) if key in have and key not in want}
    changed = {key: value for key, value in want.items() if have.get(key) != value}
    if stale or changed:
        patch["metadata"] = {"annotations": {**stale, **changed}}
    return patch
