"""Errors in a step container, and how they are reported to the operator.

    EngramError                     raised by user code, or base of the SDK's errors; stored in StepRun.status.error
      ├─ ContextError               user: an environment variable is malformed
      ├─ InputError                 user: inputs or configuration do not fit the engram's types or schema
      ├─ TemplateError              user: a template reached the container unresolved
      ├─ SecretError                user: a secret descriptor cannot be expanded (its path is never shown)
      ├─ StorageError               retry: the payload store refused or failed
      │    └─ PayloadPathError      user: an object key leads outside its folder
      ├─ OutputError                user: the returned value cannot be written as JSON
      ├─ SignalsUnavailableError    bug: signals outside a StepRun
      ├─ EffectsUnavailableError    bug: effects outside a StepRun
      ├─ EffectInProgressError      retry: another holder performs the effect now
      └─ EffectLostError            retry: another holder took the claim over while the effect ran

Source: SDK contract 14. Errors of the Kubernetes client are in ``kube.py``, those of the StepRun in ``steprun.py``.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, Final

from bubu_contract import canonical
from bubu_sdk import redaction

Object = dict[str, Any]

MAX_CLASSES: Final = 16
"""Of an exception: so many of its base classes are reported."""


class ErrorType(StrEnum):
    """``StepRun.status.error.type``."""

    TIMEOUT = "timeout"
    STORAGE = "storage_error"
    SERIALIZATION = "serialization_error"
    VALIDATION = "validation_error"
    INITIALIZATION = "initialization_error"
    EXECUTION = "execution_error"
    UNKNOWN = "unknown"


class ExitClass(StrEnum):
    """What the operator does next: it tries again after ``retry`` and ``rateLimited``, not after ``terminal``."""

    SUCCESS = "success"
    RETRY = "retry"
    TERMINAL = "terminal"
    RATE_LIMITED = "rateLimited"
    UNKNOWN = "unknown"

    @classmethod
    def parse(cls, text: str) -> ExitClass | None:
        """The class with the name ``text``, in any case; ``None`` for any other string."""
        return next((member for member in cls if member.value.lower() == text.strip().lower()), None)

    @classmethod
    def of_exit_code(cls, code: int) -> ExitClass:
        """How the operator interprets a container's exit code (SDK contract 16)."""
        if code == 0:
            return cls.SUCCESS
        if code == 429:
            return cls.RATE_LIMITED
        if code == 124 or 128 <= code <= 255:
            return cls.RETRY
        return cls.TERMINAL

    @property
    def retryable(self) -> bool:
        """Whether the operator may start another attempt."""
        return self in (ExitClass.RETRY, ExitClass.RATE_LIMITED)


class EngramError(Exception):
    """A failure with a class: raise it from an engram to say whether another attempt makes sense.

    Args:
        message: for people; credentials are redacted, and the first 8192 bytes are kept.
        retryable: True requests another attempt, False forbids it; None leaves it to ``exit_class``, and without one
            to the retry policy of the step (``retryOn``).
        exit_class: one of ``ExitClass``; overrides ``retryable``.
        type: one of ``ErrorType``.
        code: your own short code, for example ``CARD_DECLINED``.
        details: JSON-like, shown under ``status.error.details``. ``retryAt``, an instant (RFC 3339) of the next hour,
            delays the next attempt.
        output: partial output to publish although the step failed.
    """

    default_type: ClassVar[ErrorType] = ErrorType.EXECUTION
    default_retryable: ClassVar[bool | None] = None
    """None: such an error is not retried, unless the Story asks for it; False: it is never retried."""

    def __init__(
        self,
        message: str,
        *,
        retryable: bool | None = None,
        exit_class: ExitClass | str | None = None,
        type: ErrorType | str | None = None,  # noqa: A002 - the wire name of the field
        code: str = "",
        details: Mapping[str, Any] | None = None,
        output: Any = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.type = ErrorType(type) if type is not None else self.default_type
        self.code = code
        self.details = details
        self.output = output
        parsed = ExitClass.parse(exit_class) if exit_class is not None else None
        if exit_class is not None and parsed is None:
            raise ValueError(f"exit_class {exit_class!r} must be one of {', '.join(ExitClass)}")
        wants_retry = self.default_retryable if retryable is None else retryable
        self.exit_class = parsed or (ExitClass.RETRY if wants_retry else ExitClass.TERMINAL)
        self.retryable = self.exit_class.retryable if retryable is None else retryable
        self.forbids_retry = wants_retry is False if parsed is None else parsed is ExitClass.TERMINAL
        """Whether no other attempt follows, whatever the retry policy of the step is."""
        self.raised: builtins.type[BaseException] = builtins.type(self)
        """The class of the exception that this one reports."""


class ContextError(EngramError):
    """*user*: the environment of the container is malformed; names the variable."""

    default_type = ErrorType.INITIALIZATION
    default_retryable = False


class InputError(EngramError):
    """*user*: inputs, configuration or output do not fit; names each path."""

    default_type = ErrorType.VALIDATION
    default_retryable = False


class TemplateError(EngramError):
    """*user*: a ``{{ … }}`` that the operator should have resolved; names each path."""

    default_type = ErrorType.VALIDATION
    default_retryable = False


class SecretError(EngramError):
    """*user*: a secret descriptor cannot be expanded. The message never contains paths or values."""

    default_type = ErrorType.INITIALIZATION
    default_retryable = False


class StorageError(EngramError):
    """*retry*: the payload store refused or failed."""

    default_type = ErrorType.STORAGE
    default_retryable = True


class PayloadPathError(StorageError):
    """*user*: an object key is empty, absolute or leads outside its folder."""

    default_retryable = False


class OutputError(EngramError):
    """*user*: the return value of the engram cannot be written as JSON, or is not an object."""

    default_type = ErrorType.SERIALIZATION
    default_retryable = False


class SignalsUnavailableError(EngramError):
    """*bug*: signals need a StepRun, and this process has none."""

    default_retryable = False


class EffectsUnavailableError(EngramError):
    """*bug*: effects need a StepRun, and this process has none."""

    default_retryable = False


class EffectInProgressError(EngramError):
    """*retry*: another live holder performs the same effect; its result is not known yet.

    ``code`` is ``EffectInProgress``. ``details`` has ``effect``, ``holder`` and ``leaseUntil``, the instant (RFC 3339)
    at which another process may take the effect over; it is also ``retryAt``, so that the operator does not start
    another attempt before.
    """

    default_retryable = True


class EffectLostError(EngramError):
    """*retry*: the lease ended while the effect ran, and another holder took it over or the effect failed.

    ``code`` is ``EffectLost``. The effect may have happened here, and may happen there again.
    """

    default_retryable = True


def structured(error: EngramError, *, exit_code: int, exit_class: ExitClass, type_: ErrorType | None = None) -> Object:
    """``StepRun.status.error`` for ``error`` (version v1). ``type_`` overrides its type, for example for a timeout."""
    record: Object = {
        "version": "v1",
        "type": str(type_ or error.type),
        "message": redaction.public_message(error.message) or type(error).__name__,
        "retryable": exit_class.retryable if type_ else error.retryable,
    }
    if exit_code:
        record["exitCode"] = exit_code
    record["exitClass"] = str(exit_class)
    if error.code:
        record["code"] = error.code
    if error.details is not None:
        record["details"] = _json_details(error.details)
    return record


def for_retries(error: EngramError) -> Object:
    """The fields of ``StepRun.status.error`` by which a retry policy decides: the classes of the exception, the most
    special one first, and whether another attempt is forbidden.
    """
    classes = [each for each in error.raised.__mro__ if issubclass(each, Exception) or each is error.raised]
    record: Object = {"exceptions": [class_name(each) for each in classes[:MAX_CLASSES]]}
    return record | ({"forbidsRetry": True} if error.forbids_retry else {})


def class_name(of: type) -> str:
    """The name of a class in a retry policy: ``ValueError``, or with its module ``requests.exceptions.Timeout``."""
    name = of.__qualname__.rpartition("<locals>.")[2]
    return name if of.__module__ == "builtins" else f"{of.__module__}.{name}"


def as_engram_error(error: BaseException, stage_type: ErrorType) -> EngramError:
    """``error`` itself if it is structured; otherwise a wrapper whose type depends on the stage that failed."""
    if isinstance(error, EngramError):
        return error
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return as_engram_error(error.exceptions[0], stage_type)
    text = str(error)
    wrapper = EngramError(f"{type(error).__name__}: {text}" if text else type(error).__name__, type=stage_type)
    wrapper.__cause__ = error
    wrapper.raised = type(error)
    return wrapper


def validate_structured_error(record: Mapping[str, Any]) -> list[str]:
    """All problems of a ``status.error`` record; empty if it is valid (SDK contract 22)."""
    problems = []
    if record.get("version") != "v1":
        problems.append(f"version is {record.get('version')!r}; it must be 'v1'")
    if record.get("type") not in tuple(ErrorType):
        problems.append(f"type {record.get('type')!r} must be one of {', '.join(ErrorType)}")
    if not str(record.get("message") or "").strip():
        problems.append("message must not be blank")
    if record.get("exitClass") not in (None, "", *ExitClass):
        problems.append(f"exitClass {record.get('exitClass')!r} must be one of {', '.join(ExitClass)}")
    return problems


def _json_details(details: Mapping[str, Any]) -> Object:
    try:
        canonical.encode(details)
    except canonical.NotJsonError as error:
        return {
            "unserializable": True,
            "marshalError": str(error),
            "type": type(details).__name__,
            "details": redaction.public_message(repr(details)),
        }
    return dict(redaction.hidden(details))
