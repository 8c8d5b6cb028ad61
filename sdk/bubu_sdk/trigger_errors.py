"""The ways in which a Story is not started. Each is an ``EngramError``, so an engram may let it pass.

    TriggerError
      ├─ TriggerPolicyError         user: delivery policy, throttle, key or inputs cannot be used; nothing was sent
      ├─ TriggerRejectedError       user: the operator rejected the StoryTrigger
      ├─ TriggerConflictError       user: the same identity was submitted before with other content
      ├─ TriggerRefusedError        user: the API server refused the request, for example in admission
      ├─ TriggerMissingError        user: there is no such StoryTrigger, or it is of another Impulse
      ├─ TriggerThrottledError      retry: the throttle has no room within the time that the caller allows
      ├─ TriggerPendingError        retry: the StoryTrigger is stored, but undecided
      ├─ TriggerUnavailableError    retry: the API server did not answer, failed, or does not give the right yet
      └─ TriggerCancelledError      retry: the call was cancelled
    SessionError
      ├─ SessionActiveError         user: the session has a run already
      └─ SessionMissingError        user: there is no such session, or its run does not exist any more

Source: Trigger contract 5.
"""

from __future__ import annotations

from typing import Any, ClassVar

from bubu_sdk.errors import EngramError


class TriggerError(EngramError):
    """A Story was not started."""

    retryable_by_policy: ClassVar[bool] = False
    """Whether the retry policy covers it; the caller may try again whenever ``retryable`` is true."""


class TriggerPolicyError(TriggerError):
    """*user*: delivery policy, throttle, key or inputs cannot be used; nothing was sent."""


class TriggerRejectedError(TriggerError):
    """*user*: the operator rejected the StoryTrigger; the message is the operator's."""

    def __init__(self, message: str, *, trigger: str, reason: str) -> None:
        super().__init__(message, code=reason)
        self.trigger = trigger
        """Name of the StoryTrigger."""
        self.reason = reason
        """``ValidationFailed``, ``StoryNotFound``, ``StoryVersionMismatch``, ``InputHashMismatch``,
        ``StoryRunConflict`` …
        """


class TriggerConflictError(TriggerError):
    """*user*: the same identity was submitted before with another Story, other inputs or by another Impulse."""

    def __init__(self, message: str, *, trigger: str) -> None:
        super().__init__(message)
        self.trigger = trigger
        """Name of the StoryTrigger that exists."""


class TriggerRefusedError(TriggerError):
    """*user*: the API server refused the request because of its content. The message is the API server's."""

    def __init__(self, message: str, *, http_code: int) -> None:
        super().__init__(message)
        self.http_code = http_code


class TriggerMissingError(TriggerError):
    """*user*: there is no StoryTrigger of that name, or another Impulse submitted it."""


class TriggerThrottledError(TriggerError):
    """*retry*: the throttle has no room within the time that the caller allows; nothing was sent."""

    default_retryable = True

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        """When room is expected; an estimate."""


class TriggerPendingError(TriggerError):
    """*retry*: the StoryTrigger is stored, but undecided. It is not lost: the operator decides it later."""

    default_retryable = True
    retryable_by_policy = True

    def __init__(self, message: str, *, trigger: str) -> None:
        super().__init__(message)
        self.trigger = trigger
        """Name of the StoryTrigger."""


class TriggerUnavailableError(TriggerError):
    """*retry*: the API server did not answer, answered with a failure of its own (429, 5xx), or did not give the right.

    A right that is missing for good is in here, too: a server that has just started refuses everybody in the same way.
    The StoryTrigger may have been stored. A repeated call with the same key or submission id finds it.
    """

    default_retryable = True
    retryable_by_policy = True

    def __init__(self, message: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        """What the API server asked for; 0 if it asked for nothing."""


class TriggerCancelledError(TriggerError):
    """*retry*: the call was cancelled while it waited; the StoryTrigger may have been stored."""

    default_retryable = True


class SessionError(EngramError):
    """A session cannot be started or stopped."""

    def __init__(self, message: str, *, session: str, **options: Any) -> None:
        super().__init__(message, **options)
        self.session = session


class SessionActiveError(SessionError):
    """*user*: the session has a run already; stop or forget it first."""


class SessionMissingError(SessionError):
    """*user*: there is no such session, or its run does not exist any more."""
