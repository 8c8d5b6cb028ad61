"""The state of an attempt, from its Job and Pods. Pure: objects in, one ``Observation`` out.

The end of the container ``engram`` in the newest Pod of exactly this Job has precedence, because the Job controller
reports it about a second later. The Job's own conditions decide cases that no Pod shows (deadline, deleted Pods).
Sidecars and Pods of earlier attempts do not count. A failed container ends the attempt unless the Job may retry by
itself (``backoffLimit`` above 0): then only the Job's condition ends it. Source: StepRun contract 17.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.objects import Object, ReadOnlyObject, is_being_deleted, is_controlled_by
from core.api.phases import StepReason
from core.engine.ports import DEADLINE_EXCEEDED, AttemptState, Observation
from core.workloads.step_workload import ENGRAM_CONTAINER
from reconcilers.adapters.attempt_result import reading_of
from reconcilers.adapters.reference_jobs import attempt_of_reference, deadline_of_reference

_ENDED_PHASES: Final = frozenset({"Succeeded", "Failed"})
_WHY_NO_POD: Final = "a quota or a policy may refuse it, or the Job controller does not run"
_ORDINARY_WAITS: Final = frozenset({"", "ContainerCreating", "PodInitializing"})


def observe(step_run: Object, job: Object | None, pods: Sequence[Object]) -> Observation:
    """One observation of a StepRun.

    Args:
        job: the Job with the name of the StepRun, controlled by it, if any.
        pods: Pods of Jobs of that name, of any attempt.
    """
    if job is None or is_being_deleted(job):
        lingering = job is not None or any_alive(pods)
        return Observation(step_run, AttemptState.LINGERING if lingering else AttemptState.ABSENT)
    own = [pod for pod in pods if is_controlled_by(pod, job["metadata"]["uid"])]
    look = _Look(step_run, job, max(own, key=_age_key, default=None))
    return _succeeded(look) or _failed(look) or _unfinished(look)


def any_alive(pods: Sequence[Object]) -> bool:
    """Whether one of these Pods may still run."""
    return any(_phase(pod) not in _ENDED_PHASES for pod in pods)


def is_under_way(seen: Observation) -> bool:
    """Whether the attempt has not ended."""
    return seen.state in (AttemptState.STARTING, AttemptState.RUNNING)


def is_unexplained(seen: Observation) -> bool:
    """Whether the attempt is reported as failed, and no container shows the reason.

    This happens when Pods are gone; and for a moment when the watch of Jobs is ahead of the watch of Pods, as after an
    outage. The decision about a retry depends on the difference.
    """
    return seen.state is AttemptState.FAILED and seen.exit_code is None and seen.reason != DEADLINE_EXCEEDED


@dataclass(frozen=True, slots=True)
class _Look:
    """The Job of an attempt and its newest Pod."""

    step_run: Object
    job: Object
    pod: Object | None

    @property
    def container(self) -> Object:
        """Status of the engram container; empty until there is one."""
        statuses: list[Object] = self.pod_status.get("containerStatuses") or []
        return next((status for status in statuses if status.get("name") == ENGRAM_CONTAINER), {})

    @property
    def pod_status(self) -> Object:
        status: Object = (self.pod or {}).get("status") or {}
        return status

    @property
    def pods_are_final(self) -> bool:
        """Whether a failed container ends the attempt: yes, unless the Job itself may start another."""
        return not (self.job.get("spec") or {}).get("backoffLimit", 0)

    def condition(self, *types: str) -> Object | None:
        """The first of the Job's true conditions of one of these types."""
        conditions: list[Object] = (self.job.get("status") or {}).get("conditions") or []
        return next(
            (found for type_ in types for found in conditions if found["type"] == type_ and found["status"] == "True"),
            None,
        )

    def observation(self, state: AttemptState, **more: Any) -> Observation:
        annotations = self.job["metadata"].get("annotations") or {}
        attempt, deadline = annotations.get(keys.ANNOTATION_ATTEMPT, ""), annotations.get(keys.ANNOTATION_DEADLINE_AT)
        return Observation(
            self.step_run,
            state,
            attempt=int(attempt) if attempt.isdecimal() else attempt_of_reference(self.step_run, self.job),
            deadline_at=parse_instant_or_none(deadline) if deadline else deadline_of_reference(self.job),
            worker=self.pod["metadata"]["name"] if self.pod else "",
            has_result=keys.ANNOTATION_RESULT in annotations,
            execution_key=annotations.get(keys.ANNOTATION_EXECUTION_KEY, ""),
            **self._own_class(more.get("exit_code")),
            **more,
        )

    def _own_class(self, code: int | None) -> dict[str, Any]:
        """The meaning that the template of a container without an SDK gives to an exit code."""
        try:
            reading = reading_of(self.job)
        except ValueError:  # reading the result reports it
            return {}
        return {} if reading is None or code is None else {"exit_class": reading.exit_codes.get(code)}


def _succeeded(look: _Look) -> Observation | None:
    ended = (look.container.get("state") or {}).get("terminated")
    if ended and ended["exitCode"] == 0:
        return look.observation(AttemptState.SUCCEEDED, **_ending(ended, look.pod_status))
    if look.condition("Complete", "SuccessCriteriaMet"):
        return look.observation(AttemptState.SUCCEEDED, exit_code=0)
    return None


def _failed(look: _Look) -> Observation | None:
    failure = look.condition("Failed", "FailureTarget")
    if failure and failure.get("reason") == DEADLINE_EXCEEDED:  # the container only shows the signal
        return look.observation(AttemptState.FAILED, reason=DEADLINE_EXCEEDED, message=failure.get("message", ""))
    if failure or look.pods_are_final:
        if ended := _failed_container(look.container):
            return look.observation(AttemptState.FAILED, **_ending(ended, look.pod_status))
        if look.pod_status.get("phase") == "Failed":  # evicted before its container could start, for example
            words = {key: look.pod_status.get(key, "") for key in ("reason", "message")}
            return look.observation(AttemptState.FAILED, **words)
    if failure:
        words = {key: failure.get(key, "") for key in ("reason", "message")}
        return look.observation(AttemptState.FAILED, **words)
    return None


def _failed_container(container: Object) -> Object | None:
    """How it ended, even when a Pod that restarts on failure has already restarted it."""
    for state in ("state", "lastState"):
        ended: Object | None = (container.get(state) or {}).get("terminated")
        if ended and ended["exitCode"] != 0:
            return ended
    return None


def _ending(ended: Object, pod_status: Object) -> dict[str, Any]:
    """The container's end; a reason of the whole Pod (``Evicted``) is more exact than that of the container
    (``Error``).
    """
    return {
        "exit_code": ended["exitCode"],
        "reason": pod_status.get("reason") or ended.get("reason", ""),
        "message": pod_status.get("message") or ended.get("message", ""),
        "started_at": parse_instant_or_none(ended.get("startedAt")),
        "finished_at": parse_instant_or_none(ended.get("finishedAt")),
    }


def _unfinished(look: _Look) -> Observation:
    """The attempt still runs; with the reason if something delays it."""
    state = look.container.get("state") or {}
    if (running := state.get("running")) is not None:
        return look.observation(AttemptState.RUNNING, started_at=parse_instant_or_none(running.get("startedAt")))
    if words := why_not_running(look.pod_status, state):
        return look.observation(AttemptState.STARTING, **words)
    made_at = parse_instant_or_none(look.job["metadata"].get("creationTimestamp"))
    if look.pod is not None or made_at is None:
        return look.observation(AttemptState.STARTING)
    return look.observation(
        AttemptState.STARTING, waiting_since=made_at, reason=str(StepReason.NO_POD), message=_WHY_NO_POD
    )


def why_not_running(pod_status: ReadOnlyObject, container_state: ReadOnlyObject) -> dict[str, str]:
    """``reason`` and ``message`` of a container that does not start, in the words of Kubernetes; empty: nothing unusual
    holds it up.
    """
    waiting = container_state.get("waiting") or {}
    if waiting.get("reason", "") not in _ORDINARY_WAITS:
        return {"reason": waiting["reason"], "message": waiting.get("message", "")}
    for condition in pod_status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return {key: condition.get(key, "") for key in ("reason", "message")}
    return {}


def _phase(pod: Object) -> str:
    phase: str = (pod.get("status") or {}).get("phase", "")
    return phase


def _age_key(pod: Object) -> tuple[str, str]:
    return pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"]
