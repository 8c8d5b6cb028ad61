"""Expressions and schemas of steps as questions: prepared once, asked for each packet.

A question is answered on the event loop with a small grant of steps and time (``quick``), or says that it needs more
(``NotNowError``). Then it is put to a process, which can be killed (``request``, see ``hub.evaluation``). Both have
the same results. Long texts are not even compiled on the loop. Pure.
Source: streaming contract 12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol

import orjson

from core.evaluation import schema as schemas
from core.evaluation.schema import SchemaError
from core.evaluation.worker import build_validator
from core.expressions import analysis, resolve
from core.expressions.cel.condition import CompiledCondition, compile_condition
from core.expressions.errors import ExpressionError, LimitExceededError
from core.expressions.expression import Template, compile_template
from core.expressions.limits import EvaluationLimits, Meter, Slice, SliceSpentError
from core.expressions.prepared import PreparedValue
from core.expressions.scopes import REALTIME_STATIC
from core.expressions.template.functions import Context
from hub.refusal import PacketRefusal, PacketRefusedError

Json = Any
Variables = Mapping[str, Json]

GRANT: Final = Slice(steps=300, seconds=0.002, text=2_048)
"""What one evaluation may use on the loop. Beyond, a process does it from the start."""
MAX_LOOP_CHARACTERS: Final = 2_048
"""Of template text: compiling cannot be interrupted."""
MAX_LOOP_TICKS: Final = 20_000
"""Of CEL, about 1 ms."""
MAX_LOOP_COST: Final = 4_000
"""Of a schema, about 1 ms."""
MAX_LOOP_SCHEMA_BYTES: Final = 4_096
MAX_INPUT_BYTES: Final = 1024 * 1024
"""JSON of the inputs of one packet."""
LIMITS: Final = EvaluationLimits(wall_seconds=2.0)

_MAX_PROBLEMS: Final = 5


class NotNowError(Exception):
    """The answer takes too long for the event loop."""


class Question(Protocol):
    """What is asked for each packet. ``subject`` is what it is asked about."""

    def quick(self, subject: Json, now: Callable[[], datetime]) -> Json:
        """The answer.

        Raises:
            NotNowError: it takes longer than the loop allows.
            PacketRefusedError: there is none.
        """
        ...

    def request(self, subject: Json) -> Mapping[str, Json]:
        """The same for a process: JSON that ``answer_of`` answers."""
        ...


class ValueQuestion:
    """A value with templates: inputs of a step. The answer is an object."""

    def __init__(self, value: Mapping[str, Json], field: str) -> None:
        self._value = dict(value)
        self._field = field
        self._prepared: PreparedValue | None = None
        self._broken: PacketRefusedError | None = None
        if _template_characters(self._value) <= MAX_LOOP_CHARACTERS:
            try:
                self._prepared = PreparedValue(self._value)
            except ExpressionError as error:
                self._broken = refusal_of(error, field)

    @property
    def reads_metadata(self) -> bool:
        """Whether it may read ``packet.metadata``."""
        return self._prepared is None or not self._prepared.reads_only_below("packet", "metadata")

    @property
    def reads_steps(self) -> bool:
        """Whether it may read ``steps``."""
        return self._prepared is None or self._prepared.may_read("steps")

    def plain(self, subject: Variables) -> dict[str, Json] | None:
        """The answer, if the value consists of constants and paths that lead to a value."""
        found = self._prepared.plain_value(subject) if self._prepared is not None else None
        return found if isinstance(found, dict) else None

    def quick(self, subject: Variables, now: Callable[[], datetime]) -> dict[str, Json]:
        if self._prepared is None:
            raise NotNowError if self._broken is None else self._broken
        if (plain := self.plain(subject)) is not None:
            return plain
        try:
            found = self._prepared.value(subject, Context(Meter(LIMITS, grant=GRANT), now=now))
            return _object(found)
        except SliceSpentError:
            raise NotNowError from None
        except ExpressionError as error:
            raise refusal_of(error, self._field) from None

    def request(self, subject: Variables) -> Mapping[str, Json]:
        return {"kind": "value", "value": self._value, "field": self._field, "variables": subject}


class ConditionQuestion:
    """A condition, in either dialect. The answer is a bool."""

    def __init__(self, text: str, field: str) -> None:
        self._text = text
        self._field = field
        self._word = resolve.as_word(text) if text.strip() else True
        self._cel: CompiledCondition | None = None
        self._template: Template | None = None
        self._broken: PacketRefusedError | None = None
        if self._word is None and len(text) <= MAX_LOOP_CHARACTERS:
            try:
                if resolve.is_cel(text):
                    self._cel = compile_condition(text)
                else:
                    self._template = compile_template(text)
                    self._template.program.prepare()
            except ExpressionError as error:
                self._broken = refusal_of(error, field)

    @property
    def reads_steps(self) -> bool:
        """Whether it may read ``steps``."""
        return self._cel is None or "steps" in self._cel.references.roots

    @property
    def reads_metadata(self) -> bool:
        """Whether it may read ``packet.metadata``."""
        return self._cel is None or any(
            use.segments[0] == "packet" and (len(use.segments) == 1 or use.segments[1] in (None, "metadata"))
            for use in self._cel.reading.uses
        )

    @property
    def is_static(self) -> bool:
        """Whether the answer is the same for all packets."""
        return self._word is not None or not analysis.check_condition(self._text, self._field, REALTIME_STATIC)

    def quick(self, subject: Variables, now: Callable[[], datetime]) -> bool:
        if self._word is not None:
            return self._word
        try:
            meter = Meter(LIMITS, grant=GRANT)
            if self._cel is not None:
                question = self._cel.ask(subject, meter, finished=True)
                if question.ticks > MAX_LOOP_TICKS:
                    raise NotNowError
                return resolve.truth(self._text, question.answer())
            if self._template is not None:
                return resolve.truth(self._text, self._template.evaluate(subject, Context(meter, now=now)))
        except SliceSpentError:
            raise NotNowError from None
        except ExpressionError as error:
            raise refusal_of(error, self._field) from None
        raise NotNowError if self._broken is None else self._broken

    def request(self, subject: Variables) -> Mapping[str, Json]:
        return {"kind": "condition", "text": self._text, "field": self._field, "variables": subject}


class SchemaQuestion:
    """A JSON Schema. The answer is the document, with defaults if they are wanted; a violation refuses the packet."""

    def __init__(
        self, schema: Mapping[str, Json], field: str, reason: PacketRefusal, *, with_defaults: bool = False
    ) -> None:
        self._schema = dict(schema)
        self._field = field
        self._reason = reason
        self._with_defaults = with_defaults
        self._cost: schemas.Cost | None = None
        self._validate: Callable[[Json, int], list[list[Any]]] | None = None
        self._prepare()

    def quick(self, subject: Json, now: Callable[[], datetime]) -> Json:
        if self._cost is None or self._validate is None or self._cost.bound(subject) >= MAX_LOOP_COST:
            raise NotNowError
        document = schemas.apply_schema_defaults(self._schema, subject) if self._with_defaults else subject
        try:
            problems = self._validate(document, _MAX_PROBLEMS)
        except (TypeError, ValueError, RecursionError):  # the library does not accept the document
            raise NotNowError from None
        if problems:
            raise PacketRefusedError(self._reason, _listed(self._field, problems))
        return document

    def request(self, subject: Json) -> Mapping[str, Json]:
        asked = {"schema": self._schema, "document": subject, "field": self._field}
        return {"kind": "schema", **asked, "defaults": self._with_defaults, "reason": str(self._reason)}

    def _prepare(self) -> None:
        try:
            if len(orjson.dumps(self._schema)) > MAX_LOOP_SCHEMA_BYTES:
                return
            normal = schemas.normalise(self._schema)
            cost = schemas.cost_of(normal, give_up_at=MAX_LOOP_COST)
            if cost.nodes + cost.once < MAX_LOOP_COST:
                self._validate, self._cost = build_validator(normal), cost
        except (SchemaError, TypeError, ValueError):
            return  # a process says why, for each packet


def answer_of(request: Mapping[str, Json], now: Callable[[], datetime]) -> Mapping[str, Json]:
    """The answer to ``Question.request``, without limits on time but those of the process.

    ``{"value": …}``, or ``{"reason", "text"}`` of a refusal.
    """
    try:
        return {"value": _answered(request, now)}
    except PacketRefusedError as refused:
        return {"reason": str(refused.reason), "text": str(refused)}


def refusal_of(error: ExpressionError, field: str) -> PacketRefusedError:
    error.inside(field)
    reason = PacketRefusal.LIMIT if isinstance(error, LimitExceededError) else PacketRefusal.EXPRESSION
    return PacketRefusedError(reason, str(error))


def encoded_inputs(inputs: Mapping[str, Json], field: str) -> bytes:
    """The JSON of evaluated inputs.

    Raises:
        PacketRefusedError: it is too large, or has a value that JSON cannot have.
    """
    try:
        encoded = orjson.dumps(inputs)
    except TypeError as error:
        raise PacketRefusedError(PacketRefusal.EXPRESSION, f"{field}: the inputs are not JSON: {error}") from None
    if len(encoded) > MAX_INPUT_BYTES:
        text = f"{field}: the inputs have {len(encoded)} bytes, the maximum is {MAX_INPUT_BYTES}; pass less data"
        raise PacketRefusedError(PacketRefusal.LIMIT, text)
    return encoded


def _answered(request: Mapping[str, Json], now: Callable[[], datetime]) -> Json:
    field, context = request["field"], Context(Meter(LIMITS), now=now)
    try:
        match request["kind"]:
            case "value":
                found = _object(resolve.Resolver(context).value(request["value"], request["variables"]))
                encoded_inputs(found, field)
                return found
            case "condition":
                return resolve.Resolver(context).condition(request["text"], request["variables"])
    except ExpressionError as error:
        raise refusal_of(error, field) from None
    return _validated(request, field)


def _validated(request: Mapping[str, Json], field: str) -> Json:
    schema, document = request["schema"], request["document"]
    try:
        if request["defaults"]:
            document = schemas.apply_schema_defaults(schema, document)
        problems = build_validator(schemas.normalise(schema))(document, _MAX_PROBLEMS)
    except SchemaError as error:
        problems = [[[], f"the schema cannot be used: {error}", "schema"]]
    except (TypeError, ValueError, RecursionError):
        problems = [[[], "the document cannot be validated", "limit"]]
    if problems:
        raise PacketRefusedError(PacketRefusal(request["reason"]), _listed(field, problems))
    return document


def _object(value: Json) -> dict[str, Json]:
    return resolve.as_object(value) or {}


def _listed(field: str, problems: list[list[Any]]) -> str:
    found = []
    for path, message, _ in problems:
        place = schemas.path_of(path)
        separator = "." if place and not place.startswith("[") else ""
        found.append(f"{field}{separator}{place}: {message}")
    return "; ".join(found)[:1_000]


def _template_characters(value: Json) -> int:
    total, pending = 0, [value]
    while pending and total <= MAX_LOOP_CHARACTERS:
        item = pending.pop()
        if isinstance(item, str):
            total += len(item) if "{{" in item else 0
        elif isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return total
