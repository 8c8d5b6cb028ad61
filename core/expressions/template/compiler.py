"""Statements as closures: from a tree to a program that renders text.

Names, functions and literals are resolved before run time: names are slots, functions are bound, literals are values.
Every executed statement and call spends from the meter. Source: templating contract 7.2 and 7.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum, auto

from core.expressions.errors import EvaluationError, Fault, LimitExceededError
from core.expressions.template import jsontext, nodes, printing, values
from core.expressions.template.frames import Evaluate, Frame, FrameScope, Output
from core.expressions.template.functions import Context, Function
from core.expressions.template.operands import OperandCompiler
from core.expressions.template.values import ABSENT, GoObject, Int, Value


class _Leave(Enum):
    """How a statement ended the current iteration of the enclosing ``range``."""

    BREAK = auto()
    CONTINUE = auto()


_Run = Callable[[Frame], "_Leave | None"]


class TemplateProgram:
    """A template that can be rendered. It is compiled at the first rendering, so that mere analysis does not pay for
    it.
    """

    def __init__(self, tree: nodes.Tree, functions: Mapping[str, Function]) -> None:
        self._functions = functions
        self._tree = tree
        self._bodies: dict[str, _Body] = {}
        self._root: _Body | None = None

    def prepare(self) -> None:
        """Compile now, so that the first rendering takes no longer than the others."""
        if self._root is None:
            self._compiled()

    def render(self, variables: Value, context: Context) -> str:
        """The text of the template over ``variables``.

        Raises:
            EvaluationError, LimitExceededError: with the offset of the error.
        """
        output = Output(context.meter.limits.output_bytes)
        self._run(output, variables, context)
        return values.clean_text("".join(output.parts))

    def render_or_collect(self, variables: Value, context: Context) -> Value:
        """The same for a template that is one action; if that gives a list or a map, its JSON value instead of a text,
        unless JSON cannot represent its numbers.

        Raises:
            EvaluationError, LimitExceededError: as ``render``; the limit of the text also bounds the value as JSON.
        """
        output = Output(context.meter.limits.output_bytes, keeps_collections=True)
        self._run(output, variables, context)
        if output.collection is None:
            return values.clean_text("".join(output.parts))
        if values.is_nil_list(output.collection):
            return []
        try:
            text = jsontext.encode(output.collection, context.meter, html=False)
        except ValueError:  # NaN and infinity
            return values.clean_text(printing.output_text(output.collection, context.meter))
        Output(context.meter.limits.output_bytes).write(text)
        return jsontext.decode(text)

    def _run(self, output: Output, variables: Value, context: Context) -> None:
        try:
            root = self._root or self._compiled()
            root.run(Frame(context, output, variables, root.slots))
        except RecursionError as error:
            allowed = context.meter.limits.include_depth
            raise LimitExceededError("include_depth", allowed, "the template is nested too deeply") from error

    def _compiled(self) -> _Body:
        """The template itself; from now on its definitions can be included, too."""
        self._bodies = {name: _Body(block, self) for name, block in self._tree.definitions}
        self._root = _Body(self._tree.root, self)
        return self._root

    @property
    def functions(self) -> Mapping[str, Function]:
        return self._functions

    def include(self, name: str, frame: Frame, argument: Evaluate, offset: int) -> None:
        """Render the template ``name``, with the value of ``argument`` as its dot, into the output of ``frame``."""
        body = self._bodies.get(name)
        if body is None:
            raise EvaluationError(
                f"there is no template {name!r}", fault=Fault.NO_TEMPLATE, subject=name, offset=offset
            )
        allowed = frame.context.meter.limits.include_depth
        if frame.depth >= allowed:
            message = f"templates include each other more than {allowed} levels deep"
            raise LimitExceededError("include_depth", allowed, message)
        body.run(Frame(frame.context, frame.output, argument(frame), body.slots, frame.depth + 1))


class _Body:
    """The root of a template, or one of its definitions: with its own variables and its own dot."""

    def __init__(self, block: nodes.Block, program: TemplateProgram) -> None:
        self._program = program
        self._scope = FrameScope()
        self._operands = OperandCompiler(program.functions, self._scope)
        self.run = self._block(block)
        self.slots = self._scope.slots

    def _block(self, block: nodes.Block) -> _Run:
        runs = [self._statement(statement) for statement in block]
        if len(runs) == 1:
            return runs[0]

        def run(frame: Frame) -> _Leave | None:
            for statement in runs:
                leave = statement(frame)
                if leave is not None:
                    return leave
            return None

        return run

    def _statement(self, statement: nodes.Statement) -> _Run:
        match statement:
            case nodes.Text(value=text):
                return _write_text(text)
            case nodes.Action():
                return self._action(statement)
            case nodes.If():
                return self._if(statement)
            case nodes.With():
                return self._with(statement)
            case nodes.Range():
                return self._range(statement)
            case nodes.Break():
                return lambda _frame: _Leave.BREAK
            case nodes.Continue():
                return lambda _frame: _Leave.CONTINUE
            case nodes.Include():
                return self._include(statement)

    def _action(self, action: nodes.Action) -> _Run:
        evaluate, offset = self._operands.printed(action.pipe), action.pipe.offset

        def run(frame: Frame) -> None:
            meter = frame.context.meter
            meter.spend()
            value = evaluate(frame)
            if type(value) is not str:
                if (value is None or value is ABSENT) and not frame.context.missing_as_text:
                    raise _nothing_to_print(offset)
                if frame.output.keeps_collections and isinstance(value, (list, dict)):
                    frame.output.collection = value
                    return
                value = printing.output_text(value, meter)
            frame.output.write(value)

        def run_silently(frame: Frame) -> None:
            frame.context.meter.spend()
            evaluate(frame)

        return run_silently if action.pipe.declared else run

    def _branches(self, statement: nodes.If | nodes.With) -> tuple[Evaluate, _Run, _Run]:
        mark = self._scope.mark()
        evaluate = self._operands.pipeline(statement.pipe)
        inner = self._scope.mark()
        body = self._block(statement.body)
        self._scope.release(inner)
        otherwise = self._block(statement.otherwise)
        self._scope.release(mark)
        return evaluate, body, otherwise

    def _if(self, statement: nodes.If) -> _Run:
        evaluate, body, otherwise = self._branches(statement)

        def run(frame: Frame) -> _Leave | None:
            frame.context.meter.spend()
            return body(frame) if values.is_true(evaluate(frame)) else otherwise(frame)

        return run

    def _with(self, statement: nodes.With) -> _Run:
        evaluate, body, otherwise = self._branches(statement)

        def run(frame: Frame) -> _Leave | None:
            frame.context.meter.spend()
            value = evaluate(frame)
            if not values.is_true(value):
                return otherwise(frame)
            outer, frame.dot = frame.dot, value
            try:
                return body(frame)
            finally:
                frame.dot = outer

        return run

    def _range(self, statement: nodes.Range) -> _Run:
        mark = self._scope.mark()
        evaluate, slots = self._operands.assigning(statement.pipe)
        inner = self._scope.mark()
        body = self._block(statement.body)
        self._scope.release(inner)
        otherwise = self._block(statement.otherwise)
        self._scope.release(mark)
        offset = statement.pipe.offset

        def run(frame: Frame) -> _Leave | None:
            meter = frame.context.meter
            meter.spend()
            subject = evaluate(frame)
            outer, empty = frame.dot, True
            try:
                for key, element in _rounds(subject, frame, pair=len(slots) > 1, offset=offset):
                    empty = False
                    meter.spend()
                    if slots:
                        frame.slots[slots[-1]] = element
                    if len(slots) > 1:
                        frame.slots[slots[0]] = key
                    frame.dot = element
                    if body(frame) is _Leave.BREAK:
                        break
            finally:
                frame.dot = outer
            if not empty:
                return None
            leave = otherwise(frame)
            return None if leave is _Leave.BREAK else leave  # the flow ends in this loop, as in Go

        return run

    def _include(self, statement: nodes.Include) -> _Run:
        evaluate = self._operands.pipeline(statement.pipe) if statement.pipe else _absent
        name, offset, program = statement.name, statement.offset, self._program

        def run(frame: Frame) -> None:
            frame.context.meter.spend()
            program.include(name, frame, evaluate, offset)

        return run


def _nothing_to_print(offset: int) -> EvaluationError:
    remedy = 'give another value, as in {{ inputs.x | default "" }}'
    return EvaluationError("this is null, which has no text", fault=Fault.MISSING, offset=offset, remedy=remedy)


def _absent(_frame: Frame) -> Value:
    return ABSENT


def _write_text(text: str) -> _Run:
    def run(frame: Frame) -> None:
        frame.context.meter.spend()
        frame.output.write(text)

    return run


def _rounds(subject: Value, frame: Frame, *, pair: bool, offset: int) -> Iterator[tuple[Value, Value]]:
    """The iterations of a ``range``: index or key, and element.

    Raises:
        EvaluationError: ``subject`` cannot be iterated.
        LimitExceededError: the number is above the limit.
    """
    if isinstance(subject, list):
        return ((Int(index), element) for index, element in enumerate(subject))
    if isinstance(subject, dict):
        frame.context.meter.foresee(len(subject))
        return ((key, subject[key]) for key in printing.sorted_keys(subject))
    if subject is None or subject is ABSENT:
        return iter(())
    if isinstance(subject, Int):
        return ((None, type(subject)(number)) for number in _counted(subject, frame, pair=pair, offset=offset))
    if isinstance(subject, GoObject) and subject.number is not None:
        counted = _counted(subject.number, frame, pair=pair, offset=offset)
        return ((None, subject.with_number(number)) for number in counted)
    remedy = "convert with int" if values.kind_of(subject) is values.ValueKind.FLOAT else ""
    raise _no_range(f"range cannot iterate over a value of type {values.type_name(subject)}", offset, remedy)


def _counted(number: int, frame: Frame, *, pair: bool, offset: int) -> range:
    if pair:
        raise _no_range("a number gives one variable, not two", offset)
    allowed = frame.context.meter.limits.range_items
    if number > allowed:
        raise LimitExceededError("range_items", allowed, f"the maximum of range over a number is {allowed}")
    return range(number)


def _no_range(message: str, offset: int, remedy: str = "") -> EvaluationError:
    return EvaluationError(message, fault=Fault.RANGE_TYPE, offset=offset, remedy=remedy)
