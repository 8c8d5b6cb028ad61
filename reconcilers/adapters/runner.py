"""Ensure a run's ServiceAccount, Role and RoleBinding.

Created first and asked afterwards: a new run costs three writes at once and no read. What exists already is checked for
ownership and brought to the wanted state by the smallest patch; what belongs to somebody else is refused, all three
kinds alike. Source: StoryRun contract 6.3, StepRun contract 16.
"""

from __future__ import annotations

from typing import Any

import trio
from core.kube.client import KubeClient

from core.api import keys
from core.api.resource import ROLE, ROLE_BINDING, SERVICE_ACCOUNT, Resource
from core.engine.errors import MissingReferenceError, NameConflictError
from core.engine.ports import EventSink, EventType, Object
from core.kube.errors import AlreadyExistsError
from core.workloads import runner
from reconcilers.adapters.binding import Binder, ResolvedStep
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import step_references


class RunnerAccess:
    """The identity under which the containers of a run work."""

    def __init__(self, client: KubeClient, binder: Binder, events: EventSink) -> None:
        self._client = client
        self._binder = binder
        self._events = events

    async def ensure(self, run: Object, story: Object) -> None:
        """Idempotent.

        Raises:
            NameConflictError: an object of the name belongs to somebody else.
        """
        rules = await self._extra_rules(story)
        wanted = (
            (SERVICE_ACCOUNT, runner.service_account(run, story)),
            (ROLE, runner.role(run, rules)),
            (ROLE_BINDING, runner.role_binding(run)),
        )
        try:
            async with trio.open_nursery() as nursery:
                for resource, manifest in wanted:
                    nursery.start_soon(self._ensure, run, resource, manifest)
        except* NameConflictError as group:
            raise group.exceptions[0] from None

    async def _extra_rules(self, story: Object) -> list[runner.Rule]:
        """Of every Engram the Story refers to; a missing one contributes nothing and fails its own step later."""
        rules: list[runner.Rule] = []
        for step in step_references(story):
            try:
                binding = await self._binder.bind(story, step)
            except MissingReferenceError:
                continue
            resolved: ResolvedStep = binding.policy
            rules += runner.template_rules(resolved.template)
            rules += runner.engram_rules(resolved.engram)
        return rules

    async def _ensure(self, run: Object, resource: Resource, manifest: Object) -> None:
        name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
        with port_errors():
            try:
                await self._client.create(resource, manifest, namespace=namespace)
            except AlreadyExistsError:
                stored = await self._client.get(resource, name, namespace)
            else:
                self._tell(run, resource, "Created", name)
                return
        if not _owned(stored, run):
            raise NameConflictError(
                f"{resource.kind} {namespace}/{name} exists and does not belong to this run; "
                "delete it or rename the run"
            )
        patch = _difference(stored, manifest)
        if patch:
            with port_errors():
                await self._client.patch(resource, name, patch, namespace=namespace)
            self._tell(run, resource, "Updated", name)

    def _tell(self, run: Object, resource: Resource, what: str, name: str) -> None:
        self._events.emit(run, EventType.NORMAL, f"{resource.kind}{what}", f"{resource.kind} {name} {what.lower()}")


def _owned(stored: Object, run: Object) -> bool:
    uid = run["metadata"]["uid"]
    return any(reference.get("uid") == uid for reference in stored["metadata"].get("ownerReferences") or ())


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
