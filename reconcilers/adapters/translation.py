"""From client errors to port errors, in one place: the most exact error of the engine for each case."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from core.api.phases import Reason
from core.engine import errors as port
from core.kube import errors as kube

_USED_UP: Final = re.compile(r"is forbidden: exceeded quota: ")
_RIGHT_LACKING: Final = re.compile(
    r'is forbidden: User "|attempting to grant RBAC permissions not currently held|you can\'t set finalizers on'
)
"""The texts of an API server for a missing permission; like a used-up quota, others can fix it at any time."""


@contextmanager
def port_errors() -> Iterator[None]:
    """Turns every error of ``core.kube`` inside the block into a ``PortError``."""
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
        case (
            kube.InvalidError()
            | kube.BadRequestError()
            | kube.AlreadyExistsError()
            | kube.MethodNotAllowedError()
            | kube.UnsupportedMediaTypeError()
        ):
            return _rejected(error)
        case kube.ForbiddenError() if _RIGHT_LACKING.search(error.message):
            return port.DeniedError(str(error))
        case kube.ForbiddenError() if not _USED_UP.search(error.message):
            return _rejected(error)
        case kube.ApiError():
            return port.UnavailableError(str(error), retry_after_seconds=error.retry_after)
        case _:
            return port.UnavailableError(str(error))


def _rejected(error: kube.ApiError) -> port.RejectedError:
    return port.RejectedError(str(error), fields=tuple(cause.field for cause in error.causes))
