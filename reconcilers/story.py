"""Stories: check that all their references exist, and count how much they are used.

All findings are reported together (the reference stops at the first). If a reference cannot be looked up, it does not
count as missing. Source: operator contract 13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from core.api.keys import FINALIZER_STORY
from core.api.objects import Object, ReadOnlyObject, is_being_deleted
from core.api.permission import Permission
from core.api.phases import ConditionType, Reason
from core.api.resource import ENGRAM, IMPULSE, REFERENCE_GRANT, STORY, STORY_RUN, Resource
from core.api.unreadable import why_unreadable
from core.engine.ports import Clock, EventSink, EventType
from core.kube.client import KubeClient
from core.kube.informer import Change
from core.policy.references import ForeignReference, why_denied
from core.policy.settings import OperatorSettings
from core.policy.stream_problems import durable_problems
from core.story.step import Step
from core.story.story import is_realtime, read_story
from core.workloads.live_run import always_on_problem, is_always_on
from core.workloads.script import is_script
from reconcilers.adapters.impulse_kinds import IMPULSE_KINDS
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.watched_kind import WatchedKind
from reconcilers.adapters.world import ENGRAM_KEYS, STORY_KEY, World, find, story_key
from reconcilers.adapters.writes import patch_metadata
from reconcilers.definition import (
    COUNT_DELAY,
    STATUS_WHY,
    referred_key,
    stored_errors,
    stories_of_run,
    validated,
    write_status,
)
from reconcilers.registration import ControllerDependencies, ControllerRegistration
from reconcilers.runtime.changes import phase_changed, spec_changed, versions
from reconcilers.runtime.controller import Key, Reconcile
from reconcilers.runtime.outcome import Done, Outcome
from reconcilers.runtime.watch import Caches, Watch, own_keys

STARTED_RUNS: Final = "started-runs"
"""Index of StoryRuns that have started: ``namespace/name`` of their Story. There may be thousands, so they are only
counted.
"""
LOOKED_UP: Final = 32
"""References of one Story that are looked up; a tenant who writes thousands must not cause thousands of requests."""
_STREAMING_MODES: Final = ("deployment", "statefulset")


@dataclass(frozen=True, slots=True)
class StoryProblem:
    reason: Reason
    message: str
    missing: tuple[Resource, Key] | None = None
    """The object that the caches do not have, if that is the problem."""


class StoryReconciler:
    """Reconciles one Story at a time, by key."""

    def __init__(
        self,
        client: KubeClient,
        world: World,
        events: EventSink,
        clock: Clock,
        settings: Callable[[], OperatorSettings],
    ) -> None:
        self._client = client.in_background()
        self._world = world
        self._events = events
        self._clock = clock
        self._settings = settings

    async def reconcile(self, key: Key) -> Outcome:
        story = self._world.stories.get(key.namespace, key.name)
        if story is None:
            return Done()
        if is_being_deleted(story):
            await self._release(story)
            return Done()
        findings = await self._findings(story)
        await write_status(self._client, self._world.stories, STORY, story, self._status(story, findings))
        known = stored_errors(story)
        for finding in findings:
            if finding.message not in known:
                self._events.emit(story, EventType.WARNING, finding.reason, finding.message)
        return Done()

    async def _findings(self, story: Object) -> list[StoryProblem]:
        """All errors. What looks missing for the first time is looked up: it may have been created a moment ago.

        Raises:
            PortError: the lookup failed, so whether it is missing is not known.
        """
        findings, known = story_findings(story, self._world, self._settings()), stored_errors(story)
        missing = dict.fromkeys(each.missing for each in findings if each.missing and each.message not in known)
        found = False
        for resource, (namespace, name) in islice(missing, LOOKED_UP):
            with port_errors():
                latest = await find(self._client, self._world.informer(resource), resource, namespace, name)
            if latest is not None:
                self._world.informer(resource).remember(latest)
                found = True
        return story_findings(story, self._world, self._settings()) if found else findings

    async def _release(self, story: Object) -> None:
        """Remove a finalizer that the reference operator has set; this operator neither needs nor sets one."""
        finalizers = story["metadata"].get("finalizers") or []
        if FINALIZER_STORY in finalizers:
            kept = [name for name in finalizers if name != FINALIZER_STORY]
            await patch_metadata(self._client, self._world.stories, STORY, story, {"finalizers": kept or None})

    def _status(self, story: Object, findings: list[StoryProblem]) -> dict[str, Any]:
        spec = story["spec"]
        return {
            **validated(
                story,
                [finding.message for finding in findings],
                condition=ConditionType.READY,
                reason="ValidationFailed" if findings else "ValidationPassed",
                if_valid="all references resolve",
                now=self._clock.now(),
            ),
            "stepsTotal": len(list(read_story(story).top())),
            "transports": _transports(spec) or None,
            "triggers": self._triggers(story),
            "usageCount": len(self._world.informer(IMPULSE).keys_by_index(STORY_KEY, str(Key.of(story)))),
        }

    def _triggers(self, story: Object) -> int:
        """A lower bound of the runs that have started: it never decreases when old runs are deleted."""
        key = f"{story['metadata']['namespace']}/{story['metadata']['name']}"
        started = len(self._world.story_runs.keys_by_index(STARTED_RUNS, key))
        return max(started, (story.get("status") or {}).get("triggers") or 0)


def story_findings(story: Object, world: World, settings: OperatorSettings) -> list[StoryProblem]:
    """All errors in the references of a Story, in spec order."""
    if why := why_unreadable(story):
        return [StoryProblem(Reason.UNREADABLE, f"the Story cannot be read: {why}; make it smaller")]
    spec = story["spec"]
    findings = list(_transport_findings(spec))
    if spec.get("streamingStrategy") is not None and not is_realtime(spec):
        message = "spec.streamingStrategy: is only possible with pattern: realtime; remove it"
        findings.append(StoryProblem(Reason.INVALID_CONFIGURATION, message))
    declared = {str(transport.get("name") or "").strip() for transport in spec.get("transports") or ()}
    for step in read_story(story).top():
        where = f"{step.place} ({step.name})"
        findings += _step_findings(story, step, where, world, settings)
        transport = (step.declared.get("transport") or "").strip()
        if transport and transport not in declared:
            message = f"{where}.transport: {transport!r} is not declared in spec.transports"
            findings.append(StoryProblem(Reason.TRANSPORT_REFERENCE_INVALID, message))
    return findings


def _step_findings(
    story: Object, placed: Step, where: str, world: World, settings: OperatorSettings
) -> Iterator[StoryProblem]:
    own_namespace, step = story["metadata"]["namespace"], placed.declared
    if reference := step.get("ref"):
        wanted = _reference(own_namespace, reference, ENGRAM.kind)
        denied = why_denied(wanted, settings.cross_namespace_policy, world.reference_grants.list(wanted.to_namespace))
        engram = world.engrams.get(wanted.to_namespace, wanted.to_name)
        if denied:
            yield StoryProblem(Reason.ENGRAM_REFERENCE_INVALID, f"{where}.ref: {denied}")
        elif engram is None:
            missing = f"{where}.ref: Engram {wanted.to_namespace}/{wanted.to_name} does not exist; apply it"
            yield StoryProblem(Reason.ENGRAM_REFERENCE_INVALID, missing, (ENGRAM, _key(wanted)))
        elif placed.realtime and not step.get("needs") and engram["spec"].get("mode") not in _STREAMING_MODES:
            mode = (
                f"{where}.ref: the Engram runs as a Job, which each packet starts, and a step without needs gets no "
                "packets; use an Engram of mode deployment or statefulset, or name a step in needs"
            )
            yield StoryProblem(Reason.ENGRAM_REFERENCE_INVALID, mode)
    elif is_script(step):
        return
    elif not (step.get("type") or "").strip():
        yield StoryProblem(Reason.STORY_REFERENCE_INVALID, f"{where}: has none of ref, type and run; set one of them")
    elif step["type"] == "executeStory":
        yield from _sub_story_findings(story, step, where, world, settings)


def _sub_story_findings(
    story: Object, step: ReadOnlyObject, where: str, world: World, settings: OperatorSettings
) -> Iterator[StoryProblem]:
    reference = (step.get("with") or {}).get("storyRef") or {}
    if not reference.get("name"):
        yield StoryProblem(Reason.STORY_REFERENCE_INVALID, f"{where}.with.storyRef.name: is required")
        return
    wanted = _reference(story["metadata"]["namespace"], reference, STORY.kind)
    denied = why_denied(wanted, settings.cross_namespace_policy, world.reference_grants.list(wanted.to_namespace))
    target = world.stories.get(wanted.to_namespace, wanted.to_name)
    if denied:
        yield StoryProblem(Reason.STORY_REFERENCE_INVALID, f"{where}.with.storyRef: {denied}")
    elif target is None:
        missing = f"{where}.with.storyRef: Story {wanted.to_namespace}/{wanted.to_name} does not exist; apply it"
        yield StoryProblem(Reason.STORY_REFERENCE_INVALID, missing, (STORY, _key(wanted)))
    elif not is_realtime(story["spec"]) and is_realtime(target["spec"]):
        yield StoryProblem(
            Reason.STORY_REFERENCE_INVALID, f"{where}.with.storyRef: a batch Story cannot call a realtime one"
        )
    elif is_always_on(target["spec"]):
        yield StoryProblem(
            Reason.STORY_REFERENCE_INVALID, f"{where}.with.storyRef: {always_on_problem(wanted.to_name)}"
        )


def _reference(own_namespace: str, reference: Object, kind: str) -> ForeignReference:
    return ForeignReference(
        from_group=STORY.group,
        from_kind=STORY.kind,
        from_namespace=own_namespace,
        to_group=ENGRAM.group,  # Engrams and Stories have the same group
        to_kind=kind,
        to_namespace=reference.get("namespace") or own_namespace,
        to_name=reference.get("name", ""),
    )


def _key(reference: ForeignReference) -> Key:
    return Key(reference.to_namespace, reference.to_name)


def _transport_findings(spec: Object) -> Iterator[StoryProblem]:
    seen: set[str] = set()
    for index, transport in enumerate(spec.get("transports") or ()):
        where, name = f"spec.transports[{index}]", str(transport.get("name") or "").strip()
        if not name:
            yield StoryProblem(Reason.TRANSPORT_REFERENCE_INVALID, f"{where}.name: is empty")
        elif name in seen:
            yield StoryProblem(Reason.TRANSPORT_REFERENCE_INVALID, f"{where}.name: {name!r} is declared twice")
        seen.add(name)
        if not str(transport.get("transportRef") or "").strip():
            yield StoryProblem(Reason.TRANSPORT_REFERENCE_INVALID, f"{where}.transportRef: is empty")
        for problem in durable_problems(transport.get("streaming") or {}, f"{where}.streaming"):
            yield StoryProblem(Reason.INVALID_CONFIGURATION, str(problem))


def _transports(spec: Object) -> list[dict[str, Any]]:
    if spec.get("pattern", "batch") == "batch":
        mode = {"mode": "fallback", "modeReason": "batch-pattern"}
    else:
        mode = {"mode": "hot", "modeReason": "streaming-default"}
    return [
        {
            "name": transport.get("name") or "",
            "transportRef": str(transport.get("transportRef") or "").strip(),
            **mode,
        }
        for transport in spec.get("transports") or ()
    ]


def _of_engram(change: Change, caches: Caches) -> Iterator[Key]:
    """The Stories that refer to the Engram."""
    for engram in versions(change):
        yield from map(Key.of, caches.informer(STORY).by_index(ENGRAM_KEYS, str(Key.of(engram))))


def _of_impulse(change: Change, caches: Caches) -> Iterator[Key]:
    """The Story that the Impulse starts."""
    del caches
    for impulse in versions(change):
        reference = (impulse.get("spec") or {}).get("storyRef") or {}
        yield referred_key(reference, impulse["metadata"]["namespace"])


def _every_story(change: Change, caches: Caches) -> Iterator[Key]:
    """A new or removed grant concerns every Story with references to other namespaces."""
    del change
    return map(Key.of, caches.informer(STORY).each())


def started_run_key(run: Object) -> list[str]:
    """For the index ``STARTED_RUNS``."""
    return story_key(run) if "story" in ((run.get("status") or {}).get("triggerTokens") or ()) else []


def _build(dependencies: ControllerDependencies) -> Reconcile:
    return StoryReconciler(
        dependencies.client, dependencies.world, dependencies.events, dependencies.clock, dependencies.settings
    ).reconcile


CONTROLLER: Final = ControllerRegistration(
    "story",
    STORY,
    _build,
    options=lambda settings: settings.story,
    watches=(
        Watch(STORY, own_keys, when=spec_changed),
        Watch(ENGRAM, _of_engram, when=spec_changed),
        Watch(IMPULSE, _of_impulse, when=spec_changed, delay=COUNT_DELAY),
        Watch(REFERENCE_GRANT, _every_story),
        Watch(STORY_RUN, stories_of_run, when=phase_changed, delay=COUNT_DELAY),
    ),
    informers=(*IMPULSE_KINDS[:1], WatchedKind(STORY_RUN, {STARTED_RUNS: started_run_key})),
    permissions=(
        Permission(STORY, ("patch",), "Removes the finalizer that the reference operator has set."),
        Permission(STORY, ("patch",), STATUS_WHY, subresource="status"),
    ),
    enqueue_when_settings_change=True,  # they decide which references are allowed
)
