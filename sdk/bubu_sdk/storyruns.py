"""The StoryRuns that an Impulse started: which of them are active, and how one is stopped.

Source: Trigger contract 11 and 12.
"""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bubu_sdk import storytrigger
from bubu_sdk.errors import Object
from bubu_sdk.kube import MERGE_PATCH, RUNS_API, Cluster, ConflictError, KubeError, NotFoundError
from bubu_sdk.storytrigger import Origin

ENDED: Final = frozenset(
    {"Succeeded", "Failed", "Finished", "Canceled", "Compensated", "Timeout", "Aborted", "Skipped"}
)
"""The phases of a run that has ended."""
_PAGE: Final = 500
_ATTEMPTS: Final = 5
_FIRST_PAUSE_SECONDS: Final = 0.01


@dataclass(frozen=True)
class StartedRun:
    """A StoryRun that an Impulse started."""

    name: str
    namespace: str
    story: str
    phase: str
    """Empty until the operator has looked at it."""
    key: str
    """Its business key; empty for a request without one."""
    trigger: str
    """Name of its StoryTrigger."""

    @property
    def has_ended(self) -> bool:
        return self.phase in ENDED


class StoryRuns:
    """The StoryRuns in one namespace. Blocking; thread-safe."""

    def __init__(
        self,
        cluster: Cluster,
        origin: Origin,
        *,
        timeout_seconds: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cluster = cluster
        self._origin = origin
        self._timeout_seconds = timeout_seconds
        self._sleep = sleep

    def active(self) -> list[StartedRun]:
        """The runs of this Impulse that have not ended. Lists all runs of the namespace, so call it seldom.

        Raises:
            KubeError: the request failed.
        """
        found: list[StartedRun] = []
        following = ""
        while True:
            query = f"?limit={_PAGE}" + (f"&continue={urllib.parse.quote(following, safe='')}" if following else "")
            page = self._request("GET", f"{self._collection(self._origin.namespace)}{query}")
            mine = (run for run in page.get("items") or () if self._is_mine(run))
            found += (started for run in mine if not (started := _started(run)).has_ended)
            following = str((page.get("metadata") or {}).get("continue") or "")
            if not following:
                return found

    def find(self, name: str, namespace: str = "") -> StartedRun | None:
        """One run; ``None`` if it does not exist.

        Raises:
            KubeError: the request failed.
        """
        run = self._get(name, namespace)
        return None if run is None else _started(run)

    def stop(self, name: str, namespace: str = "") -> bool:
        """Ask the operator to cancel a run; does not wait for its end. Nothing happens to a run that has ended.

        Returns whether the run exists.

        Raises:
            KubeError: the request failed.
        """
        pause = _FIRST_PAUSE_SECONDS
        for remaining in reversed(range(_ATTEMPTS)):
            run = self._get(name, namespace)
            if run is None:
                return False
            if _started(run).has_ended or (run.get("spec") or {}).get("cancelRequested") is True:
                return True
            try:
                patch = {"spec": {"cancelRequested": True}}
                self._request("PATCH", self._path(name, namespace), patch, MERGE_PATCH)
                return True
            except NotFoundError:
                return False
            except KubeError as error:
                if not remaining or not (isinstance(error, ConflictError) or error.retryable):
                    raise
                self._sleep(pause)
                pause *= 2
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _is_mine(self, run: Object) -> bool:
        return storytrigger.is_of_impulse(run.get("spec") or {}, self._origin)

    def _get(self, name: str, namespace: str) -> Object | None:
        try:
            return self._request("GET", self._path(name, namespace))
        except NotFoundError:
            return None

    def _request(
        self, method: str, path: str, body: Object | None = None, content_type: str = "application/json"
    ) -> Object:
        return self._cluster.request(
            method, path, body, content_type=content_type, timeout_seconds=self._timeout_seconds
        )

    def _path(self, name: str, namespace: str) -> str:
        return f"{self._collection(namespace or self._origin.namespace)}/{urllib.parse.quote(name, safe='')}"

    @staticmethod
    def _collection(namespace: str) -> str:
        return f"{RUNS_API}/namespaces/{namespace}/storyruns"


def _started(run: Object) -> StartedRun:
    metadata, spec = run.get("metadata") or {}, run.get("spec") or {}
    annotations = metadata.get("annotations") or {}
    return StartedRun(
        name=str(metadata.get("name", "")),
        namespace=str(metadata.get("namespace", "")),
        story=str((spec.get("storyRef") or {}).get("name", "")),
        phase=str((run.get("status") or {}).get("phase") or ""),
        key=str(annotations.get(storytrigger.ANNOTATION_TRIGGER_TOKEN) or ""),
        trigger=str(annotations.get(storytrigger.ANNOTATION_TRIGGER_NAME) or ""),
    )
