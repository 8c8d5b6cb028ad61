"""Random valid Stories with all kinds of steps, which need existing steps and use steps that have ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from core.api.execution import ExecutionOverrides, ExecutionSpec
from core.api.loops import MAX_ITEM_STEP_NAME, MAX_ITERATIONS
from core.api.objects import STEP_LISTS, Object
from core.api.resource import ENGRAM, STORY
from core.api.workflow import StoryPolicy, StoryTimeouts
from core.story.kinds import NOT_IN_STREAMS
from fuzz.admission import strategies_values as values
from fuzz.admission.chance import Chance
from fuzz.admission.strategies_models import fill, retry_policy
from fuzz.admission.strategies_streaming import streaming
from fuzz.admission.strategies_world import ANY_TRANSPORT, Surroundings, new_object

_PRIMITIVES: Final = ("stop", "condition", "sleep", "executeStory", "parallel", "gate", "wait")
_MOST: Final = {"steps": 4, "compensations": 2, "finally": 2}
_BRANCH_DEPTH: Final = 2


@dataclass
class _Plan:
    """A Story that is being made.

    Attributes:
        names: the names that are not used yet.
        done: step → all steps that have ended when it starts, because of its needs and its expressions.
    """

    chance: Chance
    around: Surroundings
    realtime: bool
    names: list[str]
    transports: list[str] = field(default_factory=list)
    done: dict[str, set[str]] = field(default_factory=dict)
    ids: int = 0

    def name(self) -> str:
        return self.names.pop(0)


def story(chance: Chance, around: Surroundings, realtime: bool | None = None) -> Object:
    in_streams = chance.yes(4) if realtime is None else realtime
    plan = _Plan(chance, around, in_streams, chance.some(values.NAMES, 20, 20))
    spec: Object = {"pattern": "realtime"} if plan.realtime else {}
    plan.transports = [f"t{number}" for number in range(chance.number(int(plan.realtime), 2))]
    before: list[str] = []
    for list_name in STEP_LISTS:
        steps = _list(plan, list_name, before)
        before += [step["name"] for step in steps]
        if steps or chance.yes(4):
            spec[list_name] = steps
    if plan.transports:
        spec["transports"] = [_declared(chance, around, name, before) for name in plan.transports]
    _around_steps(chance, around, spec, before)
    return new_object(chance, around, STORY, spec)


def _list(plan: _Plan, list_name: str, before: list[str]) -> list[Object]:
    """Steps of one list; each is made after those that it needs. ``before`` has the steps of earlier lists."""
    chance = plan.chance
    least = 1 if list_name == "steps" else 0
    made: list[Object] = []
    for _ in range(chance.number(least, _MOST[list_name])):
        name, earlier = plan.name(), [step["name"] for step in made]
        needs = chance.some([*earlier, *before], 2)
        done = set(before).union(needs, *(plan.done[need] for need in needs if need in earlier))
        in_stream = list_name == "steps" and plan.realtime
        if in_stream:  # a packet has the data of the need that it comes from
            done, earlier = set(needs[:1]), needs[:1]
        if earlier and chance.yes():
            used = chance.pick(earlier)
            condition: str | None = values.condition(chance, [used], packet=in_stream)
            done |= {used, *plan.done[used]} if "steps" in str(condition) and not in_stream else set()
        else:
            condition = values.condition(chance, sorted(done)) if chance.yes(3) else None
        plan.done[name] = done
        step = _step(plan, name, sorted(done), in_stream)
        step |= {"needs": needs} if needs or in_stream or chance.yes(5) else {}
        step |= {"if": condition} if condition else {}
        if done and chance.yes(4):
            step["requires"] = [f"steps.{chance.pick(sorted(done))}.output.x"]
        if chance.yes(5):
            plan.ids += 1
            step["id"] = f"id-{plan.ids}"
        made.append(step)
    return chance.shuffled(made)


def _step(plan: _Plan, name: str, done: list[str], in_stream: bool, depth: int = 0) -> Object:
    """A step, or a branch, whose expressions may use the outputs of ``done``."""
    chance = plan.chance
    step: Object = {"name": name}
    if chance.yes() and not (in_stream and depth):  # a stream does not execute branches
        _work(plan, step, done, in_stream)
    else:
        kinds = [kind for kind in _PRIMITIVES if not (in_stream and kind in NOT_IN_STREAMS)]
        kind = chance.pick([kind for kind in kinds if kind != "parallel" or depth < _BRANCH_DEPTH])
        step["type"] = kind
        settings = _settings(plan, kind, done, in_stream, depth)
        if settings is not None:
            step["with"] = settings
    if plan.transports and chance.yes(3):
        step["transport"] = chance.pick(plan.transports)
    if step.get("transport") and chance.yes(3):
        step["runtime"] = {"later": values.payload(chance, values.templates(done, packet=True), 1)}
    if chance.yes(4):
        step["postExecution"] = {"condition": values.condition(chance, [name])}
    if chance.yes(5):
        step["idempotencyKeyTemplate"] = chance.pick(values.templates(done))
    for flag in chance.some(("sideEffects", "allowFailure"), 2):
        step[flag] = chance.yes()
    if chance.yes(3):
        step["execution"] = fill(chance, ExecutionOverrides)
        if "ref" in step and chance.yes():
            step["execution"]["retry"] = retry_policy(chance)
    return step


def _work(plan: _Plan, step: Object, done: list[str], in_stream: bool) -> None:
    """Make the step a step of an Engram."""
    chance, around = plan.chance, plan.around
    expressions = values.static_templates() if in_stream else values.templates(done)
    schema = values.schema(chance) if chance.yes() else None
    given = values.document(chance, schema, expressions) if schema else values.payload(chance, expressions, 1)
    if chance.yes(4):
        given["ref"] = around.payload_reference(STORY)
    moved = {key: given.pop(key) for key in chance.some(list(given), 1)} if chance.yes(3) else None
    in_engram = moved if moved is not None and "{{" not in str(moved) else None
    given |= moved if moved is not None and in_engram is None else {}
    streams = plan.realtime or chance.yes(4)
    engram = around.engram(streaming=streams, schema=schema, with_=in_engram)
    step["ref"] = around.reference(STORY, ENGRAM, engram)
    if given or chance.yes():
        step["with"] = given
    if streams and chance.yes(3):
        step["runtime"] = {"later": chance.pick(values.templates(done, packet=True))}
    template = around.objects[-2] if around.objects[-2]["kind"] == "EngramTemplate" else around.objects[-3]
    if "secretSchema" in template["spec"] and chance.yes():
        step["secrets"] = dict.fromkeys(chance.some(("api", "db"), 2), "keys")


def _settings(plan: _Plan, kind: str, done: list[str], in_stream: bool, depth: int) -> Object | None:
    """The ``with`` of a primitive."""
    chance = plan.chance
    match kind:
        case "sleep":
            return {"duration": values.duration(chance)}
        case "stop":
            phases = ("Succeeded", "failed", "Finished", "", "{{ inputs.phase }}", "cancel")
            return {"phase": chance.pick(phases), "message": "done"} if chance.yes() else None
        case "wait":
            return {"until": "true" if chance.yes(5) else values.condition(chance, done), **_waiting(chance)}
        case "gate":
            return _waiting(chance) if chance.yes() else None
        case "parallel":
            return _branches(plan, done, in_stream, depth)
        case "executeStory":
            return _call(plan, done, in_stream)
        case _:
            return None


def _branches(plan: _Plan, done: list[str], in_stream: bool, depth: int) -> Object:
    """At most two branches, or one that runs for each item."""
    chance = plan.chance
    found: Object = {"maxConcurrency": chance.pick((1, 3, 2**31 - 1))} if chance.yes(3) else {}
    if len(plan.names[0]) > MAX_ITEM_STEP_NAME or not chance.yes(3):
        return found | {"steps": [_branch(plan, done, in_stream, depth + 1) for _ in range(chance.number(1, 2))]}
    expressions = values.static_templates() if in_stream else values.templates(done)
    written: list[Any] = [[], [1, {"a": None}, chance.pick(expressions)], chance.pick(values.whole(expressions))]
    branch = _branch(plan, done, in_stream, depth + 1)
    if chance.yes():
        branch["if"] = chance.pick(("item.ok == true", "{{ eq itemIndex 0 }}", "itemIndex > 1 && inputs.a"))
    if chance.yes():
        branch["idempotencyKeyTemplate"] = chance.pick(("{{ item.id }}", "{{ index .item `a-b` }}-{{ itemIndex }}"))
    return found | {"forEach": chance.pick(written), "steps": [branch]}


def _branch(plan: _Plan, done: list[str], in_stream: bool, depth: int) -> Object:
    branch = _step(plan, plan.name(), done, in_stream, depth)
    return branch | ({"if": values.condition(plan.chance, done)} if plan.chance.yes(4) else {})


def _waiting(chance: Chance) -> Object:
    settings = {
        "timeout": chance.pick((*values.SAFE_DURATIONS, "")),
        "pollInterval": chance.pick(("10ms", "5s", " 1m")),
        "onTimeout": chance.pick(("fail", " SKIP ", "")),
    }
    return {key: settings[key] for key in chance.some(tuple(settings), 3)}


def _call(plan: _Plan, done: list[str], in_stream: bool) -> Object:
    chance, around = plan.chance, plan.around
    called = around.story(realtime=plan.realtime and chance.yes())
    found: Object = {"storyRef": around.reference(STORY, STORY, called)}
    if chance.yes():
        expressions = values.static_templates() if in_stream else values.templates(done)
        found["with"] = values.payload(chance, expressions, 1)
    if not chance.yes(3):
        return found | ({"waitForCompletion": chance.yes()} if chance.yes() else {})
    if chance.yes():
        section = found.setdefault("with", {})
        section["before"] = chance.pick(("{{ previous.x }}", "{{ iteration }}", "{{ get .previous `y` }}"))
    until = chance.pick(("previous.ok == true", "{{ gt iteration 2 }}", values.condition(chance, done)))
    return found | {"until": until, "maxIterations": chance.pick((1, 7, MAX_ITERATIONS))}


def _declared(chance: Chance, around: Surroundings, name: str, steps: list[str]) -> Object:
    found: Object = {"name": name, "transportRef": around.transport(dict(ANY_TRANSPORT))}
    if chance.yes(3):
        found["settings"] = values.settings(chance)
    return found | ({"streaming": streaming(chance, steps)} if chance.yes() else {})


def _around_steps(chance: Chance, around: Surroundings, spec: Object, steps: list[str]) -> None:
    """All fields of a Story except its steps."""
    if chance.yes(3):
        spec["output"] = values.payload(chance, values.templates(steps))
        if chance.yes(3):
            spec["output"]["ref"] = around.payload_reference(STORY)
    for key in chance.some(("inputsSchema", "outputsSchema"), 2):
        spec[key] = values.schema(chance) if key == "outputsSchema" else values.inputs_schema(chance)
    if chance.yes(3):
        spec["version"] = chance.pick(values.VERSIONS)
    if chance.yes(4):
        spec["concurrency"] = {"mode": chance.pick(("serial", "parallel"))}
    if chance.yes():
        given: Object = {}
        if chance.yes():
            given["timeouts"] = fill(chance, StoryTimeouts)
        if chance.yes(3):
            given["retries"] = {"stepRetryPolicy": retry_policy(chance)} if chance.yes() else {}
        if chance.yes(3):
            given["execution"] = fill(chance, ExecutionSpec)
        if chance.yes(3):
            given["with"] = values.payload(chance, values.templates(steps))
        spec["policy"] = fill(chance, StoryPolicy, given, leave=("with",))
