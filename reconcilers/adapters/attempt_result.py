"""Reads what a container without an SDK has left behind: its termination message, or the end of its log.

The annotation of the Job says where to look. A log is read within bounds and a deadline, and only of the Pod that has
succeeded. Source: StepRun contract 25.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import trio

from core.api import keys
from core.api.objects import Object
from core.api.phases import Reason
from core.api.resource import POD
from core.engine.errors import RejectedError, ResultLostError, UnavailableError
from core.kube.client import KubeClient
from core.kube.errors import BadRequestError, NotFoundError
from core.kube.request import log_call
from core.workloads.container_result import (
    LOG_BYTES,
    LOG_LINES,
    ResultReading,
    ResultSource,
    UnusableResultError,
    output_of_log,
    output_of_message,
    output_of_success,
)
from core.workloads.step_workload import ENGRAM_CONTAINER
from reconcilers.adapters.translation import port_errors

READ_SECONDS: Final = 30.0
"""For one log, retries included."""


def reading_of(job: Object) -> ResultReading | None:
    """How the result of the Job's container is read; None if the container reports it by an SDK.

    Raises:
        ValueError: the annotation is not one of this operator.
    """
    text = (job["metadata"].get("annotations") or {}).get(keys.ANNOTATION_RESULT)
    return ResultReading.decoded(str(text)) if text is not None else None


def succeeded_container(pods: Sequence[Object]) -> tuple[Object, Object] | None:
    """The newest of the Pods whose engram container has ended with 0, and how it has ended."""
    found = [(pod, ended) for pod in pods if (ended := _end_of(pod)) is not None and ended.get("exitCode") == 0]
    return max(found, key=lambda each: each[0]["metadata"].get("creationTimestamp") or "", default=None)


async def read_attempt(client: KubeClient, job: Object, found: tuple[Object, Object] | None) -> Mapping[str, Any]:
    """The output of the Job. ``found``: its ``succeeded_container``, None if no Pod has one.

    Raises:
        RejectedError, ResultLostError, UnavailableError: see ``AttemptExecutor.read_result``.
    """
    try:
        reading = reading_of(job)
    except ValueError as error:
        text = f"annotation {keys.ANNOTATION_RESULT} of the Job was not written by this operator ({error})"
        raise RejectedError(text) from error
    if reading is None or reading.source is ResultSource.EXIT_CODE:
        return output_of_success()
    if found is None:
        raise ResultLostError("its Pod has been deleted")
    pod, ended = found
    try:
        if reading.source is ResultSource.STDOUT:
            return await _output_of_log(client, pod, reading)
        return output_of_message(reading, str(ended.get("message") or ""))
    except UnusableResultError as error:
        raise RejectedError(str(error), reason=Reason.OUTPUT_SCHEMA_FAILED) from error


async def _output_of_log(client: KubeClient, pod: Object, reading: ResultReading) -> Mapping[str, Any]:
    log, is_whole = await _log_of(client, pod, LOG_LINES)
    if log is None:  # the last line alone may be small enough
        log, is_whole = await _log_of(client, pod, 1)
    return output_of_log(reading, log or "", is_whole=is_whole)


async def _log_of(client: KubeClient, pod: Object, lines: int) -> tuple[str | None, bool]:
    """The last lines of the log, and whether they are all of it; None if they are too large."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    call = log_call(POD, name, namespace, ENGRAM_CONTAINER, tail_lines=lines, limit_bytes=LOG_BYTES)
    with trio.move_on_after(READ_SECONDS):
        with port_errors():
            try:
                body = await client.body_of(call, LOG_BYTES)
            except (NotFoundError, BadRequestError) as error:
                raise ResultLostError(f"the log of Pod {name} does not exist any more") from error
        if body is None or len(body) >= LOG_BYTES:
            return None, False
        log = body.decode(errors="replace")
        return log, log.count("\n") < lines
    raise UnavailableError(f"the log of Pod {name} could not be read within {READ_SECONDS:.0f} s")


def _end_of(pod: Object) -> Object | None:
    statuses: list[Object] = (pod.get("status") or {}).get("containerStatuses") or []
    state = next((each.get("state") or {} for each in statuses if each.get("name") == ENGRAM_CONTAINER), {})
    ended: Object | None = state.get("terminated")
    return ended
