"""StoryTriggers: start the run that each requests, once; store the answer, once; delete what was answered long ago.

The name of the run is derived from the request, and the run names the StoryTrigger that it was created for. So the API
server decides which of several equal requests is first, and a process that died before it stored the answer is
continued: its successor finds the run. The operator keeps a run until its StoryTrigger has an answer.

An obstacle that a later change can remove is stored as ``Pending`` and waited for, for a limited time. Errors of the
API server are retried. Only what is definite is stored, bound to the version of the StoryTrigger that was read from the
API server: no process overwrites the answer of another. Source: Trigger contract 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from bubu_contract.instants import format_instant, parse_instant_or_none
from core.api.conditions import MAX_MESSAGE_LENGTH, truncated, with_condition
from core.api.objects import Object, is_being_deleted
from core.api.permission import Permission
from core.api.phases import ConditionType
from core.api.resource import IMPULSE, REFERENCE_GRANT, STORY, STORY_RUN, STORY_TRIGGER
from core.api.unreadable import why_unreadable
from core.engine.errors import DeniedError, RejectedError, StorageUnavailableError, UnavailableError
from core.engine.payload_port import Offload, Payloads, StoredAs
from core.engine.ports import Clock, EventSink, EventType
from core.engine.run_marks import marked
from core.engine.step.manifest import size_bytes
from core.evaluation.asker import Asker
from core.evaluation.schema import apply_schema_defaults
from core.evaluation.validation import SchemaValidator
from core.kube.client import KubeClient
from core.kube.errors import NotFoundError
from core.kube.informer import Change
from core.policy.settings import ControllerSettings, OperatorSettings, RestoredRuns, StorageProvider
from core.workloads.keyed_request import Decision
from core.workloads.live_run import always_on_problem, is_always_on
from core.workloads.restored import was_created_before, with_created_mark
from core.workloads.trigger import (
    TriggerAnswer,
    TriggerFacts,
    TriggerReason,
    TriggerRequest,
    answer_of,
    at_the_limit,
    created,
    final_refusal,
    is_answered,
    is_origin,
    obstacle,
    pending,
    rejected,
    request_of,
    requested_run,
    restored_without_answer,
    waits_with_a_limit,
)
from reconcilers.adapters.permissions import FRESH
from reconcilers.adapters.translation import port_errors
from reconcilers.adapters.triggers import (
    BY_RUN,
    IMPULSES,
    OPEN_BY_IMPULSE,
    OPEN_BY_STORY,
    OPEN_BY_STORY_NAMESPACE,
    TRIGGERS,
    run_of,
)
from reconcilers.adapters.world import World, find, story_of
from reconcilers.adapters.writes import create_or_read, delete
from reconcilers.definition import write_status
from reconcilers.registration import ControllerDependencies, ControllerRegistration
from reconcilers.retention import trigger_removal
from reconcilers.runtime.changes import spec_changed, versions
from reconcilers.runtime.controller import Key, Reconcile
from reconcilers.runtime.outcome import After, Done, Outcome, RetryLater
from reconcilers.runtime.watch import Caches, Watch, own_keys

_LONGEST_WAIT: Final = timedelta(hours=1)
"""Timers of the queue ignore suspended machines and corrected clocks, and no event reports a changed setting."""
_STORY_FIELD: Final = "spec.storyRef"
_IN_WORDS_OF_THE_SERVER: Final = (
    TriggerReason.PERMISSION_DENIED,
    TriggerReason.REFERENCE_REFUSED,
    TriggerReason.STORAGE_UNAVAILABLE,
)
"""Reasons to wait whose messages come from a server, and may differ at each attempt."""
_ABOUT_THE_SCHEMA: Final = frozenset({"schema", "limit"})
"""Keywords of problems that are not errors of the inputs."""


class StoryTriggerReconciler:
    """Reconciles one StoryTrigger at a time, by key."""

    def __init__(
        self,
        client: KubeClient,
        world: World,
        events: EventSink,
        clock: Clock,
        settings: Callable[[], OperatorSettings],
        payloads: Payloads,
    ) -> None:
        self._client = client.in_background()
        self._world = world
        self._triggers = world.informer(STORY_TRIGGER)
        self._events = events
        self._clock = clock
        self._settings = settings
        self._payloads = payloads
        self._schemas = SchemaValidator()

    async def reconcile(self, key: Key) -> Outcome:
        known = self._triggers.get(key.namespace, key.name)
        if known is None or is_being_deleted(known):
            return Done()
        if is_answered(known):
            return await self._retire(known)
        with port_errors():  # another process may have answered it, and its run may be gone already
            stored = await self._client.get(STORY_TRIGGER, key.name, key.namespace)
        trigger = self._triggers.remember(stored)
        if is_being_deleted(trigger) or is_answered(trigger):
            return Done()
        return await self._resolve(trigger)

    async def _resolve(self, trigger: Object) -> Outcome:
        now, limit = self._clock.now(), self._settings().triggers.pending_timeout
        until, request = _accepted_at(trigger, now) + limit if limit else None, request_of(trigger)
        try:
            answer = await self._answer(trigger, request)
            if until is not None and now >= until and waits_with_a_limit(answer):
                await self._refresh_story(request)
                answer = await self._answer(trigger, request)
        except DeniedError as error:
            await self._record(trigger, pending(TriggerReason.PERMISSION_DENIED, str(error)))
            raise
        except StorageUnavailableError as error:
            await self._record(trigger, pending(TriggerReason.STORAGE_UNAVAILABLE, str(error)))
            raise
        if until is not None and now >= until and waits_with_a_limit(answer):
            answer = at_the_limit(answer, limit)
        await self._record(trigger, answer)
        if answer.decision is not Decision.PENDING:
            return Done()
        if answer.reason is TriggerReason.REFERENCE_REFUSED:  # no event reports that admission has changed its mind
            return RetryLater(UnavailableError(answer.message))
        return After(_LONGEST_WAIT if until is None else min(until - now, _LONGEST_WAIT))

    async def _refresh_story(self, request: TriggerRequest) -> None:
        """Read the Story from the API server: a rejection is for good, and the informer may be behind."""
        known = self._world.stories.get(*request.story)
        if known is None:
            return  # a missing Story is asked for anyway
        with port_errors():
            try:
                self._world.stories.remember(await self._client.get(STORY, request.story.name, request.story.namespace))
            except NotFoundError:
                self._world.stories.forget(request.story.namespace, request.story.name, known["metadata"]["uid"])

    async def _answer(self, trigger: Object, request: TriggerRequest) -> TriggerAnswer:
        refusal = await self._refusal(trigger, request)
        if refusal is None and self._must_not_start(trigger) and not await self._run_exists(request):
            return restored_without_answer(request)
        if refusal is None:
            answer = await self._start(request)
            if answer.run is not None:
                return answer
            refusal = answer
        own = await self._own_run(request)
        return refusal if own is None else created(own, recovered=True)

    async def _refusal(self, trigger: Object, request: TriggerRequest) -> TriggerAnswer | None:
        """Why the run cannot start, or not now; None when it can."""
        settings = self._settings()
        policy = settings.cross_namespace_policy
        has_store = settings.storage.provider is not StorageProvider.NONE
        limit = None if has_store else settings.runs.max_inline_inputs_size_bytes
        refused = final_refusal(trigger, request, policy, limit)
        if refused is not None:
            return refused
        with port_errors():
            story = await find(self._client, self._world.stories, STORY, *request.story)
        impulse = None if request.impulse is None else self._world.informer(IMPULSE).get(*request.impulse)
        grants = self._world.reference_grants.list(request.story.namespace)
        waits = obstacle(request, TriggerFacts(policy, grants, story, impulse))
        if waits is not None or story is None:
            return waits
        if is_always_on(story.get("spec") or {}):
            problem = f"spec.storyRef: {always_on_problem(request.story.name)}"
            return rejected(TriggerReason.VALIDATION_FAILED, problem)
        return await self._why_inputs_invalid(request, story)

    async def _why_inputs_invalid(self, request: TriggerRequest, story: Object) -> TriggerAnswer | None:
        """A rejection if the inputs break the schema of the Story, as the API server has it now."""
        if not await self._schema_problems(request, story):
            return None
        with port_errors():
            try:
                newest = await self._client.get(STORY, request.story.name, request.story.namespace)
            except NotFoundError:
                return pending(TriggerReason.STORY_NOT_FOUND, f"spec.storyRef: Story {request.story} was deleted")
        problems = await self._schema_problems(request, newest)
        if not problems:
            return None
        message = f"spec.inputs: break the inputsSchema of Story {request.story}: {'; '.join(problems)}"
        return rejected(TriggerReason.VALIDATION_FAILED, message)

    async def _schema_problems(self, request: TriggerRequest, story: Object) -> list[str]:
        schema = (story.get("spec") or {}).get("inputsSchema")
        if why_unreadable(story) or not isinstance(schema, Mapping):
            return []
        inputs = apply_schema_defaults(schema, request.spec.get("inputs") or {})
        found = await self._schemas.quick_problems(schema, inputs, Asker(request.place.namespace))
        return [str(problem) for problem in found if problem.keyword not in _ABOUT_THE_SCHEMA]

    async def _start(self, request: TriggerRequest) -> TriggerAnswer:
        """Create the run, or find the run of its name."""
        wanted = await self._offloaded(requested_run(request))
        wanted = marked(wanted, story_of(wanted, self._world), self._settings())
        wanted = with_created_mark(wanted, self._clock.now())  # the webhooks leave out what the operator writes
        try:
            run, is_new = await create_or_read(self._client, STORY_RUN, wanted)
        except RejectedError as error:
            about_story = bool(error.fields) and all(field.startswith(_STORY_FIELD) for field in error.fields)
            message = f"the StoryRun was refused: {error}"
            if about_story:
                return pending(TriggerReason.REFERENCE_REFUSED, message)
            return rejected(TriggerReason.VALIDATION_FAILED, message)
        self._world.story_runs.remember(run)
        return created(run) if is_new else answer_of(request, wanted, run)

    def _must_not_start(self, trigger: Object) -> bool:
        """Whether a backup has brought it back without its answer: it may have started its run before."""
        resumes = self._settings().runs.restored is RestoredRuns.RESUME and bool(trigger.get("status"))
        return was_created_before(trigger) and not resumes

    async def _run_exists(self, request: TriggerRequest) -> bool:
        with port_errors():
            place, name = request.place.namespace, request.run_name
            return await find(self._client, self._world.story_runs, STORY_RUN, place, name) is not None

    async def _offloaded(self, wanted: Object) -> Object:
        """``wanted``, with the large parts of its inputs in the object store.

        Raises:
            StorageUnavailableError: the store does not answer.
        """
        settings, inputs = self._settings(), wanted["spec"].get("inputs")
        limit = settings.runs.max_inline_inputs_size_bytes
        if inputs is None or size_bytes(inputs) <= limit:
            return wanted
        metadata, depth = wanted["metadata"], settings.engram.max_recursion_depth
        offload = Offload(StoredAs.INPUTS, metadata["namespace"], metadata["name"], limit, limit, depth)
        stored = await self._payloads.offload(inputs, offload, field="spec.inputs")
        return {**wanted, "spec": {**wanted["spec"], "inputs": stored}}

    async def _own_run(self, request: TriggerRequest) -> Object | None:
        """The run that was created for this StoryTrigger by a process that did not store the answer."""
        if not request.run_name:
            return None
        with port_errors():
            run = await find(self._client, self._world.story_runs, STORY_RUN, request.place.namespace, request.run_name)
        return run if run is not None and is_origin(request, run) else None

    async def _record(self, trigger: Object, answer: TriggerAnswer) -> None:
        """Store the answer, unless it is stored already."""
        stored = trigger.get("status") or {}
        is_held = (stored.get("decision"), stored.get("reason")) == (Decision.PENDING, answer.reason)
        if is_held and answer.reason in _IN_WORDS_OF_THE_SERVER:
            return
        status = status_with(trigger, answer, self._clock.now())
        is_new = await write_status(self._client, self._triggers, STORY_TRIGGER, trigger, status)
        if is_new and answer.decision is Decision.REJECTED:
            self._events.emit(trigger, EventType.WARNING, answer.reason, answer.message)

    async def _retire(self, trigger: Object) -> Outcome:
        due = trigger_removal(trigger, self._answering_run(trigger), self._story_of(trigger), self._settings())
        if due is None:
            return Done()
        now = self._clock.now()
        if now < due:
            return After(min(due - now, _LONGEST_WAIT))
        await delete(self._client, self._triggers, STORY_TRIGGER, trigger, unchanged=True)
        return Done()

    def _answering_run(self, trigger: Object) -> Object | None:
        run = self._world.story_runs.get(*run_of(trigger))
        uid = ((trigger.get("status") or {}).get("storyRunRef") or {}).get("uid")
        return run if run is not None and run["metadata"]["uid"] == uid else None

    def _story_of(self, trigger: Object) -> Object | None:
        return self._world.stories.get(*request_of(trigger).story)


def status_with(trigger: Object, answer: TriggerAnswer, now: datetime) -> dict[str, Any]:
    """The status with the answer; None removes a field. Equal for an equal answer that is not final, whatever ``now``
    is.
    """
    generation = trigger["metadata"].get("generation", 0)
    stored = trigger.get("status") or {}
    decided = answer.decision is not Decision.PENDING
    conditions = stored.get("conditions") or []
    for type_, value in (
        (ConditionType.READY, decided and answer.run is not None),
        (ConditionType.PROGRESSING, not decided),
        (ConditionType.DEGRADED, decided and answer.run is None),
    ):
        conditions = with_condition(
            conditions,
            type_,
            value,
            reason=answer.reason,
            message=answer.message,
            generation=generation,
            now=now,
        )
    run = None if answer.run is None else answer.run["metadata"]
    return {
        "acceptedAt": stored.get("acceptedAt") or format_instant(now),
        "completedAt": format_instant(now) if decided else None,
        "observedGeneration": generation,
        "decision": str(answer.decision),
        "reason": str(answer.reason),
        "message": truncated(answer.message, MAX_MESSAGE_LENGTH),
        "storyRunRef": None if run is None else {name: run[name] for name in ("name", "namespace", "uid")},
        "conditions": conditions,
    }


def _accepted_at(trigger: Object, now: datetime) -> datetime:
    return parse_instant_or_none((trigger.get("status") or {}).get("acceptedAt")) or now


def _was_requested_or_answered(change: Change) -> bool:
    return spec_changed(change) or any(map(is_answered, versions(change)))


def _of_story(change: Change, caches: Caches) -> Iterator[Key]:
    """The StoryTriggers that wait for the Story."""
    yield from map(Key.of, caches.informer(STORY_TRIGGER).each_by_index(OPEN_BY_STORY, str(Key.of(change.object))))


def _of_grant(change: Change, caches: Caches) -> Iterator[Key]:
    """The StoryTriggers that wait for something in the namespace of the grant."""
    namespace = change.object["metadata"]["namespace"]
    yield from map(Key.of, caches.informer(STORY_TRIGGER).each_by_index(OPEN_BY_STORY_NAMESPACE, namespace))


def _of_impulse(change: Change, caches: Caches) -> Iterator[Key]:
    """The StoryTriggers that wait for the Impulse."""
    yield from map(Key.of, caches.informer(STORY_TRIGGER).each_by_index(OPEN_BY_IMPULSE, str(Key.of(change.object))))


def _of_gone_run(change: Change, caches: Caches) -> Iterator[Key]:
    """The StoryTriggers that wait for the end of the run, and those that were kept because of it."""
    for run in versions(change):
        yield from map(Key.of, caches.informer(STORY_TRIGGER).each_by_index(BY_RUN, str(Key.of(run))))


def _is_gone(change: Change) -> bool:
    return change.new is None or (
        change.old is not None and change.old["metadata"]["uid"] != change.new["metadata"]["uid"]
    )


def _options(settings: OperatorSettings) -> ControllerSettings:
    """No keys of its own. The delays are not ``controller.requeue-*``: two seconds are long for an event."""
    workers = settings.controllers.max_concurrent_reconciles
    return ControllerSettings(workers, timedelta(milliseconds=200), timedelta(minutes=1))


def _build(there: ControllerDependencies) -> Reconcile:
    return StoryTriggerReconciler(
        there.client, there.world, there.events, there.clock, there.settings, there.payloads
    ).reconcile


CONTROLLER: Final = ControllerRegistration(
    "runs-storytrigger",
    STORY_TRIGGER,
    _build,
    options=_options,
    watches=(
        Watch(STORY_TRIGGER, own_keys, when=_was_requested_or_answered),
        Watch(STORY, _of_story, when=spec_changed),
        Watch(REFERENCE_GRANT, _of_grant),
        Watch(IMPULSE, _of_impulse, when=spec_changed),
        Watch(STORY_RUN, _of_gone_run, when=_is_gone),
    ),
    informers=(TRIGGERS, IMPULSES),
    permissions=(
        Permission(
            STORY_TRIGGER,
            ("get",),
            "Before it starts a run, the operator checks that no other process has answered the StoryTrigger.",
        ),
        Permission(STORY_TRIGGER, ("patch",), "Stores the answer.", subresource="status"),
        Permission(
            STORY_TRIGGER,
            ("delete",),
            "Deletes answered StoryTriggers after their retention time.",
            seldom="Only a day after the answer, and only when the run is gone.",
        ),
        Permission(STORY_RUN, ("create",), "Starts the run that a StoryTrigger requests."),
        Permission(STORY_RUN, ("get",), "Reads the run that has the name of a new one."),
        Permission(STORY, ("get",), FRESH),
    ),
    enqueue_when_settings_change=True,  # they decide how long it may wait, and how long its answer is kept
)
