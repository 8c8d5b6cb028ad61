"""Mistakes in a single step of a Story: names, branches, settings of primitives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.api.objects import STEP_LISTS, Object
from core.story.step import MAX_BRANCH_DEPTH
from fuzz.admission import strategies_values as values
from fuzz.admission.chance import Chance
from fuzz.admission.mutations import (
    BAD_DURATIONS,
    NOT_ALLOWED,
    Draft,
    breaks,
    enlarge,
    insert,
    malformed,
    out_of_reach,
    section,
    somewhere,
)

_SETTLED: Final = ("stop", "sleep", "gate", "wait")
"""Primitives whose ``with`` is not searched for required steps and may have additional keys."""


@dataclass(frozen=True)
class Found:
    """A step of a draft, and its place."""

    step: Object
    path: str
    list_name: str
    depth: int

    @property
    def type(self) -> str:
        return str(self.step.get("type") or "")

    @property
    def is_open(self) -> bool:
        """Whether the step has branches, to which a branch may be added."""
        return self.type == "parallel" and "forEach" not in self.step["with"]


def steps_of(draft: Draft) -> list[Found]:
    """All steps and branches, in the order of the text."""
    return [found for name in STEP_LISTS for found in _walk(draft.spec.get(name) or (), f"spec.{name}", name, 0)]


def _walk(steps: Any, path: str, list_name: str, depth: int) -> Iterator[Found]:
    for index, step in enumerate(steps):
        found = Found(step, f"{path}[{index}]", list_name, depth)
        yield found
        if step.get("type") == "parallel":
            yield from _walk(step["with"]["steps"], f"{found.path}.with.steps", list_name, depth + 1)


def in_stream(draft: Draft, found: Found) -> bool:
    return draft.spec.get("pattern") == "realtime" and found.list_name == "steps"


def plant(
    chance: Chance, draft: Draft, step: Object, *, lists: tuple[str, ...] = STEP_LISTS, top: bool = False
) -> Found:
    """Put a new step into a list, or among the branches of a step there."""
    needs: Object = {"needs": []} if draft.spec.get("pattern") == "realtime" else {}  # a place in the list means more
    step = {"name": f"planted-{len(steps_of(draft))}", **needs, **step}
    around = [found for found in steps_of(draft) if found.is_open and found.list_name in lists]
    if around and not top and chance.yes():
        chance.pick([insert_branch(chance, chance.pick(around), step)])
    else:
        insert(chance, draft.spec, chance.pick(lists), step)
    return next(found for found in steps_of(draft) if found.step is step)


def insert_branch(chance: Chance, around: Found, step: Object) -> int:
    return insert(chance, around.step["with"], "steps", step)


def a_step(
    chance: Chance,
    draft: Draft,
    fits: Callable[[Found], bool],
    new: Object,
    *,
    lists: tuple[str, ...] = STEP_LISTS,
    top: bool = False,
) -> Found:
    """An existing step that ``fits``, or ``new``."""
    there = [
        found for found in steps_of(draft) if fits(found) and found.list_name in lists and not (top and found.depth)
    ]
    if there and not chance.yes(4):
        return chance.pick(there)
    return plant(chance, draft, dict(new), lists=lists, top=top)


def any_step(chance: Chance, draft: Draft) -> Found:
    return a_step(chance, draft, lambda _found: True, {"type": "stop"})


def top_step(chance: Chance, draft: Draft) -> Found:
    return a_step(chance, draft, lambda _found: True, {"type": "stop"}, top=True)


def a_primitive(chance: Chance, draft: Draft, type_: str, settings: Object | None = None) -> tuple[Object, str]:
    """The settings of a primitive of this type, and their path."""
    lists = ("compensations", "finally") if draft.spec.get("pattern") == "realtime" else STEP_LISTS
    lists = lists if type_ in ("wait", "gate") else STEP_LISTS
    new = {"type": type_} | ({"with": settings} if settings else {})
    found = a_step(chance, draft, lambda found: found.type == type_, new, lists=lists)
    return section(found.step, "with"), f"{found.path}.with"


def open_parallel(chance: Chance, draft: Draft) -> Found:
    """A step with branches, to which a branch may be added."""
    inner: Object = {"name": f"inner-{len(steps_of(draft))}", "type": "stop"}
    return a_step(chance, draft, lambda found: found.is_open, {"type": "parallel", "with": {"steps": [inner]}})


def _branch(chance: Chance, draft: Draft) -> Found:
    around = open_parallel(chance, draft)
    below = f"{around.path}.with.steps["
    return chance.pick([f for f in steps_of(draft) if f.path.startswith(below) and f.depth == around.depth + 1])


# --- names -----------------------------------------------------------------------------------------------------------


@breaks("story/name-taken", "Story")
def _later_step(chance: Chance, draft: Draft) -> str:
    first = top_step(chance, draft)
    lists = STEP_LISTS[STEP_LISTS.index(first.list_name) :]
    target = chance.pick(lists)
    items = draft.spec.setdefault(target, [])
    least = items.index(first.step) + 1 if target == first.list_name else 0
    index = chance.number(least, len(items))
    items.insert(index, {"name": first.step["name"], "type": "stop"})
    return f"spec.{target}[{index}].name"


@breaks("story/name-taken", "Story")
def _branch_beside(chance: Chance, draft: Draft) -> str:
    around = open_parallel(chance, draft)
    twin = {"name": chance.pick(around.step["with"]["steps"])["name"], "type": "stop"}
    insert_branch(chance, around, twin)
    names = [branch["name"] for branch in around.step["with"]["steps"]]
    later = max(index for index, name in enumerate(names) if name == twin["name"])
    return f"{around.path}.with.steps[{later}].name"


@breaks("story/id-taken", "Story")
def _two_ids(chance: Chance, draft: Draft) -> str:
    one = plant(chance, draft, {"type": "stop"}, top=True).step
    other = plant(chance, draft, {"type": "stop"}, top=True).step if chance.yes() else None
    pair = [one, other or chance.pick([f.step for f in steps_of(draft) if not f.depth and f.step is not one] or [one])]
    if pair[0] is pair[1]:
        pair[1] = plant(chance, draft, {"type": "stop"}, top=True).step
    for step in pair:
        step["id"] = "twin"
    return [found.path for found in steps_of(draft) if found.step.get("id") == "twin"][-1] + ".id"


@breaks("story/ref-or-type", "Story")
def _both(chance: Chance, draft: Draft) -> str:
    found = a_step(chance, draft, lambda found: "ref" in found.step, {})
    if "ref" in found.step:
        found.step["type"] = "stop"
    return found.path


@breaks("story/ref-or-type", "Story")
def _neither(chance: Chance, draft: Draft) -> str:
    found = a_step(chance, draft, lambda found: found.type in _SETTLED, {"type": "stop"})
    del found.step["type"]
    return found.path


@breaks("story/script-image", "Story")
def _script_of_an_image_that_nobody_allows(chance: Chance, draft: Draft) -> str:
    script: Object = {
        "run": "echo {{ 1",
        "image": chance.pick(("busybox", "python:3.12", "registry.example/x@sha256:0")),
    }
    return plant(chance, draft, script, lists=("compensations", "finally")).path + ".image"


@breaks("story/script-field", "Story")
def _image_without_a_script(chance: Chance, draft: Draft) -> str:
    key, value = chance.pick((("image", "busybox"), ("shell", ["sh"])))
    return plant(chance, draft, {"type": "stop", key: value}).path + f".{key}"


@breaks("story/type-not-for-streams", "Story", realtime=True)
def _waits_in_a_stream(chance: Chance, draft: Draft) -> str:
    waiting: Object = chance.pick(({"type": "gate"}, {"type": "wait", "with": {"until": "inputs.x"}}))
    return plant(chance, draft, waiting, lists=("steps",)).path + ".type"


@breaks("story/with-size", "Story")
def _large_with(chance: Chance, draft: Draft) -> str:
    types = (*_SETTLED, "executeStory", "parallel")
    found = a_step(chance, draft, lambda found: found.type in types, {"type": "stop"}, top=True)
    enlarge(section(found.step, "with"), 65_536)
    return f"{found.path}.with"


@breaks("story/step-duration", "Story")
def _step_timeout(chance: Chance, draft: Draft) -> str:
    found = any_step(chance, draft)
    section(found.step, "execution")["timeout"] = chance.pick((*BAD_DURATIONS, "0s", "0"))
    return f"{found.path}.execution.timeout"


@breaks("story/step-duration", "Story")
def _step_delay(chance: Chance, draft: Draft) -> str:
    found, key = any_step(chance, draft), chance.pick(("delay", "maxDelay"))
    section(found.step, "execution", "retry")[key] = chance.pick(BAD_DURATIONS)
    return f"{found.path}.execution.retry.{key}"


@breaks("definition/retry-on", "Story")
def _no_failure(chance: Chance, draft: Draft) -> str:
    found = any_step(chance, draft)
    wrong = chance.pick((0, 256, -1, "trasient", "always", "75", "", "no name", "a..b"))
    section(found.step, "execution", "retry")["retryOn"] = ["any", wrong]
    return f"{found.path}.execution.retry.retryOn[1]"


@breaks("definition/retry-unused", "Story")
def _retries_of_nothing(chance: Chance, draft: Draft) -> str:
    found = any_step(chance, draft)
    found.step["execution"] = {"retry": {"maxRetries": 0, "retryOn": ["any"]}}
    return f"{found.path}.execution.retry.retryOn"


@breaks("story/secret-name", "Story")
def _blank_secret(chance: Chance, draft: Draft) -> str:
    fits = a_step(chance, draft, lambda found: "ref" not in found.step or "secrets" in found.step, {"type": "stop"})
    secrets = section(fits.step, "secrets")
    key = chance.pick(tuple(secrets) or ("api",))
    secrets[key] = chance.pick(("", " "))
    return f"{fits.path}.secrets.{key}"


def _payload(chance: Chance, draft: Draft) -> tuple[Object, str]:
    """A ``with`` or ``runtime`` that is searched for references, and its path."""
    types = (*_SETTLED, "executeStory", "")
    places = [
        (found.step[field], f"{found.path}.{field}")
        for found in steps_of(draft)
        for field in ("with", "runtime")
        if field in found.step and (field == "runtime" or found.type in types)
    ]
    if places and not chance.yes(4):
        return chance.pick(places)
    found = plant(chance, draft, {"type": "stop", "with": {}})
    return found.step["with"], f"{found.path}.with"


@breaks("story/reference-form", "Story")
def _malformed_reference(chance: Chance, draft: Draft) -> str:
    (value, path), (wrong, below) = _payload(chance, draft), malformed(chance)
    return f"{somewhere(chance, value, path, wrong)}.{below}"


@breaks("story/reference-namespace", "Story", policies=NOT_ALLOWED)
def _reference_out_of_reach(chance: Chance, draft: Draft) -> str:
    (value, path), (wrong, below) = _payload(chance, draft), out_of_reach(chance)
    return f"{somewhere(chance, value, path, wrong)}.{below}"


# --- branches --------------------------------------------------------------------------------------------------------


@breaks("story/branch-shape", "Story")
def _misshapen_branch(chance: Chance, draft: Draft) -> str:
    found = _branch(chance, draft)
    wrong: str | int | Sequence[str] | None
    key, wrong = chance.pick((("allowFailure", "yes"), ("needs", "a"), ("id", "Ä"), ("secrets", []), ("zz", None)))
    if key == "zz":
        found.step.pop("postExecution", None)  # it may refer to the step by the old name
        key, wrong = "name", chance.pick((None, 3, "Ä"))
    found.step[key] = wrong
    return f"{found.path}.{key}"


@breaks("story/branch-field", "Story")
def _unknown_field_of_a_branch(chance: Chance, draft: Draft) -> str:
    found = _branch(chance, draft)
    if chance.yes():
        section(found.step, "execution")["zz"] = 1
        return f"{found.path}.execution.zz"
    found.step["zz"] = None
    return f"{found.path}.zz"


@breaks("story/branch-name", "Story")
def _branch_hides_a_step(chance: Chance, draft: Draft) -> str:
    around = open_parallel(chance, draft)
    free = {f.step["name"] for f in steps_of(draft) if not f.depth} - {b["name"] for b in around.step["with"]["steps"]}
    index = insert_branch(chance, around, {"name": chance.pick(sorted(free)), "type": "stop"})
    return f"{around.path}.with.steps[{index}].name"


@breaks("story/branches", "Story")
def _no_branches(chance: Chance, draft: Draft) -> str:
    found = open_parallel(chance, draft)
    found.step["with"] = chance.pick(({}, {"steps": []}, {"steps": "a"}, {"steps": {}}))
    return f"{found.path}.with.steps"


@breaks("story/branch-depth", "Story")
def _too_many_levels(chance: Chance, draft: Draft) -> str:
    step: Object = {"name": "innermost", "type": "stop"}
    for level in range(MAX_BRANCH_DEPTH + 1):
        step = {"name": f"level-{level}", "type": "parallel", "with": {"steps": [step]}}
    found = plant(chance, draft, step)
    return found.path + ".with.steps[0]" * (MAX_BRANCH_DEPTH - found.depth)


# --- primitives ------------------------------------------------------------------------------------------------------


@breaks("story/wait-until", "Story")
def _wait_for_nothing(chance: Chance, draft: Draft) -> str:
    settings, path = a_primitive(chance, draft, "wait", {"until": "inputs.x"})
    settings["until"] = chance.pick(("", " ", None, 3, {}))
    return f"{path}.until"


@breaks("story/wait-settings", "Story")
def _wait_badly(chance: Chance, draft: Draft) -> str:
    type_ = chance.pick(("gate", "wait"))
    settings, path = a_primitive(chance, draft, type_, {"until": "inputs.x"} if type_ == "wait" else {})
    key = chance.pick(("timeout", "pollInterval", "onTimeout"))
    wrong: dict[str, tuple[Any, ...]] = {
        "timeout": (*BAD_DURATIONS, "0s", 3, True),
        "pollInterval": (*BAD_DURATIONS, "0s", "5ms", "9.999ms", 3),
        "onTimeout": ("hold", 3, False, []),
    }
    settings[key] = chance.pick(wrong[key])
    return f"{path}.{key}"


@breaks("story/sleep-duration", "Story")
def _sleep_badly(chance: Chance, draft: Draft) -> str:
    settings, path = a_primitive(chance, draft, "sleep")
    settings["duration"] = chance.pick((*BAD_DURATIONS, "0s", 3, {}))
    return f"{path}.duration"


@breaks("story/stop-phase", "Story")
def _stop_in_no_phase(chance: Chance, draft: Draft) -> str:
    settings, path = a_primitive(chance, draft, "stop")
    settings["phase"] = chance.pick(("Exploded", "done", 3))
    return f"{path}.phase"


@breaks("story/unused-with", "Story")
def _condition_with_settings(chance: Chance, draft: Draft) -> str:
    settings, path = a_primitive(chance, draft, "condition")
    settings |= chance.pick(({"if": "inputs.x"}, {"x": values.NAMES[0]}))
    return path
