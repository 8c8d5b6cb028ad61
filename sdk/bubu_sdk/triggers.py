"""Starts Stories: builds a StoryTrigger, stores it, and waits for the operator's decision.

One call, in this order: wait for the throttle; find the key; build the StoryTrigger once; then create it, compare it
with an existing one, and wait, as often as the retry policy allows. A StoryTrigger that was created is never lost: its
name follows from the key, so a repeated call meets the same object. Source: Trigger contract 5.
"""

from __future__ import annotations

import random
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from bubu_contract import instants, submission
from bubu_contract.canonical import NotJsonError
from bubu_sdk import dehydrate, delivery, storytrigger
from bubu_sdk.cancellation import Cancellation, Clock, SystemClock
from bubu_sdk.counters import ThrottleCounter
from bubu_sdk.dehydrate import Placement
from bubu_sdk.delivery import DeliveryPolicy, Identity
from bubu_sdk.encode import to_json
from bubu_sdk.errors import EngramError, Object, OutputError
from bubu_sdk.kube import ENGRAMS_API, RUNS_API, Cluster, ConflictError, KubeError, NotFoundError, StatusError
from bubu_sdk.storage import Store
from bubu_sdk.storytrigger import Origin, Outcome, StoryTarget, TriggerDecision
from bubu_sdk.throttle import Throttle
from bubu_sdk.trigger_errors import (
    TriggerCancelledError,
    TriggerConflictError,
    TriggerError,
    TriggerMissingError,
    TriggerPendingError,
    TriggerPolicyError,
    TriggerRefusedError,
    TriggerRejectedError,
    TriggerUnavailableError,
)

FIRST_LOOK_SECONDS: Final = 0.05
LAST_LOOK_SECONDS: Final = 1.0
"""The pause between two looks at an undecided StoryTrigger doubles from the first to the last value.

A look is a ``get``, the only right to read that the account of an Impulse has; and between two looks the call can be
cancelled.
"""
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")

T = TypeVar("T")


@dataclass(frozen=True)
class TriggerSettings:
    """What submissions need to know of the container."""

    origin: Origin
    policy: DeliveryPolicy
    operation_timeout_seconds: float
    """The limit of one request, and how long one attempt waits for the decision."""
    max_inline_bytes: int
    max_depth: int
    input_prefix: str = dehydrate.INPUT_PREFIX


@dataclass(frozen=True)
class Request:
    """One call, as the caller wrote it."""

    story: str | None = None
    inputs: Mapping[str, Any] | None = None
    key: str | None = None
    submission_id: str | None = None
    namespace: str | None = None
    version: str | None = None
    annotations: Mapping[str, str] | None = None


class Triggers:
    """Submits StoryTriggers for one process. Blocking; thread-safe."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store | None,
        settings: TriggerSettings,
        counter: ThrottleCounter,
        *,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self._cluster = cluster
        self._store = store
        self._counter = counter
        self._clock = clock or SystemClock()
        self._chance = chance
        self._throttle = Throttle(settings.policy.limits, self._clock)
        self._calls: set[Cancellation] = set()
        self._calls_changed = threading.Condition()

    def trigger(
        self, request: Request, *, timeout_seconds: float | None = None, cancellation: Cancellation | None = None
    ) -> TriggerDecision:
        """Start a Story, and wait for the decision, which is ``Created`` or ``Reused``.

        Args:
            timeout_seconds: how long each attempt waits for the decision; default: the operation timeout.
        Raises:
            TriggerError: one of its subclasses; ``retryable`` says whether another call may succeed.
            StorageError: large inputs could not be stored.
        """
        limit = self.settings.operation_timeout_seconds if timeout_seconds is None else timeout_seconds
        with self._call(cancellation) as call, self._throttle.admitted(call, on_wait=self._counter.add):
            wanted = self._build(request)
            return self._retried(lambda: self._decided(self._submitted(wanted), limit, call), call)

    def accept(
        self, request: Request, *, patience_seconds: float | None = None, cancellation: Cancellation | None = None
    ) -> TriggerDecision:
        """Store the request, and return before its decision, unless an equal request was decided already.

        Args:
            patience_seconds: how long the throttle may delay the call; ``None`` for any time.
        Raises:
            TriggerThrottledError: the throttle would delay the call for longer.
            TriggerError: one of its subclasses; after an error that is not retryable, nothing was stored.
            StorageError: large inputs could not be stored.
        """
        admitted = self._throttle.admitted
        with (
            self._call(cancellation) as call,
            admitted(call, patience_seconds=patience_seconds, on_wait=self._counter.add),
        ):
            wanted = self._build(request)
            return self._retried(lambda: self._submitted(wanted), call)

    def decision(self, name: str) -> TriggerDecision:
        """What the operator has decided about a StoryTrigger of this Impulse; ``Pending`` if nothing yet.

        Raises:
            TriggerMissingError: there is none, or another Impulse submitted it.
            TriggerUnavailableError: the API server did not answer.
        """
        missing = TriggerMissingError(f"there is no StoryTrigger {name!r} of this Impulse")
        if len(name) > submission.MAX_NAME_BYTES or not _NAME.fullmatch(name):
            raise missing
        found = self._read(name)
        if found is None or not storytrigger.is_of_impulse(found.get("spec") or {}, self.settings.origin):
            raise missing
        return storytrigger.decision_of(found, existed=True)

    def trigger_of(self, request: Request) -> TriggerDecision | None:
        """What is known of a request that may have been submitted before; ``None`` if it was not. Submits nothing.

        Raises:
            TriggerPolicyError: the request has no key and no submission id.
            TriggerUnavailableError: the API server did not answer.
        """
        target, identity = self._identified(request)
        if not identity.key and not request.submission_id:
            raise TriggerPolicyError("a request without key and submission id cannot be found again")
        found = self._read(submission.trigger_name(target.namespace, target.name, identity.text))
        return None if found is None else storytrigger.decision_of(found, existed=True)

    def created_at(self) -> datetime | None:
        """When the Impulse was created, in UTC; ``None`` outside of an Impulse, and without the right to read it.

        Raises:
            TriggerUnavailableError: the API server did not answer.
        """
        origin = self.settings.origin
        if not origin.impulse:
            return None
        namespace = origin.impulse_namespace or origin.namespace
        try:
            found = self._request("GET", f"{ENGRAMS_API}/namespaces/{namespace}/impulses/{origin.impulse}")
        except KubeError as error:
            if error.is_outage:
                raise _failure(error) from error
            return None
        created = (found.get("metadata") or {}).get("creationTimestamp")
        return instants.parse_instant(created) if created else None

    def abandon(self) -> None:
        """Cancel every call that waits. Any thread may call it."""
        with self._calls_changed:
            calls = list(self._calls)
        for call in calls:
            call.cancel()

    def close(self, timeout_seconds: float) -> None:
        """Wait for the calls in progress, cancel those that take longer, and write the counts."""
        with self._calls_changed:
            self._calls_changed.wait_for(lambda: not self._calls, timeout_seconds)
        self.abandon()
        self._counter.flush()

    @contextmanager
    def _call(self, cancellation: Cancellation | None) -> Iterator[Cancellation]:
        call = cancellation or Cancellation()
        with self._calls_changed:
            self._calls.add(call)
        try:
            yield call
        finally:
            with self._calls_changed:
                self._calls.discard(call)
                self._calls_changed.notify_all()

    # Building the StoryTrigger.

    def _identified(self, request: Request) -> tuple[StoryTarget, Identity]:
        origin, policy = self.settings.origin, self.settings.policy
        target = storytrigger.target_of(origin, request.story, request.namespace, request.version)
        if not target.name:
            raise TriggerPolicyError("name a Story: the call names none, and BUBU_TARGET_STORY_NAME is not set")
        if not origin.namespace:
            raise TriggerPolicyError("the namespace is unknown: set BUBU_IMPULSE_NAMESPACE or BUBU_POD_NAMESPACE")
        impulse = {"name": origin.impulse, "namespace": origin.impulse_namespace or origin.namespace}
        story = {"name": target.name, "namespace": target.namespace}
        roots = {"inputs": dict(request.inputs or {}), "story": story, "impulse": impulse}
        key = delivery.resolve_key(policy, request.key, roots)
        return target, delivery.identity_of(policy, key, request.submission_id, str(uuid.uuid4()))

    def _build(self, request: Request) -> Object:
        try:
            inputs = to_json(request.inputs or {}, "inputs")
        except OutputError as error:
            raise TriggerPolicyError(str(error)) from error
        plain = Request(request.story, inputs, request.key, request.submission_id, request.namespace, request.version)
        target, identity = self._identified(plain)
        origin, settings = self.settings.origin, self.settings
        folder = submission.storage_id(origin.namespace, target.namespace, target.name, identity.text, inputs)
        place = Placement(
            settings.input_prefix,
            origin.namespace,
            folder.removeprefix(f"{origin.namespace}/"),
            f"bubu://story/{target.namespace}/{target.name}/inputs",
            target.version,
        )
        stored = dehydrate.dehydrate_inputs(
            inputs, self._store, place, inline_bytes=settings.max_inline_bytes, max_depth=settings.max_depth
        )
        try:
            return storytrigger.manifest(origin, target, identity, stored, request.annotations)
        except NotJsonError as error:
            raise TriggerPolicyError(f"inputs: {error}") from error

    # Create, compare, wait.

    def _submitted(self, wanted: Object) -> TriggerDecision:
        try:
            created = self._request("POST", self._collection, wanted)
            return storytrigger.decision_of(created)
        except ConflictError:
            return self._existing(wanted)
        except KubeError as error:
            raise _failure(error) from error

    def _existing(self, wanted: Object) -> TriggerDecision:
        """The StoryTrigger that has the name already, if it is the same request."""
        name = wanted["metadata"]["name"]
        existing = self._read(name)
        if existing is None or existing["metadata"].get("deletionTimestamp"):
            raise TriggerUnavailableError(f"StoryTrigger {name} of an earlier request is being deleted")
        if found := storytrigger.differences(wanted, existing):
            raise TriggerConflictError(
                f"StoryTrigger {name} exists with the same identity, but another {' and '.join(found)}; "
                "use another key for another request",
                trigger=name,
            )
        return storytrigger.decision_of(existing, existed=True)

    def _decided(self, found: TriggerDecision, limit_seconds: float, call: Cancellation) -> TriggerDecision:
        deadline = self._clock.monotonic() + limit_seconds
        pause = FIRST_LOOK_SECONDS
        existed = found.existed
        while found.is_pending:
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise TriggerPendingError(
                    f"StoryTrigger {found.trigger} is still pending after {limit_seconds:g} s", trigger=found.trigger
                )
            if self._clock.wait(call.event, min(pause, left)):
                raise TriggerCancelledError(f"cancelled before the decision about StoryTrigger {found.trigger}")
            pause = min(pause * 2, LAST_LOOK_SECONDS)
            found = self._looked_at(found, existed)
        if found.outcome is Outcome.REJECTED:
            message = found.message or "the operator rejected the StoryTrigger"
            raise TriggerRejectedError(message, trigger=found.trigger, reason=found.reason)
        if not found.story_run:
            raise TriggerUnavailableError(f"StoryTrigger {found.trigger} is {found.outcome}, but names no StoryRun yet")
        return found

    def _looked_at(self, found: TriggerDecision, existed: bool) -> TriggerDecision:
        """The StoryTrigger as it is now; the last known state while the API server does not answer."""
        try:
            now = self._read(found.trigger)
        except TriggerUnavailableError:
            return found
        if now is None:
            raise TriggerUnavailableError(f"StoryTrigger {found.trigger} was deleted before its decision was read")
        return storytrigger.decision_of(now, existed=existed)

    def _read(self, name: str) -> Object | None:
        try:
            return self._request("GET", f"{self._collection}/{name}")
        except NotFoundError:
            return None
        except KubeError as error:
            raise _failure(error) from error

    def _request(self, method: str, path: str, body: Any = None) -> Object:
        return self._cluster.request(method, path, body, timeout_seconds=self.settings.operation_timeout_seconds)

    @property
    def _collection(self) -> str:
        return f"{RUNS_API}/namespaces/{self.settings.origin.namespace}/storytriggers"

    def _retried(self, attempt: Callable[[], T], call: Cancellation) -> T:
        retry, failures = self.settings.policy.retry, 0
        while True:
            if call.is_cancelled:
                raise TriggerCancelledError("cancelled before the StoryTrigger was submitted")
            try:
                return attempt()
            except TriggerError as error:
                failures += 1
                if not error.retryable_by_policy or failures >= retry.attempts:
                    raise
                pause = retry.pause_seconds(failures, self._chance())
                if isinstance(error, TriggerUnavailableError):
                    pause = max(pause, min(error.retry_after_seconds, retry.max_seconds))
                if self._clock.wait(call.event, pause):
                    raise TriggerCancelledError(f"cancelled between two attempts: {error}") from error


def _failure(error: KubeError) -> EngramError:
    if error.retryable:
        return TriggerUnavailableError(str(error), retry_after_seconds=getattr(error, "retry_after_seconds", 0.0))
    return TriggerRefusedError(str(error), http_code=error.code if isinstance(error, StatusError) else 0)
