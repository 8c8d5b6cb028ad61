"""The limits of one evaluation, and the meter that counts its cost.

The unit is a tick. Executing a node of a template costs ``NODE`` ticks, touching an element of a list or map costs one,
processing a KiB of text costs ``NODE``. So the step budget bounds time, whatever data the functions get.
Source: templating contract 12.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from core.expressions.errors import LimitExceededError

NODE: Final = 8
MAX_DEPTH: Final = 128
"""Depth of values: deeper ones may need more stack, of the interpreter and of native code, than is certainly
available.
"""
MAX_INCLUDE_DEPTH: Final = 100
_KIB_SHIFT: Final = 10
_CHECK_TICKS: Final = 256 * NODE
_MIN_TEXT_BYTES: Final = 1 << 20
_UNLIMITED_TEXT_BYTES: Final = 16 << 20
_TEXT_PER_OUTPUT: Final = 4


@dataclass(frozen=True, slots=True)
class EvaluationLimits:
    """The bounds of one evaluation; 0 means unbounded for ``output_bytes`` and ``wall_seconds`` only.

    Attributes:
        steps: executed template nodes.
        output_bytes: UTF-8 bytes of rendered text.
        wall_seconds: elapsed time.
        input_bytes: size of the data that one CEL expression reads; values and characters are counted.
        depth: nesting of the value whose strings are resolved, and of the data that CEL reads.
        include_depth: templates that include each other.
        collection_items: items of a list or map that a function builds.
        range_items: iterations of ``range`` over a number.
    """

    steps: int = 100_000
    output_bytes: int = 65_536
    wall_seconds: float = 30.0
    input_bytes: int = 8 << 20
    depth: int = 128
    include_depth: int = 100
    collection_items: int = 100_000
    range_items: int = 10_000

    def __post_init__(self) -> None:
        if min(self.output_bytes, self.wall_seconds) < 0:
            raise ValueError("output_bytes and wall_seconds must not be negative; 0 means unlimited")
        others = (self.steps, self.input_bytes, self.depth, self.include_depth, self.collection_items, self.range_items)
        if min(others) < 1:
            raise ValueError("steps, input_bytes, depths, collection_items and range_items must be at least 1")
        if self.depth > MAX_DEPTH or self.include_depth > MAX_INCLUDE_DEPTH:
            raise ValueError(f"depth goes up to {MAX_DEPTH}, include_depth up to {MAX_INCLUDE_DEPTH}")

    @property
    def text_bytes(self) -> int:
        """The longest string that a function may build as an intermediate result: four times the output, at least 1
        MiB.
        """
        if not self.output_bytes:
            return _UNLIMITED_TEXT_BYTES
        return max(_MIN_TEXT_BYTES, _TEXT_PER_OUTPUT * self.output_bytes)


class SliceSpentError(Exception):
    """The grant is used up, and the evaluation has to start again in another place.

    Not an ``ExpressionError``: nothing is wrong with the template. Only a ``Meter`` with a grant raises it.
    """


@dataclass(frozen=True, slots=True)
class Slice:
    """The part of an evaluation that may run before ``SliceSpentError``.

    ``text`` is the total length of the strings that are passed to functions: a function's work on one string is not
    interrupted, and the slowest ones (case styles) need a microsecond for each character.
    """

    steps: int
    seconds: float
    text: int = 1 << 30


class Meter:
    """Counts one evaluation against its limits."""

    __slots__ = (
        *("_alarm", "_deadline", "_interrupt", "_left", "_monotonic"),
        *("_slice_deadline", "_slice_end", "_text_left", "limits"),
    )

    def __init__(
        self,
        limits: EvaluationLimits,
        *,
        grant: Slice | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        interrupt: Callable[[], object] | None = None,
    ) -> None:
        """
        Args:
            grant: the work that may be done before ``SliceSpentError``.
            monotonic: a clock in seconds that never goes back.
            interrupt: called from time to time; an error that it raises ends the evaluation.
        """
        self.limits = limits
        self._monotonic = monotonic
        self._interrupt = interrupt
        started = monotonic()
        self._left = limits.steps * NODE
        self._deadline = started + limits.wall_seconds if limits.wall_seconds else float("inf")
        self._slice_end = self._left - grant.steps * NODE if grant else -1
        self._slice_deadline = started + grant.seconds if grant else float("inf")
        self._text_left: float = grant.text if grant else float("inf")
        self._alarm = self._next_alarm()

    def spend(self, ticks: int = NODE) -> None:
        """Account for work that is about to be done.

        Raises:
            LimitExceededError: the step budget or the time is used up.
            SliceSpentError: the granted slice is used up.
        """
        self._left -= ticks
        if self._left < self._alarm:
            self._check()

    def spend_text(self, length: int) -> None:
        """Account for processing a text of ``length`` characters or bytes.

        Raises: as ``spend``.
        """
        self._text_left -= length
        if self._text_left < 0:
            raise SliceSpentError
        self.spend((length >> _KIB_SHIFT) * NODE)

    def foresee(self, ticks: int) -> None:
        """Check that ``ticks`` of uninterrupted work still fit into the grant; nothing is spent.

        Raises:
            SliceSpentError: the rest of the grant is too small.
        """
        if self._slice_end >= 0 and self._left - ticks < self._slice_end:
            raise SliceSpentError

    def admit_text(self, length: int) -> None:
        """Account for building a text of ``length``, before it is built.

        Raises:
            LimitExceededError: longer than a function may build.
        """
        if length > self.limits.text_bytes:
            allowed = self.limits.text_bytes
            raise LimitExceededError(
                "text_bytes", allowed, f"a function would build a string of more than {allowed} bytes"
            )
        self.spend_text(length)

    def admit_items(self, count: int) -> None:
        """Account for building a list or map of ``count`` items, before it is built.

        Raises:
            LimitExceededError: larger than a function may build.
        """
        if count > self.limits.collection_items:
            allowed = self.limits.collection_items
            raise LimitExceededError(
                "collection_items", allowed, f"a function would build a collection of more than {allowed} items"
            )
        self.spend(count)

    def _check(self) -> None:
        if self._left < 0:
            allowed = self.limits.steps
            raise LimitExceededError("steps", allowed, f"the expression needs more than {allowed} steps")
        if self._interrupt is not None:
            self._interrupt()
        now = self._monotonic()
        if now > self._deadline:
            seconds = self.limits.wall_seconds
            raise LimitExceededError("wall_seconds", seconds, f"the expression ran for more than {seconds:g} s")
        if self._left < self._slice_end or now > self._slice_deadline:
            raise SliceSpentError
        self._alarm = self._next_alarm()

    def _next_alarm(self) -> int:
        return max(self._left - _CHECK_TICKS, 0, self._slice_end)
