"""A topology from a file: for trying a hub out, for measurements, and for installations without an operator.

The file is YAML or JSON: ``runs``, each with its ``steps``. See docs/hub.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import trio
from pydantic import Field, ValidationError

from bubu_contract.durations import parse_duration
from core.api.objects import NamespacedName
from core.api.schema import JsonObject, WireModel
from core.api.streaming import Streaming
from core.api.workflow import StoryConcurrency
from core.story.kinds import PER_PACKET, StepKind
from hub.routes import RouteError, StreamStep, compile_routes
from hub.settings import DEFAULT_CHANNEL_BUFFER, settings_of, taking_turns
from hub.topology import BoundStep, Place, Topology, build_topology

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
_PRIMITIVES: Final = frozenset(PER_PACKET) - {StepKind.EXECUTE_STORY}
_NAME: Final = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"


class TopologyFileError(ValueError):
    """The file is not a topology. The message names the field and the remedy."""


class BindingEntry(WireModel):
    """The TransportBinding of a step."""

    name: str = Field(pattern=_NAME, max_length=253)
    uid: str = Field(min_length=1, max_length=128)
    generation: int = Field(1, ge=1)


class StepEntry(WireModel):
    """A streaming step: an Engram with a ``binding``, or a primitive with a ``type``."""

    name: str = Field(min_length=1, max_length=253)
    binding: BindingEntry | None = None
    type: str | None = None
    needs: list[str] = Field(default_factory=list)
    if_: str | None = Field(None, alias="if")
    runtime: JsonObject | None = None
    with_: JsonObject | None = Field(None, alias="with")
    input_schema: JsonObject | None = None
    output_schema: JsonObject | None = None
    streaming: Streaming | None = None
    channel_buffer: int = Field(DEFAULT_CHANNEL_BUFFER, ge=1, le=65_536)
    redeliver_after: str = "30s"
    max_attempts: int = Field(4, ge=0)


class RunEntry(WireModel):
    """A run of a realtime Story."""

    namespace: str = Field(pattern=_NAME, max_length=63)
    name: str = Field(pattern=_NAME, max_length=253)
    story: str = Field(pattern=_NAME, max_length=253)
    inputs: JsonObject | None = None
    concurrency: StoryConcurrency | None = None
    steps: list[StepEntry] = Field(min_length=1)


class TopologyEntry(WireModel):
    """The whole file."""

    runs: list[RunEntry]


def parse_topology(text: str) -> Topology:
    """The topology in ``text``.

    Raises:
        TopologyFileError: it is not one.
    """
    try:
        entry = TopologyEntry.model_validate(_parsed(text))
    except ValidationError as error:
        found = error.errors()[0]
        raise TopologyFileError(f"{_path(found['loc'])}: {found['msg']}") from None
    bindings: dict[NamespacedName, BoundStep] = {}
    runs = []
    for number, run_entry in enumerate(entry.runs):
        run = NamespacedName(run_entry.namespace, run_entry.name)
        steps = []
        for place, step in enumerate(run_entry.steps):
            path = f"runs[{number}].steps[{place}]"
            steps.append(_step(step, path, run_entry.concurrency))
            if step.binding is None:
                continue
            name = NamespacedName(run.namespace, step.binding.name)
            if name in bindings:
                raise TopologyFileError(f"{path}.binding.name: {name.name} is the binding of another step; rename it")
            bindings[name] = BoundStep(Place(run, step.name), step.binding.uid, step.binding.generation)
        try:
            runs.append(compile_routes(run, run_entry.story, steps, inputs=run_entry.inputs))
        except RouteError as error:
            raise TopologyFileError(f"runs[{number}].steps: {error}") from None
    try:
        return build_topology(runs, bindings)
    except RouteError as error:
        raise TopologyFileError(f"runs: {error}") from None


class TopologyFile:
    """The ``TopologyPort`` of a file. It changes when ``reload`` is called."""

    def __init__(self, path: Path) -> None:
        """Raises what ``reload`` raises."""
        self._path = path
        self._news = trio.Event()
        self.topology = self._read()

    def reload(self) -> None:
        """Read the file again.

        Raises:
            TopologyFileError: it cannot be read, or is not a topology; the former one stays.
        """
        self.topology = self._read()
        self._news.set()
        self._news = trio.Event()

    async def changed(self, seen: Topology | None) -> Topology:
        while self.topology is seen:
            await self._news.wait()
        return self.topology

    def _read(self) -> Topology:
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise TopologyFileError(f"{self._path}: {error.strerror}") from None
        if len(data) > MAX_FILE_BYTES:
            raise TopologyFileError(f"{self._path}: the file must have at most {MAX_FILE_BYTES} bytes")
        try:
            return parse_topology(data.decode())
        except UnicodeDecodeError:
            raise TopologyFileError(f"{self._path}: the file must be UTF-8") from None
        except TopologyFileError as error:
            raise TopologyFileError(f"{self._path}: {error}") from None


def _step(entry: StepEntry, path: str, turns: StoryConcurrency | None) -> StreamStep:
    try:
        redeliver = parse_duration(entry.redeliver_after).total_seconds()
    except ValueError as error:
        raise TopologyFileError(f"{path}.redeliverAfter: {error}") from None
    if redeliver <= 0:
        raise TopologyFileError(f"{path}.redeliverAfter: the duration must be positive")
    try:
        delivery = settings_of(
            entry.streaming,
            channel_buffer=entry.channel_buffer,
            redeliver_seconds=redeliver,
            max_attempts=entry.max_attempts or None,
        )
    except ValueError as error:
        raise TopologyFileError(f"{path}.streaming.{error}") from None
    step = StreamStep(
        entry.name,
        tuple(entry.needs),
        taking_turns(delivery, turns.mode, turns.scope) if turns else delivery,
        kind=_kind(entry, path),
        condition=entry.if_ or "",
        runtime=entry.runtime,
        parameters=entry.with_,
        input_schema=entry.input_schema,
        output_schema=entry.output_schema,
    )
    if entry.with_ is not None and not step.is_primitive and (entry.runtime is not None or not entry.needs):
        text = "it would be the inputs of each packet, " + (
            "but runtime is; remove one of the two" if entry.needs else "and a step without needs gets none; remove it"
        )
        raise TopologyFileError(f"{path}.with: {text}")
    problems = list(_problems(step, path))
    if problems:
        raise TopologyFileError("; ".join(problems))
    return step


def _kind(entry: StepEntry, path: str) -> StepKind:
    """
    Raises:
        TopologyFileError: it is neither an Engram nor a primitive that works here.
    """
    if entry.type is None:
        if entry.binding is None:
            raise TopologyFileError(f"{path}.binding: a step with a client needs a binding; give one, or a type")
        return StepKind.ENGRAM
    if entry.binding is not None:
        raise TopologyFileError(f"{path}.binding: a primitive has no client; remove it, or type")
    if entry.type == StepKind.EXECUTE_STORY:
        raise TopologyFileError(f"{path}.type: executeStory needs a cluster, not a file; remove the step")
    if entry.type not in _PRIMITIVES:
        names = ", ".join(sorted(_PRIMITIVES))
        raise TopologyFileError(f"{path}.type: {entry.type!r} is not possible in a stream; use one of {names}")
    return StepKind(entry.type)


def _problems(step: StreamStep, path: str) -> Iterator[str]:
    """What is wrong with its expressions and schemas, as far as that is known without data."""
    if step.takes_as_it_is and step.output_schema is None and not step.delivery.rules:
        return
    from core.evaluation.schema import SchemaError, normalise
    from core.expressions.analysis import check_condition, check_value
    from core.expressions.scopes import REALTIME_RUNTIME, REALTIME_STATIC

    if step.condition.strip():
        yield from map(str, check_condition(step.condition, f"{path}.if", REALTIME_RUNTIME))
    yield from map(str, check_value(step.runtime, f"{path}.runtime", REALTIME_RUNTIME))
    yield from map(str, check_value(step.parameters, f"{path}.with", REALTIME_STATIC))
    for number, rule in enumerate(step.delivery.rules):
        where = f"{path}.streaming.routing.rules[{number}].when"
        yield from map(str, check_condition(rule.when, where, REALTIME_RUNTIME) if rule.when else ())
    for name, schema in (("inputSchema", step.input_schema), ("outputSchema", step.output_schema)):
        try:
            normalise(schema or {})
        except SchemaError as error:
            yield f"{path}.{name}: {error}"
    if step.kind is StepKind.SLEEP and "duration" not in (step.parameters or {}):
        yield f"{path}.with.duration: sleep needs a duration; write for example 5s"


def _parsed(text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError) as error:
        raise TopologyFileError(f"the file must be YAML or JSON: {' '.join(str(error).split())}") from None


def _path(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".") or "the file"
