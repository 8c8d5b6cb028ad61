"""Transports: check that the spec is usable, count the Stories that use them, and sum up their bindings.

``Ready`` says only whether the spec is usable: a broken run must not make a Transport of the whole cluster unusable.
What is wrong with bindings is the condition ``BindingsReady``. The hub alone writes the status of a binding; while it
is silent, what it has written counts no more. Source: streaming contract 2 and 5.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from core.api.conditions import find_condition, with_condition
from core.api.objects import Object, is_being_deleted
from core.api.permission import Permission
from core.api.phases import ConditionType, Reason
from core.api.resource import STORY, TRANSPORT, TRANSPORT_BINDING
from core.api.text import text
from core.api.unreadable import why_unreadable
from core.engine.ports import Clock, EventSink, EventType
from core.kube.client import KubeClient
from core.kube.informer import Change
from core.policy.settings import ControllerSettings
from core.policy.transport_problems import OFFERS, unsupported, why_unusable
from core.telemetry import catalogue, metrics
from core.workloads.hub_lease import HubSilence, HubSilenceProvider, no_silence
from core.workloads.stream_binding import is_finished
from reconcilers.adapters.watched_kind import WatchedKind
from reconcilers.adapters.world import World
from reconcilers.definition import COUNT_DELAY, STATUS_WHY, stored_errors, validated, write_status
from reconcilers.registration import ControllerDependencies, ControllerRegistration
from reconcilers.runtime.changes import always, spec_changed, versions
from reconcilers.runtime.controller import Key, Reconcile
from reconcilers.runtime.outcome import Done, Outcome
from reconcilers.runtime.watch import Caches, Watch, own_keys

TRANSPORT_NAMES: Final = "transports"
"""Index of Stories and TransportBindings: the names of the Transports that they refer to."""
MOST_NAMED: Final = 5
"""So many bindings with a problem are named in a message."""
_AVAILABLE: Final = {
    "supportedAudio": ("availableAudio", "negotiatedAudio"),
    "supportedVideo": ("availableVideo", "negotiatedVideo"),
    "supportedBinary": ("availableBinary", "negotiatedBinary"),
}
"""Field of the spec → field of the status, field of a binding's status."""
_BINDINGS_READY: Final = "BindingsReady"
"""An addition to the reference's conditions."""
_GAUGES: Final = (
    catalogue.BINDINGS_TOTAL,
    catalogue.BINDINGS_READY,
    catalogue.BINDINGS_PENDING,
    catalogue.BINDINGS_FAILED,
)
_FAILED: Final = frozenset({"TransportFailed", "ValidationFailed", "InvalidConfiguration"})
"""Reasons of ``Ready`` = False that do not go away by waiting."""


@dataclass(frozen=True, slots=True)
class BindingSummary:
    """The bindings of one Transport."""

    ready: int
    pending: int
    failed: tuple[str, ...]
    """For each binding that cannot work: its name and why."""
    unserved: int = 0
    """Those that were ready when the hub fell silent."""
    changed_at: str = ""
    """When a binding last became ready, or ceased to be."""
    silence: HubSilence | None = None

    @classmethod
    def of(cls, transport: Object, bindings: Sequence[Object], silence: HubSilence | None = None) -> BindingSummary:
        ready, pending, unserved, failed, changes = 0, 0, 0, list[str](), list[str]()
        for binding in bindings:
            status = binding.get("status") or {}
            condition = find_condition(status.get("conditions") or (), ConditionType.READY) or {}
            changes.append(text(condition.get("lastTransitionTime")))
            why = _why_incompatible(transport, binding)
            if not why and condition.get("status") == "False" and condition.get("reason") in _FAILED:
                why = text(condition.get("message")) or str(condition["reason"])
            if why:
                failed.append(f"{binding['metadata']['namespace']}/{binding['metadata']['name']}: {why}")
            elif condition.get("status") != "True":
                pending += 1
            elif silence is None or not silence.covers(status.get("stream") or {}):
                ready += 1
            elif is_finished(binding):  # a hub would have said so
                pending += 1
            else:
                unserved += 1
        return cls(ready, pending, tuple(sorted(failed)), unserved, max(changes, default=""), silence)

    @property
    def total(self) -> int:
        return self.ready + self.pending + self.all_failed

    @property
    def all_failed(self) -> int:
        return len(self.failed) + self.unserved

    @property
    def verdict(self) -> tuple[str, str]:
        """Reason and message of the condition. ``HubSilent``: no hub renews its Lease, so no binding is served,
        whatever its status says.
        """
        texts = list(self.failed[:MOST_NAMED])
        if (more := len(self.failed) - MOST_NAMED) > 0:
            texts.append(f"and {more} more")
        if self.silence is not None and self._is_silent:
            texts.append(f"{self.unserved} not served any more, {self.pending} pending: {self.silence.why}")
        message = "; ".join(texts) or f"{self.ready} ready, {self.pending} pending"
        if self.failed:
            return "TransportFailed", message
        if self._is_silent:
            return "HubSilent", message
        if self.pending:
            return "Reconciling", message
        return "BindingsReady", message

    @property
    def _is_silent(self) -> bool:
        """Whether the lost hub matters: not to a Transport without bindings, nor once its successor has reported."""
        if self.silence is None:
            return False
        return bool(self.unserved) or (self.silence.back_at is None and bool(self.pending))


class TransportReconciler:
    """Reconciles one Transport at a time, by key."""

    def __init__(
        self,
        client: KubeClient,
        world: World,
        events: EventSink,
        clock: Clock,
        hub_silence: HubSilenceProvider = no_silence,
    ) -> None:
        self._client = client.in_background()
        self._transports = world.informer(TRANSPORT)
        self._bindings = world.informer(TRANSPORT_BINDING)
        self._stories = world.stories
        self._events = events
        self._clock = clock
        self._hub_silence = hub_silence

    async def reconcile(self, key: Key) -> Outcome:
        transport = self._transports.get("", key.name)
        if transport is None or is_being_deleted(transport):
            drop_counts(key.name)
            return Done()
        why = why_unreadable(transport)
        errors = [f"the Transport cannot be read: {why}; make it smaller"] if why else _errors(transport)
        bindings = self._bindings.by_index(TRANSPORT_NAMES, key.name)
        summary = BindingSummary.of(transport, bindings, self._hub_silence())
        show_counts(key.name, summary)
        status = self._validity(transport, errors, summary)
        status |= {
            "usageCount": len(self._stories.keys_by_index(TRANSPORT_NAMES, key.name)),
            "pendingBindings": summary.pending,
            "lastHeartbeatTime": summary.changed_at or None,
        }
        if not why:
            status |= available(transport, bindings)
        has_changed = await write_status(self._client, self._transports, TRANSPORT, transport, status)
        if errors and stored_errors(transport) != errors:
            self._events.emit(transport, EventType.WARNING, Reason.VALIDATION_FAILED, errors[0])
        if has_changed and (summary.failed or summary.unserved):
            self._events.emit(transport, EventType.WARNING, *summary.verdict)
        return Done()

    def _validity(self, transport: Object, errors: list[str], summary: BindingSummary) -> dict[str, Any]:
        now = self._clock.now()
        status = validated(
            transport,
            errors,
            condition=ConditionType.READY,
            reason="ValidationFailed" if errors else "ValidationPassed",
            if_valid=_usable(transport),
            now=now,
        )
        reason, message = summary.verdict
        status["conditions"] = with_condition(
            status["conditions"],
            _BINDINGS_READY,
            reason == _BINDINGS_READY,
            reason=reason,
            message=message,
            generation=transport["metadata"].get("generation", 0),
            now=now,
        )
        return status


def show_counts(transport: str, summary: BindingSummary) -> None:
    """Set the gauges of a Transport. Source: operator contract 8.4."""
    for gauge, count in zip(_GAUGES, (summary.total, summary.ready, summary.pending, summary.all_failed), strict=True):
        metrics.set_gauge(gauge, count, transport=transport)


def drop_counts(transport: str) -> None:
    """Drop them: the Transport is gone."""
    for gauge in _GAUGES:
        metrics.drop(gauge, transport=transport)


def available(transport: Object, bindings: Sequence[Object]) -> dict[str, Any]:
    """What bindings have agreed on, for each kind of data; where they have agreed on nothing, what is supported."""
    found: dict[str, Any] = {}
    for offer in OFFERS:
        field, agreed = _AVAILABLE[offer]
        values = [value for each in bindings if (value := (each.get("status") or {}).get(agreed))]
        unique = sorted({repr(value): value for value in values}.items())
        found[field] = [value for _, value in unique] or transport["spec"].get(offer) or None
    return found


def _errors(transport: Object) -> list[str]:
    return [str(error) for error in why_unusable(transport["spec"])]


def _usable(transport: Object) -> str:
    mode = ((transport["spec"].get("streaming") or {}).get("routing") or {}).get("mode")
    passes = "; messages pass through the hub although spec.streaming.routing.mode is p2p" if mode == "p2p" else ""
    return f"driver and capabilities are usable{passes}"


def _why_incompatible(transport: Object, binding: Object) -> str:
    if why := why_unreadable(binding):
        return f"it cannot be read: {why}"
    if why_unreadable(transport):
        return ""
    wanted, offered = text(binding["spec"].get("driver")), text(transport["spec"].get("driver"))
    if wanted != offered:
        return f"its driver is {wanted!r}, but the Transport has {offered!r}"
    return "; ".join(str(each) for each in unsupported(binding["spec"], transport["spec"], "the Transport"))


def transports_of_story(story: Object) -> tuple[str, ...]:
    """The names of the Transports that a Story declares, each once."""
    declared = (story.get("spec") or {}).get("transports") or ()
    return tuple(dict.fromkeys(name for each in declared if (name := text(each.get("transportRef")))))


def _transport_of_binding(binding: Object) -> tuple[str, ...]:
    name = text((binding.get("spec") or {}).get("transportRef"))
    return (name,) if name else ()


def _of_story(change: Change, caches: Caches) -> Iterator[Key]:
    """The Transports that the Story declares or has declared."""
    del caches
    for story in versions(change):
        yield from (Key("", name) for name in transports_of_story(story))


def _of_binding(change: Change, caches: Caches) -> Iterator[Key]:
    """The Transport of the binding."""
    del caches
    for binding in versions(change):
        yield from (Key("", name) for name in _transport_of_binding(binding))


def _build(dependencies: ControllerDependencies) -> Reconcile:
    return TransportReconciler(
        dependencies.client,
        dependencies.world,
        dependencies.events,
        dependencies.clock,
        dependencies.hub_silence,
    ).reconcile


_OPTIONS: Final = ControllerSettings(2, timedelta(milliseconds=200), timedelta(minutes=1))
"""Fixed: Transports have no keys of their own. Source: operator contract 3.7."""

CONTROLLER: Final = ControllerRegistration(
    "transport",
    TRANSPORT,
    _build,
    options=lambda settings: _OPTIONS,
    watches=(
        Watch(TRANSPORT, own_keys, when=spec_changed),
        Watch(STORY, _of_story, when=spec_changed),
        Watch(TRANSPORT_BINDING, _of_binding, when=always, delay=COUNT_DELAY),
    ),
    informers=(
        WatchedKind(TRANSPORT),
        WatchedKind(TRANSPORT_BINDING, {TRANSPORT_NAMES: _transport_of_binding}),
        WatchedKind(STORY, {TRANSPORT_NAMES: transports_of_story}),
    ),
    permissions=(Permission(TRANSPORT, ("patch",), STATUS_WHY, subresource="status"),),
)
