"""One piece of work: reports its start, and its end with the outcome and the duration.

The span writes to the log (start and end at debug level, failure at ``failure_level``) and, through ``observe``, to a
histogram. When neither is enabled, it costs two reads of the monotonic clock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.telemetry.logs import Logger


class SpanOutcome(StrEnum):
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class Span:
    """The known facts about the work while it runs; ``fields`` may grow until the end."""

    name: str
    fields: dict[str, Any] = field(default_factory=dict)
    outcome: SpanOutcome | None = None
    seconds: float = 0.0


@contextmanager
def open_span(
    log: Logger,
    name: str,
    *,
    observe: Callable[[Span], None] | None = None,
    failure_level: int = logging.DEBUG,
    **fields: Any,
) -> Iterator[Span]:
    """Report on the block; its exceptions are raised unchanged.

    Args:
        observe: called once at the end, with ``outcome`` and ``seconds`` set.
        failure_level: log level of the end record when the block raised an error; cancellation is never a failure.
    """
    span = Span(name, fields)
    log.write(logging.DEBUG, f"{name} started", span.fields)
    started = time.monotonic()
    try:
        yield span
    except Exception as error:
        _finish(span, SpanOutcome.FAILED, started, observe)
        log.write(failure_level, f"{name} failed", {**span.fields, "seconds": span.seconds, "error": str(error)})
        raise
    except BaseException:
        _finish(span, SpanOutcome.CANCELLED, started, observe)
        log.write(logging.DEBUG, f"{name} cancelled", {**span.fields, "seconds": span.seconds})
        raise
    _finish(span, SpanOutcome.COMPLETE, started, observe)
    log.write(logging.DEBUG, f"{name} complete", {**span.fields, "seconds": span.seconds})


def _finish(span: Span, outcome: SpanOutcome, started: float, observe: Callable[[Span], None] | None) -> None:
    span.outcome = outcome
    span.seconds = round(time.monotonic() - started, 6)
    if observe is not None:
        observe(span)
