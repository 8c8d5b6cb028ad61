"""Decides when a failed attempt is retried, and the delay before it.

Pure. Source: StepRun contract 11.2 (resolution), 18.1 (which failures) and 18.2 (delay).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from core.api.errors import FieldError
from core.api.objects import ReadOnlyObject
from core.api.phases import ErrorType, ExitClass, Phase, member_or_none
from core.api.suggestion import closest

MIN_DELAY: Final = timedelta(milliseconds=10)
DEFAULT_MAX_DELAY: Final = timedelta(minutes=5)
"""For exponential back-off. Without a cap the reference overflows near attempt 35 and retries every 10 ms."""
LONGEST_DELAY: Final = timedelta(days=3650)
"""The maximum of any delay: an instant beyond the calendar cannot be awaited."""
LONGEST_WISH: Final = timedelta(hours=1)
"""The maximum of the delay that a container may ask for: the step keeps its slot meanwhile."""
MAX_RETRIES_LIMIT: Final = 50

TRANSIENT: Final = "transient"
"""In ``retryOn``: failures whose class is retryable."""
ANY: Final = "any"
"""In ``retryOn``: failures that another attempt may mend."""
EXIT_CODES: Final = range(1, 256)
MAX_ENTRIES: Final = 32
"""Of a list ``retryOn``."""
_MAX_NAME: Final = 253
_NAME: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_PROGRAMS: Final = ("__main__", "__mp_main__")
"""What Python calls the module of a file that is run as a program, whatever its name is."""


class BackoffStrategy(StrEnum):
    EXPONENTIAL = "exponential"
    LINEAR = "linear"
    CONSTANT = "constant"


@dataclass(frozen=True, slots=True)
class AttemptFailure:
    """How an attempt has failed."""

    exit_class: ExitClass
    exit_code: int | None = None
    names: tuple[str, ...] = ()
    """Type and code of the error that its SDK has reported, and the classes of the exception."""
    is_terminal: bool = False
    """Whether the template says of its exit code that no other attempt follows."""
    is_forbidden: bool = False
    """Whether its program forbids another attempt."""

    @classmethod
    def of(
        cls, status: ReadOnlyObject, phase: Phase, exit_class: ExitClass, code: int | None, *, is_terminal: bool = False
    ) -> AttemptFailure:
        """``status`` is that of the StepRun: its error is of the attempt that has failed."""
        error = status.get("error")
        error = error if isinstance(error, Mapping) else {}
        exceptions = error.get("exceptions")
        names = [error.get("type"), error.get("code"), *(exceptions if isinstance(exceptions, list) else ())]
        if phase is Phase.TIMEOUT:
            names.append(ErrorType.TIMEOUT)
        known = tuple(name for name in names if isinstance(name, str) and name)
        return cls(exit_class, code, known, is_terminal, error.get("forbidsRetry") is True)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A resolved policy; the total number of attempts is ``1 + max_retries``."""

    max_retries: int = 3
    delay: timedelta = timedelta(seconds=1)
    max_delay: timedelta = DEFAULT_MAX_DELAY
    backoff: BackoffStrategy = BackoffStrategy.EXPONENTIAL
    jitter_percent: int = 0
    retry_on: tuple[int | str, ...] = (TRANSIENT,)
    """``TRANSIENT``, ``ANY``, exit codes and names of errors; a failure that one of them covers is retried."""

    def allows(self, retries_so_far: int) -> bool:
        return retries_so_far < self.max_retries

    def covers(self, failure: AttemptFailure) -> bool:
        """Whether another attempt follows as long as the number of retries allows it."""
        return not failure.is_forbidden and any(_covers(entry, failure) for entry in self.retry_on)


def retry_on_of(spec: ReadOnlyObject | None) -> tuple[int | str, ...]:
    """``retryOn`` of a retry policy, or the default."""
    given = (spec or {}).get("retryOn")
    return tuple(given) if isinstance(given, list) and given else (TRANSIENT,)


def retry_on_problems(entries: Sequence[Any], path: str) -> Iterator[FieldError]:
    """Everything that is wrong in a list ``retryOn`` at ``path``."""
    if len(entries) > MAX_ENTRIES:
        yield FieldError(path, f"has {len(entries)} entries", f"use at most {MAX_ENTRIES}")
    seen: set[int | str] = set()
    for index, entry in enumerate(entries):
        place = f"{path}[{index}]"
        if (problem := _problem(entry)) is not None:
            yield FieldError(place, *problem)
        elif entry in seen:
            yield FieldError(place, f"{entry} occurs twice", "remove one of them")
        seen.add(entry)


def why_not_retried(step_run: ReadOnlyObject) -> str:
    """Why no attempt has followed the last one of a StepRun that has failed, and what would change that; empty if that
    is not known. Of the failures that the operator decides, the message already says why they are final.
    """
    status, spec = step_run.get("status") or {}, step_run["spec"].get("retry") or {}
    phase, class_ = member_or_none(Phase, status.get("phase")), member_or_none(ExitClass, status.get("exitClass"))
    code, most = status.get("exitCode"), spec.get("maxRetries")
    if phase not in (Phase.FAILED, Phase.TIMEOUT) or class_ is None or not isinstance(code, int) or not code:
        return ""
    failure, entries = AttemptFailure.of(status, phase, class_, code), retry_on_of(spec)
    if failure.is_forbidden:
        return "not retried: the program forbids another attempt"
    if RetryPolicy(retry_on=entries).covers(failure):
        if most == 0:
            return "not retried: retry.maxRetries is 0"
        if most == (status.get("retries") or 0):
            return f"not retried again: {most} of {most} retries are used"
        if class_.retryable or ANY not in entries:
            return ""
        return f"exit code {code} is not retried: it is terminal in the EngramTemplate; add {code} to retry.retryOn"
    exceptions = (status.get("error") or {}).get("exceptions")
    name = exceptions[0] if isinstance(exceptions, list) and exceptions else code
    said = f"retry.retryOn is [{_listed(entries)}]" + ("" if spec.get("retryOn") else " (default)")
    remedy = f"[{_listed((*entries, name))}]" + ("" if ANY in entries else f" or [{ANY}]")
    return f"{name if name != code else f'exit code {code}'} is not retried: {said}; set it to {remedy}"


def _listed(entries: Sequence[int | str]) -> str:
    return ", ".join(map(str, entries))


def _covers(entry: int | str, failure: AttemptFailure) -> bool:
    if isinstance(entry, int):
        return entry == failure.exit_code
    if entry == TRANSIENT:
        return failure.exit_class.retryable
    if entry == ANY:
        return not failure.is_terminal and ErrorType.VALIDATION not in failure.names
    return any(_is_named(entry, name) for name in failure.names)


def _is_named(entry: str, name: str) -> bool:
    """Whether ``entry`` names an error: with the whole module of its class, the first parts of it, or without it."""
    (module, _, word), (of, _, last) = entry.rpartition("."), name.rpartition(".")
    return word == last and (not module or of in _PROGRAMS or f"{of}.".startswith(f"{module}."))


def _problem(entry: object) -> tuple[str, str] | None:
    """What is wrong with an entry of ``retryOn``, and the remedy."""
    if isinstance(entry, int):
        if entry == 0:
            return "0 is success, which is not retried", "remove it"
        return None if entry in EXIT_CODES else (f"{entry} is not an exit code", "use 1 to 255")
    text = str(entry)
    words = (TRANSIENT, ANY, *ErrorType)
    if text in words:
        return None
    if text.isdecimal():
        return f"{text!r} is a string", f"write the exit code as a number: {text[:3]}"
    if len(text) > _MAX_NAME or not _NAME.fullmatch(text):
        return "is not the name of an error", f"use {TRANSIENT}, {ANY}, an exit code, or a name such as ValueError"
    if "." in text or not text[0].islower():
        return None
    meant = closest(text, words)
    known = f"use {', '.join(words)}, an exit code, or a name such as ValueError"
    return f"{text!r} is not a known word", f"did you mean {meant}?" if meant else known


def default_max_delay(backoff: BackoffStrategy, delay: timedelta) -> timedelta:
    """The cap when none is set: never below the configured delay, and only for strategies that grow without limit."""
    if backoff is BackoffStrategy.EXPONENTIAL:
        return max(DEFAULT_MAX_DELAY, delay)
    return min(delay * MAX_RETRIES_LIMIT, LONGEST_DELAY)


def retry_delay(policy: RetryPolicy, attempt: int, jitter: float) -> timedelta:
    """The delay before retry number ``attempt`` (1 for the first); ``jitter`` is uniform in [0, 1)."""
    base = policy.delay.total_seconds()
    match policy.backoff:
        case BackoffStrategy.EXPONENTIAL:
            seconds = base * 2.0 ** min(attempt - 1, 60)
        case BackoffStrategy.LINEAR:
            seconds = base * attempt
        case BackoffStrategy.CONSTANT:
            seconds = base
    cap = min(max(policy.max_delay, MIN_DELAY), LONGEST_DELAY).total_seconds()
    seconds = min(seconds, cap)
    seconds = min(seconds * (1 + jitter * policy.jitter_percent / 100), cap)
    return max(timedelta(seconds=seconds), MIN_DELAY)


def with_wish(delay: timedelta, not_before: datetime | None, now: datetime) -> timedelta:
    """``delay``, or the time until the instant that the container asked for, if that is longer."""
    return delay if not_before is None else max(delay, min(not_before - now, LONGEST_WISH))
