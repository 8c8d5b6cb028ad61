"""Operands, commands and pipelines as closures: how a template computes a value.

Each closure takes the ``Frame`` of the running template; a command's closure also takes the piped value. What Go
decides by the static type of a value is decided here by where the value comes from: a nil that came out of a pipeline
is ``ABSENT``, and has only absent fields; a nil found in the data has none. Source: templating contract 7.2 and 7.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, NoReturn

from core.expressions.errors import EvaluationError, ExpressionError, Fault, LimitExceededError
from core.expressions.template import nodes, values
from core.expressions.template.functions import Context, Function, Parameter
from core.expressions.template.values import ABSENT, GoObject, Int, Kind, StringMap, Value

_INT64: Final = range(-(1 << 63), 1 << 63)


class _NoPipedValue:
    """There is no earlier stage in the pipeline."""


NOTHING: Final = _NoPipedValue()


class Frame:
    """One running template body: its dot, its variables (``$`` is slot 0) and where its output goes."""

    __slots__ = ("context", "depth", "dot", "output", "slots")

    def __init__(self, context: Context, output: Output, dot: Value, slots: int, depth: int = 0) -> None:
        self.context = context
        self.output = output
        self.dot = dot
        self.slots: list[Value] = [dot, *[None] * (slots - 1)]
        self.depth = depth


class Output:
    """Rendered text, bounded."""

    __slots__ = ("_allowed", "_size", "parts")

    def __init__(self, allowed: int) -> None:
        self.parts: list[str] = []
        self._allowed = allowed
        self._size = 0

    def write(self, text: str) -> None:
        """Append ``text``.

        Raises:
            LimitExceededError: the output would exceed its limit.
        """
        self._size += values.byte_length(text)
        if self._allowed and self._size > self._allowed:
            message = f"the rendered text is longer than {self._allowed} bytes"
            raise LimitExceededError("output_bytes", self._allowed, message)
        self.parts.append(text)


Evaluate = Callable[[Frame], Value]
Stage = Callable[[Frame, Value], Value]


class Scope:
    """Where variables live at a place of the text: names to slots, innermost last."""

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


class OperandCompiler:
    """Compiles the pipelines of one template body."""

    def __init__(self, functions: Mapping[str, Function], scope: Scope) -> None:
        self._functions = functions
        self._scope = scope

    def pipeline(self, pipe: nodes.Pipe) -> Evaluate:
        """The value of ``pipe``, ``ABSENT`` for nil; its variables are set on the way."""
        return self.assigning(pipe)[0]

    def assigning(self, pipe: nodes.Pipe) -> tuple[Evaluate, tuple[int, ...]]:
        """``pipeline``, and the slots of the variables it declares or assigns."""
        stages = [self._command(command, is_first=index == 0) for index, command in enumerate(pipe.commands)]
        slots: list[int] = []
        for name in pipe.declared:
            slot = self._scope.find(name) if pipe.assigns else self._scope.declare(name)
            if slot is None:
                return _failing(f"the variable {name} is not declared", Fault.UNDEFINED_VARIABLE, pipe.offset), ()
            slots.append(slot)
        compute = _pipe_stages(stages)
        if not slots:
            return compute, ()

        def assign(frame: Frame) -> Value:
            value = compute(frame)
            for slot in slots:
                frame.slots[slot] = value
            return value

        return assign, tuple(slots)

    def _command(self, command: nodes.Command, *, is_first: bool) -> Stage:
        first, rest = command.operands[0], command.operands[1:]
        if isinstance(first, nodes.Name):
            return self._call(first, rest)
        if isinstance(first, nodes.Nil):
            return _as_stage(_failing("nil is not a command", Fault.NIL_COMMAND, first.offset))
        if is_first and not rest:
            return _as_stage(self.operand(first))
        receiver, method = _receiver(first)
        if receiver is not None:
            return self._method_call(self.operand(receiver), method, rest, first)
        return _as_stage(_failing(_takes_no_arguments(first), Fault.ARITY, first.offset))

    # Operands

    def operand(self, operand: nodes.Operand) -> Evaluate:
        """The value of ``operand`` where any type will do."""
        match operand:
            case nodes.Number():
                return _number(operand)
            case nodes.String(value=value) | nodes.Bool(value=value):
                return lambda _frame: value
            case nodes.Nil():
                return lambda _frame: None
            case nodes.Dot():
                return lambda frame: frame.dot
            case nodes.Field():
                return _field(operand)
            case nodes.Variable():
                return self._variable(operand)
            case nodes.Name():
                call = self._call(operand, ())
                return lambda frame: call(frame, NOTHING)
            case nodes.Chain(operand=inner, fields=fields, offset=offset):
                return _walk(self.operand(inner), fields, offset)
            case nodes.Pipe():
                return self.pipeline(operand)

    def _variable(self, variable: nodes.Variable) -> Evaluate:
        slot = self._scope.find(variable.name)
        if slot is None:
            return _failing(f"the variable {variable.name} is not declared", Fault.UNDEFINED_VARIABLE, variable.offset)
        return _walk(lambda frame: frame.slots[slot], variable.fields, variable.offset)

    # Calls

    def _call(self, name: nodes.Name, operands: tuple[nodes.Operand, ...]) -> Stage:
        function = self._functions[name.name]
        if name.name in ("and", "or"):
            return self._short_circuit(name, operands)
        arguments = [
            self._argument(function.parameter(index), function.name, operand) for index, operand in enumerate(operands)
        ]
        offset, count = name.offset, len(operands)
        call, with_context = function.call, function.with_context

        def stage(frame: Frame, piped: Value) -> Value:
            frame.context.meter.spend()
            given = count + (piped is not NOTHING)
            if not function.accepts(given):
                raise _wrong_count(function, given, offset)
            actual = [argument(frame) for argument in arguments]
            if piped is not NOTHING:
                actual.append(check_argument(piped, function.parameter(count), function.name, offset))
            _charge(frame, actual)
            try:
                return call(frame.context, *actual) if with_context else call(*actual)
            except _CALL_FAILURES as error:
                raise _failure(error, function.name, offset) from error

        return stage

    def _method_call(
        self, receiver: Evaluate, name: str, operands: tuple[nodes.Operand, ...], command: nodes.Operand
    ) -> Stage:
        """A method of a time, a duration or a version; what it takes is known when the value is."""
        choices = [
            {parameter: self._argument(parameter, name, operand) for parameter in Parameter} for operand in operands
        ]
        offset, no_arguments = command.offset, _takes_no_arguments(command)

        def stage(frame: Frame, piped: Value) -> Value:
            frame.context.meter.spend()
            value = receiver(frame)
            if value is ABSENT:
                return ABSENT
            function = value.method(name) if isinstance(value, GoObject) else None
            if function is None:
                walk_field(value, name, offset)
                raise EvaluationError(no_arguments, fault=Fault.ARITY, offset=offset)
            given = len(choices) + (piped is not NOTHING)
            if not function.accepts(given):
                raise _wrong_count(function, given, offset)
            actual = [choice[function.parameter(index)](frame) for index, choice in enumerate(choices)]
            if piped is not NOTHING:
                actual.append(check_argument(piped, function.parameter(len(choices)), name, offset))
            _charge(frame, actual)
            try:
                return function.call(value, *actual)
            except _CALL_FAILURES as error:
                raise _failure(error, name, offset) from error

        return stage

    def _argument(self, parameter: Parameter, name: str, operand: nodes.Operand) -> Evaluate:
        offset = operand.offset
        if isinstance(operand, nodes.Number) and parameter in (Parameter.INT, Parameter.FLOAT, Parameter.DURATION):
            return _number_argument(parameter, name, operand)
        if isinstance(operand, nodes.Nil) and parameter is Parameter.MAP:
            return lambda _frame: {}
        evaluate = self.operand(operand)
        if parameter is Parameter.ANY:

            def anything(frame: Frame) -> Value:
                value = evaluate(frame)
                return None if value is ABSENT else value

            return anything
        return lambda frame: check_argument(evaluate(frame), parameter, name, offset)

    def _short_circuit(self, name: nodes.Name, operands: tuple[nodes.Operand, ...]) -> Stage:
        decided_by = name.name == "or"
        arguments = [self.operand(operand) for operand in operands]
        function, offset = self._functions[name.name], name.offset

        def stage(frame: Frame, piped: Value) -> Value:
            frame.context.meter.spend()
            if not arguments and piped is NOTHING:
                raise _wrong_count(function, 0, offset)
            value: Value = None
            for argument in arguments:
                value = argument(frame)
                if values.is_true(value) is decided_by:
                    return values.plain(value)
            return values.plain(value if piped is NOTHING else piped)

        return stage


def check_argument(value: Value, parameter: Parameter, function: str, offset: int) -> Value:
    """``value`` if the parameter takes it.

    Raises:
        EvaluationError: it does not; ``ARGUMENT_TYPE``.
    """
    if value is ABSENT:
        if parameter is Parameter.MAP:  # Go has a nil map, and a nil that came out of a pipeline becomes one
            return {}
        value = None
    accepted = False
    match parameter:
        case Parameter.ANY:
            accepted = True
        case Parameter.STRING:
            accepted = isinstance(value, str)
        case Parameter.INT:
            accepted = type(value) is Int
        case Parameter.FLOAT:
            accepted = values.kind_of(value) is Kind.FLOAT
            value = values.as_float(value) if accepted else value
        case Parameter.BOOL:
            accepted = isinstance(value, bool)
        case Parameter.MAP:
            accepted = isinstance(value, dict) and not isinstance(value, StringMap)
        case Parameter.TIME:
            accepted = values.type_name(value) == "time.Time"
        case Parameter.DURATION:
            accepted = values.type_name(value) == "time.Duration"
        case Parameter.VERSION:
            accepted = value is None or values.type_name(value) == "*semver.Version"
    if accepted:
        return value
    wanted = parameter.name.lower()
    found = "no value" if value is None else values.type_name(value)
    remedy = _CONVERSIONS.get(parameter, "")
    raise EvaluationError(
        f"{function} wants {wanted}, not {found}",
        fault=Fault.ARGUMENT_TYPE,
        subject=function,
        offset=offset,
        remedy=remedy,
    )


_CONVERSIONS: Final = {
    Parameter.STRING: "convert with toString, or give a default",
    Parameter.INT: "convert with int",
    Parameter.FLOAT: "convert with float64",
}


def walk_field(value: Value, name: str, offset: int) -> Value:
    """``value.name``.

    Raises:
        EvaluationError: nil or something without fields.
    """
    if isinstance(value, dict):
        if isinstance(value, StringMap):
            return value.get(name, "")
        return value.get(name)
    if value is ABSENT:
        return ABSENT
    if value is None:
        raise EvaluationError(
            f"there is nothing to take .{name} from",
            fault=Fault.NIL_FIELD,
            offset=offset,
            remedy='use dig for a path that may be absent, as in {{ dig "a" "b" "default" inputs }}',
        )
    if isinstance(value, GoObject):
        if (result := value.field(name)) is not None:
            return result
        if (method := value.method(name)) is not None:
            raise _wrong_count(method, 0, offset)
    raise EvaluationError(
        f"a value of type {values.type_name(value)} has no field .{name}", fault=Fault.NO_FIELD, offset=offset
    )


def _field(field: nodes.Field) -> Evaluate:
    names, offset = field.names, field.offset
    if field.bare:
        root = names[0]

        def from_root(frame: Frame) -> Value:
            dot = frame.dot
            value = dot if isinstance(dot, dict) and root in dot else frame.slots[0]
            frame.context.meter.spend()
            for name in names:
                value = value.get(name) if type(value) is dict else walk_field(value, name, offset)
            return value

        return from_root
    return _walk(lambda frame: frame.dot, names, offset)


def _walk(start: Evaluate, names: tuple[str, ...], offset: int) -> Evaluate:
    if not names:
        return start

    def walk(frame: Frame) -> Value:
        value = start(frame)
        frame.context.meter.spend()
        for name in names:
            value = value.get(name) if type(value) is dict else walk_field(value, name, offset)
        return value

    return walk


def _number(number: nodes.Number) -> Evaluate:
    value: Value
    if number.value.is_float:
        value = number.value.real
    elif number.value.whole in _INT64:
        value = Int(number.value.whole or 0)
    else:
        return _failing(f"{number.source} overflows int", Fault.OVERFLOW, number.offset)
    return lambda _frame: value


def _number_argument(parameter: Parameter, function: str, operand: nodes.Number) -> Evaluate:
    """A literal takes the type that is wanted, where it can."""
    number = operand.value
    if parameter is Parameter.FLOAT:
        return lambda _frame: number.real
    if number.whole is None or number.whole not in _INT64:
        wanted = parameter.name.lower()
        return _failing(f"{function} wants {wanted}, not {operand.source}", Fault.ARGUMENT_TYPE, operand.offset)
    whole = Int(number.whole)
    return lambda _frame: whole


def _pipe_stages(stages: list[Stage]) -> Evaluate:
    if len(stages) == 1:
        only = stages[0]

        def single(frame: Frame) -> Value:
            value = only(frame, NOTHING)
            return ABSENT if value is None else value

        return single

    def run(frame: Frame) -> Value:
        value: Value = NOTHING
        for stage in stages:
            value = stage(frame, value)
            if value is None:
                value = ABSENT
        return value

    return run


def _as_stage(evaluate: Evaluate) -> Stage:
    return lambda frame, _piped: evaluate(frame)


def _receiver(operand: nodes.Operand) -> tuple[nodes.Operand | None, str]:
    """What the last field of ``operand`` is taken from, and that field; ``None`` when there is no field."""
    match operand:
        case nodes.Field(names=(name,), offset=offset):
            return nodes.Dot(offset), name
        case nodes.Field(names=(*names, name)):
            return replace(operand, names=tuple(names)), name
        case nodes.Variable(fields=(*fields, name)) | nodes.Chain(fields=(*fields, name)):
            return replace(operand, fields=tuple(fields)), name
        case _:
            return None, ""


def _takes_no_arguments(operand: nodes.Operand) -> str:
    command = nodes.Command((operand,), operand.offset)
    text = nodes.render_pipe(nodes.Pipe((), False, (command,), operand.offset))
    return f"{text} is not a function and takes no arguments"


_CALL_FAILURES: Final = (ExpressionError, ValueError, ArithmeticError, RecursionError)


def _failure(error: Exception, function: str, offset: int) -> ExpressionError:
    """What a function raised, with its name and its place."""
    if isinstance(error, ExpressionError):
        if error.offset is None:
            error.offset = offset
        if error.fault is Fault.CALL and not error.subject:
            error.subject = function
        return error
    reason = "the value is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return EvaluationError(f"{function}: {reason}", fault=Fault.CALL, subject=function, offset=offset)


def _failing(message: str, fault: Fault, offset: int) -> Evaluate:
    def fail(_frame: Frame) -> NoReturn:
        raise EvaluationError(message, fault=fault, offset=offset)

    return fail


def _wrong_count(function: Function, given: int, offset: int) -> EvaluationError:
    least = len(function.parameters)
    wanted = f"at least {least}" if function.rest else str(least)
    return EvaluationError(
        f"{function.name} takes {wanted} arguments, not {given}",
        fault=Fault.ARITY,
        subject=function.name,
        offset=offset,
    )


def _charge(frame: Frame, arguments: list[Any]) -> None:
    total = 0
    for argument in arguments:
        if type(argument) is str:
            total += len(argument)
    if total:
        frame.context.meter.spend_text(total)
