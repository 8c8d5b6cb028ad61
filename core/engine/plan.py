"""What a Story asks for: parsed once per scope, constant afterwards.

Pure: the Story as a wire dict in, a frozen plan or a ``Refusal`` out. Implied dependencies come from the parsed
templates (core.expressions.analysis), never from text patterns. A damaged Story is refused; it never crashes the
operator.
Source: StoryRun contract 8, 11, 14 and 15.

The name of a step is its declared name. The name of a step inside a ``parallel`` step contains the names of the steps
around it, ``fan/a``; the name of an item of a ``forEach`` ends with its number, ``fan/0``.

Of a realtime Story, the plan has the main steps that serve a stream (``core.story.realtime``), and all clean-up steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

from bubu_contract.durations import parse_positive_duration
from core.api.objects import Object
from core.api.phases import Reason
from core.expressions import analysis, roots
from core.graph.compensation import undo_order
from core.graph.contraction import contracted
from core.graph.cycles import find_cycle
from core.graph.needs import Declared, Graph, aliases_of, build_graph
from core.graph.readiness import FailureRules
from core.story import edges, realtime
from core.story.kinds import StepKind
from core.story.step import MAX_BRANCH_DEPTH, Step
from core.story.story import read_story
from core.story.streams import packet_needs


class GroupName(StrEnum):
    """The three lists of steps of a Story, in the order in which they run; the values are their fields."""

    MAIN = "steps"
    COMPENSATIONS = "compensations"
    FINALLY = "finally"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a run of this Story cannot start; ``message`` has all problems."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class StepPlan:
    name: str
    kind: StepKind
    declared: Mapping[str, Any]
    """The step as it is declared in the Story."""
    condition: str = ""
    """``if``; blank means that the step always runs."""
    allow_failure: bool = False
    looks_anywhere: bool = False
    """Whether a template chooses at run time which step it reads: then the graph cannot tell what to wait for."""
    branches: tuple[StepPlan, ...] = ()
    """The branches of a ``parallel`` step, in its order; with ``forEach``, the one branch that runs for every item."""
    serves_stream: bool = False
    """Whether it is a main step of a realtime Story: its container serves a stream until the stream ends. Its ``if``
    and ``runtime`` are evaluated elsewhere, for each packet, so ``condition`` is blank.
    """
    item: Mapping[str, Any] | None = None
    """The variables that an item of a ``forEach``, and each step in it, can read beside ``inputs`` and ``steps``."""

    @property
    def takes_slot(self) -> bool:
        """Whether limits on how many steps may run at a time apply to it.

        They do not apply to a step that serves a stream: a stream waits for all streams of its run, and ends with them,
        so with limits two runs could wait for each other for ever.
        """
        return self.kind is StepKind.ENGRAM and not self.serves_stream

    @property
    def has_output(self) -> bool:
        """Whether a success has an output, to be checked and cached. Of a stream, each packet has one instead."""
        return not self.serves_stream

    @property
    def reads_steps(self) -> bool:
        """Whether its ``with`` may read other steps. A stream gets what it reads of them with each packet instead."""
        return not self.serves_stream

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the steps around it and its own, which is the last."""
        return tuple(self.name.split("/"))

    @property
    def is_branch(self) -> bool:
        return "/" in self.name

    @property
    def parameters(self) -> Mapping[str, Any]:
        """``with``, or an empty mapping."""
        value = self.declared.get("with")
        return value if isinstance(value, Mapping) else {}

    @property
    def requires(self) -> tuple[str, ...]:
        return tuple(path for path in self.declared.get("requires") or () if isinstance(path, str))

    @property
    def step_id(self) -> str:
        """``StepRun.spec.stepId``: the declared name, followed by the number of the item if the step is one."""
        own = str(self.declared.get("name") or self.parts[-1])
        return own if self.parts[-1] == own else f"{own}-{self.parts[-1]}"

    @property
    def timeout(self) -> timedelta | None:
        """``execution.timeout``."""
        execution = self.declared.get("execution")
        return positive_duration(execution.get("timeout")) if isinstance(execution, Mapping) else None

    def for_item(self, number: int, value: Any) -> StepPlan:
        """The branch that a ``forEach`` runs for its item ``number``, whose value is ``value``."""
        parent = self.name.rpartition("/")[0]
        return self._moved(f"{parent}/{number}", {roots.ITEM: value, roots.ITEM_INDEX: number})

    def _moved(self, name: str, item: Mapping[str, Any]) -> StepPlan:
        branches = tuple(
            branch._moved(f"{name}/{branch.parts[-1]}", {**(branch.item or {}), **item}) for branch in self.branches
        )
        return replace(self, name=name, item=item, branches=branches)


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """One list of steps and their dependencies.

    Dependencies on earlier lists are left out: they are met before this list starts.
    """

    graph: Graph
    rules: FailureRules

    @property
    def order(self) -> tuple[str, ...]:
        return self.graph.order


@dataclass(frozen=True, slots=True, weakref_slot=True)
class StoryPlan:
    name: str
    namespace: str
    version: str
    steps: Mapping[str, StepPlan]
    """The declared steps of all three lists, in spec order; a ``parallel`` step contains its branches."""
    groups: Mapping[GroupName, GroupPlan]
    story_timeout: timedelta | None = None
    graceful_shutdown: timedelta | None = None
    cleanup_timeout: timedelta | None = None
    """How long the compensations, and again the ``finally`` steps, may take; None: the operator's setting applies."""
    step_concurrency: int = 0
    """``policy.concurrency``: how many Engram steps may run at a time, over all runs of the Story; 0: no limit."""
    run_concurrency: Mapping[str, Any] = field(default_factory=dict)
    """``spec.concurrency``."""
    output: Mapping[str, Any] | None = None
    inputs_schema: Mapping[str, Any] | None = None
    outputs_schema: Mapping[str, Any] | None = None
    branch_owners: Mapping[str, str] = field(default_factory=dict)
    """The last part of a branch's name → its top-level step. Leaves out a branch if a step has the same name."""
    is_realtime: bool = False
    """Whether the main steps serve streams; then the others of the Story's main list are not in the plan."""
    per_packet: tuple[str, ...] = ()
    """The primitives of a realtime Story's main list: they are carried out for each packet, and have no state."""
    drain_timeout: timedelta | None = None
    """How long the streams of a run may take to drain; None: ``graceful_shutdown`` applies."""
    spec: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The spec that it was parsed from; the steps refer to its parts."""
    places: Mapping[str, int] = field(init=False, repr=False, compare=False)
    """Declared step → its position in ``order``."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", {name: place for place, name in enumerate(self.steps)})

    @property
    def order(self) -> tuple[str, ...]:
        return tuple(self.steps)

    @property
    def main(self) -> GroupPlan:
        return self.groups[GroupName.MAIN]

    @property
    def compensations(self) -> GroupPlan:
        return self.groups[GroupName.COMPENSATIONS]

    @property
    def finally_(self) -> GroupPlan:
        return self.groups[GroupName.FINALLY]

    @property
    def graph(self) -> Graph:
        return self.main.graph

    def packet_needs_of(self, step: StepPlan) -> tuple[str, ...]:
        """The steps with a stream whose packets reach ``step``, if it serves one, too. Empty: it is a source."""
        return self.graph.needs[step.name] if step.serves_stream else ()

    @property
    def rules(self) -> FailureRules:
        return self.main.rules

    @property
    def allowed(self) -> frozenset[str]:
        """Declared steps with ``allowFailure``: their failure does not fail the run."""
        return frozenset(name for name, step in self.steps.items() if step.allow_failure)

    @property
    def has_engrams(self) -> bool:
        """Whether a run of the Story may start a container."""
        return any(_has_engram(step) for step in self.steps.values())

    def owner(self, name: str) -> str | None:
        """The declared step that a reference in a template means.

        The reference may be the name of the step, its alias, or the name of a branch inside it.
        """
        found = aliases_of(self.steps).get(name)
        return found if found is not None else self.branch_owners.get(name)

    def find(self, name: str) -> StepPlan | None:
        """The step with that full name, branches and items included; an item comes without its value."""
        first, *rest = name.split("/")
        step = self.steps.get(first)
        for part in rest:
            if step is None:
                return None
            step = _branch(step, part)
        return step

    def has(self, name: str, kind: StepKind) -> bool:
        """Whether there is a step with that full name and kind.

        If not, an object with that name was created for another version of the Story.
        """
        step = self.find(name)
        return step is not None and step.kind is kind


def parse_story(story: Object) -> StoryPlan | Refusal:
    """The plan of a Story, or why no run of it can start."""
    if not isinstance(story.get("spec"), Mapping):
        return Refusal(Reason.INVALID_CONFIGURATION, "the Story has no spec")
    read = read_story(story)
    lists: dict[GroupName, dict[str, StepPlan]] = {group: {} for group in GroupName}
    for step in read.top():
        if not step.name or "/" in step.name:
            return Refusal(Reason.INVALID_CONFIGURATION, f"{step.place}.name is missing or is not a valid name")
        if any(step.name in steps for steps in lists.values()):
            return Refusal(Reason.INVALID_CONFIGURATION, f"{step.place}.name {step.name!r} is already taken")
        lists[GroupName(step.group)][step.name] = _step(step, step.name)
    spec = read.spec
    owners = edges.branch_owners(read)
    continues = _mapping(_mapping(spec, "policy"), "retries").get("continueOnStepFailure") is True
    is_realtime = read.realtime
    groups = _groups(lists, {step.name: step for step in read.top()}, owners, continues, is_realtime)
    problems = realtime.problems_of(read.groups[GroupName.MAIN]) if is_realtime else []
    if problems:
        problems += [groups.message] if isinstance(groups, Refusal) else []
        return Refusal(Reason.INVALID_CONFIGURATION, "; ".join(problems))
    if isinstance(groups, Refusal):
        return groups
    steps = {
        name: step
        for group, named in lists.items()
        for name, step in named.items()
        if name in groups[group].graph.position
    }
    metadata, policy = _mapping(story, "metadata"), _mapping(spec, "policy")
    timeouts, concurrency = _mapping(policy, "timeouts"), policy.get("concurrency")
    return StoryPlan(
        name=str(metadata.get("name", "")),
        namespace=str(metadata.get("namespace", "")),
        version=str(spec.get("version") or "").strip(),
        steps=steps,
        groups=groups,
        story_timeout=positive_duration(timeouts.get("story")),
        graceful_shutdown=positive_duration(timeouts.get("gracefulShutdownTimeout")),
        cleanup_timeout=positive_duration(timeouts.get("cleanup")),
        step_concurrency=concurrency if isinstance(concurrency, int) and concurrency > 0 else 0,
        run_concurrency=_mapping(spec, "concurrency"),
        output=_mapping_or_none(spec, "output"),
        inputs_schema=_mapping_or_none(spec, "inputsSchema"),
        outputs_schema=_mapping_or_none(spec, "outputsSchema"),
        branch_owners={name: owner for name, owner in owners.items() if owner in steps},
        is_realtime=is_realtime,
        per_packet=tuple(name for name in lists[GroupName.MAIN] if name not in steps),
        drain_timeout=realtime.drain_timeout(spec) if is_realtime else None,
        spec=spec,
    )


def positive_duration(text: object) -> timedelta | None:
    """A positive duration. Blank and invalid ones count as absent (StoryRun contract 15.1); admission refuses them."""
    try:
        return parse_positive_duration(text) if isinstance(text, str) else None
    except ValueError:
        return None


# Steps


def _step(step: Step, name: str) -> StepPlan:
    serves_stream = step.serves_stream
    condition = step.declared.get("if")
    branches = step.branches if step.kind is StepKind.PARALLEL and step.depth < MAX_BRANCH_DEPTH else ()
    return StepPlan(
        name=name,
        kind=step.kind,
        declared=step.declared,
        condition=condition if isinstance(condition, str) and not serves_stream else "",
        allow_failure=step.declared.get("allowFailure") is True,
        looks_anywhere=not serves_stream and edges.references_of(step).unknown_steps,
        branches=tuple(
            _step(branch, f"{name}/{branch.name}") for branch in branches if branch.name and "/" not in branch.name
        ),
        serves_stream=serves_stream,
    )


def _has_engram(step: StepPlan) -> bool:
    return step.kind is StepKind.ENGRAM or any(_has_engram(branch) for branch in step.branches)


def _branch(step: StepPlan, part: str) -> StepPlan | None:
    if "forEach" in step.parameters and step.branches and part.isdecimal():
        return step.branches[0].for_item(int(part), None)
    return next((branch for branch in step.branches if branch.parts[-1] == part), None)


# Dependencies


def _groups(
    lists: Mapping[GroupName, Mapping[str, StepPlan]],
    read: Mapping[str, Step],
    owners: Mapping[str, str],
    continues: bool,
    is_realtime: bool,
) -> dict[GroupName, GroupPlan] | Refusal:
    groups: dict[GroupName, GroupPlan] = {}
    earlier: dict[str, str] = {}
    unknown: list[str] = []
    circles: list[tuple[str, ...]] = []
    for group, steps in lists.items():
        cleans = group is not GroupName.MAIN
        streams = is_realtime and not cleans
        spellings = {**earlier, **aliases_of(steps)}
        wanted = {name: _wanted(read[name], owners, spellings) for name in steps}
        further: Mapping[str, list[str]] = {}
        if group is GroupName.COMPENSATIONS and steps:
            main = groups[GroupName.MAIN].graph
            about = {name: frozenset(w for w in names if w in main.position) for name, names in wanted.items()}
            among = {name: [w for w in names if w in steps] for name, names in wanted.items()}
            further = undo_order(main, about, among)
        met = frozenset(earlier.values())
        if streams:
            unknown += _unknown_reads([read[name] for name in steps], owners, spellings)
            received = packet_needs(read[name] for name in steps)
            wanted = {name: list(received[name]) for name in steps}
        graph = build_graph(
            Declared(name, (*(w for w in names if w not in met), *further.get(name, ())))
            for name, names in wanted.items()
        )
        unknown += [f"{step}->{need}" for step, need in graph.unknown]
        circles += [circle for circle in (find_cycle(graph),) if circle is not None]
        rules = FailureRules(
            allowed=frozenset(name for name, step in steps.items() if step.allow_failure),
            continue_on_failure=continues and not cleans,
            any_end_suffices=cleans,
            started_suffices=streams,
        )
        if streams:
            graph = contracted(graph, {name for name, step in steps.items() if step.serves_stream})
        groups[group] = GroupPlan(graph, rules)
        earlier |= aliases_of(steps) | {name: name for name in steps}
    if unknown:
        text = f"unknown dependencies: {', '.join(dict.fromkeys(unknown))}; every name in needs and in templates must "
        return Refusal(Reason.INVALID_CONFIGURATION, f"{text}be an earlier step of this Story")
    if circles:
        text = f"dependency cycle: {' -> '.join(circles[0])}; remove one of these dependencies"
        return Refusal(Reason.INVALID_CONFIGURATION, text)
    return groups


def _wanted(step: Step, owners: Mapping[str, str], spellings: Mapping[str, str]) -> list[str]:
    """Names of the steps that ``step`` needs, the declared ones first; unknown names stay as written."""
    names = dict.fromkeys(need for need in _list(step.declared, "needs") if isinstance(need, str))
    names.update(dict.fromkeys(sorted(spellings.get(read, read) for read in edges.steps_read(step, owners))))
    return list(names)


def _unknown_reads(steps: Sequence[Step], owners: Mapping[str, str], spellings: Mapping[str, str]) -> Iterator[str]:
    """Names that the expressions of realtime steps read for each packet, and that are no steps.

    That a step reads another one for each packet is no reason to start after it: the packet comes after both have.
    """
    names = {step.name for step in steps}
    for step in steps:
        read = edges.steps_read(step, owners) | analysis.references_of(step.declared.get("runtime")).steps
        owned = sorted(owners.get(each, each) for each in read)
        yield from (f"{step.name}->{each}" for each in owned if spellings.get(each, each) not in names)


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return _mapping_or_none(parent, key) or {}


def _mapping_or_none(parent: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    value = parent.get(key)
    return value if isinstance(value, Mapping) else None


def _list(parent: Mapping[str, Any], key: str) -> list[Any]:
    value = parent.get(key)
    return value if isinstance(value, list) else []
