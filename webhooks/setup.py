"""What the admission server needs from the process around it: other objects, the operator's name, its readiness."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from webhooks.cluster_view import ClusterView


@dataclass(frozen=True, slots=True)
class AdmissionSetup:
    """Attributes:

    world: the other objects as they are known at this moment; asked once for each look at a review.
    operator: the user name of the operator's ServiceAccount.
    trouble: why reviews cannot be answered yet; empty when they can.
    changed: returns when ``world`` has seen any change after the call.
    convert: a ConversionReview as read from JSON to its answer; a ``ValueError`` says why it is none.
    """

    world: Callable[[], ClusterView]
    operator: str
    trouble: Callable[[], str]
    changed: Callable[[], Awaitable[None]]
    convert: Callable[[dict[str, Any]], dict[str, Any]]
