"""Creates, marks and removes the objects of realtime steps. Names are the lock.

The first creator wins, and every other one finds the existing object, checks its owner, and continues. An object that
the StepRun does not control is never adopted, changed or deleted; one of an earlier StepRun of the same name, which the
garbage collector will remove, is awaited, and deleted where the operator may.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from bubu_contract.identity import label_value
from core.api import keys
from core.api.objects import Object, controller_of, is_being_deleted, is_controlled_by
from core.api.resource import (
    POD,
    SECRET,
    SERVICE,
    STEP_RUN,
    STREAM_DEPLOYMENT,
    STREAM_STATEFUL_SET,
    TRANSPORT_BINDING,
    Resource,
)
from core.engine.errors import NameConflictError, StaleError
from core.kube.client import KubeClient
from core.kube.errors import NotFoundError
from core.kube.informer import Informer
from core.workloads.stream_binding import admitted_generation, is_finished, next_generation_patch
from core.workloads.stream_workload import SELECTOR, StreamMode, binding_name, generation_of, workload_name
from reconcilers.adapters.stream_look import StreamLook, attempt_of
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.world import OWNER_UID, STEP_RUN_NAME, World
from reconcilers.adapters.writes import create_or_read, delete, patch_metadata

RUNTIMES: Final = {StreamMode.DEPLOYMENT: STREAM_DEPLOYMENT, StreamMode.STATEFUL_SET: STREAM_STATEFUL_SET}


class StreamObjects:
    """Every method is idempotent; what it writes is visible to the next ``look`` at once."""

    def __init__(self, client: KubeClient, world: World) -> None:
        self._client = client
        self._world = world
        self._bindings = world.informer(TRANSPORT_BINDING)

    # Reading.

    def look(self, step_run: Object) -> StreamLook:
        """What the informers know."""
        metadata = step_run["metadata"]
        namespace, uid = metadata["namespace"], metadata["uid"]
        found = [each for kind in RUNTIMES.values() for each in self._world.informer(kind).by_index(OWNER_UID, uid)]
        found.sort(key=is_being_deleted)
        binding = self._bindings.get(namespace, _binding_of(step_run))
        if binding is not None and not is_controlled_by(binding, uid):
            binding = None
        return StreamLook(step_run, binding, next(iter(found), None), self.known_pods(namespace, metadata["name"]))

    async def look_closely(self, step_run: Object) -> StreamLook:
        """The same; a workload or binding that a process created a moment ago, and which has not reached the informers,
        is read from the API server.

        Raises:
            UnavailableError.
        """
        look = self.look(step_run)
        if look.standing_workload is None:
            for mode, kind in RUNTIMES.items():
                found = await self._read(step_run, kind, workload_name(step_run["metadata"]["name"], mode))
                look = replace(look, workload=found or look.workload)
        return await self._with_binding(look)

    async def look_with_binding(self, step_run: Object) -> StreamLook:
        """``look``; the binding is read from the API server if the workload is there and the binding seems to be gone.

        Kinds are watched separately, so a workload may be known before its binding is.

        Raises:
            UnavailableError.
        """
        look = self.look(step_run)
        workload = look.standing_workload
        if workload is None or attempt_of(workload) != look.attempt or look.current_binding is not None:
            return look
        return await self._with_binding(look)

    async def with_stored_pods(self, look: StreamLook) -> StreamLook:
        """``look`` with the Pods that the API server has now.

        Raises:
            UnavailableError.
        """
        metadata = look.step_run["metadata"]
        selector = f"{SELECTOR},{keys.LABEL_STEP_RUN}={label_value(metadata['name'])}"
        with port_errors():
            pods = (await self._client.list(POD, metadata["namespace"], label_selector=selector)).items
        return replace(look, pods=pods)

    def known_pods(self, namespace: str, step_run_name: str) -> list[Object]:
        """Pods of StepRuns of that name, whatever their attempt."""
        return self._world.pods.by_index(STEP_RUN_NAME, f"{namespace}/{step_run_name}")

    def known_runtimes(self, namespace: str, step_run_name: str) -> list[Object]:
        """Workloads of StepRuns of that name, be it the existing one or one that is gone."""
        found = (
            self._world.informer(kind).get(namespace, workload_name(step_run_name, mode))
            for mode, kind in RUNTIMES.items()
        )
        return [each for each in found if each is not None and _step_run_of(each) == step_run_name]

    # Creating.

    async def ensure_binding(
        self, step_run: Object, manifest: Object, attempt: int, take_turn: Callable[[], None] = lambda: None
    ) -> Object:
        """The stored binding, which admits the generation of ``attempt`` and no lower one.

        Args:
            take_turn: is called before the binding is created or changed.

        Raises:
            ThrottledError: from ``take_turn``.
            NameConflictError: an object of that name belongs to another owner.
            StaleError: it is of an earlier StepRun, or of a later attempt, or the attempt has finished.
            GoneError, UnavailableError, RejectedError.
        """
        if self.look(step_run).binding is None:
            take_turn()
        stored = await self._ensure(step_run, TRANSPORT_BINDING, manifest, self._bindings)
        generation = generation_of(attempt)
        admitted = admitted_generation(stored)
        if admitted > generation:
            raise StaleError(f"TransportBinding {stored['metadata']['name']} admits a later attempt than {attempt}")
        if admitted < generation:
            take_turn()
            patch = {"annotations": next_generation_patch(generation)}
            return await patch_metadata(self._client, self._bindings, TRANSPORT_BINDING, stored, patch)
        if is_finished(stored):  # another leader has seen the end of this very attempt
            raise StaleError(f"the stream of TransportBinding {stored['metadata']['name']} has finished")
        return stored

    async def ensure_secret(self, step_run: Object, manifest: Object) -> None:
        """Raises the errors of ``ensure_binding``."""
        stored = await self._ensure(step_run, SECRET, manifest, None)
        if (stored.get("data") or {}) != manifest["data"]:
            metadata = manifest["metadata"]
            raise NameConflictError(
                f"Secret {metadata['namespace']}/{metadata['name']} does not have its expected content; delete it"
            )

    async def ensure_service(self, step_run: Object, manifest: Object) -> None:
        """Raises the errors of ``ensure_binding``."""
        await self._ensure(step_run, SERVICE, manifest, None)

    async def ensure_runtime(self, step_run: Object, manifest: Object, attempt: int) -> None:
        """Raises the errors of ``ensure_binding``; ``StaleError`` also if the workload of another attempt exists."""
        kind = STREAM_DEPLOYMENT if manifest["kind"] == STREAM_DEPLOYMENT.kind else STREAM_STATEFUL_SET
        stored = await self._ensure(step_run, kind, manifest, self._world.informer(kind))
        if attempt_of(stored) != attempt:
            metadata = manifest["metadata"]
            raise StaleError(
                f"{kind.kind} {metadata['namespace']}/{metadata['name']} of attempt {attempt_of(stored)} still exists"
            )

    # Ending.

    async def mark(self, binding: Object, annotations: Mapping[str, Any]) -> None:
        """Bound to the version that the decision was made on. Raises as ``patch_metadata``."""
        patch = {"annotations": dict(annotations)}
        await patch_metadata(self._client, self._bindings, TRANSPORT_BINDING, binding, patch)

    async def remove_runtime(self, workload: Object) -> None:
        """Kubernetes ends the Pods in the background.

        Raises:
            UnavailableError, RejectedError.
        """
        kind = STREAM_DEPLOYMENT if workload["kind"] == STREAM_DEPLOYMENT.kind else STREAM_STATEFUL_SET
        await delete(self._client, self._world.informer(kind), kind, workload)

    async def _ensure(self, step_run: Object, kind: Resource, manifest: Object, informer: Informer | None) -> Object:
        metadata, uid = manifest["metadata"], step_run["metadata"]["uid"]
        known = informer.get(metadata["namespace"], metadata["name"]) if informer is not None else None
        if known is not None and is_controlled_by(known, uid) and not is_being_deleted(known):
            return known
        stored, _ = await create_or_read(self._client, kind, manifest)
        place = f"{kind.kind} {metadata['namespace']}/{metadata['name']}"
        if not is_controlled_by(stored, uid):
            if _step_run_of(stored) != step_run["metadata"]["name"]:
                raise NameConflictError(f"{place} exists and does not belong to this step; delete or rename it")
            if kind is not SECRET:  # the garbage collector removes it: the operator may not delete Secrets
                with port_errors():
                    await self._delete(kind, stored)
            raise StaleError(f"{place} of a deleted StepRun still exists")
        if is_being_deleted(stored):
            raise StaleError(f"{place} is being deleted")
        return informer.remember(stored) if informer is not None else stored

    async def _delete(self, kind: Resource, stored: Object) -> None:
        metadata = stored["metadata"]
        try:
            await self._client.delete(
                kind, metadata["name"], metadata["namespace"], uid=metadata["uid"], propagation="Background"
            )
        except NotFoundError:
            return

    async def _with_binding(self, look: StreamLook) -> StreamLook:
        if look.current_binding is not None:
            return look
        found = await self._read(look.step_run, TRANSPORT_BINDING, _binding_of(look.step_run))
        return replace(look, binding=found)

    async def _read(self, step_run: Object, kind: Resource, name: str) -> Object | None:
        """The object, if the StepRun controls it."""
        with port_errors():
            try:
                stored = await self._client.get(kind, name, step_run["metadata"]["namespace"])
            except NotFoundError:
                return None
        return stored if is_controlled_by(stored, step_run["metadata"]["uid"]) else None


def _binding_of(step_run: Object) -> str:
    return binding_name(step_run["spec"]["storyRunRef"]["name"], step_run["spec"]["stepId"])


def _step_run_of(obj: Object) -> str:
    """Name of the StepRun that controls it, or has controlled it before it was deleted; empty: none."""
    owner = controller_of(obj) or {}
    return str(owner.get("name") or "") if owner.get("kind") == STEP_RUN.kind else ""
