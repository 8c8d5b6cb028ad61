"""Calls of functions as closures, one for each frequent shape: an evaluation spends most of its time here.

Source: templating contract 7.3.
"""

from __future__ import annotations

from core.expressions.template import nodes
from core.expressions.template.arguments import CALL_FAILURES, call_failure, charge, check_argument
from core.expressions.template.fields import missing_key
from core.expressions.template.frames import Evaluate, Frame, Stage
from core.expressions.template.functions import Function, Parameter
from core.expressions.template.values import ABSENT, Value


def of_one(function: Function, argument: Evaluate, offset: int) -> Evaluate:
    """A call with one argument."""
    call, with_context = function.call, function.with_context

    def evaluate(frame: Frame) -> Value:
        context = frame.context
        context.meter.spend()
        value = argument(frame)
        if type(value) is str:
            charge(context.meter, function, (value,))
        try:
            return call(context, value) if with_context else call(value)
        except CALL_FAILURES as error:
            raise call_failure(error, function.name, offset) from error

    return evaluate


def of_many(function: Function, arguments: list[Evaluate], offset: int) -> Evaluate:
    """A call with any number of arguments."""
    call, with_context = function.call, function.with_context

    def evaluate(frame: Frame) -> Value:
        context = frame.context
        context.meter.spend()
        actual = [argument(frame) for argument in arguments]
        charge(context.meter, function, actual)
        try:
            return call(context, *actual) if with_context else call(*actual)
        except CALL_FAILURES as error:
            raise call_failure(error, function.name, offset) from error

    return evaluate


def of_index(call: Evaluate, arguments: list[Evaluate], operands: tuple[nodes.Operand, ...], offset: int) -> Evaluate:
    """A call of ``index`` whose result is needed: a key that a map does not have is an error."""

    def evaluate(frame: Frame) -> Value:
        value = call(frame)
        if value is not None or frame.context.missing_as_text:
            return value
        container, *keys = (argument(frame) for argument in arguments)
        path = nodes.render_operand(operands[0]).removeprefix(".")
        for key, operand in zip(keys, operands[1:], strict=True):
            if type(container) is not dict:
                break
            is_computed = not isinstance(operand, nodes.String)  # then it may be a secret
            path += f".{key}" if not is_computed and key.isidentifier() else f"[{nodes.render_operand(operand)}]"
            if key not in container:
                raise missing_key(container, "" if is_computed else key, path, offset)
            container = container[key]
        return value

    return evaluate


def of_piped(function: Function, offset: int) -> Stage:
    """A call with the piped value as its only argument."""
    call, with_context, name = function.call, function.with_context, function.name
    parameter = function.parameter(0)
    takes_any = parameter is Parameter.ANY

    def stage(frame: Frame, piped: Value) -> Value:
        context = frame.context
        context.meter.spend()
        if not takes_any:
            piped = check_argument(piped, parameter, name, offset)
        elif piped is ABSENT:
            piped = None
        if type(piped) is str:
            charge(context.meter, function, (piped,))
        try:
            return call(context, piped) if with_context else call(piped)
        except CALL_FAILURES as error:
            raise call_failure(error, name, offset) from error

    return stage


def of_many_and_piped(function: Function, arguments: list[Evaluate], offset: int) -> Stage:
    """A call with arguments of its own, followed by the piped value."""
    call, with_context, name = function.call, function.with_context, function.name
    parameter = function.parameter(len(arguments))

    def stage(frame: Frame, piped: Value) -> Value:
        context = frame.context
        context.meter.spend()
        actual = [argument(frame) for argument in arguments]
        actual.append(check_argument(piped, parameter, name, offset))
        charge(context.meter, function, actual)
        try:
            return call(context, *actual) if with_context else call(*actual)
        except CALL_FAILURES as error:
            raise call_failure(error, name, offset) from error

    return stage
