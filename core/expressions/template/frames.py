"""The parts of a running template body: its frame, its output, and the closures that work on them."""

from __future__ import annotations

from collections.abc import Callable

from core.expressions.errors import EvaluationError, LimitExceededError
from core.expressions.template import values
from core.expressions.template.functions import Context
from core.expressions.template.values import Value


class Frame:
    """One running template body: its dot, its variables (``$`` is slot 0) and its output."""

    __slots__ = ("context", "depth", "dot", "missing", "output", "slots")

    def __init__(self, context: Context, output: Output, dot: Value, slots: int, depth: int = 0) -> None:
        self.context = context
        self.output = output
        self.dot = dot
        self.slots: list[Value] = [dot, *[None] * (slots - 1)]
        self.depth = depth
        self.missing: dict[int, EvaluationError] = {}
        """The slots of variables that have no value because of a missing key, with the error that names it."""


class Output:
    """Rendered text with a limit.

    ``collection`` is the list or map that an action gave, instead of its text, if ``keeps_collections`` is set.
    """

    __slots__ = ("_allowed", "_size", "collection", "keeps_collections", "parts")

    def __init__(self, allowed: int, *, keeps_collections: bool = False) -> None:
        self.parts: list[str] = []
        self.keeps_collections = keeps_collections
        self.collection: Value = None
        self._allowed = allowed
        self._size = 0

    def write(self, text: str) -> None:
        """Append ``text``.

        Raises:
            LimitExceededError: the output would exceed its limit.
        """
        self._size += len(text) if text.isascii() else values.byte_length(text)
        if self._allowed and self._size > self._allowed:
            message = f"the rendered string is longer than {self._allowed} bytes"
            raise LimitExceededError("output_bytes", self._allowed, message)
        self.parts.append(text)


Evaluate = Callable[[Frame], Value]
"""Returns the value of an operand, a command or a pipeline."""
Stage = Callable[[Frame, Value], Value]
"""A command after the first one of a pipeline; its second argument is the value of the commands before it."""


class FrameScope:
    """The visible variables at a place of the text: names to slots, innermost last."""

    def __init__(self) -> None:
        self.slots = 1
        self._visible: list[tuple[str, int]] = [("$", 0)]

    def mark(self) -> int:
        return len(self._visible)

    def release(self, mark: int) -> None:
        del self._visible[mark:]

    def declare(self, name: str) -> int:
        slot, self.slots = self.slots, self.slots + 1
        self._visible.append((name, slot))
        return slot

    def find(self, name: str) -> int | None:
        return next((slot for visible, slot in reversed(self._visible) if visible == name), None)
