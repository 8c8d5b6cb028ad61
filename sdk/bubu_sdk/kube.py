"""The interface to the API server: one request method, and a small tree of errors. The client is in ``kubeclient.py``.

Source: SDK contract 13.5, 21.

    KubeError                 the exchange failed
      ├─ UnreachableError     retry: no answer (refused, reset, timed out)
      ├─ UntrustedError       user: the CA did not sign the server's certificate
      └─ StatusError          the API server answered with a failure; ``code`` is its HTTP code
           ├─ NotFoundError   404
           └─ ConflictError   409
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from bubu_sdk.errors import Object

RUNS_API: Final = "/apis/runs.bubustack.io/v1alpha1"
ENGRAMS_API: Final = "/apis/bubustack.io/v1alpha1"
CATALOG_API: Final = "/apis/catalog.bubustack.io/v1alpha1"
MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"

_FORBIDDEN: Final = 403
_NOT_IMPLEMENTED: Final = 501
_BUSY: Final = (408, 429)


class KubeError(Exception):
    """The exchange with the API server failed."""

    retryable = False
    """Whether the same request may succeed later."""
    is_about_rights = False

    @property
    def is_outage(self) -> bool:
        """Nothing is wrong with the object or with rights: the API server is away, busy, or its disk is full.

        Such a refusal never decides about work that is done: the write is repeated as long as there is time.
        """
        return self.retryable and not self.is_about_rights


class UnreachableError(KubeError):
    """*retry*: the API server did not answer."""

    retryable = True


class UntrustedError(KubeError):
    """*user*: the server's certificate does not match its CA or its name; another request would fail, too."""


class StatusError(KubeError):
    """The API server refused the request; carries the HTTP code and the message of its ``Status``."""

    def __init__(self, code: int, message: str, *, retry_after_seconds: float = 0.0, details: object = None) -> None:
        super().__init__(f"{message} (HTTP {code})")
        self.code = code
        self.retry_after_seconds = retry_after_seconds
        self.details: Mapping[str, Any] = details if isinstance(details, Mapping) else {}
        """``details`` of the ``Status``."""
        self.is_about_rights = code == _FORBIDDEN and bool(self.details.get("kind")) and not self.details.get("causes")
        """The API server refused the request without a look at the object, and may accept it later.

        A right is missing, or a quota is used up. A server that has just started answers so, too, until it has read the
        roles. Such a refusal names the kind; a webhook that denies an object does not, and a policy adds its causes.
        """
        is_failure = code >= 500 and code != _NOT_IMPLEMENTED
        self.retryable = is_failure or code in _BUSY or self.is_about_rights


class NotFoundError(StatusError):
    """The object does not exist."""


class ConflictError(StatusError):
    """Another writer changed the object, or the object exists already."""


class Cluster(Protocol):
    """The client interface of the SDK; paths are those of the Kubernetes API."""

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        timeout_seconds: float = 30.0,
    ) -> Object:
        """The decoded answer.

        Raises:
            KubeError: one of the classes in the module's docstring.
        """


def status_error(code: int, message: str, *, retry_after_seconds: float = 0.0, details: object = None) -> StatusError:
    """The error for an HTTP failure code, with the class of that code; ``details`` as in the answer."""
    kind = {404: NotFoundError, 409: ConflictError}.get(code, StatusError)
    return kind(code, message, retry_after_seconds=retry_after_seconds, details=details)
