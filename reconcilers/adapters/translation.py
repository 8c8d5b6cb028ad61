"""Client errors → port errors, in one place: the most exact word the engine knows for what happened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from core.api.phases import Reason
from core.engine import errors as port
from core.kube import errors as kube


@contextmanager
def port_errors() -> Iterator[None]:
    """Everything ``core.kube`` raises inside the block leaves it as a ``PortError``."""
    try:
        yield
    except kube.KubeError as error:
        raise _translated(error) from error


def _translated(error: kube.KubeError) -> port.PortError:
    match error:
        case kube.ConflictError():
            return port.StaleError(str(error))
        case kube.NotFoundError():
            return port.GoneError(str(error))
        case kube.RequestTooLargeError():
            return port.RejectedError(str(error), reason=Reason.INPUT_TOO_LARGE)
        case kube.InvalidError() | kube.BadRequestError() | kube.AlreadyExistsError() | kube.MethodNotAllowedError():
            return port.RejectedError(str(error))
        case kube.ForbiddenError() if _definite(error):
            return port.RejectedError(str(error))
        case kube.ApiError():
            return port.UnavailableError(str(error), retry_after_seconds=error.retry_after)
        case _:
            return port.UnavailableError(str(error))


def _definite(error: kube.ForbiddenError) -> bool:
    """Admission and Pod Security refuse this object for good; quota and lacking RBAC may be mended."""
    return "exceeded quota" not in error.message and "cannot" not in error.message
