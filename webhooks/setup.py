"""What the admission server needs from the process around it: other objects, the operator's name, its readiness."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from webhooks.cluster_view import ClusterView


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
    """

    world: Callable[[], ClusterView]
    operator: str
    trouble: Callable[[], str]
    changed: Callable[[], Awaitable[None]]
    convert: Callable[[dict[str, Any]], dict[str, Any]]
