"""What the admission server needs from the process around it: other objects, the operator's name, its readiness."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

import trio

from core.api.objects import NamespacedName
from webhooks.cluster_view import ClusterView


async def none_is_known(wanted: Collection[NamespacedName]) -> Collection[NamespacedName]:
    """For a process that cannot look up Secrets."""
    del wanted
    await trio.lowlevel.checkpoint()
    return ()


@dataclass(frozen=True, slots=True)
class AdmissionSetup:
    """The values that the process provides.

    Attributes:
        world: returns the current view of the other objects; called once for each examination of a review.
        operator: the user name of the operator's ServiceAccount.
        trouble: why reviews cannot be answered yet; empty if they can.
        changed: returns when ``world`` has seen any change after the call.
        convert: turns a ConversionReview, parsed from JSON, into its answer; a ``ValueError`` says why it is not a
            review.
        missing_secrets: returns those of the Secrets that certainly do not exist; soon, also if the API server does not
            answer. It reads nothing but metadata.
    """

    world: Callable[[], ClusterView]
    operator: str
    trouble: Callable[[], str]
    changed: Callable[[], Awaitable[None]]
    convert: Callable[[dict[str, Any]], dict[str, Any]]
    missing_secrets: Callable[[Collection[NamespacedName]], Awaitable[Collection[NamespacedName]]] = none_is_known
