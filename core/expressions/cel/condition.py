"""A condition in CEL: compiled once, bound to data, evaluated here or in another process.

``compile_condition`` reads the text, ``CompiledCondition.ask`` binds the data without evaluating, and
``CelQuestion.answer`` evaluates. Before that, a caller on an event loop reads ``CelQuestion.ticks`` and decides where
to evaluate; another process evaluates with ``evaluate_there`` and returns the argument of ``CelQuestion.conclude``.

There are the same three answers as for templates. If upstream data does not exist yet, every error is a wait, because
the data may still decide (``false && x``); ``has()`` of a step waits for the step, too. When all steps that are read
have delivered their outputs, an error is an error of the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from core.api.suggestion import closest
from core.caches.recently_used import kept_by_text
from core.expressions.cel import binding, blame, compilation, cost, library, reading, tree
from core.expressions.cel.binding import CelBindings, Need
from core.expressions.cel.blame import Blame
from core.expressions.cel.library import CelProgram, NoValueError
from core.expressions.cel.reading import ExpressionReads, Purpose
from core.expressions.errors import (
    BlockedError,
    EvaluationError,
    ExpressionError,
    Fault,
    LimitExceededError,
    OffloadedDataError,
    TemplateSyntaxError,
)
from core.expressions.limits import Meter
from core.expressions.paths import Json, dotted
from core.expressions.references import References

CACHED_CONDITION_BYTES: Final = 16 << 20
"""About the memory of the compiled conditions that were used last: a thousand usual ones."""
_CHARACTER_BYTES: Final = 500
"""What a character of a condition takes when it is compiled, at most."""

_POSSIBLE_TYPES: Final = frozenset({"bool", "dyn", "string"})
_STEPS: Final = "steps"


@dataclass(frozen=True, slots=True)
class ConditionOutcome:
    """The outcome of an evaluation: a truth value, a string, the kind of another value, or the cause of a failure."""

    value: bool | str | None = None
    kind: str = ""
    blame: Blame | None = None


@dataclass(frozen=True, slots=True)
class CompiledCondition:
    """A compiled condition. ``reading`` has its references; ``constant_steps`` is the maximum number of nodes that it
    evaluates, ``None`` when that depends on the data.
    """

    text: str
    program: CelProgram
    root: tree.Node
    reading: ExpressionReads
    needs: Need
    constant_steps: int | None

    @property
    def references(self) -> References:
        return self.reading.references

    def ask(self, variables: Mapping[str, Json], meter: Meter, *, finished: bool = False) -> CelQuestion:
        """Bind the condition to ``variables``, without evaluating it.

        Args:
            finished: every step has ended, so missing data will never arrive.
        Raises:
            BlockedError: the result depends on the presence of a step that has not delivered its output.
            OffloadedDataError: a value in object storage is used in ``has()`` and also read.
            LimitExceededError: the data is larger than one evaluation allows.
            SliceSpentError: the data is larger than the meter's grant.
        """
        steps = variables.get(_STEPS)
        if not finished:
            absent = frozenset(name for name in self.reading.present_steps if not binding.delivered(steps, name))
            if absent or self.reading.any_step_counts:
                self._wait(absent, "the result depends on its output, and it has not finished")
        try:
            bindings = binding.bind(self.needs, variables, meter, finished=finished, offset_of=self._offset_of)
        except ExpressionError as error:
            error.locate(self.text)
            raise
        if bindings.is_undecided:
            self.fetch(bindings)
        return CelQuestion(self, variables, bindings, cost.bound_of(self.root, bindings), finished)

    def _wait(self, steps: frozenset[str], why: str) -> NoReturn:
        subject = ", ".join(sorted(steps)) or "the steps"
        error = BlockedError(f"{subject}: {why}", steps=steps, subject=subject)
        error.locate(self.text)
        raise error

    def fetch(self, bindings: CelBindings) -> NoReturn:
        """Raise the error that the data left out of ``bindings`` is needed."""
        path = dotted(tuple(segment for segment in bindings.offloaded[0] if segment is not None))
        error = OffloadedDataError(
            f"{path} is in object storage and is read inside a condition",
            subject=path,
            remedy="test only whether it is there, as in has(steps.a.output.key)",
        )
        error.offset = self._offset_of(bindings.offloaded[0])
        error.locate(self.text)
        raise error

    def _offset_of(self, path: binding.Path) -> int:
        return next((use.offset for use in self.reading.uses if use.segments[: len(path)] == path), 0)


@dataclass(frozen=True, slots=True)
class CelQuestion:
    """A condition with its data. ``ticks`` bounds the cost of the answer; see ``cost``."""

    condition: CompiledCondition
    variables: Mapping[str, Json]
    bindings: CelBindings
    ticks: int
    finished: bool

    def answer(self) -> bool | str:
        """Evaluate here, without a possible interruption.

        Raises:
            ExpressionError: see ``conclude``.
        """
        return self.conclude(_evaluate(self.condition, self.bindings.data))

    def conclude(self, outcome: ConditionOutcome) -> bool | str:
        """The value: a bool or a string.

        Raises:
            BlockedError: there is no value, and a step that is read has not delivered its output.
            OffloadedDataError: there is no value without data that is in object storage.
            LimitExceededError: the evaluation needs more than the library allows.
            EvaluationError: the data does not fit, or the value is neither a bool nor a string.
        """
        if outcome.blame is not None:
            self._fail(outcome.blame)
        if outcome.value is None:
            error = EvaluationError(
                f"the condition gave {compilation.type_word(outcome.kind)}, which is not a boolean",
                fault=Fault.NOT_BOOLEAN,
                remedy='compare it, as in inputs.mode == "fast", or test it with has(inputs.mode)',
            )
            error.locate(self.condition.text)
            raise error
        return outcome.value

    def _fail(self, blame: Blame) -> NoReturn:
        condition = self.condition
        if blame.limit:
            limit = LimitExceededError(blame.limit, library.MAX_ITERATIONS, blame.message)
            limit.offset, limit.remedy = blame.offset, blame.remedy
            limit.locate(condition.text)
            raise limit
        path, remedy = self._missing(blame)
        message = _about(path, blame) if path else blame.message
        if not self.finished:
            self._wait_if_upstream(blame, message)
        if self.bindings.offloaded:
            condition.fetch(self.bindings)
        subject = dotted(path) or blame.missing
        error = EvaluationError(
            message, fault=blame.fault, subject=subject, remedy=remedy or blame.remedy, offset=blame.offset
        )
        error.locate(condition.text)
        raise error

    def _wait_if_upstream(self, blame: Blame, message: str) -> None:
        references = self.condition.references
        steps = self.variables.get(_STEPS)
        absent = frozenset(name for name in references.steps if not binding.delivered(steps, name))
        if not absent and not references.unknown_steps:
            return
        error = BlockedError(message, steps=absent, subject=blame.missing)
        error.fault, error.offset = blame.fault, blame.offset
        error.locate(self.condition.text)
        raise error

    def _missing(self, blame: Blame) -> tuple[tuple[str | int, ...], str]:
        """The path that leads nowhere at the place of the error, and what to write instead."""
        for use in self.condition.reading.uses:
            path = tuple(segment for segment in use.segments if segment is not None)
            if len(path) == len(use.segments):
                found = self._first_missing(path if use.purpose is Purpose.VALUE else path[:-1])
                if found is not None and str(path[found]) == blame.missing:
                    return path[: found + 1], self._suggestion(path[: found + 1])
        return (), ""

    def _first_missing(self, path: tuple[str | int, ...]) -> int | None:
        value: Json = self.variables
        for index, segment in enumerate(path):
            if isinstance(value, list):
                is_there = isinstance(segment, int) and 0 <= segment < len(value)
            else:
                is_there = isinstance(value, Mapping) and segment in value
            if not is_there:
                return index
            value = value[segment]
        return None

    def _suggestion(self, path: tuple[str | int, ...]) -> str:
        container: Json = self.variables
        for segment in path[:-1]:
            container = container[segment]
        known = (str(key) for key in container) if isinstance(container, Mapping) else ()
        guess = closest(str(path[-1]), known)
        if guess:
            return f"did you mean {_spelled((*path[:-1], guess))}?"
        if isinstance(container, list):
            return f"test it first, as in size({_spelled(path[:-1])}) > {path[-1]} && ..."
        if not isinstance(container, Mapping):
            return ""
        if isinstance(path[-1], str) and path[-1].isidentifier():
            return f"test it first, as in has({_spelled(path)}) && ..."
        return f'test it first, as in "{path[-1]}" in {_spelled(path[:-1])} && ...'


def compile_condition(text: str, steps: Iterable[str] = ()) -> CompiledCondition:
    """The condition in ``text``; ``steps`` are names to suggest for unknown ones.

    Raises:
        TemplateSyntaxError: with line, column and remedy.
        LimitExceededError: it is too long, or nested too deeply.
    """
    try:
        return _compiled(text)
    except (library.CompilationError, library.TooLargeError) as error:
        raise compilation.why_not(text, error, steps) from None


def evaluate_there(text: str, data: Mapping[str, Json]) -> ConditionOutcome:
    """``CelQuestion.answer`` up to the outcome, in a process that has only the text and the bound data."""
    return _evaluate(compile_condition(text), data)


@kept_by_text(CACHED_CONDITION_BYTES, lambda condition: _CHARACTER_BYTES * len(condition.text))
def _compiled(text: str) -> CompiledCondition:
    program = library.compile_text(text)
    root = tree.read(program.serialized)
    if program.result_type not in _POSSIBLE_TYPES:
        error = TemplateSyntaxError(
            f"the condition gives {compilation.type_word(program.result_type)}, which is not a boolean",
            fault=Fault.NOT_BOOLEAN,
            remedy='compare it, as in size(inputs.items) > 0 or inputs.mode == "fast"',
            offset=root.offset,
        )
        error.locate(text)
        raise error
    read = reading.read(root)
    return CompiledCondition(text, program, root, read, binding.needs_of(read), cost.constant_bound(root))


cache_info: Final = _compiled.cache_info
"""The number of cached conditions, and of hits."""


def _evaluate(condition: CompiledCondition, data: Mapping[str, Json]) -> ConditionOutcome:
    try:
        value, kind = library.evaluate(condition.program.handle, data)
    except NoValueError as error:
        return ConditionOutcome(blame=blame.find(condition.root, data, error))
    return ConditionOutcome(value if isinstance(value, (bool, str)) else None, kind)


def _about(path: tuple[str | int, ...], blame: Blame) -> str:
    if blame.within:
        return f"{_spelled(path[:-1])} is {blame.within}, not an object"
    return f"{_spelled(path)} is missing"


def _spelled(path: tuple[str | int, ...]) -> str:
    text = ""
    for segment in path:
        if isinstance(segment, str) and segment.isidentifier():
            text += f".{segment}" if text else segment
        else:
            text += f'["{segment}"]' if isinstance(segment, str) else f"[{segment}]"
    return text
