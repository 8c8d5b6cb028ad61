"""A topology from a file: for trying a hub out, for measurements, and for installations without an operator.

The file is YAML or JSON: ``runs``, each with its ``steps``. See docs/hub.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import trio
from pydantic import Field, ValidationError

from core.api.duration import parse_duration
from core.api.schema import WireModel
from core.api.streaming import Streaming
from hub.routes import RouteError, StreamRun, StreamStep, compile_routes
from hub.settings import DEFAULT_CHANNEL_BUFFER, settings_of
from hub.topology import BindingName, BoundStep, Place, Topology, build_topology

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
_NAME: Final = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"


class TopologyFileError(ValueError):
    """The file is not a topology. The message names the field and the remedy."""


class BindingEntry(WireModel):
    """The TransportBinding of a step."""

    name: str = Field(pattern=_NAME, max_length=253)
    uid: str = Field(min_length=1, max_length=128)
    generation: int = Field(1, ge=1)


class StepEntry(WireModel):
    """A streaming step."""

    name: str = Field(min_length=1, max_length=253)
    binding: BindingEntry
    needs: list[str] = Field(default_factory=list)
    streaming: Streaming | None = None
    channel_buffer: int = Field(DEFAULT_CHANNEL_BUFFER, ge=1, le=65_536)
    redeliver_after: str = "30s"
    max_attempts: int = Field(4, ge=0)


class RunEntry(WireModel):
    """A run of a realtime Story."""

    namespace: str = Field(pattern=_NAME, max_length=63)
    name: str = Field(pattern=_NAME, max_length=253)
    story: str = Field(pattern=_NAME, max_length=253)
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
    bindings: dict[BindingName, BoundStep] = {}
    runs = []
    for number, run_entry in enumerate(entry.runs):
        run = StreamRun(run_entry.namespace, run_entry.name)
        steps = []
        for place, step in enumerate(run_entry.steps):
            path = f"runs[{number}].steps[{place}]"
            name = BindingName(run.namespace, step.binding.name)
            if name in bindings:
                raise TopologyFileError(f"{path}.binding.name: {name.name} is the binding of another step; rename it")
            bindings[name] = BoundStep(Place(run, step.name), step.binding.uid, step.binding.generation)
            steps.append(_step(step, path))
        try:
            runs.append(compile_routes(run, run_entry.story, steps))
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


def _step(entry: StepEntry, path: str) -> StreamStep:
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
    return StreamStep(entry.name, tuple(entry.needs), delivery)


def _parsed(text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError) as error:
        raise TopologyFileError(f"the file must be YAML or JSON: {' '.join(str(error).split())}") from None


def _path(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".") or "the file"
