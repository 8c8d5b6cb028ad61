"""Impulses: keep the workload of each listener as its Impulse, template and Story want it, and report how it is.

The order of a reconcile: what the Impulse refers to, its configuration, access, Service, workload; then the status,
whatever became of these. The status says what runs, and why nothing runs. An Impulse that waits for something of others
is looked at again when that changes; nothing polls. Source: Trigger contract 6 and 7.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from math import isfinite
from typing import Any, Final, TypeVar

from core.api.conditions import find_condition, with_condition
from core.api.objects import NamespacedName, Object, is_being_deleted
from core.api.phases import ConditionType, ImpulseReason, Phase, Reason
from core.api.resource import (
    DEPLOYMENT,
    IMPULSE,
    IMPULSE_POD,
    IMPULSE_TEMPLATE,
    REFERENCE_GRANT,
    SERVICE,
    STATEFUL_SET,
    STORY,
    STORY_RUN,
    STORY_TRIGGER,
)
from core.engine.errors import PortError
from core.engine.ports import Clock, EventSink, EventType
from core.kube.client import KubeClient
from core.kube.store import Derived
from core.policy.settings import OperatorSettings
from core.workloads.environment import EnvironmentTooLargeError
from core.workloads.impulse_pod import listener
from core.workloads.impulse_resolution import ResolvedImpulse
from core.workloads.impulse_service import listener_service
from core.workloads.impulse_trouble import listener_trouble
from core.workloads.impulse_workload import ListenerMode, instance_label, is_suspended
from reconcilers.adapters.impulse_access import ImpulseAccess
from reconcilers.adapters.impulse_kinds import IMPULSE_KEY, IMPULSE_KINDS, INSTANCE
from reconcilers.adapters.impulse_objects import ImpulseObjects
from reconcilers.adapters.secret_check import SecretCheck
from reconcilers.adapters.world import World
from reconcilers.definition import COUNT_DELAY, referred_key, write_status
from reconcilers.impulse_counts import SETTLING, CountedRun, CountedTrigger, ImpulseCounts, impulse_counts
from reconcilers.impulse_held_up import ListenerHeldUpError, failed, held_up_by, is_namespace_ending, wait_for
from reconcilers.impulse_permissions import IMPULSE_CONTROLLER_PERMISSIONS
from reconcilers.impulse_references import ImpulseReferences
from reconcilers.impulse_status import ListenerReadiness, held_up_readiness, readiness, state_of
from reconcilers.impulse_watches import (
    POD_DELAY,
    is_news_of_impulse,
    is_news_of_run,
    is_news_of_trigger,
    is_status_touched,
    of_grant,
    of_owned,
    of_pod,
    of_started,
    of_story,
    of_template,
)
from reconcilers.registration import ControllerDependencies, ControllerRegistration
from reconcilers.runtime.changes import spec_changed
from reconcilers.runtime.controller import Key, Reconcile
from reconcilers.runtime.outcome import After, Done, Outcome, RetryLater
from reconcilers.runtime.watch import Watch, own_keys

T = TypeVar("T")
_ENDED: Final = frozenset({Phase.SUCCEEDED, Phase.CANCELED, Phase.COMPENSATED})
_OF_WORKLOAD: Final = {
    ListenerMode.DEPLOYMENT: ImpulseReason.DEPLOYMENT_FAILED,
    ListenerMode.STATEFUL_SET: ImpulseReason.STATEFUL_SET_FAILED,
}


@dataclass(frozen=True, slots=True)
class _Facts:
    triggers: Mapping[NamespacedName, Derived[CountedTrigger]] = field(default_factory=dict)
    runs: Mapping[NamespacedName, Derived[CountedRun]] = field(default_factory=dict)


class ImpulseReconciler:
    """Reconciles one Impulse at a time, by key."""

    def __init__(
        self,
        client: KubeClient,
        world: World,
        events: EventSink,
        clock: Clock,
        settings: Callable[[], OperatorSettings],
        secrets: SecretCheck,
    ) -> None:
        self._client = client.in_background()
        self._world = world
        self._impulses = world.informer(IMPULSE)
        self._events = events
        self._clock = clock
        self._settings = settings
        self._references = ImpulseReferences(self._client, world, settings)
        self._objects = ImpulseObjects(self._client, world, events)
        self._access = ImpulseAccess(self._client, secrets, events, clock)
        self._announced: dict[Key, tuple[Any, ...]] = {}
        """The Events that were last emitted about the configuration of each Impulse."""
        self._facts: dict[Key, _Facts] = {}
        """What was read for the last count: ten thousand runs may be kept, and each of them changes a number."""

    async def reconcile(self, key: Key) -> Outcome:
        impulse = self._impulses.get(key.namespace, key.name)
        if impulse is None or is_being_deleted(impulse) or _phase(impulse) in _ENDED:
            self._access.forget(key)
            self._announced.pop(key, None)
            self._facts.pop(key, None)
            return Done()
        held_up: ListenerHeldUpError | None = None
        try:
            await self._run_listener(impulse)
        except ListenerHeldUpError as error:
            held_up = error
        except PortError as error:
            if is_namespace_ending(error):
                return Done()
            raise
        counts = self._counts(impulse)
        await self._report(impulse, held_up, counts)
        if held_up is not None and held_up.cause is not None:
            return RetryLater(held_up.cause)
        return After(SETTLING) if counts.more_to_come else Done()

    # Towards the wanted state.

    async def _run_listener(self, impulse: Object) -> None:
        """
        Raises:
            ListenerHeldUpError: there is no listener as the Impulse wants it, or not yet.
            StaleError, GoneError, UnavailableError: the caller should try again.
        """
        if is_suspended(impulse):
            with held_up_by(ImpulseReason.DEPLOYMENT_FAILED, "suspension"):
                await self._objects.suspend(impulse)
        resolved = await self._references.resolve(impulse)
        self._announce(impulse, resolved)
        with held_up_by(ImpulseReason.ACCESS_FAILED, "access"):
            await self._access.ensure(impulse, resolved)
        with held_up_by(Reason.INVALID_CONFIGURATION, "secrets"):
            workload = await self._access.with_secrets(resolved, self._settings().storage)
        is_stateful = workload.mode is ListenerMode.STATEFUL_SET
        if is_stateful and not resolved.ports:
            message = (
                "Service: a StatefulSet needs ports; give the ImpulseTemplate spec.execution.service.ports, "
                "or set spec.workload.mode: deployment"
            )
            raise failed(ImpulseReason.SERVICE_FAILED, message)
        service = listener_service(workload, resolved.ports, impulse["spec"].get("service") or {})
        with held_up_by(ImpulseReason.SERVICE_FAILED, "Service"):
            wait_for(await self._objects.ensure_service(impulse, service if resolved.ports else None))
        try:
            wanted = listener(workload)
        except EnvironmentTooLargeError as error:
            raise failed(Reason.INVALID_CONFIGURATION, str(error)) from error
        with held_up_by(_OF_WORKLOAD[workload.mode], wanted["kind"]):
            wait_for(await self._objects.ensure_listener(impulse, wanted, suspended=workload.suspended))

    def _announce(self, impulse: Object, resolved: ResolvedImpulse) -> None:
        """Emits each notice once: again only when it is another, or the Impulse has changed."""
        key, metadata = Key.of(impulse), impulse["metadata"]
        generation = metadata.get("generation", 0)
        current = (metadata["uid"], generation, resolved.notices)
        is_known = (impulse.get("status") or {}).get("observedGeneration") == generation
        is_announced = self._announced.get(key) == current or (key not in self._announced and is_known)
        self._announced[key] = current
        if is_announced:
            return
        for notice in resolved.notices:
            type_ = EventType.WARNING if notice.is_warning else EventType.NORMAL
            self._events.emit(impulse, type_, notice.reason, notice.text)

    # The status.

    async def _report(self, impulse: Object, held_up: ListenerHeldUpError | None, counts: ImpulseCounts) -> None:
        known = impulse.get("status") or {}
        workload = next(iter(self._objects.workloads_of(impulse)), None)
        state = state_of(workload, suspended=is_suspended(impulse)) if workload is not None else None
        if held_up is not None:
            finding = held_up_readiness(held_up.finding, state)
        elif state is not None and workload is not None:
            finding = readiness(state, lambda: self._trouble(impulse, workload))
        else:
            finding = ListenerReadiness(Phase.PENDING, False, Reason.RECONCILING, "waiting for the workload")
        conditions = known.get("conditions") or []
        status = {
            "phase": str(finding.phase),
            "observedGeneration": impulse["metadata"].get("generation", 0),
            "replicas": state.replicas if state is not None else 0,
            "readyReplicas": state.ready if state is not None else 0,
            "conditions": with_condition(
                conditions,
                ConditionType.READY,
                finding.is_ready,
                reason=finding.reason,
                message=finding.message,
                generation=impulse["metadata"].get("generation", 0),
                now=self._clock.now(),
            ),
            **counts.status,
        }
        is_unchanged = _without_time(conditions) == _without_time(status["conditions"])
        await write_status(self._client, self._impulses, IMPULSE, impulse, status)
        if held_up is not None and held_up.event and not is_unchanged:
            self._events.emit(impulse, EventType.WARNING, held_up.event, held_up.finding.message)

    def _trouble(self, impulse: Object, workload: Object) -> str:
        metadata = impulse["metadata"]
        instance = f"{metadata['namespace']}/{instance_label(metadata['name'])}"
        pods = self._world.informer(IMPULSE_POD).by_index(INSTANCE, instance)
        return listener_trouble(workload, pods, self._access.missing_secrets(Key.of(impulse)))

    def _counts(self, impulse: Object) -> ImpulseCounts:
        """From what names this Impulse in its own namespace, and in that of its Story: SDKs submit in either.

        Other namespaces do not count: everybody may name any Impulse.
        """
        key, own_namespace = Key.of(impulse), impulse["metadata"]["namespace"]
        story = referred_key(impulse["spec"].get("storyRef") or {}, own_namespace)
        places = {own_namespace, story.namespace}

        before = self._facts.get(key, _Facts())
        index = (IMPULSE_KEY, str(key))
        now = self._facts[key] = _Facts(
            self._world.informer(STORY_TRIGGER).derived(*index, CountedTrigger.of, before.triggers),
            self._world.informer(STORY_RUN).derived(*index, CountedRun.of, before.runs),
        )
        known = impulse.get("status") or {}
        lag = max(self._world.informer(kind).seconds_since_contact for kind in (STORY_TRIGGER, STORY_RUN))
        current_at = self._clock.now() - timedelta(seconds=lag) if isfinite(lag) else None
        return impulse_counts(known, _in_places(now.triggers, places), _in_places(now.runs, places), current_at)


def _in_places(found: Mapping[NamespacedName, Derived[T]], namespaces: Collection[str]) -> Iterator[T]:
    return (derived.value for key, derived in found.items() if key.namespace in namespaces)


def _phase(impulse: Object) -> str:
    phase: str = (impulse.get("status") or {}).get("phase") or ""
    return phase


def _without_time(conditions: list[Object]) -> dict[str, Any]:
    """What ``Ready`` says, apart from the instant and the generation."""
    ready = find_condition(conditions, ConditionType.READY) or {}
    return {key: ready.get(key) for key in ("status", "reason", "message")}


def _build(dependencies: ControllerDependencies) -> Reconcile:
    secrets = SecretCheck(dependencies.client, dependencies.operator_namespace, dependencies.settings)
    return ImpulseReconciler(
        dependencies.client,
        dependencies.world,
        dependencies.events,
        dependencies.clock,
        dependencies.settings,
        secrets,
    ).reconcile


CONTROLLER: Final = ControllerRegistration(
    "impulse",
    IMPULSE,
    _build,
    options=lambda settings: settings.impulse_controller,
    watches=(
        Watch(IMPULSE, own_keys, when=is_news_of_impulse),
        Watch(IMPULSE, own_keys, when=is_status_touched, delay=COUNT_DELAY),
        Watch(IMPULSE_TEMPLATE, of_template, when=spec_changed),
        Watch(STORY, of_story, when=spec_changed),
        Watch(REFERENCE_GRANT, of_grant),
        Watch(DEPLOYMENT, of_owned),
        Watch(STATEFUL_SET, of_owned),
        Watch(SERVICE, of_owned),
        Watch(IMPULSE_POD, of_pod, delay=POD_DELAY),
        Watch(STORY_TRIGGER, of_started, when=is_news_of_trigger, delay=COUNT_DELAY),
        Watch(STORY_RUN, of_started, when=is_news_of_run, delay=COUNT_DELAY),
    ),
    informers=IMPULSE_KINDS,
    permissions=IMPULSE_CONTROLLER_PERMISSIONS,
    enqueue_when_settings_change=True,
)
