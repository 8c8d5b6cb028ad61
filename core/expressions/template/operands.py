"""Operands, commands and pipelines as closures: how a template computes a value.

Each closure takes the ``Frame`` of the running template; one after a ``|`` also takes the piped value. Where Go decides
by the static type of a value, this module decides by the origin of the value: a nil from a pipeline is ``ABSENT``, and
all its fields are absent; a nil from the data has no fields. Source: templating contract 7.2 and 7.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, NoReturn

from core.expressions.errors import EvaluationError, ExpressionError, Fault
from core.expressions.template import calls, fields, nodes, values
from core.expressions.template.arguments import (
    CALL_FAILURES,
    TAKES_NIL,
    TYPED_BY_PARAMETER,
    call_failure,
    charge,
    check_argument,
    literal_argument,
    wrong_count,
)
from core.expressions.template.frames import Evaluate, Frame, FrameScope, Stage
from core.expressions.template.functions import Function, Parameter
from core.expressions.template.values import ABSENT, GoObject, Int, Value

_INT64: Final = range(-(1 << 63), 1 << 63)


class OperandCompiler:
    """Compiles the pipelines of one template body."""

    def __init__(self, functions: Mapping[str, Function], scope: FrameScope) -> None:
        self._functions = functions
        self._scope = scope

    def printed(self, pipe: nodes.Pipe) -> Evaluate:
        """The value of ``pipe``, for uses that treat ``None`` and ``ABSENT`` as the same."""
        if pipe.declared:
            return self.pipeline(pipe)
        return self._first(pipe.commands[0], needed=True) if len(pipe.commands) == 1 else self._commands(pipe, True)

    def pipeline(self, pipe: nodes.Pipe) -> Evaluate:
        """The value of ``pipe``, ``ABSENT`` for nil; its variables are set during the evaluation."""
        return self.assigning(pipe)[0]

    def _commands(self, pipe: nodes.Pipe, needed: bool) -> Evaluate:
        """The value of the commands of ``pipe``; ``needed``: a missing key as the value is an error."""
        stages = [self._later(command) for command in pipe.commands[1:]]
        following = pipe.commands[1].operands[0] if stages else None
        if isinstance(following, nodes.Name):
            needed = not self._functions[following.name].takes_missing
        return _piped(self._first(pipe.commands[0], needed=needed), stages)

    def assigning(self, pipe: nodes.Pipe) -> tuple[Evaluate, tuple[int, ...]]:
        """``pipeline``, and the slots of the variables that it declares or assigns."""
        compute = self._commands(pipe, False)
        if not pipe.declared:
            return compute, ()
        needing = self._commands(pipe, True)
        slots: list[int] = []
        for name in pipe.declared:
            slot = self._scope.find(name) if pipe.assigns else self._scope.declare(name)
            if slot is None:
                message = f"the variable {name} is not declared"
                return _one_after_the_other(compute, _failing(message, Fault.UNDEFINED_VARIABLE, pipe.offset)), ()
            slots.append(slot)

        def assign(frame: Frame) -> Value:
            value = compute(frame)
            cause = _cause(needing, frame) if value is ABSENT and not frame.context.missing_as_text else None
            for slot in slots:
                frame.slots[slot] = value
                if cause is not None:
                    frame.missing[slot] = cause
                elif frame.missing:
                    frame.missing.pop(slot, None)
            return value

        return assign, tuple(slots)

    # Commands

    def _first(self, command: nodes.Command, *, needed: bool = False) -> Evaluate:
        first, rest = command.operands[0], command.operands[1:]
        if isinstance(first, nodes.Name):
            return self._call(first, rest, needed=needed)
        if isinstance(first, nodes.Nil) and not rest:
            return _failing("nil is not a command", Fault.NIL_COMMAND, first.offset)
        return self._method(first, rest) if rest else self.operand(first, needed=needed)

    def _later(self, command: nodes.Command) -> Stage:
        first, rest = command.operands[0], command.operands[1:]
        if isinstance(first, nodes.Name):
            return self._piped_call(first, rest)
        return self._piped_method(first, rest)

    # Operands

    def operand(self, operand: nodes.Operand, *, needed: bool = False) -> Evaluate:
        """The value of ``operand``, when any type is accepted; ``needed``: a missing key is an error."""
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
                return fields.field(operand, needed=needed)
            case nodes.Variable():
                return self._variable(operand, needed=needed)
            case nodes.Name():
                return self._call(operand, (), needed=needed)
            case nodes.Chain(operand=inner, fields=names, offset=offset):
                start = nodes.render_operand(inner) if needed else None
                return fields.walk(self.operand(inner, needed=needed), names, offset, needed=start)
            case nodes.Pipe():
                return self.pipeline(operand) if operand.declared else self._commands(operand, needed)

    def _variable(self, variable: nodes.Variable, *, needed: bool) -> Evaluate:
        slot = self._scope.find(variable.name)
        if slot is None:
            return _failing(f"the variable {variable.name} is not declared", Fault.UNDEFINED_VARIABLE, variable.offset)
        if not needed:
            return fields.walk(lambda frame: frame.slots[slot], variable.fields, variable.offset)

        def start(frame: Frame) -> Value:
            cause = frame.missing.get(slot)
            if cause is not None:
                raise EvaluationError(
                    cause.message, fault=cause.fault, subject=cause.subject, offset=cause.offset, remedy=cause.remedy
                )
            return frame.slots[slot]

        name = "" if variable.name == "$" else variable.name
        return fields.walk(start, variable.fields, variable.offset, needed=name)

    # Calls

    def _call(self, name: nodes.Name, operands: tuple[nodes.Operand, ...], *, needed: bool = False) -> Evaluate:
        function = self._functions[name.name]
        if name.name in ("and", "or"):
            return self._short_circuit(function, operands, name.offset)
        arguments = self._arguments(function, operands)
        if not function.accepts(len(arguments)):
            return _raising(lambda: wrong_count(function, len(arguments), name.offset))
        if len(arguments) == 1:
            return calls.of_one(function, arguments[0], name.offset)
        call = calls.of_many(function, arguments, name.offset)
        return calls.of_index(call, arguments, operands, name.offset) if needed and name.name == "index" else call

    def _piped_call(self, name: nodes.Name, operands: tuple[nodes.Operand, ...]) -> Stage:
        """A call whose last argument is the piped value."""
        function = self._functions[name.name]
        if name.name in ("and", "or"):
            return self._piped_short_circuit(function, operands)
        arguments = self._arguments(function, operands)
        count = len(arguments) + 1
        if not function.accepts(count):
            return _as_stage(_raising(lambda: wrong_count(function, count, name.offset)))
        if not arguments:
            return calls.of_piped(function, name.offset)
        return calls.of_many_and_piped(function, arguments, name.offset)

    def _arguments(self, function: Function, operands: tuple[nodes.Operand, ...]) -> list[Evaluate]:
        return [
            self._argument(function.parameter(index), function.name, operand, takes_missing=function.takes_missing)
            for index, operand in enumerate(operands)
        ]

    def _argument(
        self, parameter: Parameter, function: str, operand: nodes.Operand, *, takes_missing: bool
    ) -> Evaluate:
        offset = operand.offset
        if isinstance(operand, nodes.Number) and parameter in TYPED_BY_PARAMETER:
            return _literal(parameter, function, operand)
        if isinstance(operand, nodes.Nil) and parameter in TAKES_NIL:
            nil = TAKES_NIL[parameter]
            return lambda _frame: nil()
        evaluate = self.operand(operand, needed=not takes_missing)
        if parameter is Parameter.ANY:

            def anything(frame: Frame) -> Value:
                value = evaluate(frame)
                return None if value is ABSENT else value

            return anything
        return lambda frame: check_argument(evaluate(frame), parameter, function, offset)

    def _short_circuit(self, function: Function, operands: tuple[nodes.Operand, ...], offset: int) -> Evaluate:
        decided_by = function.name == "or"
        arguments = [self.operand(operand) for operand in operands]

        def evaluate(frame: Frame) -> Value:
            frame.context.meter.spend()
            value: Value = None
            for argument in arguments:
                value = argument(frame)
                if values.is_true(value) is decided_by:
                    break
            return values.plain(value)

        return evaluate if arguments else _raising(lambda: wrong_count(function, 0, offset))

    def _piped_short_circuit(self, function: Function, operands: tuple[nodes.Operand, ...]) -> Stage:
        """``and`` or ``or`` with the piped value at the end."""
        decided_by = function.name == "or"
        arguments = [self.operand(operand) for operand in operands]

        def stage(frame: Frame, piped: Value) -> Value:
            frame.context.meter.spend()
            for argument in arguments:
                value = argument(frame)
                if values.is_true(value) is decided_by:
                    return values.plain(value)
            return values.plain(piped)

        return stage

    # Methods

    def _method(self, operand: nodes.Operand, operands: tuple[nodes.Operand, ...]) -> Evaluate:
        """A call of a name that is not a function: it may be a method of a time, a duration or a version."""
        found = _receiver(operand)
        if found is None:
            return _failing(_takes_no_arguments(operand), Fault.ARITY, operand.offset)
        receiver, name = self.operand(found[0]), found[1]
        arguments = [self._of_method(name, argument) for argument in operands]
        offset = operand.offset

        def evaluate(frame: Frame) -> Value:
            frame.context.meter.spend()
            value = receiver(frame)
            if value is ABSENT:
                return ABSENT
            method = _method_of(value, name, len(arguments), operand)
            actual = [argument(frame, method.parameter(index)) for index, argument in enumerate(arguments)]
            return _call_method(frame, method, value, actual, offset)

        return evaluate

    def _piped_method(self, operand: nodes.Operand, operands: tuple[nodes.Operand, ...]) -> Stage:
        found = _receiver(operand)
        if found is None:
            return _as_stage(_failing(_takes_no_arguments(operand), Fault.ARITY, operand.offset))
        receiver, name = self.operand(found[0]), found[1]
        arguments = [self._of_method(name, argument) for argument in operands]
        offset, count = operand.offset, len(arguments)

        def stage(frame: Frame, piped: Value) -> Value:
            frame.context.meter.spend()
            value = receiver(frame)
            if value is ABSENT:
                return ABSENT
            method = _method_of(value, name, count + 1, operand)
            actual = [argument(frame, method.parameter(index)) for index, argument in enumerate(arguments)]
            actual.append(check_argument(piped, method.parameter(count), name, offset))
            return _call_method(frame, method, value, actual, offset)

        return stage

    def _of_method(self, name: str, operand: nodes.Operand) -> Callable[[Frame, Parameter], Value]:
        """An argument whose type is known when the method is known."""
        evaluate = self.operand(operand, needed=True)

        def argument(frame: Frame, parameter: Parameter) -> Value:
            if isinstance(operand, nodes.Number) and parameter in TYPED_BY_PARAMETER:
                return literal_argument(parameter, name, operand)
            if isinstance(operand, nodes.Nil) and parameter in TAKES_NIL:
                return TAKES_NIL[parameter]()
            return check_argument(evaluate(frame), parameter, name, operand.offset)

        return argument


def _method_of(value: Value, name: str, count: int, operand: nodes.Operand) -> Function:
    """The method that takes ``count`` arguments.

    Raises:
        EvaluationError: there is no such method; ``ARITY``, or the error of a missing field.
    """
    method = value.method(name) if isinstance(value, GoObject) else None
    if not isinstance(method, Function):
        fields.walk_field(value, name, operand.offset)
        raise EvaluationError(_takes_no_arguments(operand), fault=Fault.ARITY, offset=operand.offset)
    if not method.accepts(count):
        raise wrong_count(method, count, operand.offset)
    return method


def _call_method(frame: Frame, method: Function, value: Value, arguments: list[Value], offset: int) -> Value:
    context = frame.context
    charge(context.meter, method, arguments)
    try:
        return method.call(context, value, *arguments) if method.with_context else method.call(value, *arguments)
    except CALL_FAILURES as error:
        raise call_failure(error, method.name, offset) from error


def _receiver(operand: nodes.Operand) -> tuple[nodes.Operand, str] | None:
    """The receiver of the last field of ``operand``, and that field; ``None`` when there is no field."""
    match operand:
        case nodes.Field(names=(name,), offset=offset):
            return nodes.Dot(offset), name
        case nodes.Field(names=(*names, name)):
            return replace(operand, names=tuple(names)), name
        case nodes.Variable(fields=(*names, name)) | nodes.Chain(fields=(*names, name)):
            return replace(operand, fields=tuple(names)), name
        case _:
            return None


def _takes_no_arguments(operand: nodes.Operand) -> str:
    return f"{nodes.render_operand(operand)} is not a function and takes no arguments"


def _cause(needing: Evaluate, frame: Frame) -> EvaluationError | None:
    """The missing key because of which a pipeline has no value; ``needing`` evaluates it again."""
    try:
        needing(frame)
    except EvaluationError as error:
        return error if error.fault is Fault.MISSING else None
    return None


def _number(number: nodes.Number) -> Evaluate:
    value: Value
    if number.value.is_float:
        value = number.value.real
    elif number.value.whole in _INT64:
        value = Int(number.value.whole or 0)
    else:
        return _failing(f"{number.source} overflows int", Fault.OVERFLOW, number.offset)
    return lambda _frame: value


def _literal(parameter: Parameter, function: str, number: nodes.Number) -> Evaluate:
    try:
        value = literal_argument(parameter, function, number)
    except EvaluationError as error:
        return _failing(error.message, Fault.ARGUMENT_TYPE, number.offset)
    return lambda _frame: value


def _piped(first: Evaluate, stages: list[Stage]) -> Evaluate:
    """A pipeline: nil is ``ABSENT`` between its commands and at its end."""
    if not stages:

        def single(frame: Frame) -> Value:
            value = first(frame)
            return ABSENT if value is None else value

        return single

    def run(frame: Frame) -> Value:
        value = first(frame)
        for stage in stages:
            value = stage(frame, ABSENT if value is None else value)
        return ABSENT if value is None else value

    return run


def _one_after_the_other(first: Evaluate, second: Evaluate) -> Evaluate:
    def evaluate(frame: Frame) -> Value:
        first(frame)
        return second(frame)

    return evaluate


def _as_stage(evaluate: Evaluate) -> Stage:
    return lambda frame, _piped: evaluate(frame)


def _failing(message: str, fault: Fault, offset: int) -> Evaluate:
    return _raising(lambda: EvaluationError(message, fault=fault, offset=offset))


def _raising(error: Callable[[], ExpressionError]) -> Evaluate:
    """An evaluation that always fails, with a new error each time."""

    def fail(_frame: Frame) -> NoReturn:
        raise error()

    return fail
