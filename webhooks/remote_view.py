"""A ``ClusterView`` of objects in another process: both ends of the pipe, see ``webhooks.review_process``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

from pydantic import TypeAdapter

from core.api.objects import ReadOnlyObject
from core.api.resource import (
    JOB,
    OUR_RESOURCES,
    POD,
    SECRET,
    STREAM_DEPLOYMENT,
    STREAM_STATEFUL_SET,
    Resource,
)
from core.policy.settings import CrossNamespacePolicy, OperatorSettings
from webhooks.cluster_view import ClusterView, Unseen

_KINDS: Final = {
    resource.kind: resource for resource in (*OUR_RESOURCES, SECRET, JOB, POD, STREAM_DEPLOYMENT, STREAM_STATEFUL_SET)
}


@functools.cache
def _settings() -> TypeAdapter[OperatorSettings]:
    """Built for the first large review: it takes a twentieth of a second."""
    return TypeAdapter(OperatorSettings)


class RemoteView:
    """The end that sends requests.

    Args:
        ask: returns the answer of ``answer_from``.
        settings, policy: from ``facts_of``.
    """

    def __init__(self, ask: Callable[[Any], Any], settings: Any, policy: str) -> None:
        self._ask = ask
        self._policy = Unseen.UNKNOWN if policy == Unseen.UNKNOWN.value else CrossNamespacePolicy(policy)
        self._settings = _settings().validate_python(settings)
        self._found: dict[tuple[Resource, str, str], ReadOnlyObject | Unseen] = {}

    @property
    def settings(self) -> OperatorSettings:
        return self._settings

    @property
    def policy(self) -> CrossNamespacePolicy | Unseen:
        return self._policy

    def find(self, resource: Resource, namespace: str, name: str) -> ReadOnlyObject | Unseen:
        key = (resource, namespace, name)
        if key not in self._found:
            answer = self._ask(["find", resource.kind, namespace, name])
            self._found[key] = Unseen(answer) if isinstance(answer, str) else answer
        return self._found[key]

    def grants(self, namespace: str) -> Sequence[ReadOnlyObject]:
        granted: Sequence[ReadOnlyObject] = self._ask(["grants", namespace])
        return granted


def facts_of(world: ClusterView) -> dict[str, Any]:
    """The data that the requesting end gets at the beginning."""
    policy = world.policy
    return {"settings": _settings().dump_python(world.settings, mode="json"), "policy": policy.value}


def answer_from(world: ClusterView, wanted: Any) -> Any:
    """The end that answers: with an object, why there is none, or grants. Statuses, often large, stay here."""
    what, *arguments = wanted
    if what == "grants":
        return list(world.grants(*arguments))
    kind, namespace, name = arguments
    found = world.find(_KINDS[kind], namespace, name)
    if isinstance(found, Unseen):
        return found.value
    unsaid = ("status", "data", "stringData") if kind == SECRET.kind else ("status",)
    return {key: value for key, value in found.items() if key not in unsaid}
