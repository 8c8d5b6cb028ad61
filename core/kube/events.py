"""Kubernetes Events: recorded without waiting, written in the background; equal ones are counted, not repeated.

Recording never delays the caller and never fails: when the queue is full or the server refuses, the Event is lost and a
counter counts it. There are two forms: ``record`` writes ``events.k8s.io/v1`` with a series; ``record_labelled`` writes
the older core form, with labels that people use to filter StepRun events. Source: StepRun contract 5, operator contract
19.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

import trio

from bubu_contract.instants import format_instant, format_precise_instant
from core.api.keys import FIELD_MANAGER
from core.api.resource import CORE_EVENT, EVENT, Resource
from core.fairness.queue import FairQueue
from core.kube.client import KubeClient
from core.kube.errors import AlreadyExistsError, KubeError, NotFoundError, is_retryable
from core.kube.retry import wait_seconds
from core.telemetry import catalogue, metrics
from core.telemetry.logs import get_logger
from kubewire import Object

MAX_NOTE_BYTES: Final = 1024
"""The longest ``note`` that the API server accepts; longer texts are cut."""
MAX_WAITING: Final = 1000
MAX_REMEMBERED: Final = 4000
SERIES_WINDOW_SECONDS: Final = 360.0
"""An equal Event within this time after the last one continues its series."""
SERIES_WRITE_SECONDS: Final = 10.0
"""The shortest time between two writes of a running series."""
DRAIN_DEADLINE_SECONDS: Final = 5.0

_ATTEMPTS: Final = 4
_LOG: Final = get_logger("events")


class Fate(StrEnum):
    """The end of an Event; the label of ``bobrapet_events_total``."""

    WRITTEN = "written"
    COALESCED = "coalesced"
    DROPPED = "dropped"
    REFUSED = "refused"


class _Alike(NamedTuple):
    """Events with equal values of all these fields are one series."""

    form: str
    uid: str
    name: str
    type: str
    reason: str
    note: str
    action: str
    controller: str


@dataclass(slots=True)
class _Series:
    """One Event object and the number of its occurrences."""

    reference: Object
    """To the object that the Event is about; the object itself may be large, and a series lasts for minutes."""
    alike: _Alike
    labels: Mapping[str, str]
    first_at: datetime
    last_at: datetime
    touched_at: float
    """Trio time of the last occurrence."""
    count: int = 1
    written_count: int = 0
    written_at: float = 0.0
    name: str = ""
    """Chosen before the first attempt: if the answer is lost, the second attempt finds this Event and creates no
    double.
    """
    stored: bool = False
    waiting: bool = False


class EventRecorder:
    """Events can be recorded at any time; they are written while ``run`` runs.

    Args:
        instance: ``reportingInstance``, usually the Pod's name.
        now: the wall clock, for the times in the Events.
    """

    def __init__(self, client: KubeClient, *, now: Callable[[], datetime], instance: str = FIELD_MANAGER) -> None:
        self._client = client.in_background()
        self._now = now
        self._instance = instance[:128]
        self._series: OrderedDict[_Alike, _Series] = OrderedDict()
        self._waiting = 0
        self._queue = FairQueue[_Series](MAX_WAITING)

    def record(
        self,
        regarding: Object,
        type_: str,
        reason: str,
        message: str,
        *,
        action: str = "Reconcile",
        reporting_controller: str = FIELD_MANAGER,
    ) -> None:
        """Record an Event about ``regarding``. An empty message is not recorded.

        Args:
            type_: ``Normal`` or ``Warning``.
            reason: one CamelCase word that programs may match.
        """
        self._note(EVENT.group, regarding, type_, reason, message, action, reporting_controller, {})

    def record_labelled(
        self,
        regarding: Object,
        type_: str,
        reason: str,
        message: str,
        *,
        labels: Mapping[str, str],
        component: str = FIELD_MANAGER,
    ) -> None:
        """Like ``record``, as a core ``Event`` with ``labels`` and ``source.component``."""
        self._note(CORE_EVENT.group, regarding, type_, reason, message, "", component, labels)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write Events until cancelled; then write the waiting ones, for at most ``DRAIN_DEADLINE_SECONDS``.

        When the server does not accept one of these last Events, no further one is sent: the shutdown must not be
        delayed.
        """
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_series_when_due)
                while True:
                    await self._write(await self._queue.get())
        finally:
            with trio.move_on_after(DRAIN_DEADLINE_SECONDS, shield=True):
                await self._drain()

    # Recording.

    def _note(
        self,
        form: str,
        regarding: Object,
        type_: str,
        reason: str,
        message: str,
        action: str,
        controller: str,
        labels: Mapping[str, str],
    ) -> None:
        if not message:
            return
        metadata = regarding.get("metadata") or {}
        uid, name = str(metadata.get("uid") or ""), str(metadata.get("name") or "")
        alike = _Alike(form, uid, name, type_, reason[:128], _cut(message), action[:128], controller)
        at, now = trio.current_time(), self._now()
        known = self._series.get(alike)
        if known is not None and at - known.touched_at < SERIES_WINDOW_SECONDS:
            known.count += 1
            known.last_at, known.touched_at = now, at
            self._series.move_to_end(alike)
            metrics.count(catalogue.EVENTS_WRITTEN, outcome=Fate.COALESCED)
            return
        series = _Series(_reference(regarding), alike, dict(labels), now, now, at)
        self._series[alike] = series
        self._series.move_to_end(alike)
        if len(self._series) > MAX_REMEMBERED:
            self._series.popitem(last=False)
        self._enqueue(series)

    def _enqueue(self, series: _Series) -> None:
        """Namespaces take turns; when the queue is full, Events of the namespace with the most waiting ones are
        dropped.
        """
        series.waiting = True
        dropped = self._queue.put(_namespace_of(series), series)
        if dropped is not None:
            dropped.waiting = False
            self._series.pop(dropped.alike, None)
            metrics.count(catalogue.EVENTS_WRITTEN, outcome=Fate.DROPPED)

    # Writing.

    async def _write_series_when_due(self) -> None:
        while True:
            await trio.sleep(SERIES_WRITE_SECONDS)
            now = trio.current_time()
            for series in [*self._series.values()]:
                grown = series.count > series.written_count
                if grown and not series.waiting and now - series.written_at >= SERIES_WRITE_SECONDS:
                    self._enqueue(series)
                elif not grown and now - series.touched_at >= SERIES_WINDOW_SECONDS:
                    del self._series[series.alike]

    async def _drain(self) -> None:
        left = [one for one in self._series.values() if one.count > one.written_count and not one.waiting]
        while (waiting := self._queue.get_nowait()) is not None:
            left.append(waiting)
        for number, series in enumerate(left, start=1):
            if not await self._write(series, attempts=2):
                metrics.count(catalogue.EVENTS_WRITTEN, len(left) - number, outcome=Fate.DROPPED)
                _LOG.info("the last events were not written", count=len(left) - number)
                return

    async def _write(self, series: _Series, attempts: int = _ATTEMPTS) -> bool:
        """Whether the server could be reached; it may have refused the Event."""
        series.waiting = False
        count = series.count
        if count == series.written_count:
            return True  # it became due while its last write was under way
        for attempt in range(1, attempts + 1):
            try:
                await self._write_once(series, count)
            except KubeError as error:
                if not is_retryable(error) or attempt == attempts:
                    self._give_up(series, error)
                    return not is_retryable(error)
                await trio.sleep(wait_seconds(attempt, 0.2, 5.0, error))
            else:
                series.written_count, series.written_at = count, trio.current_time()
                metrics.count(catalogue.EVENTS_WRITTEN, outcome=Fate.WRITTEN)
                return True
        raise AssertionError("there must be at least one attempt")

    async def _write_once(self, series: _Series, count: int) -> None:
        resource, namespace = _resource_of(series), _namespace_of(series)
        if series.stored:
            try:
                await self._client.patch(resource, series.name, _continuation(series, count), namespace=namespace)
            except NotFoundError:  # Events are short-lived; this one has expired, so a new series starts
                series.name, series.stored = "", False
            else:
                return
        series.name = series.name or _event_name(series)
        with suppress(AlreadyExistsError):  # an earlier attempt succeeded
            await self._client.create(resource, self._event(series, count), namespace=namespace)
        series.stored = True

    def _give_up(self, series: _Series, error: KubeError) -> None:
        self._series.pop(series.alike, None)
        metrics.count(catalogue.EVENTS_WRITTEN, outcome=Fate.REFUSED)
        _LOG.info("event not written", reason=series.alike.reason, name=series.alike.name, error=str(error))

    def _event(self, series: _Series, count: int) -> Object:
        alike = series.alike
        resource = _resource_of(series)
        event: Object = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": series.name, "namespace": _namespace_of(series)},
            "type": alike.type,
            "reason": alike.reason,
        }
        if resource is CORE_EVENT:
            return event | {
                "metadata": {**event["metadata"], "labels": dict(series.labels)},
                "involvedObject": series.reference,
                "message": alike.note,
                "source": {"component": alike.controller},
                "firstTimestamp": format_instant(series.first_at),
                "lastTimestamp": format_instant(series.last_at),
                "count": count,
            }
        event |= {
            "eventTime": format_precise_instant(series.first_at),
            "reportingController": alike.controller,
            "reportingInstance": self._instance,
            "action": alike.action,
            "regarding": series.reference,
            "note": alike.note,
        }
        return event if count < 2 else event | _continuation(series, count)


def _continuation(series: _Series, count: int) -> Object:
    """The fields of an Event that change when it occurs again."""
    if _resource_of(series) is CORE_EVENT:
        return {"count": count, "lastTimestamp": format_instant(series.last_at)}
    return {"series": {"count": count, "lastObservedTime": format_precise_instant(series.last_at)}}


def _resource_of(series: _Series) -> Resource:
    return EVENT if series.alike.form == EVENT.group else CORE_EVENT


def _namespace_of(series: _Series) -> str:
    """The namespace of the object; Events about cluster-scoped objects go to ``default``, as usual in Kubernetes."""
    return str(series.reference.get("namespace") or "default")


def _event_name(series: _Series) -> str:
    prefix = "." if series.alike.form == EVENT.group else "-"
    return f"{series.alike.name[:230].rstrip('-.') or 'event'}{prefix}{uuid.uuid4().hex[:16]}"


def _reference(obj: Object) -> Object:
    metadata: Mapping[str, Any] = obj.get("metadata") or {}
    fields = {
        "apiVersion": obj.get("apiVersion"),
        "kind": obj.get("kind"),
        "name": metadata.get("name"),
        "namespace": metadata.get("namespace"),
        "uid": metadata.get("uid"),
        "resourceVersion": metadata.get("resourceVersion"),
    }
    return {key: value for key, value in fields.items() if value}


def _cut(message: str) -> str:
    data = message.encode()
    if len(data) <= MAX_NOTE_BYTES:
        return message
    return data[: MAX_NOTE_BYTES - 3].decode(errors="ignore") + "…"
