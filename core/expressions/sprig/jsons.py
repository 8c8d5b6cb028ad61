"""JSON text from values, and values from JSON text. Source: templating contract 8.2 and 10.3."""

from __future__ import annotations

from typing import Final

from core.expressions.template import jsontext
from core.expressions.template.functions import ANY, STRING, Context, FunctionTable
from core.expressions.template.values import Value

FUNCTIONS: Final = FunctionTable()


@FUNCTIONS.add("toJson", takes=(ANY,), with_context=True)
def _to_json(context: Context, value: Value) -> str:
    return _lenient(context, value)


@FUNCTIONS.add("toPrettyJson", takes=(ANY,), with_context=True)
def _to_pretty_json(context: Context, value: Value) -> str:
    return _lenient(context, value, pretty=True)


@FUNCTIONS.add("mustToJson", takes=(ANY,), with_context=True)
def _must_to_json(context: Context, value: Value) -> str:
    return jsontext.encode(value, context.meter)


@FUNCTIONS.add("mustToPrettyJson", takes=(ANY,), with_context=True)
def _must_to_pretty_json(context: Context, value: Value) -> str:
    return jsontext.encode(value, context.meter, pretty=True)


@FUNCTIONS.add("toRawJson", "mustToRawJson", takes=(ANY,), with_context=True)
def _to_raw_json(context: Context, value: Value) -> str:
    return jsontext.encode(value, context.meter, html=False)


@FUNCTIONS.add("fromJson", takes=(STRING,))
def _from_json(text: str) -> Value:
    try:
        return jsontext.decode(text)
    except ValueError:
        return None


@FUNCTIONS.add("mustFromJson", takes=(STRING,))
def _must_from_json(text: str) -> Value:
    return jsontext.decode(text)


def _lenient(context: Context, value: Value, *, pretty: bool = False) -> str:
    try:
        return jsontext.encode(value, context.meter, pretty=pretty)
    except ValueError:
        return ""
