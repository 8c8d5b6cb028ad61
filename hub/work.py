"""What is evaluated and changed on the way of a packet to one step, in the order of the contract.

The rules of its source, the join, ``if``, ``maxDownstreams``, the inputs with their schema, the partition. ``judge`` is
a generator: it yields what has to be evaluated, is sent the answer, and returns the packet as the step receives it. So
the same way is taken whether the answers come at once or later. Without I/O. Source: streaming contract 12.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

from bubu_contract.identity import step_alias
from bubu_wire.errors import MessageError
from bubu_wire.inspection import Inspected
from core.engine.step.manifest import merged_input
from core.story.kinds import StepKind
from hub.envelope import PacketReading, inputs_field
from hub.joins import JoinBranch, JoinTable
from hub.partitions import partition_of
from hub.questions import (
    MAX_INPUT_BYTES,
    ConditionQuestion,
    NotNowError,
    Question,
    SchemaQuestion,
    ValueQuestion,
    encoded_inputs,
)
from hub.refusal import PacketRefusal, PacketRefusedError, PacketSkip, PacketSkippedError
from hub.routes import RunRoutes, StreamStep
from hub.settings import PartitionMode, RouteRule

Json = Any
Asked = tuple[Question, Json]
Judgement = Generator[Asked, Json, "Passage | None"]


class PacketRejectedError(Exception):
    """The packet goes nowhere, for its content is not what its step has promised. It is counted there."""


class PacketFate(StrEnum):
    """What the evaluation for one step has made of a packet."""

    ADMITTED = "admitted"
    SKIPPED = "skipped"
    """It is not meant for the step."""
    JOINING = "joining"
    """It waits for others, or has come too late for them."""
    REFUSED = "refused"


@dataclass(slots=True)
class Passage:
    """A packet on its way from a step to those that follow."""

    reading: PacketReading
    origin: SourceWork
    """What is said about the packets of the Engram that it comes from."""
    via: str
    """The need through which it comes."""
    earlier: Mapping[str, Json] = field(default_factory=dict)
    """``steps`` without the step itself, if it went through primitives or was joined."""
    _steps: dict[str, Json] | None = None
    weight: int = 0
    """Bytes of what expressions see of earlier steps."""
    heard: Callable[[PacketFate, str, str], None] | None = None
    """Called with the outcome of the packet at the next step, reason and message; a user waits for that."""
    is_hook: bool = False
    """It is one of the hub itself: it belongs to no group of packets, and no step has sent it."""

    @property
    def steps(self) -> dict[str, Json]:
        """``steps`` in expressions."""
        if self._steps is None:
            self._steps = {} if self.is_hook else {**self.earlier, **_named(self.via, self.reading.outputs)}
        return self._steps

    def through(self, step: str, reading: PacketReading | None = None) -> Passage:
        """The packet behind the primitive ``step``, which has perhaps made another one of it."""
        return Passage(reading or self.reading, self.origin, step, self.steps, weight=self.weight + self.size)

    def with_reading(self, reading: PacketReading) -> Passage:
        return Passage(reading, self.origin, self.via, self.earlier, self._steps, self.weight)

    @property
    def size(self) -> int:
        return len(self.reading.packet.body)


class SourceWork:
    """What is said about the packets of one Engram, wherever they go."""

    def __init__(
        self, step: StreamStep, followers: int, rejected: Callable[[PacketRefusedError], None] | None = None
    ) -> None:
        """
        Args:
            followers: how many Engrams one packet can reach.
            rejected: called once for each packet that does not fit the step's output schema.
        """
        field = f"step {step.name}"
        self.rules = tuple(
            (rule, ConditionQuestion(rule.when, f"{field}, routing.rules[{index}].when"))
            for index, rule in enumerate(step.delivery.rules)
        )
        self.has_allow = any(rule.allows for rule in step.delivery.rules)
        most = step.delivery.max_downstreams
        self.most: int | None = most if followers > most else None
        schema = step.output_schema
        self.schema = (
            SchemaQuestion(schema, f"{field}, output", PacketRefusal.OUTPUT_SCHEMA) if schema is not None else None
        )
        self._rejected = rejected
        self.has_work = bool(self.rules) or self.most is not None or self.schema is not None

    def check(self, reading: PacketReading) -> Generator[Asked, Json, None]:
        """Whether the packet is what the step has promised; asked once for each packet.

        Raises:
            PacketRejectedError: it is not.
        """
        if self.schema is None or reading.is_rejected is False:
            return
        if reading.is_rejected is None:
            reading.is_rejected = False
            if reading.outputs or reading.packet.document is not None:
                try:
                    yield self.schema, reading.outputs
                except PacketRefusedError as refused:
                    reading.is_rejected = True
                    if self._rejected is not None:
                        self._rejected(refused)
        if reading.is_rejected:
            raise PacketRejectedError

    def allows(self, target: str, variables: Callable[[], Mapping[str, Json]]) -> Generator[Asked, Json, bool]:
        """Whether the rules let a packet go to ``target``: no ``deny`` holds, and an ``allow`` if there is any."""
        allowed = not self.has_allow
        for rule, when in self.rules:
            if not _speaks_of(rule, target) or (rule.allows and allowed):
                continue
            if (yield when, variables()):
                if not rule.allows:
                    return False
                allowed = True
        return allowed


class StepWork:
    """What is evaluated for each packet to one step."""

    def __init__(self, routes: RunRoutes, step: StreamStep, clock: Callable[[], float]) -> None:
        """``clock`` is the time of joins, in seconds."""
        self.joins = JoinTable(step.join.settings, step.join.sets) if step.join is not None else None
        self._name = step.name
        self._is_engram = not step.is_primitive
        self._ends = step.kind is StepKind.STOP
        """Whether the packets for which ``if`` holds, or all without it, go no further."""
        self._clock = clock
        self._inputs = dict(routes.inputs)
        self._input_bytes = len(orjson.dumps(self._inputs))
        field = f"step {step.name}"
        self._if = ConditionQuestion(step.condition, f"{field}, if") if step.condition.strip() else None
        self._if_is_static = self._if is not None and self._if.is_static
        self._static_if: bool | PacketRefusedError | None = None
        self._runtime = ValueQuestion(step.runtime, f"{field}, runtime") if step.runtime is not None else None
        self._copies = orjson.dumps(step.runtime).count(b"{{") if step.runtime is not None else 0
        self._with = ValueQuestion(step.parameters, f"{field}, with") if step.parameters is not None else None
        self._fixed: dict[str, Json] | PacketRefusedError | None = None
        self._beside: bytes | None = None
        """``with`` of an Engram as a field of each packet, once it was evaluated."""
        self._schema: SchemaQuestion | None = None
        if step.input_schema is not None:
            given = "runtime" if step.runtime is not None else "with"
            self._schema = SchemaQuestion(
                step.input_schema,
                f"{field}, {'inputs' if step.runs_jobs else given}",
                PacketRefusal.INPUT_SCHEMA,
                with_defaults=True,
            )
        self._partitioning = step.delivery.partitioning
        is_partitioned = self._partitioning.mode is not PartitionMode.NONE
        self._has_beside = self._is_engram and self._with is not None and not step.runs_jobs
        self._is_changed = self._runtime is not None or self._has_beside or is_partitioned
        self._runs_jobs = step.runs_jobs
        checks = self._schema is not None and self._runtime is not None and not step.runs_jobs
        is_bare = self.joins is None and self._if is None and not checks
        self._is_simple = self._is_engram and is_bare and self._is_changed and not is_partitioned
        asked = [question for question in (self._if, self._runtime) if question is not None]
        self._reads = (
            any(question.reads_metadata for question in asked),
            any(question.reads_steps for question in asked),
            "output" in step.condition or "output" in str(step.runtime),
        )
        """Metadata, earlier steps, and these by the word that a batch Story has for what they have said."""

    def judge(self, passage: Passage) -> Judgement:
        """The packet as the step receives it; None if it waits for others in a join, or has come too late for that.

        Raises:
            PacketSkippedError, PacketRefusedError, PacketRejectedError, MessageError
        """
        origin = passage.origin
        if origin.schema is not None:
            yield from origin.check(passage.reading)
        if self._is_engram and origin.rules:
            of = passage
            allowed = yield from origin.allows(self._name, lambda: self._variables(of))
            if not allowed:
                raise PacketSkippedError(PacketSkip.RULE)
        if self.joins is not None and not passage.is_hook:
            branch = JoinBranch(passage.reading, passage.steps, passage.weight + passage.size)
            joined = self.joins.add(passage.via, passage.reading.group, branch, self._clock())
            if joined is None:
                return None
            passage = Passage(joined.reading, origin, passage.via, joined.steps, dict(joined.steps), joined.weight)
        variables: Mapping[str, Json] | None = None
        if self._if is not None:
            if self._if_is_static:
                yield from self._decide()
            else:
                variables = self._variables(passage, *self._reads)
                if (yield self._if, variables) is self._ends:
                    raise PacketSkippedError(PacketSkip.STOP if self._ends else PacketSkip.CONDITION)
        elif self._ends:
            raise PacketSkippedError(PacketSkip.STOP)
        if not self._is_engram:
            return passage
        if origin.most is not None and passage.reading.forwards >= origin.most:
            text = (
                f"step {self._name}: the packet was already sent to {origin.most} steps; raise routing.maxDownstreams"
            )
            raise PacketRefusedError(PacketRefusal.MAX_DOWNSTREAMS, text)
        if self._is_changed:
            return (yield from self._completed(passage, variables))
        passage.reading.forwards += 1
        return passage

    def at_once(self, passage: Passage) -> Inspected | None:
        """What ``judge`` returns, for a step that only gets inputs which need no evaluation worth counting; else None.

        This is the usual case of ``runtime``, in half of the time, and of ``with`` after the first packet.

        Raises:
            PacketRefusedError, MessageError: ``judge`` says why, with the place.
        """
        runtime, reading = self._runtime, passage.reading
        if not self._is_simple or passage.origin.has_work:
            return None
        if runtime is None:
            if self._beside is None:
                return None
            made = reading.packet_beside(self._beside)
            reading.forwards += 1
            return made
        size = len(reading.packet.body)
        if self._copies * (size + self._input_bytes + passage.weight) > MAX_INPUT_BYTES:
            return None
        inputs = runtime.plain(self._variables(passage, *self._reads))
        if inputs is None:
            return None
        made = reading.packet_with_inputs(inputs, encoded_inputs(inputs, self._name))
        reading.forwards += 1
        return made

    def settings(self) -> Generator[Asked, Json, dict[str, Json]]:
        """The settings of a primitive (``with``), evaluated once."""
        if self._with is None:
            return {}
        yield from self._fix(self._with)
        assert isinstance(self._fixed, dict)
        return self._fixed

    def inputs_of_job(self, own: Mapping[str, Json]) -> Generator[Asked, Json, dict[str, Json]]:
        """The inputs of the Job of a packet: ``own`` over ``with``, checked; the Job adds the defaults of the schema.

        Raises:
            PacketRefusedError: they break the schema.
        """
        settings = yield from self.settings()
        inputs = merged_input(settings, own) or {}
        if self._schema is not None:
            yield self._schema, inputs
        return inputs

    def inputs_of_child(self, passage: Passage) -> Generator[Asked, Json, dict[str, Json] | None]:
        """The inputs of ``runtime`` for a packet; None without ``runtime``."""
        if self._runtime is None:
            return None
        found: dict[str, Json] = yield self._runtime, self._variables(passage, with_output=self._reads[2])
        return found

    def _completed(self, passage: Passage, variables: Mapping[str, Json] | None) -> Generator[Asked, Json, Passage]:
        """The packet with the inputs and the partition that it has for this step."""
        reading = origin_reading = passage.reading
        inputs: dict[str, Json] | None = None
        if self._runtime is not None:
            if variables is None:
                variables = self._variables(passage, *self._reads)
            size = passage.size + self._input_bytes + passage.weight
            question = self._runtime if self._copies * size <= MAX_INPUT_BYTES else _Slow(self._runtime)
            inputs = yield question, variables
            if self._schema is not None and not self._runs_jobs:
                inputs = yield self._schema, inputs
            reading = _with_inputs(reading, inputs, encoded_inputs(inputs, f"step {self._name}, runtime"), self._name)
        elif self._has_beside:
            assert self._with is not None
            if self._beside is None:
                yield from self._fix(self._with)
                assert isinstance(self._fixed, dict), "it has a value, or was refused"
                self._beside = _field(self._fixed, self._name)
            reading = _beside(reading, self._beside, self._name)
        if self._partitioning.mode is not PartitionMode.NONE:
            partition = partition_of(self._partitioning, origin_reading, inputs)
            if partition != reading.packet.partition:
                reading = PacketReading(reading.packet._replace(partition=partition))
        origin_reading.forwards += 1
        return passage if reading is origin_reading else passage.with_reading(reading)

    def _decide(self) -> Generator[Asked, Json, None]:
        """The answer of an ``if`` that is the same for all packets, asked once."""
        assert self._if is not None
        if self._static_if is None:
            try:
                answer: bool = yield self._if, {"inputs": self._inputs}
                self._static_if = answer
            except PacketRefusedError as refused:
                self._static_if = refused
        if isinstance(self._static_if, PacketRefusedError):
            raise _again(self._static_if)
        if self._static_if is self._ends:
            raise PacketSkippedError(PacketSkip.STOP if self._ends else PacketSkip.CONDITION)

    def _fix(self, question: ValueQuestion) -> Generator[Asked, Json, None]:
        """The settings, which are the same for all packets, evaluated once."""
        if self._fixed is None:
            try:
                settings: dict[str, Json] = yield question, {"inputs": self._inputs}
                self._fixed = settings
                if self._is_engram and self._schema is not None and not self._runs_jobs:
                    with suppress(PacketRefusedError):  # the operator has checked it, with what the Engram adds
                        self._fixed = yield self._schema, settings
            except PacketRefusedError as refused:
                self._fixed = refused
        if isinstance(self._fixed, PacketRefusedError):
            raise _again(self._fixed)

    def _variables(
        self, passage: Passage, with_metadata: bool = True, with_steps: bool = True, with_output: bool = True
    ) -> dict[str, Json]:
        packet = passage.reading.variables(with_metadata=with_metadata)
        steps: Mapping[str, Json] = passage.steps if with_steps else {}
        if with_output:
            steps = {name: {"output": data, "outputs": data, **data} for name, data in steps.items()}
        return {"inputs": self._inputs, "steps": steps, "packet": packet}


class _Slow:
    """A question that is not answered on the loop, because of the size of its subject."""

    def __init__(self, question: Question) -> None:
        self.request = question.request

    def quick(self, subject: Json, now: Callable[[], Any]) -> Json:
        raise NotNowError


def _named(step: str, outputs: Mapping[str, Json]) -> dict[str, Json]:
    """An entry of ``steps``, with its alias if its name cannot be written behind a dot."""
    alias = step_alias(step)
    return {step: outputs} if alias == step else {alias: outputs, step: outputs}


def _speaks_of(rule: RouteRule, target: str) -> bool:
    return not rule.targets or target in rule.targets


def _with_inputs(reading: PacketReading, inputs: Mapping[str, Json], encoded: bytes, step: str) -> PacketReading:
    try:
        return reading.with_inputs(inputs, encoded)
    except MessageError as error:
        raise PacketRefusedError(PacketRefusal.LIMIT, f"step {step}: {error}") from None


def _field(inputs: Mapping[str, Json], step: str) -> bytes:
    field = f"step {step}, with"
    encoded_inputs(inputs, field)
    try:
        return inputs_field({name: _as_floats(value) for name, value in inputs.items()})
    except MessageError as error:
        raise PacketRefusedError(PacketRefusal.LIMIT, f"{field}: {error}") from None


def _as_floats(value: Json) -> Json:
    """A Struct has no other numbers: large integers are rounded."""
    match value:
        case bool():
            return value
        case int():
            return float(value)
        case dict():
            return {name: _as_floats(each) for name, each in value.items()}
        case list():
            return [_as_floats(each) for each in value]
        case _:
            return value


def _beside(reading: PacketReading, inputs: bytes, step: str) -> PacketReading:
    try:
        return PacketReading(reading.packet_beside(inputs))
    except MessageError as error:
        raise PacketRefusedError(PacketRefusal.LIMIT, f"step {step}: {error}") from None


def _again(refused: PacketRefusedError) -> PacketRefusedError:
    """The same refusal for another packet: an exception that is raised twice keeps the traces of both."""
    return PacketRefusedError(refused.reason, str(refused))
