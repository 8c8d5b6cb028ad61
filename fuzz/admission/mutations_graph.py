"""Mistakes between the steps of a Story: needs, cycles, requirements, expressions."""

from __future__ import annotations

from typing import Final

from core.api.objects import STEP_LISTS, Object
from fuzz.admission import strategies_values as values
from fuzz.admission.chance import Chance
from fuzz.admission.mutations import KEYS, Draft, breaks, insert, section
from fuzz.admission.mutations_steps import Found, a_primitive, a_step, in_stream, plant, steps_of, top_step

_BAD_VALUES: Final = (
    "{{ nope | }}",
    "{{ inputs.a",
    "{{ env `HOME` }}",
    "{{ .trigger.x }}",
    "{{ template `a` }}",
    "{{ 1 + }}",
)
_BAD_CONDITIONS: Final = (*_BAD_VALUES, "inputs.a &&", "perhaps", "inputs.ready = true", "trigger.x == 1")


@breaks("story/need-unknown", "Story")
def _need_a_ghost(chance: Chance, draft: Draft) -> str:
    found = top_step(chance, draft)
    return f"{found.path}.needs[{insert(chance, found.step, 'needs', 'ghost')}]"


@breaks("story/need-self", "Story")
def _need_itself(chance: Chance, draft: Draft) -> str:
    found = top_step(chance, draft)
    return f"{found.path}.needs[{insert(chance, found.step, 'needs', found.step['name'])}]"


@breaks("story/need-later", "Story")
def _need_what_runs_later(chance: Chance, draft: Draft) -> str:
    found, later = _with_a_later_one(chance, draft)
    return f"{found.path}.needs[{insert(chance, found.step, 'needs', later)}]"


def _with_a_later_one(chance: Chance, draft: Draft) -> tuple[Found, str]:
    """A step, and the name of a new one in a later list."""
    found = a_step(chance, draft, lambda _f: True, {"type": "stop"}, lists=STEP_LISTS[:-1], top=True)
    return found, _later_than(chance, draft, found)


def _later_than(chance: Chance, draft: Draft, found: Found) -> str:
    lists = STEP_LISTS[STEP_LISTS.index(found.list_name) + 1 :]
    return str(plant(chance, draft, {"type": "stop"}, lists=lists, top=True).step["name"])


@breaks("story/cycle", "Story")
def _circle(chance: Chance, draft: Draft) -> str:
    """A cycle of new steps; some of them need a step because their condition uses it."""
    list_name = chance.pick(STEP_LISTS)
    ring = [
        plant(chance, draft, {"type": "stop"}, lists=(list_name,), top=True).step for _ in range(chance.number(2, 5))
    ]
    for step, needed in zip(ring, [*ring[1:], ring[0]], strict=True):
        if chance.yes(3):
            step["if"] = f'steps["{needed["name"]}"].output.ok == true'
        else:
            step["needs"] = [needed["name"]]
    return next(found.path for found in steps_of(draft) if any(found.step is step for step in ring))


@breaks("story/needs-absent", "Story", realtime=True)
def _leave_needs_to_the_place_in_the_list(chance: Chance, draft: Draft) -> str:
    """A step of this sort gets the packets of all before it, or of none."""
    steps = draft.spec["steps"]
    steps.append({"name": "in-line", "type": "stop", **chance.pick(({}, {"needs": None}))})
    if len(steps) == 1:
        steps.insert(0, {"name": "first", "type": "stop"})
    return f"spec.steps[{len(steps) - 1}]"


@breaks("story/packet-without-step", "Story", realtime=True)
def _read_what_no_packet_has(chance: Chance, draft: Draft) -> str:
    """Two sources that are not joined, or a step that is not among the needs."""
    first, second = (
        plant(chance, draft, {"type": "condition"}, lists=("steps",), top=True).step["name"] for _ in range(2)
    )
    needs = [first, second] if chance.yes() else [first]
    condition = f'steps["{first}"].ok == steps["{second}"].ok'
    found = plant(chance, draft, {"type": "stop", "needs": needs, "if": condition}, lists=("steps",), top=True)
    return f"{found.path}.if"


@breaks("story/require-form", "Story")
def _require_nothing(chance: Chance, draft: Draft) -> str:
    found = top_step(chance, draft)
    wrong = chance.pick(("foo", "steps", "steps.a", "steps..x", "inputs.a.b", "steps.a.", ""))
    return f"{found.path}.requires[{insert(chance, found.step, 'requires', wrong)}]"


@breaks("story/require-unknown", "Story")
def _require_a_ghost(chance: Chance, draft: Draft) -> str:
    found, later = _with_a_later_one(chance, draft) if chance.yes() else (top_step(chance, draft), "ghost")
    return f"{found.path}.requires[{insert(chance, found.step, 'requires', f'steps.{later}.output.x')}]"


@breaks("story/require-unreached", "Story")
def _require_what_need_not_be_done(chance: Chance, draft: Draft) -> str:
    beside = plant(chance, draft, {"type": "stop"}, top=True)
    found = a_step(
        chance, draft, lambda f: f.step is not beside.step, {"type": "stop"}, lists=(beside.list_name,), top=True
    )
    index = insert(chance, found.step, "requires", f"steps.{beside.step['name']}.output.x")
    return f"{found.path}.requires[{index}]"


# --- expressions -----------------------------------------------------------------------------------------------------


def _condition_field(chance: Chance, draft: Draft) -> tuple[Object, str, str]:
    """The place of a condition: its parent, its key, its path. It overwrites nothing that other steps rely on."""
    match chance.number(0, 2):
        case 0:
            found = a_step(chance, draft, lambda f: "steps" not in str(f.step.get("if")), {"type": "stop"})
            return found.step, "if", f"{found.path}.if"
        case 1:
            settings, path = a_primitive(chance, draft, "wait", {"until": "inputs.x"})
            return settings, "until", f"{path}.until"
        case _:
            found = a_step(chance, draft, lambda _f: True, {"type": "stop"})
            return section(found.step, "postExecution"), "condition", f"{found.path}.postExecution.condition"


def _value_field(chance: Chance, draft: Draft) -> tuple[Object, str, str]:
    """The place of a template, in the form of ``_condition_field``."""
    key = chance.pick(KEYS)
    match chance.number(0, 3):
        case 0:
            return section(draft.spec, "output"), key, f"spec.output.{key}"
        case 1:
            return section(draft.spec, "policy", "with"), key, f"spec.policy.with.{key}"
        case 2:
            found = a_step(chance, draft, lambda _f: True, {"type": "stop"})
            return found.step, "idempotencyKeyTemplate", f"{found.path}.idempotencyKeyTemplate"
        case _:
            return _parameters(chance, draft, key)


def _parameters(chance: Chance, draft: Draft, key: str) -> tuple[Object, str, str]:
    field = chance.pick(("with", "runtime"))
    there = [f for f in steps_of(draft) if field in f.step and (field == "runtime" or "ref" in f.step)]
    if not there:
        return section(draft.spec, "output"), key, f"spec.output.{key}"
    found = chance.pick(there)
    return found.step[field], key, f"{found.path}.{field}.{key}"


@breaks("story/expression", "Story")
def _no_condition(chance: Chance, draft: Draft) -> str:
    parent, key, path = _condition_field(chance, draft)
    parent[key] = chance.pick(_BAD_CONDITIONS)
    return path


@breaks("story/expression", "Story")
def _no_template(chance: Chance, draft: Draft) -> str:
    parent, key, path = _value_field(chance, draft)
    parent[key] = chance.pick(_BAD_VALUES)
    if key in KEYS and chance.yes(4):
        parent[key] = {"$bubuTemplate": parent[key]}
        path += ".$bubuTemplate"
    return path


@breaks("story/expression", "Story", realtime=False)
def _packets_in_a_batch(chance: Chance, draft: Draft) -> str:
    parent, key, path = _condition_field(chance, draft)
    parent[key] = chance.pick(("packet.id == 1", "{{ packet.id }}", "{{ get packet `x` }}"))
    return path


@breaks("story/expression", "Story", realtime=True)
def _change_in_what_is_fixed(chance: Chance, draft: Draft) -> str:
    there = [f for f in steps_of(draft) if "ref" in f.step and "with" in f.step and in_stream(draft, f)]
    if not there:
        section(draft.spec, "output")["bad"] = "{{ packet.id }}"
        return "spec.output.bad"
    found = chance.pick(there)
    found.step["with"]["bad"] = chance.pick(("{{ now }}", "{{ uuidv4 }}", "{{ len steps }}", "{{ packet.id }}"))
    return f"{found.path}.with.bad"


@breaks("story/expression-step-unknown", "Story", realtime=False)
def _use_a_ghost(chance: Chance, draft: Draft) -> str:
    ghost = chance.pick(("ghost", "gh-ost", "0ghost"))
    is_condition = chance.yes()
    parent, key, path = (_condition_field if is_condition else _value_field)(chance, draft)
    forms = (f"{{{{ {values.of_step(ghost)}.output.x }}}}", f'{{{{ index .steps "{ghost}" "output" "x" }}}}')
    parent[key] = chance.pick((*forms, f"{values.of_step(ghost)}.output.ok == true") if is_condition else forms)
    return path


@breaks("story/expression-step-later", "Story")
def _use_what_runs_later(chance: Chance, draft: Draft) -> str:
    found, later = _with_a_later_one(chance, draft)
    return _use(chance, found, later)


@breaks("story/expression-waits-for-later", "Story", realtime=False)
def _wait_for_what_runs_later(chance: Chance, draft: Draft) -> str:
    found = a_step(
        chance, draft, lambda f: "steps" not in str(f.step.get("if")), {"type": "stop"}, lists=STEP_LISTS[:-1]
    )
    found.step["if"] = f"{values.of_step(_later_than(chance, draft, found))}.output.ok == true"
    return f"{found.path}.if"


@breaks("story/expression-step-unreached", "Story")
def _use_what_need_not_be_done(chance: Chance, draft: Draft) -> str:
    lists = STEP_LISTS if draft.spec.get("pattern") != "realtime" else STEP_LISTS[1:]
    beside = plant(chance, draft, {"type": "stop"}, lists=lists, top=True)
    found = a_step(chance, draft, lambda f: f.step is not beside.step, {"type": "stop"}, lists=(beside.list_name,))
    return _use(chance, found, beside.step["name"])


@breaks("story/expression-step-unreached", "Story")
def _use_what_starts_at_the_same_time(chance: Chance, draft: Draft) -> str:
    steps: list[Object] = [{"name": "beside-one", "type": "stop"}, {"name": "looks-beside", "type": "stop"}]
    if chance.yes(3):
        steps[0] = {"name": "around-one", "type": "parallel", "with": {"steps": [steps[0]]}}
    steps = list(chance.shuffled(steps))
    found = plant(chance, draft, {"type": "parallel", "with": {"steps": steps}}, top=True)
    index = next(index for index, step in enumerate(steps) if step["name"] == "looks-beside")
    steps[index]["if"] = chance.pick(("steps['beside-one'].output.ok == true", "{{ steps.beside_one.output.ok }}"))
    return f"{found.path}.with.steps[{index}].if"


def _use(chance: Chance, found: Found, step: str) -> str:
    """A use of an output that does not make the step wait for it."""
    if chance.yes():
        found.step["idempotencyKeyTemplate"] = f"{{{{ {values.of_step(step)}.output.x }}}}"
        return f"{found.path}.idempotencyKeyTemplate"
    section(found.step, "postExecution")["condition"] = f"{values.of_step(step)}.output.ok == true"
    return f"{found.path}.postExecution.condition"
