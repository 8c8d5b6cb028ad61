"""Ensures a run's ServiceAccount, Role and RoleBinding.

A new run costs three writes and no read; for a run that has started before, existing objects are read first. Their
owner is checked, and the smallest patch changes them to the wanted state. Objects of another owner are refused, for all
three kinds. The RoleBinding is created after its Role: an API server refuses a binding to an unknown Role from clients
without the permission ``bind`` for all Roles, and the operator does not have it. Source: StoryRun contract 6.3, StepRun
contract 16.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from core.api import keys
from core.api.objects import Object, is_owned_by, owners_of
from core.api.resource import ROLE, ROLE_BINDING, SERVICE_ACCOUNT, STORY_RUN, Resource
from core.engine.errors import (
    AwaitedError,
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
"""Concurrent runs of a namespace when no other namespace has any. A real API server takes a tenth of a second for a
Role and as long for its binding; most of this it waits for its own cache before it checks permissions. This many runs
hide that.
"""
RUNS_OF_ONE: Final = 8
"""Concurrent runs of one namespace among others."""
RUNS_AT_ONCE: Final = 24
"""Concurrent runs of all namespaces, which take turns."""


class RunnerAccess:
    """The identity of a run's containers."""

    def __init__(self, client: KubeClient, binder: Binder, events: EventSink) -> None:
        self._client = client
        self._turns = Turns(RUNS_AT_ONCE, RUNS_OF_ONE, at_once_alone=RUNS_ALONE)
        self._binder = binder
        self._events = events

    async def ensure(self, run: Object, story: Object) -> None:
        """Idempotent.

        Raises:
            NameConflictError: an object of the name belongs to another owner.
            UnavailableError: also while an object of an earlier run of this name still exists.
            DeniedError: a template requests permissions that the operator does not have; the message names rule and
                remedy.
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
        """The rules of every Engram that the Story refers to; a missing Engram adds nothing. Its step waits for
        it, and then this is done again.
        """
        namespace = run["metadata"]["namespace"]
        rules: list[runner_rules.Rule] = []
        for step in step_references(story):
            try:
                engram, template = await self._binder.definitions(story, step)
            except (AwaitedError, MissingReferenceError):
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
        """None when it was created; otherwise the existing object."""
        try:
            await self._client.create(resource, manifest)
        except AlreadyExistsError:
            stored = await self._read(resource, manifest)
            if stored is None:
                raise UnavailableError(f"{resource.kind} {manifest['metadata']['name']} is being replaced") from None
            return stored
        except NotFoundError as error:  # the Role of a binding is gone again, or the namespace is being deleted
            raise UnavailableError(str(error)) from error
        self._record(run, resource, "Created", manifest)
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
        except PortError as error:  # it changed or was deleted meanwhile: read it again
            raise UnavailableError(str(error)) from error
        self._record(run, resource, "Updated", manifest)

    async def _read(self, resource: Resource, manifest: Object) -> Object | None:
        metadata = manifest["metadata"]
        try:
            return await self._client.get(resource, metadata["name"], metadata["namespace"])
        except NotFoundError:
            return None

    def _record(self, run: Object, resource: Resource, action: str, manifest: Object) -> None:
        message = f"{resource.kind} {manifest['metadata']['name']} {action.lower()}"
        self._events.emit(run, EventType.NORMAL, f"{resource.kind}{action}", message)


def _gravity(problem: PortError) -> int:
    """The severity of a problem: of several, the one that most needs a person is reported."""
    return 2 if isinstance(problem, RejectedError) else int(isinstance(problem, DeniedError))


def _with_remedy(refusal: str) -> str:
    """The API server's text, shortened to the rules, with the remedy."""
    _, found, rules = refusal.partition("not currently held:")
    if not found:
        return refusal
    return (
        f"templates request permissions that the operator does not have and cannot grant: {' '.join(rules.split())}; "
        f"to allow them, label a ClusterRole that has them with {keys.LABEL_RUNNER_GRANTS}=true, "
        "or take them out of the template (spec.execution.rbac.rules)"
    )


def _has_started(run: Object) -> bool:
    return bool((run.get("status") or {}).get("startedAt"))


def _left_by_a_namesake(stored: Object, run: Object) -> bool:
    """Whether it belongs to an earlier run of this name, which is gone, so that it will be removed, too."""
    wanted = (STORY_RUN.kind, run["metadata"]["name"])
    return any((owner["kind"], owner["name"]) == wanted for owner in owners_of(stored))


def _difference(stored: Object, wanted: Object) -> dict[str, Any]:
    """The merge patch that changes rules, subjects and managed annotations to the wanted state; empty when they are
    equal.
    """
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
