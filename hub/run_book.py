"""Which runs are served, which are not yet and why: the bindings of the cluster and the Stories of their runs.

A run is served as soon as every streaming step of its Story has a binding. From then on it stays served, while bindings
come and go, until every binding of it is finished or gone. Its routes are compiled once for that life; a run that
begins again after its end, for example by a redrive, has another life. Pure: events in, ``Topology`` out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from core.api.objects import NamespacedName, Object
from hub.bindings import StreamBinding
from hub.routes import RunRoutes
from hub.story_routes import BoundSettings, StoryProblemError, needs_of, routes_of, streaming_steps
from hub.topology import BoundStep, Place, Topology, UnservedStep

_UNREAD = "the hub has not read the Story of the run yet"
_ENDED = "every step of the run has finished"


class RunIdentity(NamedTuple):
    """One StoryRun, among all that have had its name."""

    run: NamespacedName
    uid: str


class RunLife(NamedTuple):
    """One life of a run in the hub."""

    identity: RunIdentity
    number: int

    def __str__(self) -> str:
        return f"{self.identity.uid}/{self.number}"


@dataclass(frozen=True, slots=True)
class PinnedRun:
    """What the hub reads once for a life of a run."""

    story: Object
    inputs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BindingStanding:
    """How a binding stands in the hub."""

    place: Place | None
    """Its step; None for a binding that cannot be used."""
    problem: str = ""
    """Why it cannot be served as it is."""
    waits_for: str = ""
    """Why its run is not served now."""
    is_finished: bool = False
    has_ended: bool = False
    """Every step of its run has finished."""
    runs_jobs: bool = False
    """The hub itself serves the step: it starts a Job for each packet."""
    needs_are_finished: bool = False
    """All steps that its step needs have finished, or it itself: no packet can still come to it."""


@dataclass(slots=True)
class _Record:
    life: RunLife
    bindings: dict[str, StreamBinding] = field(default_factory=dict)
    """By step."""
    pinned: PinnedRun | None = None
    """Until the run is served."""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    routes: RunRoutes | None = None
    why: str = _UNREAD
    is_invalid: bool = False
    """The run cannot be served as it is."""
    has_ended: bool = False


class RunBook:
    """All bindings and runs that the hub knows."""

    def __init__(self) -> None:
        self._bindings: dict[NamespacedName, StreamBinding] = {}
        self._runs: dict[RunIdentity, _Record] = {}
        self._lives = 0

    # What happens.

    def put(self, binding: StreamBinding) -> bool:
        """A binding is new or has changed; returns whether anything depends on that."""
        known = self._bindings.get(binding.name)
        if known == binding:
            return False
        if known is not None and _takes_another_place(known, binding):
            self.remove(known.name)
        self._bindings[binding.name] = binding
        if binding.problem:
            return True
        identity = _identity(binding)
        record = self._runs.get(identity)
        if record is None or (record.has_ended and not binding.is_over):
            former = record.bindings if record is not None else {}
            record = self._runs[identity] = self._new_record(identity)
            record.bindings.update(former)
        record.bindings[binding.step] = binding
        self._look(record)
        return True

    def remove(self, name: NamespacedName) -> bool:
        """A binding is gone; returns whether it was known."""
        binding = self._bindings.pop(name, None)
        if binding is None:
            return False
        record = self._runs.get(_identity(binding))
        if record is not None and record.bindings.get(binding.step) == binding:
            del record.bindings[binding.step]
            if record.bindings:
                self._look(record)
            else:
                del self._runs[_identity(binding)]
        return True

    def pinned(self, life: RunLife, pinned: PinnedRun) -> None:
        """The Story of a run was read."""
        record = self._record(life)
        if record is not None:
            record.pinned = pinned
            self._look(record)

    def failed(self, life: RunLife, why: str, *, is_final: bool = False) -> bool:
        """The Story of a run could not be read, ``is_final``: not at all; returns whether that is news."""
        record = self._record(life)
        if record is None or (record.why, record.is_invalid) == (why, is_final):
            return False
        record.why, record.is_invalid = why, is_final
        return True

    # What follows.

    def unread(self) -> list[RunLife]:
        """The runs whose Story is needed."""
        return [record.life for record in self._runs.values() if _needs_story(record)]

    def wants(self, life: RunLife) -> bool:
        """Whether the Story of this life of a run is still needed."""
        record = self._record(life)
        return record is not None and _needs_story(record)

    def revision_of(self, life: RunLife) -> str:
        """Name of the ControllerRevision with the Story of a run; empty if no binding names it."""
        record = self._record(life)
        named = (binding.revision for binding in record.bindings.values()) if record is not None else ()
        return next((name for name in named if name), "")

    def topology(self) -> Topology:
        """What the hub has to know."""
        runs: dict[NamespacedName, RunRoutes] = {}
        lives: dict[NamespacedName, RunLife] = {}
        bindings: dict[NamespacedName, BoundStep] = {}
        unserved: dict[NamespacedName, UnservedStep] = {}
        finished: set[Place] = set()
        for record in self._runs.values():
            run = record.life.identity.run
            if record.routes is not None and (run not in lives or lives[run].number < record.life.number):
                runs[run], lives[run] = record.routes, record.life
        for name, binding in self._bindings.items():
            if (why := self._why_not(binding, lives)) is not None:
                unserved[name] = why
                continue
            place = Place(binding.run, binding.step)
            bindings[name] = BoundStep(
                place, binding.uid, binding.generation, binding.is_finished, binding.served, binding.may_return
            )
            if binding.is_finished:
                finished.add(place)
        words = {run: str(life) for run, life in lives.items()}
        return Topology(runs, bindings, unserved, words, frozenset(finished))

    def standing(self, name: NamespacedName) -> BindingStanding | None:
        """How a binding stands; None if it is unknown."""
        binding = self._bindings.get(name)
        if binding is None or binding.problem:
            return BindingStanding(None, problem=binding.problem) if binding is not None else None
        record = self._runs[_identity(binding)]
        place, problem = Place(binding.run, binding.step), record.why if record.is_invalid else ""
        if record.routes is not None and binding.step not in record.routes.steps:
            problem = _no_step(binding)
        return BindingStanding(
            place,
            problem,
            "" if record.routes is not None else record.why,
            binding.is_finished,
            record.has_ended,
            binding.runs_jobs and record.routes is not None and not binding.is_finished,
            binding.step in record.needs
            and (binding.is_finished or _are_finished(record, record.needs[binding.step] or (binding.step,))),
        )

    def beside(self, name: NamespacedName) -> list[NamespacedName]:
        """The bindings of the run that a binding belongs to, itself included."""
        binding = self._bindings.get(name)
        record = self._runs.get(_identity(binding)) if binding is not None and not binding.problem else None
        return [each.name for each in record.bindings.values()] if record is not None else [name]

    def bindings_of(self, life: RunLife) -> list[NamespacedName]:
        """The bindings of a life of a run; none if it is over."""
        record = self._record(life)
        return [each.name for each in record.bindings.values()] if record is not None else []

    # Details.

    def _new_record(self, identity: RunIdentity) -> _Record:
        self._lives += 1
        return _Record(RunLife(identity, self._lives))

    def _record(self, life: RunLife) -> _Record | None:
        record = self._runs.get(life.identity)
        return record if record is not None and record.life == life else None

    def _look(self, record: _Record) -> None:
        """Let a run end, or be served, if it is time."""
        if all(binding.is_over for binding in record.bindings.values()):
            record.has_ended, record.routes, record.pinned, record.why = True, None, None, _ENDED
            return
        if record.routes is not None or record.pinned is None:
            return
        run, story = record.life.identity.run, record.pinned.story
        try:
            record.needs = needs_of(story)
            missing = [step for step in streaming_steps(story) if step not in record.bindings]
            if missing:
                record.why, record.is_invalid = f"the run waits for the bindings of {', '.join(missing)}", False
                return
            settings = {
                step: BoundSettings(
                    binding.settings,
                    binding.input_schema,
                    binding.output_schema,
                    binding.trace_parent,
                    binding.with_in_packets,
                    binding.runs_jobs,
                )
                for step, binding in record.bindings.items()
            }
            record.routes = routes_of(run, story, record.pinned.inputs, settings, record.life.identity.uid)
        except StoryProblemError as error:
            record.why, record.is_invalid = f"the hub cannot serve run {run}: {error}", True
            return
        record.pinned, record.why, record.is_invalid = None, "", False

    def _why_not(self, binding: StreamBinding, served: Mapping[NamespacedName, RunLife]) -> UnservedStep | None:
        if binding.problem:
            return UnservedStep(binding.uid, binding.problem, is_final=True)
        record = self._runs[_identity(binding)]
        if record.routes is None:
            return UnservedStep(binding.uid, record.why, record.is_invalid or record.has_ended)
        if served[binding.run] != record.life:
            return UnservedStep(binding.uid, f"a newer StoryRun has the name {binding.run}", is_final=True)
        if binding.step not in record.routes.steps:
            return UnservedStep(binding.uid, _no_step(binding), is_final=True)
        return None


def _needs_story(record: _Record) -> bool:
    return record.routes is None and record.pinned is None and not (record.has_ended or record.is_invalid)


def _are_finished(record: _Record, steps: Iterable[str]) -> bool:
    return all((binding := record.bindings.get(step)) is not None and binding.is_finished for step in steps)


def _identity(binding: StreamBinding) -> RunIdentity:
    return RunIdentity(binding.run, binding.run_uid)


def _takes_another_place(before: StreamBinding, now: StreamBinding) -> bool:
    return bool(now.problem) or (before.uid, _identity(before), before.step) != (now.uid, _identity(now), now.step)


def _no_step(binding: StreamBinding) -> str:
    return f"the Story of run {binding.run} has no streaming step {binding.step}"
