"""The directives of a ``printf`` format: where they end, and their argument, width and precision.

Go parses them by hand and not by a grammar, so each wrong one has its own result. Source: templating contract
8.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from core.expressions.template.values import GoObject, Int, Value

_FLAGS: Final = "#0+- "
_LARGEST: Final = 1_000_000
_NO_VERB: Final = "%!(NOVERB)"
_BAD_WIDTH: Final = "%!(BADWIDTH)"
_BAD_PRECISION: Final = "%!(BADPREC)"


@dataclass(frozen=True, slots=True)
class Directive:
    """The format of one value.

    ``as_literal`` (``%#v``) requests the Go syntax of the value; then ``#`` and ``+`` have no other effect.
    """

    verb: str
    flags: frozenset[str] = frozenset()
    width: int = 0
    precision: int | None = None
    as_literal: bool = False

    def has(self, flag: str) -> bool:
        return flag in self.flags

    def without(self, flag: str) -> Directive:
        return replace(self, flags=self.flags - {flag})


@dataclass(frozen=True, slots=True)
class DirectiveResult:
    """A part of the result: a finished text, or a value and its format."""

    text: str = ""
    directive: Directive | None = None
    value: Value = None


class Scanner:
    """Reads a format; ``rest`` are the unused arguments, empty when arguments were chosen by number."""

    def __init__(self, template: str, arguments: Sequence[Value]) -> None:
        self._template = template
        self._arguments = arguments
        self._at = 0
        self._next = 0
        self._reordered = False
        self._good_index = True

    @property
    def rest(self) -> Sequence[Value]:
        return () if self._reordered else self._arguments[self._next :]

    def outcomes(self) -> Iterator[DirectiveResult]:
        """The parts of the result, in order."""
        while (found := self._template.find("%", self._at)) >= 0:
            yield DirectiveResult(self._template[self._at : found])
            self._at = found + 1
            yield from self._directive()
        yield DirectiveResult(self._template[self._at :])

    def _directive(self) -> Iterator[DirectiveResult]:
        self._good_index = True
        flags = self._take_flags()
        after_index = self._take_index()
        width, complaint, after_index = self._take_width(after_index)
        if complaint:
            yield DirectiveResult(complaint)
        if width is not None and width < 0:
            flags, width = (flags | {"-"}) - {"0"}, -width
        precision, complaint, after_index = self._take_precision(after_index)
        if complaint:
            yield DirectiveResult(complaint)
        if not after_index:
            self._take_index()
        if self._at >= len(self._template):
            yield DirectiveResult(_NO_VERB)
            return
        verb = self._template[self._at]
        self._at += 1
        yield self._shown(Directive(verb, flags, width or 0, precision))

    def _shown(self, directive: Directive) -> DirectiveResult:
        verb = directive.verb
        if verb == "%":
            return DirectiveResult("%")
        if not self._good_index:
            return DirectiveResult(f"%!{verb}(BADINDEX)")
        if self._next >= len(self._arguments):
            return DirectiveResult(f"%!{verb}(MISSING)")
        value = self._arguments[self._next]
        self._next += 1
        if verb in "vw":
            flags = directive.flags - {"#", "+"}
            directive = replace(directive, flags=flags, as_literal=directive.has("#"))
        return DirectiveResult(directive=directive, value=value)

    def _take_flags(self) -> frozenset[str]:
        start = self._at
        while self._at < len(self._template) and self._template[self._at] in _FLAGS:
            self._at += 1
        return frozenset(self._template[start : self._at])

    def _take_index(self) -> bool:
        """``[n]``, which chooses the next argument; returns whether there was one."""
        if not self._template.startswith("[", self._at):
            return False
        self._reordered = True
        close = self._template.find("]", self._at)
        if len(self._template) - self._at < 3 or close < 0:
            self._good_index = False
            self._at += 1
            return False
        number, end = self._number(self._at + 1, close)
        self._at = close + 1
        is_number = number is not None and end == close
        if number is not None and is_number and 1 <= number <= len(self._arguments):
            self._next = number - 1
        else:
            self._good_index = False
        return is_number

    def _take_width(self, after_index: bool) -> tuple[int | None, str, bool]:
        """The width, an error text, and whether an index stands directly before the next character."""
        if self._template.startswith("*", self._at):
            self._at += 1
            width = self._from_argument()
            return width, "" if width is not None else _BAD_WIDTH, False
        width, self._at = self._number(self._at, len(self._template))
        if after_index and width is not None:
            self._good_index = False
        return width, "", after_index

    def _take_precision(self, after_index: bool) -> tuple[int | None, str, bool]:
        if not self._template.startswith(".", self._at) or self._at + 1 >= len(self._template):
            return None, "", after_index
        self._at += 1
        if after_index:
            self._good_index = False
        after_index = self._take_index()
        if self._template.startswith("*", self._at):
            self._at += 1
            precision = self._from_argument()
            if precision is None or precision < 0:
                return None, _BAD_PRECISION, False
            return precision, "", False
        precision, self._at = self._number(self._at, len(self._template))
        return precision or 0, "", after_index

    def _number(self, start: int, end: int) -> tuple[int | None, int]:
        """Digits as a number, and the offset after them; a number that is far too long takes the rest of the format."""
        number: int | None = None
        at = start
        while at < end and "0" <= self._template[at] <= "9":
            if number is not None and number > _LARGEST:
                return None, end
            number = (number or 0) * 10 + int(self._template[at])
            at += 1
        return number, at

    def _from_argument(self) -> int | None:
        if self._next >= len(self._arguments):
            return None
        value = self._arguments[self._next]
        self._next += 1
        number = value.number if isinstance(value, GoObject) else int(value) if isinstance(value, Int) else None
        return number if number is not None and abs(number) <= _LARGEST else None
