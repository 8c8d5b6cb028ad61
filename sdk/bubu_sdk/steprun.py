"""The client for this container's StepRun: it reads and claims it, and changes its status without losing other writes.

Each change checks, merges and patches, with ``metadata.resourceVersion`` as a precondition. It starts from the answer
to the write before, and reads if there is none, or if another client has written since. After a server failure it waits
longer each time, after any other refusal it ends at once. Source: SDK contract 13.2 and its weak points.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from bubu_sdk import status
from bubu_sdk.contract import DEFAULT_OPERATION_TIMEOUT_SECONDS, DEFAULT_PATCH_RETRIES, Identity
from bubu_sdk.errors import Object
from bubu_sdk.kube import JSON_PATCH, MERGE_PATCH, RUNS_API, Cluster, ConflictError, KubeError
from bubu_sdk.status import StatusUpdate

_FIRST_BACKOFF_SECONDS: Final = 0.1
_MAX_BACKOFF_SECONDS: Final = 5.0
_JITTER: Final = 0.25

Change = Callable[[Object], StatusUpdate]
"""Computes the update to merge from the current status."""


class StepRunError(Exception):
    """The SDK may not write the status: another Pod owns it, or the phase does not allow it."""


class FencedError(StepRunError):
    """*bug or race*: another Pod owns the StepRun; this Pod belongs to an earlier attempt."""


class TransitionError(StepRunError):
    """The StepRun has already ended, or its phase may not change to the requested one."""


class EndedError(TransitionError):
    """The operator has recorded the end of the step, e.g. because its time was over: its result stays as it is."""

    def __init__(self, phase: str, wanted: str) -> None:
        super().__init__(f"the StepRun is {phase} and may not become {wanted}")
        self.phase = phase


class StepRunClient:
    """Reads and writes one StepRun; several threads may use it."""

    def __init__(
        self,
        cluster: Cluster,
        identity: Identity,
        *,
        operation_timeout_seconds: float = DEFAULT_OPERATION_TIMEOUT_SECONDS,
        patch_retries: int = DEFAULT_PATCH_RETRIES,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._pod = identity.pod
        self._path = f"{RUNS_API}/namespaces/{identity.namespace}/stepruns/{identity.step_run}"
        self._timeout_seconds = operation_timeout_seconds
        self._attempts = 1 + patch_retries
        self._sleep = sleep
        self._monotonic = monotonic
        self._answered: Object | None = None
        """The StepRun in the answer to the last write, until it is used."""
        self._own_writes = threading.Lock()
        """The threads of this process write one at a time, so that only other processes cause conflicts."""

    def read(self, timeout_seconds: float | None = None) -> Object:
        """The StepRun.

        Raises:
            KubeError: the request failed, also after the retries that the error's class allows.
        """
        deadline = self._monotonic() + (timeout_seconds or self._timeout_seconds)
        return self._retried(lambda: self._get(deadline), deadline)

    def claim(self, change: Change) -> Object:
        """``update`` for the Pod that starts: the newest Pod takes the StepRun over; from then on only it may write.

        The start itself is not fenced. A Job may replace a crashed Pod by itself, and not every operator clears
        ``podName`` between attempts, so a stale name must not lock out the next Pod.
        """
        deadline = self._monotonic() + self._timeout_seconds
        return self._retried(lambda: self._update_once(change, deadline, fenced=False), deadline)

    def update(
        self,
        change: Change | StatusUpdate,
        timeout_seconds: float | None = None,
        *,
        patient_until: float | None = None,
    ) -> Object:
        """The StepRun after ``change`` was merged into its status; an empty change writes nothing.

        Args:
            timeout_seconds: the time for all attempts; by default, as long as an operation may take.
            patient_until: for what must not be lost. While the API server is away, or refuses every write because its
                disk is full, the change is kept and sent again, however often, until then on the monotonic clock, and
                for at least ``timeout_seconds``.
        Raises:
            FencedError: another Pod owns the StepRun.
            TransitionError: the phase may not change to the requested one.
            KubeError: the request failed, also after the retries that the error's class allows, or the time was up.
        """
        deadline = max(self._monotonic() + (timeout_seconds or self._timeout_seconds), patient_until or 0.0)
        patient = patient_until is not None
        return self._retried(lambda: self._update_once(change, deadline), deadline, patient=patient)

    def report(self, outcome: StatusUpdate, *, patient_until: float = 0.0) -> Object:
        """``update`` with the outcome of the attempt, after which the process ends; it must not be lost."""
        return self.update(outcome, patient_until=patient_until)

    def _update_once(self, change: Change | StatusUpdate, deadline: float, *, fenced: bool = True) -> Object:
        with self._own_writes:  # not while it waits for another attempt: what others write may be urgent
            return self._changed(change, deadline, fenced=fenced)

    def _changed(self, change: Change | StatusUpdate, deadline: float, *, fenced: bool) -> Object:
        known, self._answered = self._answered, None
        if known is not None and known.get("metadata", {}).get("resourceVersion"):
            try:
                stored = self._written(known, change, deadline, fenced=fenced)
                if stored is not known:
                    return stored
            except (StepRunError, KubeError) as error:  # it may be out of date: only what was read just now counts
                if isinstance(error, KubeError) and error.is_outage:
                    raise
        return self._written(self._get(deadline), change, deadline, fenced=fenced)

    def _written(self, step_run: Object, change: Change | StatusUpdate, deadline: float, *, fenced: bool) -> Object:
        """The stored StepRun; ``step_run`` itself if nothing is to be changed."""
        before: Object = step_run.get("status") or {}
        if fenced:
            self._check_owner(step_run)
        update = change if isinstance(change, StatusUpdate) else change(before)
        phase = str(before.get("phase") or "")
        if update.phase in status.RESULTS and status.has_ended(before, update.phase):
            raise EndedError(phase, update.phase)
        if update.phase and not status.may_become(phase, update.phase):
            raise TransitionError(f"the StepRun is {phase} and may not become {update.phase}")
        after = status.merge(before, update)
        patch, content_type = patch_between(step_run, before, after)
        if patch is None:
            return step_run
        self._answered = self._request("PATCH", f"{self._path}/status", deadline, patch, content_type)
        return self._answered

    def _check_owner(self, step_run: Object) -> None:
        """Raises:
        FencedError: the StepRun is not, or no more, that of this process.
        """
        owner = (step_run.get("status") or {}).get("podName") or ""
        if self._pod and owner and owner != self._pod:
            raise FencedError(f"the StepRun is owned by Pod {owner!r}; Pod {self._pod!r} belongs to an earlier attempt")

    def _get(self, deadline: float) -> Object:
        return self._request("GET", self._path, deadline)

    def _request(
        self, method: str, path: str, deadline: float, body: Any = None, content_type: str = MERGE_PATCH
    ) -> Object:
        remaining = max(0.001, deadline - self._monotonic())
        return self._cluster.request(method, path, body, content_type=content_type, timeout_seconds=remaining)

    def _retried(self, attempt: Callable[[], Object], deadline: float, *, patient: bool = False) -> Object:
        """``patient``: an outage is waited out until the deadline, without a limit of attempts."""
        backoff = _FIRST_BACKOFF_SECONDS
        failures = 0
        while True:
            try:
                return attempt()
            except KubeError as error:
                failures += 1
                conflict = isinstance(error, ConflictError)
                is_last = failures >= self._attempts and not (patient and error.is_outage)
                if is_last or not (conflict or error.retryable):
                    raise
                wait = max(_jittered(backoff), getattr(error, "retry_after_seconds", 0.0))
                if self._monotonic() + wait >= deadline:
                    raise
                self._sleep(wait / 10 if conflict else wait)
                backoff = min(backoff * 2, _MAX_BACKOFF_SECONDS)


def _jittered(seconds: float) -> float:
    return seconds * (1 - _JITTER + 2 * _JITTER * os.urandom(1)[0] / 255)


def patch_between(step_run: Object, before: Object, after: Object) -> tuple[Any, str]:
    """The smallest patch from one status to another, on the condition that no other client wrote in the meantime.

    Returns:
        Body and content type; ``None`` as body if nothing changes.
    """
    changes = status.merge_patch(before, after)
    if not changes:
        return None, MERGE_PATCH
    version = step_run.get("metadata", {}).get("resourceVersion", "")
    if status.holds_null([after[key] for key in changes if key in after]):
        # `replace`, not `test`: a failed test gives an unspecific 422, a changed version gives a 409 as for merge
        # patches
        replace: Object = {"op": "replace", "path": "/metadata/resourceVersion", "value": version}
        operations = status.json_patch(before, after, had_status="status" in step_run)
        return [replace, *operations] if version else operations, JSON_PATCH
    return ({"metadata": {"resourceVersion": version}} if version else {}) | {"status": changes}, MERGE_PATCH
