"""The requests of the SDK, answered by the model cluster: paths, codes and faults of an API server."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from bubu_sdk.kube import MERGE_PATCH, ConflictError, KubeError, UnreachableError, status_error
from core.api.objects import Object
from fuzz.engine.clients.fate import Fates
from fuzz.engine.cluster import Cluster, Place, RefusedError
from fuzz.engine.process import FULL_SECONDS, LATE_SECONDS, RETRY_AFTER_SECONDS, SLOW_SECONDS, TIMEOUT_SECONDS, Fault
from kubewire import copy_value
from webhooks.cluster_view import InMemoryView
from webhooks.validate import admission

_KINDS: Final = {
    "storytriggers": "StoryTrigger",
    "storyruns": "StoryRun",
    "stepruns": "StepRun",
    "effectclaims": "EffectClaim",
    "impulses": "Impulse",
}
_PATH: Final = re.compile(r"/apis/[^/]+/[^/]+/namespaces/([^/]+)/([a-z]+)(?:/([^/?]+))?(?:/(status))?")


@dataclass(frozen=True)
class ClientRequest:
    """One request of the SDK."""

    method: str
    path: str
    body: Any
    content_type: str
    timeout_seconds: float

    @property
    def is_versioned(self) -> bool:
        """Whether the request names the version on which it was decided."""
        return isinstance(self.body, dict) and bool((self.body.get("metadata") or {}).get("resourceVersion"))


@dataclass
class Connection:
    """How clients reach the API server."""

    cluster: Cluster
    fates: Fates
    deliver_later: Callable[[Callable[[], Object], float], None]
    """Applies a request that its sender has given up, so many seconds later."""
    refused: list[str] = field(default_factory=list)
    """The findings of admission about claims whose StepRun exists; there must be none."""

    async def send(self, actor: str, wanted: ClientRequest) -> Object:
        """The answer to a request, or its fault.

        Raises:
            KubeError: the request failed.
        """
        cluster, latency = self.cluster, self.fates.latency_seconds
        fault = self.fates.next_request(actor, trio.current_time())

        def apply() -> Object:
            return self._answer(actor, wanted)

        if fault is Fault.TIMEOUT:
            self.deliver_later(apply, TIMEOUT_SECONDS)
            await trio.sleep(min(TIMEOUT_SECONDS, wanted.timeout_seconds))
            raise UnreachableError("injected: no answer in time")
        await trio.sleep(SLOW_SECONDS if fault is Fault.SLOW else latency)
        if cluster.down:
            raise UnreachableError("the server is down")
        if (before := _before(fault, wanted)) is not None:
            raise before
        if fault is Fault.FULL:
            self.fates.full_until = trio.current_time() + FULL_SECONDS
        if wanted.method != "GET" and self.fates.is_full(actor, trio.current_time()):
            raise status_error(507, "injected: no space left")
        answer = apply()
        await trio.sleep({Fault.SLOW: SLOW_SECONDS, Fault.LATE_ANSWER: LATE_SECONDS}.get(fault or Fault.BUSY, latency))
        if fault is Fault.LOST_ANSWER:
            raise UnreachableError("injected: the answer was lost")
        if fault is Fault.ERROR_APPLIED:
            raise status_error(500, "injected: done")
        return answer

    def _answer(self, actor: str, wanted: ClientRequest) -> Object:
        """Apply the request; the answer belongs to the client, which may change it.

        Raises:
            StatusError: the server refuses.
        """
        try:
            answer: Object = copy_value(self._applied(actor, wanted))
            return answer
        except RefusedError as refused:
            raise status_error(refused.code, str(refused)) from refused

    def _applied(self, actor: str, wanted: ClientRequest) -> Object:
        place, subresource = _target(wanted)
        cluster, stored = self.cluster, self.cluster.objects.get(place)
        if wanted.method == "POST":
            if stored is not None:
                raise RefusedError(409, "AlreadyExists", f"{place} already exists")
            self._admit(place, wanted.body, None)
            created = cluster.create(actor, wanted.body)
            assert created is not None
            return created
        if stored is None:
            raise RefusedError(404, "NotFound", f"{place} not found")
        if wanted.method == "GET":
            return stored
        metadata = wanted.body.get("metadata") or {}
        version, uid = metadata.get("resourceVersion"), metadata.get("uid")
        if uid not in (None, stored["metadata"]["uid"]) or version not in (None, stored["metadata"]["resourceVersion"]):
            raise RefusedError(409, "Conflict", f"{place} is another, or has moved on")
        if wanted.method == "PUT":
            assert version, "an update of a custom resource must name a version"
            self._admit(place, wanted.body, stored)
            return cluster.update(actor, place, wanted.body, subresource, based_on=version)
        assert (wanted.method, wanted.content_type) == ("PATCH", MERGE_PATCH)
        return cluster.merge(actor, place, wanted.body, subresource, based_on=version)

    def _admit(self, place: Place, new: Object, old: Object | None) -> None:
        """Admission of claims, as in production; StoryTriggers are not checked, so that they may come too early.

        Raises:
            RefusedError: 403.
        """
        if place[0] != "EffectClaim":
            return
        reference = new["spec"]["stepRunRef"]
        step_run = self.cluster.objects.get(("StepRun", place[1], reference["name"]))
        findings = admission.validate(new, old, InMemoryView([step_run] if step_run is not None else []))
        if not findings:
            return
        text = "; ".join(map(str, findings))
        if step_run is not None and step_run["metadata"]["uid"] == reference.get("uid"):
            self.refused.append(text)
        raise RefusedError(403, "Forbidden", text)


def _before(fault: Fault | None, wanted: ClientRequest) -> KubeError | None:
    """Why the request is not applied."""
    match fault:
        case Fault.STALE if wanted.is_versioned:
            return ConflictError(409, "injected: out of date")
        case Fault.UNAVAILABLE | Fault.STALE:
            return UnreachableError("injected: not done")
        case Fault.ERROR:
            return status_error(500, "injected: not done")
        case Fault.BUSY:
            return status_error(429, "injected: too many requests", retry_after_seconds=RETRY_AFTER_SECONDS)
    return None


def _target(wanted: ClientRequest) -> tuple[Place, str]:
    found = _PATH.fullmatch(wanted.path)
    assert found is not None, wanted.path
    namespace, plural, name, subresource = found.groups()
    return (_KINDS[plural], namespace, name or str(wanted.body["metadata"]["name"])), subresource or ""
