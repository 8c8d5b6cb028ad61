"""Random Stories with all primitives that the engine executes, nested, and the scripts of their containers.

Sizes are drawn first, so that failures shrink well. The list of primitives comes from the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from hypothesis import strategies as st

from core.api.objects import Object
from core.story.kinds import StepKind
from fuzz.engine.case import Case
from fuzz.engine.draws import below, one_in, pick, shuffled
from fuzz.engine.strategies import ENGRAMS, scripts
from fuzz.engine.worker import Script

SUPPORTED: Final = frozenset(StepKind) - {StepKind.UNKNOWN}

NAMES: Final = ("a", "b", "c-c", "d", "e_e", "f", *(f"g{number}" for number in range(24)))
INPUTS: Final = {"yes": True, "no": False, "which": "a", "n": 7, "list": [1, 2, 3], "none": [], "participant": "ann"}
PARTICIPANTS: Final = (None, None, "bob", "")
"""For further runs; None: the same as the first run's."""
SHORT: Final = ("10ms", "800ms", "3s", "1m0.5s", "")
MODES: Final = ("serial", "serial", "cancelPrevious", "cancelPrevious", "parallel")
KEPT: Final[tuple[Object, ...]] = (
    {"ttlSecondsAfterFinished": 0},
    {"ttlSecondsAfterFinished": 2, "storyRunRetentionSeconds": 30},
    {"ttlSecondsAfterFinished": 20, "storyRunRetentionSeconds": 7},
    {"ttlSecondsAfterFinished": -1, "storyRunRetentionSeconds": 3},
    {"ttlSecondsAfterFinished": 1, "storyRunRetentionSeconds": 0},
    {"storyRunRetentionSeconds": -1},
)
"""How long runs and their children are kept, in all forms."""
MAX_DEPTH: Final = 2

_WEIGHTS: Final = {
    StepKind.ENGRAM: 8,
    StepKind.CONDITION: 1,
    StepKind.SLEEP: 1,
    StepKind.STOP: 1,
    StepKind.PARALLEL: 3,
    StepKind.EXECUTE_STORY: 2,
    StepKind.WAIT: 1,
    StepKind.GATE: 1,
}


@dataclass
class _Draft:
    """A Story that is being made: the function that adds a step also adds the scripts of its containers."""

    draw: st.DrawFn
    played: dict[str, tuple[Script, ...]] = field(default_factory=dict)
    position: int = 0
    stories: tuple[str, ...] = ()

    def pick(self, *choices: Any) -> Any:
        return pick(self.draw, choices)

    def one_in(self, times: int) -> bool:
        return one_in(self.draw, times)


@st.composite
def stories(draw: st.DrawFn, *, max_steps: int = 30, calls: tuple[str, ...] = (), prefix: str = "") -> Any:
    """A spec, and the scripts of its engram steps by full name."""
    draft = _Draft(draw, stories=calls)
    size = min(pick(draw, (1, 2, 2, 3, 3, 4, 5, 6, 8, 12, 30)), max_steps)
    names = [prefix + name for name in NAMES[:size]]
    cleanup = pick(draw, (0, 0, 0, 1, 2)) if size > 1 else 0
    main, rest = names[: size - cleanup], names[size - cleanup :]
    spec: Object = {"steps": _group(draft, main, ())}
    if rest:
        split = draw(below(len(rest) + 1))
        for group, members in (("compensations", rest[:split]), ("finally", rest[split:])):
            if members:
                spec[group] = _group(draft, members, tuple(main))
    policy = _policy(draft)
    if policy:
        spec["policy"] = policy
    if draft.one_in(6):
        spec["concurrency"] = {"mode": draft.pick(*MODES)} | draft.pick({}, {"scope": "participant"})
    engrams = [step["name"] for step in spec["steps"] if "ref" in step]
    if engrams and draft.one_in(3):
        source = draft.pick(*engrams)
        spec["output"] = {"n": f"{{{{ steps.{source}.output.n }}}}", "m": "{{ inputs.n }}"}
    return spec, draft.played


@st.composite
def large_cases(draw: st.DrawFn, *, max_steps: int = 30) -> Case:
    """A Story with the Stories that it calls."""
    called: dict[str, Object] = {}
    played: dict[str, tuple[Script, ...]] = {}
    if StepKind.EXECUTE_STORY in SUPPORTED and one_in(draw, 2):
        inner, inner_played = draw(stories(max_steps=2, prefix="k-"))
        inner.setdefault("output", {"n": "{{ inputs.n }}"})
        called["child"] = inner
        played |= inner_played
        if one_in(draw, 4):
            outer, outer_played = draw(stories(max_steps=2, prefix="p-", calls=("child",)))
            called["parent"] = outer
            played |= outer_played
    spec, own = draw(stories(max_steps=max_steps, calls=tuple(called)))
    return Case(spec, played | own, ENGRAMS, INPUTS, stories=called)


def _group(draft: _Draft, names: list[str], before: tuple[str, ...]) -> list[Object]:
    steps = []
    for position, name in enumerate(names):
        steps.append(_step(draft, name, tuple(names[:position]), before, depth=0, path=name))
    return shuffled(draft.draw, steps) if len(steps) < 9 else steps


def _policy(draft: _Draft) -> Object:
    policy: Object = {}
    if draft.one_in(2):
        policy["retries"] = {"continueOnStepFailure": True}
    if draft.one_in(6):
        policy["timeouts"] = {"story": draft.pick("2s", "5s", "1m")}
    if draft.one_in(6):
        policy["concurrency"] = draft.pick(1, 2)
    if draft.one_in(6):
        policy["execution"] = {"job": draft.pick(*KEPT)}
    return policy


def _step(
    draft: _Draft, name: str, earlier: tuple[str, ...], before: tuple[str, ...], *, depth: int, path: str
) -> Object:
    draft.position += 1
    step: Object = {"name": name}
    kind = draft.pick(*_kinds(depth, may_call=bool(draft.stories)))
    if depth == 0:
        needs = [need for need in earlier[-6:] if draft.one_in(3)]
        if needs:
            step["needs"] = needs
    if kind is not StepKind.ENGRAM:
        step["type"] = str(kind)
    settings = _SETTINGS[kind](draft, step, (*before, *earlier), depth, path)
    if settings:
        step["with"] = settings
    readable = (*before, *earlier) if depth == 0 else ()
    match draft.draw(below(10)):
        case 0:
            step["if"] = draft.pick("{{ inputs.no }}", "{{ inputs.yes }}", "{{ inputs.ghost }}", "maybe")
        case 1 if readable:
            step["if"] = f"{{{{ steps.{draft.pick(*readable)}.output.flag }}}}"
    if draft.one_in(4):
        step["allowFailure"] = True
    return step


@cache
def _kinds(depth: int, *, may_call: bool) -> tuple[StepKind, ...]:
    """The kinds that a step may have at this depth, each as often as its weight says."""
    return tuple(kind for kind in StepKind for _ in range(_weight(kind, depth, may_call=may_call)))


def _weight(kind: StepKind, depth: int, *, may_call: bool) -> int:
    if kind not in SUPPORTED:
        return 0
    if (kind is StepKind.PARALLEL and depth >= MAX_DEPTH) or (kind is StepKind.EXECUTE_STORY and not may_call):
        return 0
    if kind is StepKind.STOP and depth:
        return 0
    return _WEIGHTS[kind]


def _engram(draft: _Draft, step: Object, readable: tuple[str, ...], depth: int, path: str) -> Object:
    step["ref"] = {"name": draft.pick(*ENGRAMS, "work", "stubborn", "warm", "missing")}
    draft.played[path] = scripts(draft.draw, draft.position)
    if depth == 0 and readable and draft.one_in(3):
        return {"n": f"{{{{ steps.{draft.pick(*readable)}.output.n }}}}"}
    if depth == 0 and draft.one_in(12):
        return {"n": "{{ (index .steps inputs.which).output.n }}"}
    return {}


def _sleep(draft: _Draft, step: Object, readable: tuple[str, ...], depth: int, path: str) -> Object:
    return {"duration": draft.pick(*SHORT)}


def _stop(draft: _Draft, step: Object, readable: tuple[str, ...], depth: int, path: str) -> Object:
    return {"phase": draft.pick("Succeeded", "Failed", "cancel", "Running")}


def _parallel(draft: _Draft, step: Object, readable: tuple[str, ...], depth: int, path: str) -> Object:
    settings: Object = {}
    if draft.one_in(3):
        settings["maxConcurrency"] = draft.pick(1, 2)
    if draft.one_in(3):
        settings["forEach"] = draft.pick([1, 2], ["x"], [], "{{ inputs.list }}", "{{ inputs.none }}", "{{ inputs.n }}")
        branch = _step(draft, "each", (), (), depth=depth + 1, path=f"{path}/*")
        if "ref" in branch and draft.one_in(2):
            branch["with"] = {"n": "{{ item }}", "at": "{{ itemIndex }}"}
        return settings | {"steps": [branch]}
    names = ("x", "y", "z")[: 1 + draft.draw(below(3))]
    branches = [_step(draft, name, (), (), depth=depth + 1, path=f"{path}/{name}") for name in names]
    return settings | {"steps": branches}


def _execute_story(draft: _Draft, step: Object, readable: tuple[str, ...], depth: int, path: str) -> Object:
    settings: Object = {"storyRef": {"name": draft.pick(*draft.stories, *draft.stories, "nowhere")}}
    if draft.one_in(2):
        settings["with"] = {"n": draft.pick(1, 2, "{{ inputs.n }}")}
    match draft.draw(below(5)):
        case 0:
            settings["waitForCompletion"] = False
        case 1 | 2:
            settings |= {"until": draft.pick("{{ ge iteration 2 }}", "{{ inputs.no }}", "{{ inputs.yes }}")}
            settings["maxIterations"] = draft.pick(1, 2, 3)
    return settings


def _waiting(draft: _Draft) -> Object:
    settings: Object = {"timeout": draft.pick("2s", "5s", "1m")} if draft.one_in(2) else {}
    return settings | ({"onTimeout": "skip"} if draft.one_in(3) else {})


def _wait(draft: _Draft, step: Object, readable: tuple[str, ...], depth: int, path: str) -> Object:
    texts = ["{{ inputs.yes }}", "{{ inputs.no }}"]
    if readable and depth == 0:
        texts.append(f"{{{{ steps.{draft.pick(*readable)}.output.flag }}}}")
    return {"until": draft.pick(*texts)} | _waiting(draft)


def _gate(draft: _Draft, step: Object, readable: tuple[str, ...], depth: int, path: str) -> Object:
    return _waiting(draft)


def _nothing(draft: _Draft, step: Object, readable: tuple[str, ...], depth: int, path: str) -> Object:
    return {}


_SETTINGS: Final[dict[StepKind, Callable[[_Draft, Object, tuple[str, ...], int, str], Object]]] = {
    StepKind.ENGRAM: _engram,
    StepKind.CONDITION: _nothing,
    StepKind.SLEEP: _sleep,
    StepKind.STOP: _stop,
    StepKind.PARALLEL: _parallel,
    StepKind.EXECUTE_STORY: _execute_story,
    StepKind.WAIT: _wait,
    StepKind.GATE: _gate,
}
