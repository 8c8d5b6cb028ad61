"""The logs of Pods: which belongs to which attempt of a step, and their lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from bubu_contract.identity import label_value
from bubu_contract.instants import parse_instant_or_none
from cli.session import Session
from core.api import keys
from core.api.objects import Object
from core.api.resource import POD
from core.kube.errors import ApiError, KubeError
from core.kube.transport import open_lines
from core.workloads.step_workload import ENGRAM_CONTAINER
from views.step_layout import path_of

LAST_LINES: Final = 20
_OF_STEP: Final = {"container": ENGRAM_CONTAINER}


@dataclass(frozen=True, slots=True)
class PodLog:
    """The log of one attempt of a step."""

    pod: Object
    step: str
    """The step's path in its StepRun; without a StepRun, the label of the Pod."""
    attempt: int
    """Counted from 1."""
    of_container_before: bool = False
    """The attempt is an earlier run of the Pod's container."""

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def has_failed(self) -> bool:
        return (self.pod.get("status") or {}).get("phase") == "Failed"

    def of_all_containers(self) -> list[PodLog]:
        """The log, after that of the container before, if there was one."""
        return [replace(self, of_container_before=True), self] if self.restarts else [self]

    @property
    def restarts(self) -> int:
        """How often the container was started again."""
        return _restarts(self.pod)

    @property
    def has_started(self) -> bool:
        statuses = (self.pod.get("status") or {}).get("containerStatuses") or ()
        return any({"running", "terminated"} & set(status.get("state") or {}) for status in statuses)


def numbered(pods: Sequence[Object], step_runs: Sequence[Object]) -> list[PodLog]:
    """Logs, oldest first, in the order of the Pods. Pods of earlier attempts may be gone: the StepRun counts them."""
    names = {label_value(each["metadata"]["name"]): path_of(each) for each in step_runs if "metadata" in each}
    by_step: dict[str, list[Object]] = {}
    for pod in pods:
        labels = pod["metadata"]["labels"]
        step = names.get(labels.get(keys.LABEL_STEP_RUN, "")) or labels.get(keys.LABEL_STEP, pod["metadata"]["name"])
        by_step.setdefault(step, []).append(pod)
    started = {path_of(step_run): attempts_started(step_run) for step_run in step_runs}
    logs = []
    for step, of_step in by_step.items():
        last = max(started.get(step, 0), len(of_step))
        logs += [PodLog(pod, step, number) for number, pod in enumerate(of_step, start=last - len(of_step) + 1)]
    return sorted(logs, key=lambda log: pods.index(log.pod))


def attempts_started(step_run: Object) -> int:
    """The number of attempts that have started; a retry that is still waiting has not."""
    status = step_run.get("status") or {}
    return int(status.get("retries") or 0) + (0 if status.get("nextRetryAt") else 1)


def previous_of(logs: Sequence[PodLog]) -> list[PodLog]:
    """For each step the attempt before the last one: an earlier run of its container, or an earlier Pod."""
    last = {log.step: log for log in logs}
    found = []
    for step, log in last.items():
        if _restarts(log.pod):
            found.append(replace(log, of_container_before=True))
        else:
            found += [each for each in logs if each.step == step and each.attempt == log.attempt - 1]
    return found


def _restarts(pod: Object) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return max((status.get("restartCount") or 0 for status in statuses), default=0)


async def last_lines_of(session: Session, pod: Object, parameters: Mapping[str, str] = _OF_STEP) -> list[str]:
    """The last lines of a Pod's log; empty if there is no log, or the user may not read it.

    Args:
        parameters: of the request to the API server: which container, and which of its runs.
    """
    collected: list[str] = []
    try:
        await _stream(session, pod, {**parameters, "tailLines": str(LAST_LINES)}, collected.append)
    except KubeError:
        return []
    return collected


async def read_pod_log(
    session: Session, log: PodLog, parameters: dict[str, str], show: Callable[[datetime | None, str], object]
) -> None:
    """Give each line to ``show``, with the time at which it was written; an error of the API server is a note.

    Args:
        parameters: of the request to the API server; ``container`` and ``timestamps`` are added.
    """
    given = {"container": ENGRAM_CONTAINER, "timestamps": "true", **parameters}
    if log.of_container_before:
        given["previous"] = "true"
    await _stream(session, log.pod, given, lambda line: show(*_stamped(line)))


def _stamped(line: str) -> tuple[datetime | None, str]:
    stamp, _, text = line.partition(" ")
    at = parse_instant_or_none(stamp)
    return (at, text) if at is not None else (None, line)


async def _stream(session: Session, pod: Object, parameters: dict[str, str], show: Callable[[str], object]) -> None:
    metadata = pod["metadata"]
    path = POD.path(metadata["namespace"], metadata["name"], "log")
    try:
        async with (
            session.client.open_stream("GET", path, params=parameters) as response,
            open_lines(response) as lines,
        ):
            async for line in lines:
                show(line)
    except ApiError as error:
        session.console.note(f"no logs of Pod {metadata['name']}: {error.message}")
