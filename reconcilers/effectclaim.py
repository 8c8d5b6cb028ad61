"""EffectClaims: show where each effect stands, and delete claims that belong to no StepRun.

The phase follows from holder, outcome and time (``core.workloads.effect_lease``): a claim is looked at when it changes
and when its lease expires. A claim whose StepRun is in another namespace, gone, or replaced by another object is
deleted; the watch alone never decides that a StepRun is gone. Claims are not deleted for age: they are deleted with
their StepRun, which owns them. Source: Trigger contract 8.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from core.api.conditions import with_condition
from core.api.objects import Object, controller_of, is_being_deleted, owners_of
from core.api.permission import Permission
from core.api.phases import ConditionType
from core.api.resource import EFFECT_CLAIM, STEP_RUN
from core.api.unreadable import why_unreadable
from core.engine.ports import Clock
from core.kube.client import KubeClient
from core.kube.errors import NotFoundError
from core.kube.informer import Change
from core.kube.store import ChangeKind
from core.policy.settings import ControllerSettings, OperatorSettings
from core.telemetry.logs import get_logger
from core.workloads.effect_lease import ClaimStanding, standing_of
from core.workloads.restored import creator_of, is_restored_child
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.watched_kind import WatchedKind, slim
from reconcilers.adapters.world import World, is_object_name
from reconcilers.adapters.writes import delete, patch_metadata, patch_spec
from reconcilers.definition import write_status
from reconcilers.registration import ControllerDependencies, ControllerRegistration
from reconcilers.runtime.changes import spec_changed
from reconcilers.runtime.controller import Key, Reconcile
from reconcilers.runtime.outcome import After, Done, Outcome
from reconcilers.runtime.watch import Caches, Watch, own_keys

STEP_RUN_OF_CLAIM: Final = "step-run"
"""Index of EffectClaims: ``namespace/name`` of their StepRun."""
SETTLING: Final = timedelta(seconds=1)
"""How long a change of a claim waits for the next one: a short effect needs one write of its status, and its holder
does not meet a write of the operator between two of its own.
"""
COLLECTION: Final = timedelta(seconds=10)
"""How long the cluster has to delete the claims of a deleted StepRun, which owns them. The rest is deleted here."""

_LOG: Final = get_logger("effectclaim")


class EffectClaimReconciler:
    """Reconciles one EffectClaim at a time, by key."""

    def __init__(self, client: KubeClient, world: World, clock: Clock) -> None:
        self._client = client.in_background()
        self._step_runs = world.step_runs
        self._story_runs = world.story_runs
        self._claims = world.informer(EFFECT_CLAIM)
        self._clock = clock

    async def reconcile(self, key: Key) -> Outcome:
        claim = self._claims.get(key.namespace, key.name)
        if claim is None or is_being_deleted(claim) or why_unreadable(claim):
            return Done()
        step_run = await self._step_run_of(claim)
        if step_run is None:
            await delete(self._client, self._claims, EFFECT_CLAIM, claim, unchanged=True)
            _LOG.info("deleted an EffectClaim without its StepRun", key=str(key), step_run=_step_run_place(claim)[1])
            return Done()
        if not _is_meant(claim, step_run):  # both were restored from a backup: what is recorded still holds
            reference = {"stepRunRef": {"uid": step_run["metadata"]["uid"]}}
            claim = await patch_spec(self._client, self._claims, EFFECT_CLAIM, claim, reference)
        if not _is_owned(claim, step_run):
            owners = [*owners_of(claim), owner_reference(step_run)]
            claim = await patch_metadata(self._client, self._claims, EFFECT_CLAIM, claim, {"ownerReferences": owners})
        now = self._clock.now()
        standing = standing_of(claim, now)
        status = status_with(claim, standing, now)
        if not (standing.progressing and is_as_shown(claim, status)):
            await write_status(self._client, self._claims, EFFECT_CLAIM, claim, status)
        return Done() if standing.changes_at is None else After(standing.changes_at - now)

    async def _step_run_of(self, claim: Object) -> Object | None:
        """The StepRun that the claim belongs to; None: the API server says that it has none.

        Raises:
            PortError: the API server cannot be asked.
        """
        namespace, name = _step_run_place(claim)
        if namespace != claim["metadata"]["namespace"] or not is_object_name(name):
            return None
        known = self._step_runs.get(namespace, name)
        if known is not None and self._belongs_to(claim, known):
            return known
        with port_errors():
            try:
                stored = await self._client.get(STEP_RUN, name, namespace)
            except NotFoundError:
                return None
        return stored if self._belongs_to(claim, stored) else None

    def _belongs_to(self, claim: Object, step_run: Object) -> bool:
        """Whether the claim is kept for this StepRun: it refers to it, or to the one that a backup has brought back."""
        if _is_meant(claim, step_run) or is_restored_child(step_run):
            return True
        owner = controller_of(step_run) or {}
        run = self._story_runs.get(step_run["metadata"]["namespace"], str(owner.get("name")))
        return run is not None and creator_of(step_run) not in ("", run["metadata"]["uid"])


def status_with(claim: Object, standing: ClaimStanding, now: datetime) -> Object:
    """The status that shows ``standing``."""
    generation = claim["metadata"].get("generation", 0)
    conditions: list[Object] = list((claim.get("status") or {}).get("conditions") or ())
    values = (
        (ConditionType.READY, standing.ready),
        (ConditionType.PROGRESSING, standing.progressing),
        (ConditionType.DEGRADED, standing.degraded),
    )
    for type_, value in values:
        conditions = with_condition(
            conditions,
            type_,
            value,
            reason=standing.reason,
            message=standing.message,
            generation=generation,
            now=now,
        )
    return {"observedGeneration": generation, "phase": str(standing.phase), "conditions": conditions}


def is_as_shown(claim: Object, status: Object) -> bool:
    """Whether the stored status says the same about an earlier generation: a renewal changes nothing that is shown."""
    return _without_generations(claim.get("status") or {}) == _without_generations(status)


def owner_reference(step_run: Object) -> Object:
    """The reference with which a StepRun owns its claims: it does not control them, and does not wait for them."""
    metadata = step_run["metadata"]
    kind = {"apiVersion": STEP_RUN.api_version, "kind": STEP_RUN.kind}
    return {**kind, "name": metadata["name"], "uid": metadata["uid"]}


def _without_generations(status: Object) -> Object:
    conditions = [
        {name: value for name, value in condition.items() if name != "observedGeneration"}
        for condition in status.get("conditions") or ()
    ]
    return {"phase": status.get("phase"), "conditions": conditions}


def _is_owned(claim: Object, step_run: Object) -> bool:
    wanted = owner_reference(step_run)
    return any(wanted.items() <= owner.items() for owner in owners_of(claim))


def _is_meant(claim: Object, step_run: Object) -> bool:
    """Whether the claim refers to this object, and not to an earlier one of the same name."""
    uid = str(_reference(claim).get("uid") or "").strip()
    return not uid or uid == step_run["metadata"]["uid"]


def _step_run_place(claim: Object) -> tuple[str, str]:
    reference = _reference(claim)
    namespace = str(reference.get("namespace") or "").strip() or claim["metadata"]["namespace"]
    return namespace, str(reference.get("name") or "").strip()


def _reference(claim: Object) -> Object:
    spec: Any = claim.get("spec")
    reference: Any = spec.get("stepRunRef") if isinstance(spec, dict) else None
    return reference if isinstance(reference, dict) else {}


def _step_run_key(claim: Object) -> list[str]:
    return ["/".join(_step_run_place(claim))]


def _without_details(claim: Object) -> Object:
    """The facts about an effect may be large, and the operator does not need them."""
    spec = {key: value for key, value in (claim.get("spec") or {}).items() if key != "details"}
    return {**slim(claim), "spec": spec}


def _claims_of_step_run(change: Change, caches: Caches) -> Iterator[Key]:
    """The claims that refer to the StepRun, by name."""
    place = str(Key.of(change.object))
    yield from map(Key.of, caches.informer(EFFECT_CLAIM).each_by_index(STEP_RUN_OF_CLAIM, place))


def _appeared(change: Change) -> bool:
    """The StepRun is new: claims of an earlier one of this name keep its effects from running."""
    return change.kind is ChangeKind.ADDED


def _disappeared(change: Change) -> bool:
    return change.kind is ChangeKind.DELETED


def _options(settings: OperatorSettings) -> ControllerSettings:
    """The common values; this controller has no settings of its own."""
    common, usual = settings.controllers, settings.story
    base = common.base_delay or usual.base_delay
    longest = max(common.max_delay or usual.max_delay, base)
    return ControllerSettings(common.max_concurrent_reconciles, base, longest)


def _build(dependencies: ControllerDependencies) -> Reconcile:
    return EffectClaimReconciler(dependencies.client, dependencies.world, dependencies.clock).reconcile


CONTROLLER: Final = ControllerRegistration(
    "runs-effectclaim",
    EFFECT_CLAIM,
    _build,
    options=_options,
    watches=(
        Watch(EFFECT_CLAIM, own_keys, when=spec_changed, delay=SETTLING),
        Watch(STEP_RUN, _claims_of_step_run, when=_appeared),
        Watch(STEP_RUN, _claims_of_step_run, when=_disappeared, delay=COLLECTION),
    ),
    informers=(
        WatchedKind(
            EFFECT_CLAIM,
            {STEP_RUN_OF_CLAIM: _step_run_key},
            trim=_without_details,
            why="Claims show which effects happened, and go with their StepRuns.",
        ),
    ),
    permissions=(
        Permission(
            EFFECT_CLAIM,
            ("patch",),
            "Adds the owner reference to a claim that was created without it.",
            seldom="SDKs create claims with it.",
        ),
        Permission(EFFECT_CLAIM, ("patch",), "Shows in the status where an effect stands.", subresource="status"),
        Permission(
            EFFECT_CLAIM,
            ("delete",),
            "Deletes claims whose StepRun is gone or was replaced.",
            seldom="Only when the garbage collection of the cluster has not deleted them first.",
        ),
        Permission(STEP_RUN, ("get",), "Before the operator deletes a claim, it checks that its StepRun is gone."),
    ),
)
