"""Ensures objects that belong to one run or one Impulse: ServiceAccounts, Roles, RoleBindings.

Runs own some with ``controller.runner-identity: run`` only. They are not watched, so they are read before they are
written, unless their owner is new. Their owner is checked, and the smallest patch changes them to the wanted state.
Objects of another owner are refused. Source: StoryRun contract 6.3, StepRun contract 16, Trigger contract 6.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.api import keys
from core.api.objects import Object, is_controlled_by, is_owned_by, owners_of
from core.api.resource import STORY_RUN, Resource
from core.engine.errors import DeniedError, NameConflictError, PortError, RejectedError, UnavailableError
from core.engine.ports import EventSink, EventType
from core.kube.client import KubeClient
from core.kube.errors import AlreadyExistsError, NotFoundError
from core.kube.patch import bound_to
from reconcilers.adapters.translation import port_errors


class OwnedAccess:
    """Creates and corrects the objects that give an owner's containers their permissions."""

    def __init__(self, client: KubeClient, events: EventSink) -> None:
        self._client = client
        self._events = events

    async def ensure(self, owner: Object, wanted: Sequence[tuple[Resource, Object]], *, is_new: bool) -> None:
        """One after the other, up to the first problem. Idempotent.

        ``is_new``: the owner had no objects so far, so creating is tried before reading.

        Raises:
            NameConflictError: an object of the name belongs to another owner.
            UnavailableError: also while an object of an earlier owner of this name still exists.
            DeniedError: a template requests permissions that the operator does not have; the message names rule and
                remedy.
            RejectedError.
        """
        try:
            for resource, manifest in wanted:
                await self._ensure(owner, resource, manifest, is_new=is_new)
        except DeniedError as error:
            raise DeniedError(with_remedy(str(error))) from error

    async def correct_existing(self, owner: Object, resource: Resource, manifest: Object) -> None:
        """Like ``ensure`` for an object that need not exist: one that is missing, or belongs to others, is left alone.

        Raises:
            UnavailableError, RejectedError.
        """
        with port_errors():
            stored = await self._read(resource, manifest)
        if stored is not None and _belongs_to(stored, owner):
            await self._correct(owner, resource, stored, manifest)

    async def _ensure(self, owner: Object, resource: Resource, manifest: Object, *, is_new: bool) -> None:
        with port_errors():
            stored = None if is_new else await self._read(resource, manifest)
            if stored is None:
                stored = await self._create(resource, manifest)
        if stored is not None:
            await self._correct(owner, resource, stored, manifest)

    async def _create(self, resource: Resource, manifest: Object) -> Object | None:
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
        return None

    async def _correct(self, owner: Object, resource: Resource, stored: Object, manifest: Object) -> None:
        name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
        if not _belongs_to(stored, owner):
            if _left_by_a_namesake(stored, owner):
                text = f"{resource.kind} {namespace}/{name} of a deleted {_word(owner)} is still being removed"
                raise UnavailableError(text)
            raise NameConflictError(
                f"{resource.kind} {namespace}/{name} exists and does not belong to this {_word(owner)}; "
                f"delete it or rename the {_word(owner)}"
            )
        patch = difference(stored, manifest)
        if not patch:
            return
        try:
            with port_errors():
                await self._client.patch(resource, name, bound_to(stored, patch), namespace=namespace)
        except (RejectedError, UnavailableError):
            raise
        except PortError as error:  # it changed or was deleted meanwhile: read it again
            raise UnavailableError(str(error)) from error
        text = f"{resource.kind} {name} updated"
        self._events.emit(owner, EventType.NORMAL, f"{resource.kind}Updated", text)

    async def _read(self, resource: Resource, manifest: Object) -> Object | None:
        metadata = manifest["metadata"]
        try:
            return await self._client.get(resource, metadata["name"], metadata["namespace"])
        except NotFoundError:
            return None


def _belongs_to(stored: Object, owner: Object) -> bool:
    """Objects of runs are owned by them; those of Impulses are controlled, as in the reference."""
    uid = owner["metadata"]["uid"]
    return is_owned_by(stored, uid) if owner["kind"] == STORY_RUN.kind else is_controlled_by(stored, uid)


def _left_by_a_namesake(stored: Object, owner: Object) -> bool:
    """Whether it belongs to an earlier owner of this name, which is gone, so that it will be removed, too."""
    wanted, uid = (owner["kind"], owner["metadata"]["name"]), owner["metadata"]["uid"]
    return any((each["kind"], each["name"]) == wanted and each.get("uid") != uid for each in owners_of(stored))


def _word(owner: Object) -> str:
    return "run" if owner["kind"] == STORY_RUN.kind else str(owner["kind"])


def with_remedy(refusal: str) -> str:
    """The API server's text, shortened to the rules, with the remedy."""
    _, found, rules = refusal.partition("not currently held:")
    if not found:
        return refusal
    return (
        f"templates request permissions that the operator does not have and cannot grant: {' '.join(rules.split())}; "
        f"to allow them, label a ClusterRole that has them with {keys.LABEL_RUNNER_GRANTS}=true, "
        "or take them out of the template (spec.execution.rbac.rules)"
    )


def difference(stored: Object, wanted: Object) -> dict[str, Any]:
    """The merge patch that changes rules, subjects and managed annotations to the wanted state; empty when they are
    equal.
    """
    patch: dict[str, Any] = {
        key: wanted[key] for key in ("rules", "subjects") if key in wanted and (stored.get(key) or []) != wanted[key]
    }
    have = stored["metadata"].get("annotations") or {}
    want = wanted["metadata"].get("annotations") or {}
    managed = [key for key in have.get(keys.ANNOTATION_MANAGED_STORAGE, "").split(",") if key]
    stale = {key: None for key in (*managed, keys.ANNOTATION_MANAGED_STORAGE) if key in have and key not in want}
    changed = {key: value for key, value in want.items() if have.get(key) != value}
    if stale or changed:
        patch["metadata"] = {"annotations": {**stale, **changed}}
    return patch
