"""The phase and the ``Ready`` condition of an Impulse. Pure. Source: Trigger contract 6.7."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from core.api.keys import ANNOTATION_SUSPEND
from core.api.objects import Object
from core.api.phases import ImpulseReason, Phase, Reason


@dataclass(frozen=True, slots=True)
class ListenerState:
    """What is known of the Deployment or StatefulSet."""

    kind: str
    replicas: int
    """``status.replicas``: Pods that exist."""
    ready: int
    """``status.readyReplicas``."""
    wanted: int = 1
    """``spec.replicas``, which users and autoscalers choose."""
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class ListenerReadiness:
    phase: Phase
    is_ready: bool
    reason: str
    message: str


_SUSPENDED: Final = f"suspended by the annotation {ANNOTATION_SUSPEND}; remove it to start the listener again"
_PROBLEMS: Final = (Phase.FAILED, Phase.BLOCKED)


def readiness(state: ListenerState, trouble: Callable[[], str]) -> ListenerReadiness:
    """What an Impulse with this workload reports; ``trouble`` returns why Pods are not ready, if anything is known."""
    if state.suspended:
        message = f"{_SUSPENDED}; its Pods are ending" if state.replicas else _SUSPENDED
        return ListenerReadiness(Phase.PAUSED, False, ImpulseReason.SUSPENDED, message)
    if not state.ready:
        if not state.wanted:
            message = f"its {state.kind} is scaled to 0 replicas; scale it to 1"
        else:
            message = _with(f"waiting for {state.kind} pods", trouble())
        return ListenerReadiness(Phase.PENDING, False, Reason.RECONCILING, message)
    if state.ready < state.replicas:
        message = _with(f"{state.kind} is scaling up", trouble())
        return ListenerReadiness(Phase.RUNNING, False, Reason.RECONCILING, message)
    is_ready = state.replicas in (0, state.ready)
    reason = ImpulseReason.READY if is_ready else Reason.RECONCILING
    return ListenerReadiness(Phase.RUNNING, is_ready, reason, "active and listening")


def held_up_readiness(found: ListenerReadiness, state: ListenerState | None) -> ListenerReadiness:
    """What an Impulse reports that cannot have its listener because of ``found``: an earlier one may still run, and a
    suspended one shall not run anyway.
    """
    if found.phase not in _PROBLEMS or state is None:
        return found
    if state.suspended and not state.wanted:
        message = f"{_SUSPENDED}; after that, this prevents its start: {found.message}"
        return ListenerReadiness(Phase.PAUSED, False, ImpulseReason.SUSPENDED, message)
    if not state.replicas:
        return found
    return replace(found, message=f"{found.message}. Until then, its {state.kind} stays as it is")


def state_of(workload: Object, *, suspended: bool) -> ListenerState:
    spec, status = workload.get("spec") or {}, workload.get("status") or {}
    return ListenerState(
        kind=workload["kind"],
        replicas=status.get("replicas") or 0,
        ready=status.get("readyReplicas") or 0,
        wanted=spec.get("replicas", 1),
        suspended=suspended,
    )


def _with(text: str, trouble: str) -> str:
    return f"{text}: {trouble}" if trouble else text
