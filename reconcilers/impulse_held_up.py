"""Why there is no listener as its Impulse wants it: one error, with the message that the Impulse reports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from core.api.phases import Phase, Reason
from core.engine.errors import (
    DeniedError,
    MissingReferenceError,
    NameConflictError,
    ObstacleError,
    PortError,
    RejectedError,
)
from core.kube.errors import ForbiddenError
from reconcilers.impulse_status import ListenerReadiness


class ListenerHeldUpError(Exception):
    """The listener cannot be as it should be. ``event`` is the reason of an Event, empty for an ordinary wait;
    ``cause`` is the error after which it is tried again, None when an event will tell.
    """

    def __init__(self, finding: ListenerReadiness, event: str = "", cause: PortError | None = None) -> None:
        super().__init__(finding.message)
        self.finding = finding
        self.event = event
        self.cause = cause


def failed(reason: str, message: str, event: str = "", cause: PortError | None = None) -> ListenerHeldUpError:
    return ListenerHeldUpError(ListenerReadiness(Phase.FAILED, False, reason, message), event or reason, cause)


def blocked(reason: str, message: str) -> ListenerHeldUpError:
    return ListenerHeldUpError(ListenerReadiness(Phase.BLOCKED, False, reason, message), reason)


def wait_for(what: str) -> None:
    """
    Raises:
        ListenerHeldUpError: there is something to wait for.
    """
    if what:
        raise ListenerHeldUpError(ListenerReadiness(Phase.PENDING, False, Reason.RECONCILING, what))


@contextmanager
def held_up_by(event: str, component: str) -> Iterator[None]:
    """Turns refusals into what the Impulse reports. When the API server does not answer, nothing is reported.

    Raises:
        ListenerHeldUpError: a user must correct something; the operator tries again with a growing delay.
        PortError: the namespace is being deleted, or the caller should try again.
    """
    try:
        yield
    except (ObstacleError, RejectedError) as error:
        if is_namespace_ending(error):
            raise
        is_exact = isinstance(error, (NameConflictError, MissingReferenceError, DeniedError))
        raise failed(error.reason if is_exact else event, f"{component}: {error}", event, error) from error


def is_namespace_ending(error: PortError) -> bool:
    """Whether the API server refused a write because the namespace is being deleted: then nothing is left to do."""
    cause = error.__cause__
    return isinstance(cause, ForbiddenError) and any(each.reason == "NamespaceTerminating" for each in cause.causes)
