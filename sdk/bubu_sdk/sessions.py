"""Sessions: runs that an Impulse starts and later stops, each under a key of its own, for example a call or a room.

The table is in memory. The key of a session is also in an annotation of its StoryTrigger, so ``restore`` rebuilds the
table after a restart: from the active runs of this Impulse, and the StoryTriggers that started them.
Source: Trigger contract 5.8.
"""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from bubu_contract import canonical
from bubu_sdk.cancellation import Cancellation
from bubu_sdk.kube import RUNS_API, Cluster, NotFoundError
from bubu_sdk.storyruns import StartedRun, StoryRuns
from bubu_sdk.timing import utc_now
from bubu_sdk.trigger_errors import SessionActiveError, SessionMissingError, TriggerCancelledError
from bubu_sdk.triggers import Request, Triggers

ANNOTATION_SESSION: Final = "bubustack.io/session"
"""An extension, on StoryTriggers: the key of the session that the run belongs to."""
ANNOTATION_SESSION_METADATA: Final = "bubustack.io/session-metadata"
"""An extension, on StoryTriggers: the metadata of the session, a JSON object of strings."""


@dataclass(frozen=True)
class Session:
    """A run under the key of its session."""

    key: str
    story_run: str
    namespace: str
    started_at: datetime
    """When it was started or restored, in UTC."""
    metadata: Mapping[str, str] = field(default_factory=dict)


class Sessions:
    """The sessions of one process. Blocking; thread-safe."""

    def __init__(
        self,
        cluster: Cluster,
        triggers: Triggers,
        runs: StoryRuns,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._cluster = cluster
        self._triggers = triggers
        self._runs = runs
        self._now = now
        self._changed = threading.Condition()
        self._sessions: dict[str, Session | None] = {}
        """``None``: the session is starting."""

    def start(
        self,
        key: str,
        request: Request,
        *,
        metadata: Mapping[str, str] | None = None,
        cancellation: Cancellation | None = None,
    ) -> Session:
        """Start a run for the session ``key``. A failure frees the key.

        Raises:
            SessionActiveError: the session has a run already; nothing was sent.
            TriggerError, StorageError: as for ``Triggers.trigger``.
        """
        if not key.strip():
            raise ValueError("a session needs a key")
        with self._changed:
            if key in self._sessions:
                raise SessionActiveError(f"session {key!r} is active already", session=key)
            self._sessions[key] = None
        session: Session | None = None
        try:
            marks = {
                ANNOTATION_SESSION: key,
                ANNOTATION_SESSION_METADATA: canonical.encode(dict(metadata or {})).decode(),
            }
            annotated = replace(request, annotations={**(request.annotations or {}), **marks})
            decision = self._triggers.trigger(annotated, cancellation=cancellation)
            session = Session(key, decision.story_run, decision.namespace, self._now(), dict(metadata or {}))
            return session
        finally:
            with self._changed:
                if session is not None:
                    self._sessions[key] = session
                else:
                    del self._sessions[key]
                self._changed.notify_all()

    def stop(self, key: str, *, cancellation: Cancellation | None = None) -> None:
        """Stop the run of a session, and drop the session; waits until a start in progress has ended.

        Raises:
            SessionMissingError: there is no such session; or its run does not exist any more, and it is dropped.
            KubeError: the run could not be stopped; the session stays.
        """
        session = self._settled(key, cancellation or Cancellation())
        exists = self._runs.stop(session.story_run, session.namespace)
        self.forget(key)
        if not exists:
            raise SessionMissingError(f"StoryRun {session.story_run} of session {key!r} does not exist", session=key)

    def forget(self, key: str) -> bool:
        """Drop a session without stopping its run; returns whether there was one. One that is starting stays."""
        with self._changed:
            if self._sessions.get(key) is None:
                return False
            del self._sessions[key]
            return True

    def get(self, key: str) -> Session | None:
        """The session; ``None`` if there is none, or while it is starting."""
        with self._changed:
            return self._sessions.get(key)

    def all(self) -> list[Session]:
        """All sessions that have been started, by key."""
        with self._changed:
            return sorted(filter(None, self._sessions.values()), key=lambda session: session.key)

    def restore(self) -> list[Session]:
        """Add the sessions of earlier processes whose runs are active; returns those that were added.

        A session is lost if its StoryTrigger was deleted before, for example by the operator's retention.

        Raises:
            KubeError: a request failed; nothing was added.
        """
        restored = [session for run in self._runs.active() if (session := self._session_of(run)) is not None]
        added = []
        with self._changed:
            for session in restored:
                if session.key not in self._sessions:
                    self._sessions[session.key] = session
                    added.append(session)
        return added

    def _settled(self, key: str, cancellation: Cancellation) -> Session:
        def notify() -> None:
            with self._changed:
                self._changed.notify_all()

        with cancellation.calling(notify), self._changed:
            self._changed.wait_for(lambda: cancellation.is_cancelled or self._sessions.get(key, key) is not None)
            if cancellation.is_cancelled:
                raise TriggerCancelledError(f"cancelled while session {key!r} was starting")
            session = self._sessions.get(key)
        if session is None:
            raise SessionMissingError(f"there is no session {key!r}", session=key)
        return session

    def _session_of(self, run: StartedRun) -> Session | None:
        if not run.trigger:
            return None
        try:
            path = f"{RUNS_API}/namespaces/{run.namespace}/storytriggers/{urllib.parse.quote(run.trigger, safe='')}"
            trigger = self._cluster.request("GET", path)
        except NotFoundError:
            return None
        annotations = (trigger.get("metadata") or {}).get("annotations") or {}
        key = str(annotations.get(ANNOTATION_SESSION) or "")
        if not key:
            return None
        metadata = _metadata(annotations.get(ANNOTATION_SESSION_METADATA))
        return Session(key, run.name, run.namespace, self._now(), metadata)


def _metadata(text: object) -> dict[str, str]:
    try:
        found = json.loads(str(text or "{}"))
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
