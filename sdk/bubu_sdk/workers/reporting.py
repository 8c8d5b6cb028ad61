"""Writes how an attempt ended into the StepRun: one patch, repeated until it is known to be there or to be needless.

A lost answer, or a write of somebody else, is handled by reading the StepRun: the next patch starts from what is
stored, and is left out if the result is there, or if the attempt is over.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Final

from bubu_sdk import logs
from bubu_sdk.errors import Object
from bubu_sdk.kube import RUNS_API, Cluster, ConflictError, KubeError, NotFoundError
from bubu_sdk.timing import utc_now
from bubu_sdk.workers.assignment import AssignedAttempt
from bubu_sdk.workers.outcome import AttemptOutcome, patch_of
from bubu_sdk.workers.settings import WorkerSettings

REQUEST_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 0.1
_MAX_PAUSE_SECONDS: Final = 5.0
_REFUSED_EXIT_CODE: Final = 1

log = logging.getLogger(logs.SDK_LOGGER)


class ExitReporter:
    """Reports the ends of attempts. Thread-safe."""

    def __init__(
        self,
        cluster: Cluster,
        settings: WorkerSettings,
        *,
        now: Callable[[], datetime] = utc_now,
        stop: threading.Event | None = None,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._now = now
        self._stop = stop or threading.Event()

    def stop(self) -> None:
        """Give up what cannot be written at once: the process ends."""
        self._stop.set()

    def report(self, attempt: AssignedAttempt, outcome: AttemptOutcome, known: Object | None) -> None:
        """Write the end of ``attempt``; returns when there is nothing to write any more, or after ``stop``.

        Args:
            known: a state of the StepRun, which spares a request; ``None``: it is read.
        """
        path = f"{RUNS_API}/namespaces/{self._settings.namespace}/stepruns/{attempt.step_run}"
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                was_read = known is None
                step_run = known if known is not None else self._request("GET", path)
                known = None
                patch = patch_of(step_run, attempt, outcome, pod=self._settings.pod, now=self._now())
                if patch is not None:
                    self._request("PATCH", f"{path}/status", *patch)
                return
            except NotFoundError:
                return
            except ConflictError:
                continue  # somebody else has made progress, so this cannot repeat for ever without any
            except KubeError as error:
                if not error.retryable and not was_read:
                    continue  # what was known is out of date: the operator may have recorded an end
                if not error.retryable and outcome.update is not None:
                    log.error("the result of %s is refused: %s", attempt.step_run, error)  # noqa: TRY400 - the trace says nothing more
                    outcome = AttemptOutcome(outcome.exit_code or _REFUSED_EXIT_CODE)
                    continue
                log.warning("the end of %s could not be reported yet: %s", attempt.step_run, error)
                wait = max(pause, getattr(error, "retry_after_seconds", 0.0))
            pause = min(pause * 2, _MAX_PAUSE_SECONDS)
            if self._stop.wait(wait):
                return

    def _request(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> Object:
        return self._cluster.request(method, path, body, content_type=content_type, timeout_seconds=REQUEST_SECONDS)
