"""The context of an impulse function: facts about its Impulse, and methods that start Stories.

``ImpulseContext`` is for plain functions, ``AsyncImpulseContext`` for ``async def``. Both have the same facts and
methods; those of ``AsyncImpulseContext`` are awaited, and can be cancelled. The runner creates both; tests get one from
``bubu_sdk.testing``. Source: Trigger contract 5.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic

from bubu_sdk import hosting, storytrigger
from bubu_sdk.secret import Secrets
from bubu_sdk.sessions import Session, Sessions
from bubu_sdk.storyruns import StartedRun, StoryRuns
from bubu_sdk.storytrigger import TriggerDecision
from bubu_sdk.triggers import Request, Triggers

if TYPE_CHECKING:  # a type checker knows this module even if it is not installed
    from typing_extensions import TypeVar

    ConfigT = TypeVar("ConfigT", default=Any)
else:
    from typing import TypeVar

    ConfigT = TypeVar("ConfigT")


@dataclass(frozen=True)
class ImpulseServices:
    """The clients that the methods of a context use."""

    triggers: Triggers
    runs: StoryRuns
    sessions: Sessions
    set_ready: Callable[[bool], None]


@dataclass(frozen=True, repr=False)
class ImpulseKnowledge(Generic[ConfigT]):
    """The facts of a context; its subclasses add the methods that start Stories."""

    name: str
    """Name of the Impulse; empty outside of one."""
    namespace: str
    """Namespace of the Impulse, its StoryTriggers and its StoryRuns."""
    story: str
    """Name of the Story that calls without a Story start."""
    story_namespace: str
    """Namespace of that Story."""
    _config: Callable[[], ConfigT]
    secrets: Secrets
    logger: logging.Logger
    """Writes JSON lines to stdout; ``extra={...}`` adds fields."""
    cancelled: threading.Event
    """Set at SIGTERM. A plain function should check it or wait for it, and return."""
    _services: ImpulseServices

    @property
    def config(self) -> ConfigT:
        """The Impulse's ``with``, overridden by ``BUBU_CONFIG_<key>``; ``{{ … }}`` in it stay as they are.

        With the annotation ``ImpulseContext[Config]``, the SDK decodes the configuration before the function starts; a
        mismatch ends the process. Without it, the value is plain JSON.
        """
        return self._config()

    @property
    def log(self) -> logging.Logger:
        """The same as ``logger``."""
        return self.logger

    def set_ready(self, ready: bool) -> None:
        """What the readiness probe answers (``BUBU_READINESS_PORT``); ready from the start of the function."""
        self._services.set_ready(ready)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, namespace={self.namespace!r}, secrets={self.secrets!r})"


class ImpulseContext(ImpulseKnowledge[ConfigT]):
    """The context of a plain function. Its methods block, and several threads may call them."""

    def trigger(
        self,
        story: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        key: str | None = None,
        submission_id: str | None = None,
        namespace: str | None = None,
        version: str | None = None,
        *,
        timeout_seconds: float | None = None,
        trace: Mapping[str, str] | None = None,
    ) -> TriggerDecision:
        """Start a Story, and wait for the operator's decision: ``Created``, or ``Reused`` for a repeated request.

        Args:
            story: its name; default: the Story of the Impulse.
            inputs: JSON-like; large parts move to the store.
            key: the business key of the event, 1 to 256 characters. Equal keys with equal inputs start one run.
            submission_id: for events without a key: a repeated call with the same id is the same request.
            namespace: of the Story; default: that of the Impulse's Story, or the Impulse's own for another Story.
            version: the ``spec.version`` that the Story must have.
            timeout_seconds: how long each attempt waits for the decision; default: 30 s.
            trace: headers of the event; the run continues the trace in ``traceparent``, ``tracestate``, ``baggage``.
        Raises:
            TriggerRejectedError: the operator rejected the request.
            TriggerPendingError: the request is stored, but undecided.
            TriggerConflictError: the key was used before, with other inputs.
            TriggerUnavailableError: the API server did not answer.
            TriggerError: the base of these and others; ``retryable`` says whether another call may succeed.
            StorageError: large inputs could not be stored.
        """
        request = Request(story, inputs, key, submission_id, namespace, version, storytrigger.trace_marks(trace))
        return self._services.triggers.trigger(request, timeout_seconds=timeout_seconds)

    def accept(
        self,
        story: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        key: str | None = None,
        submission_id: str | None = None,
        namespace: str | None = None,
        version: str | None = None,
        *,
        patience_seconds: float | None = None,
        trace: Mapping[str, str] | None = None,
    ) -> TriggerDecision:
        """Store the request, and return before its decision. What this returns is not lost, whatever happens.

        Args:
            patience_seconds: how long the throttle may delay the call; ``None`` for any time.
            trace: headers of the event; the run continues the trace in ``traceparent``, ``tracestate``, ``baggage``.
        Raises:
            TriggerThrottledError: the throttle would delay the call for longer.
            TriggerError, StorageError: as for ``trigger``.
        """
        request = Request(story, inputs, key, submission_id, namespace, version, storytrigger.trace_marks(trace))
        return self._services.triggers.accept(request, patience_seconds=patience_seconds)

    def decision(self, trigger: str) -> TriggerDecision:
        """What the operator has decided about a StoryTrigger of this Impulse, by the name of the StoryTrigger.

        Raises:
            TriggerMissingError: there is none, or another Impulse submitted it.
        """
        return self._services.triggers.decision(trigger)

    def decision_of(
        self,
        story: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        key: str | None = None,
        submission_id: str | None = None,
        namespace: str | None = None,
    ) -> TriggerDecision | None:
        """What is known of a request that may have been submitted before; ``None`` if it was not. Submits nothing."""
        return self._services.triggers.trigger_of(Request(story, inputs, key, submission_id, namespace))

    def created_at(self) -> datetime | None:
        """When the Impulse was created, in UTC; ``None`` if that cannot be known."""
        return self._services.triggers.created_at()

    def active_runs(self) -> list[StartedRun]:
        """The runs of this Impulse that have not ended. Lists all runs of the namespace, so call it seldom."""
        return self._services.runs.active()

    def find_run(self, story_run: str) -> StartedRun | None:
        """A StoryRun in the Impulse's namespace; ``None`` if it does not exist."""
        return self._services.runs.find(story_run)

    def stop_run(self, story_run: str) -> bool:
        """Ask the operator to cancel a StoryRun; does not wait. Returns whether the StoryRun exists."""
        return self._services.runs.stop(story_run)

    @property
    def sessions(self) -> ImpulseSessions:
        """Runs that are started and stopped by a key of your own."""
        return ImpulseSessions(self._services.sessions)


class AsyncImpulseContext(ImpulseKnowledge[ConfigT]):
    """The context of an ``async def`` function; it has the methods of ``ImpulseContext``, to be awaited.

    A cancelled call ends at once while it waits for the throttle, a retry or the decision. A request that is being sent
    is finished first, so the StoryTrigger exists or does not.
    """

    async def trigger(
        self,
        story: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        key: str | None = None,
        submission_id: str | None = None,
        namespace: str | None = None,
        version: str | None = None,
        *,
        timeout_seconds: float | None = None,
        trace: Mapping[str, str] | None = None,
    ) -> TriggerDecision:
        """See ``ImpulseContext.trigger``."""
        request = Request(story, inputs, key, submission_id, namespace, version, storytrigger.trace_marks(trace))
        triggers = self._services.triggers
        decision: TriggerDecision = await hosting.interruptible(
            lambda call: triggers.trigger(request, timeout_seconds=timeout_seconds, cancellation=call)
        )
        return decision

    async def accept(
        self,
        story: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        key: str | None = None,
        submission_id: str | None = None,
        namespace: str | None = None,
        version: str | None = None,
        *,
        patience_seconds: float | None = None,
        trace: Mapping[str, str] | None = None,
    ) -> TriggerDecision:
        """See ``ImpulseContext.accept``."""
        request = Request(story, inputs, key, submission_id, namespace, version, storytrigger.trace_marks(trace))
        triggers = self._services.triggers
        decision: TriggerDecision = await hosting.interruptible(
            lambda call: triggers.accept(request, patience_seconds=patience_seconds, cancellation=call)
        )
        return decision

    async def decision(self, trigger: str) -> TriggerDecision:
        """See ``ImpulseContext.decision``."""
        decision: TriggerDecision = await hosting.in_thread(lambda: self._services.triggers.decision(trigger))
        return decision

    async def decision_of(
        self,
        story: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        key: str | None = None,
        submission_id: str | None = None,
        namespace: str | None = None,
    ) -> TriggerDecision | None:
        """See ``ImpulseContext.decision_of``."""
        request = Request(story, inputs, key, submission_id, namespace)
        decision: TriggerDecision | None = await hosting.in_thread(lambda: self._services.triggers.trigger_of(request))
        return decision

    async def created_at(self) -> datetime | None:
        """See ``ImpulseContext.created_at``."""
        created: datetime | None = await hosting.in_thread(self._services.triggers.created_at)
        return created

    async def active_runs(self) -> list[StartedRun]:
        """See ``ImpulseContext.active_runs``."""
        runs: list[StartedRun] = await hosting.in_thread(self._services.runs.active)
        return runs

    async def find_run(self, story_run: str) -> StartedRun | None:
        """See ``ImpulseContext.find_run``."""
        run: StartedRun | None = await hosting.in_thread(lambda: self._services.runs.find(story_run))
        return run

    async def stop_run(self, story_run: str) -> bool:
        """See ``ImpulseContext.stop_run``."""
        return bool(await hosting.in_thread(lambda: self._services.runs.stop(story_run)))

    @property
    def sessions(self) -> AsyncImpulseSessions:
        """Runs that are started and stopped by a key of your own."""
        return AsyncImpulseSessions(self._services.sessions)


class ImpulseSessions:
    """The sessions of an Impulse: runs that are started and stopped by a key of your own. See ``bubu_sdk.sessions``."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def start(
        self,
        session: str,
        story: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        key: str | None = None,
        submission_id: str | None = None,
        namespace: str | None = None,
        version: str | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> Session:
        """Start a run for ``session``; the other parameters are those of ``ImpulseContext.trigger``.

        Raises:
            SessionActiveError: the session has a run already; nothing was sent.
            TriggerError, StorageError: as for ``ImpulseContext.trigger``; the key of the session is free again.
        """
        return self._sessions.start(
            session, Request(story, inputs, key, submission_id, namespace, version), metadata=metadata
        )

    def stop(self, session: str) -> None:
        """Stop the run of a session, and drop the session.

        Raises:
            SessionMissingError: there is no such session, or its run does not exist any more.
        """
        self._sessions.stop(session)

    def restore(self) -> list[Session]:
        """After a restart: add the sessions whose runs are active; returns those that were added."""
        return self._sessions.restore()

    def forget(self, session: str) -> bool:
        """Drop a session without stopping its run; returns whether there was one."""
        return self._sessions.forget(session)

    def get(self, session: str) -> Session | None:
        """The session; ``None`` if there is none, or while it is starting."""
        return self._sessions.get(session)

    def all(self) -> list[Session]:
        """All sessions, by key."""
        return self._sessions.all()


class AsyncImpulseSessions:
    """``ImpulseSessions`` for ``async def`` functions; what sends requests is awaited."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def start(
        self,
        session: str,
        story: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        key: str | None = None,
        submission_id: str | None = None,
        namespace: str | None = None,
        version: str | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> Session:
        """See ``ImpulseSessions.start``."""
        request = Request(story, inputs, key, submission_id, namespace, version)
        started: Session = await hosting.interruptible(
            lambda call: self._sessions.start(session, request, metadata=metadata, cancellation=call)
        )
        return started

    async def stop(self, session: str) -> None:
        """See ``ImpulseSessions.stop``."""
        await hosting.interruptible(lambda call: self._sessions.stop(session, cancellation=call))

    async def restore(self) -> list[Session]:
        """See ``ImpulseSessions.restore``."""
        restored: list[Session] = await hosting.in_thread(self._sessions.restore)
        return restored

    def forget(self, session: str) -> bool:
        """See ``ImpulseSessions.forget``."""
        return self._sessions.forget(session)

    def get(self, session: str) -> Session | None:
        """See ``ImpulseSessions.get``."""
        return self._sessions.get(session)

    def all(self) -> list[Session]:
        """See ``ImpulseSessions.all``."""
        return self._sessions.all()
