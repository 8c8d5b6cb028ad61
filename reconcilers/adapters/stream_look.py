"""One look at a realtime step: its StepRun, TransportBinding, workload and Pods, as the informers know them. Pure.

A Pod belongs to the step if its annotations name the StepRun and the generation: neither a Pod of an earlier attempt
nor one of an earlier StepRun of the same name counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core.api import keys
from core.api.objects import Object, ReadOnlyObject, is_being_deleted
from core.engine.step.record import retries_of
from core.workloads import stream_binding
from core.workloads.hub_lease import HubSilence
from core.workloads.step_workload import ENGRAM_CONTAINER
from core.workloads.stream_workload import generation_of
from reconcilers.adapters.observation import any_alive

_FAILED: Final = "Failed"
_RUNNING: Final = "Running"


@dataclass(frozen=True, slots=True)
class StreamLook:
    """``binding`` and ``workload`` are those that the StepRun controls, if any; ``pods`` are all of its name."""

    step_run: Object
    binding: Object | None
    workload: Object | None
    pods: Sequence[Object] = ()
    hub_silence: HubSilence | None = None
    """None: no hub is known to be lost."""

    @property
    def attempt(self) -> int:
        """The current attempt of the StepRun."""
        return retries_of(self.step_run.get("status") or {})

    @property
    def current_binding(self) -> Object | None:
        """The binding, if it admits the current attempt and no earlier one."""
        if self.binding is None or is_being_deleted(self.binding):
            return None
        is_current = stream_binding.admitted_generation(self.binding) == generation_of(self.attempt)
        return self.binding if is_current else None

    @property
    def jobs_binding(self) -> Object | None:
        """``current_binding`` of a step that has no workload, because the hub starts a Job for each packet."""
        binding = self.current_binding
        return binding if binding is not None and stream_binding.runs_jobs(binding) else None

    @property
    def standing_workload(self) -> Object | None:
        """The workload, unless it is being deleted."""
        return None if self.workload is None or is_being_deleted(self.workload) else self.workload

    @property
    def is_alive(self) -> bool:
        """Whether a Pod may still run for the StepRun, or for an earlier one of its name."""
        return any_alive(self.pods)

    @property
    def own_pods(self) -> list[Object]:
        """Those of the workload, newest first."""
        workload = self.workload
        if workload is None:
            return []
        generation = str(generation_of(attempt_of(workload)))
        own = {
            keys.ANNOTATION_STEP_RUN_UID: self.step_run["metadata"]["uid"],
            keys.ANNOTATION_CONNECTOR_GENERATION: generation,
        }
        found = [pod for pod in self.pods if own.items() <= (pod["metadata"].get("annotations") or {}).items()]
        return sorted(found, key=_age_key, reverse=True)

    @property
    def newest_pod(self) -> Object | None:
        """The newest Pod that has not failed and is not being deleted: Kubernetes replaces the others."""
        return next((pod for pod in self.own_pods if not has_failed(pod) and not is_being_deleted(pod)), None)

    @property
    def has_exited(self) -> bool:
        """Whether the worker of the current attempt has ended with exit code 0, by itself: its Pod was not deleted.

        Kubernetes starts the container again; its former end still shows that the step is finished.
        """
        workload, pod = self.standing_workload, self.newest_pod
        if workload is None or pod is None or attempt_of(workload) != self.attempt:
            return False
        if (pod.get("status") or {}).get("phase") not in (_RUNNING, "Succeeded"):
            return False
        return any((end := last_end(container_of(pod), key)) is not None and end.get("exitCode") == 0 for key in _ENDS)


_ENDS: Final = ("state", "lastState")


def attempt_of(workload: ReadOnlyObject) -> int:
    """The attempt that a workload was created for; -1 when the annotation is missing."""
    text = str((workload["metadata"].get("annotations") or {}).get(keys.ANNOTATION_ATTEMPT) or "")
    return int(text) if text.isdecimal() else -1


def container_of(pod: ReadOnlyObject) -> ReadOnlyObject:
    """Status of the container that does the work; empty until there is one."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((status for status in statuses if status.get("name") == ENGRAM_CONTAINER), {})


def last_end(container: ReadOnlyObject, key: str) -> Object | None:
    """How it ended, in ``state`` (it has not been started again) or ``lastState``."""
    found: Object | None = (container.get(key) or {}).get("terminated")
    return found


def has_failed(pod: ReadOnlyObject) -> bool:
    """Whether the Pod as a whole has failed, e.g. because it was evicted."""
    return bool((pod.get("status") or {}).get("phase") == _FAILED)


def _age_key(pod: Object) -> tuple[str, str]:
    return pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"]
