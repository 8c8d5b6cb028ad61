"""A node's record of one container: its state, the previous one, the number of restarts. Frozen, pure.

``to_status`` and ``from_status`` convert to and from a Pod's ``containerStatuses``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from localcluster.clock import to_time

Object = dict[str, Any]

CONTAINER_CREATING = "ContainerCreating"
POD_INITIALIZING = "PodInitializing"
LOST_EXIT_CODE = 137


@dataclass(frozen=True, slots=True)
class Waiting:
    """The container does not run yet, or does not run again yet."""

    reason: str = CONTAINER_CREATING
    message: str = ""

    def to_status(self) -> Object:
        return {"waiting": _filled({"reason": self.reason, "message": self.message})}


@dataclass(frozen=True, slots=True)
class Running:
    started_at: datetime

    def to_status(self) -> Object:
        return {"running": {"startedAt": to_time(self.started_at)}}


@dataclass(frozen=True, slots=True)
class Terminated:
    exit_code: int
    reason: str
    message: str = ""
    signal: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    container_id: str = ""
    cpu_seconds: float = 0.0
    """How much of the processor it has used; 0 if that is not known. It is in no status."""

    @property
    def succeeded(self) -> bool:
        return self.exit_code == 0

    @property
    def ran_seconds(self) -> float:
        """How long it ran; 0 when unknown."""
        if self.started_at is None or self.finished_at is None:
            return 0.0
        return (self.finished_at - self.started_at).total_seconds()

    def to_status(self) -> Object:
        return {
            "terminated": {
                "exitCode": self.exit_code,
                **_filled(
                    {
                        "reason": self.reason,
                        "message": self.message,
                        "signal": self.signal,
                        "startedAt": self.started_at and to_time(self.started_at),
                        "finishedAt": self.finished_at and to_time(self.finished_at),
                        "containerID": self.container_id,
                    }
                ),
            }
        }


State = Waiting | Running | Terminated


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """The record of one container of one Pod."""

    name: str
    image: str
    state: State = Waiting()
    last: Terminated | None = None
    """How the previous run ended."""
    restarts: int = 0
    ready: bool = False
    container_id: str = ""
    ports: Mapping[int, int] = field(default_factory=dict)
    """While it runs: ports of its image map entry, each with the one that it listens on. They are in a condition of
    the Pod, and not in the status of the container."""

    def waiting(self, reason: str, message: str = "") -> ContainerRecord:
        """The container does not run, because of ``reason``; a run that has ended becomes ``last``."""
        last = self.state if isinstance(self.state, Terminated) else self.last
        return replace(self, state=Waiting(reason, message), last=last, ready=False, ports={})

    def running(
        self, started_at: datetime, container_id: str, *, ready: bool, ports: Mapping[int, int] | None = None
    ) -> ContainerRecord:
        last = self.state if isinstance(self.state, Terminated) else self.last
        return replace(
            self, state=Running(started_at), last=last, ready=ready, container_id=container_id, ports=ports or {}
        )

    def running_ready(self, ready: bool) -> ContainerRecord:
        """The container still runs; its probes have changed its readiness."""
        return replace(self, ready=ready)

    def terminated(self, outcome: Terminated) -> ContainerRecord:
        return replace(self, state=outcome, ready=False, ports={})

    def restarted(self) -> ContainerRecord:
        """The container starts again; the end of the previous run and the higher count are always written together."""
        return replace(self.waiting(CONTAINER_CREATING), restarts=self.restarts + 1)

    def to_status(self, *, init: bool = False) -> Object:
        started = isinstance(self.state, Running)
        ready = isinstance(self.state, Terminated) and self.state.succeeded if init else self.ready
        return {
            "name": self.name,
            "image": self.image,
            "imageID": f"localprocess://{self.image}" if self.container_id else "",
            "state": self.state.to_status(),
            "lastState": self.last.to_status() if self.last else {},
            "ready": ready,
            "started": started,
            "restartCount": self.restarts,
            **_filled({"containerID": self.container_id}),
        }


def lost(record: ContainerRecord, now: datetime) -> ContainerRecord:
    """The record of a container that ran under an earlier process of this node: it ended with that process."""
    outcome = Terminated(
        exit_code=LOST_EXIT_CODE,
        reason="ContainerStatusUnknown",
        message="The node was restarted while the container was running; the container ended with it",
        finished_at=now,
        started_at=record.state.started_at if isinstance(record.state, Running) else None,
        container_id=record.container_id,
    )
    return record.terminated(outcome)


def from_status(status: Object) -> ContainerRecord:
    """The record that an earlier process of this node reported."""
    last = _terminated((status.get("lastState") or {}).get("terminated"))
    return ContainerRecord(
        name=status["name"],
        image=status.get("image", ""),
        state=_state(status.get("state") or {}),
        last=last,
        restarts=int(status.get("restartCount") or 0),
        ready=bool(status.get("ready")),
        container_id=status.get("containerID") or "",
    )


def _state(state: Object) -> State:
    if state.get("running"):
        return Running(_instant(state["running"]["startedAt"]))
    waiting = state.get("waiting") or {}
    return _terminated(state.get("terminated")) or Waiting(
        waiting.get("reason") or CONTAINER_CREATING, waiting.get("message") or ""
    )


def _terminated(state: Object | None) -> Terminated | None:
    if not state:
        return None
    return Terminated(
        exit_code=int(state.get("exitCode") or 0),
        reason=state.get("reason") or "",
        message=state.get("message") or "",
        signal=state.get("signal"),
        started_at=_instant(state["startedAt"]) if state.get("startedAt") else None,
        finished_at=_instant(state["finishedAt"]) if state.get("finishedAt") else None,
        container_id=state.get("containerID") or "",
    )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _filled(entries: dict[str, Any]) -> Object:
    return {key: value for key, value in entries.items() if value not in (None, "")}
