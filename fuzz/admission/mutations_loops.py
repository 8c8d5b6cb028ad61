"""Mistakes in loops: Stories executed until a condition holds, steps run for each item, limits of parallel branches."""

from __future__ import annotations

from typing import Any, Final

from core.api.loops import MAX_ITEM_STEP_NAME, MAX_ITEMS, MAX_ITERATIONS
from core.api.objects import Object
from fuzz.admission import strategies_values as values
from fuzz.admission.chance import Chance
from fuzz.admission.mutations import KEYS, Draft, breaks, section
from fuzz.admission.mutations_steps import Found, a_step, insert_branch, open_parallel, steps_of
from fuzz.admission.mutations_story import a_call

_NO_COUNTS: Final[tuple[Any, ...]] = (0, -1, True, 1.5, "3", {}, [])


def _loop(chance: Chance, draft: Draft) -> tuple[Object, str]:
    """The settings of a step that executes a Story repeatedly."""
    settings, path = a_call(chance, draft)
    settings.setdefault("until", values.condition(chance))
    settings.setdefault("maxIterations", chance.pick((1, MAX_ITERATIONS)))
    if settings.get("waitForCompletion") is False:
        del settings["waitForCompletion"]
    return settings, path


@breaks("story/loop-until", "Story")
def _until_nothing(chance: Chance, draft: Draft) -> str:
    settings, path = _loop(chance, draft)
    settings["until"] = chance.pick(("", " ", True, 3, {}, []))
    return f"{path}.until"


@breaks("story/loop-iterations", "Story")
def _without_end(chance: Chance, draft: Draft) -> str:
    settings, path = _loop(chance, draft)
    settings["maxIterations"] = chance.pick((None, MAX_ITERATIONS + 1, *_NO_COUNTS))
    return f"{path}.maxIterations"


@breaks("story/loop-iterations-unused", "Story")
def _a_limit_of_nothing(chance: Chance, draft: Draft) -> str:
    settings, path = a_call(chance, draft)
    settings.pop("until", None)
    if "previous" in str(settings.get("with")) or "iteration" in str(settings.get("with")):
        del settings["with"]
    settings["maxIterations"] = chance.pick((1, 0, "x"))
    return f"{path}.maxIterations"


@breaks("story/loop-detached", "Story")
def _a_loop_that_does_not_wait(chance: Chance, draft: Draft) -> str:
    settings, path = _loop(chance, draft)
    settings["waitForCompletion"] = False
    return f"{path}.waitForCompletion"


@breaks("story/expression", "Story")
def _an_iteration_elsewhere(chance: Chance, draft: Draft) -> str:
    key = chance.pick(KEYS)
    section(draft.spec, "output")[key] = chance.pick(
        ("{{ previous.x }}", "{{ .iteration }}", "{{ index . `previous` }}")
    )
    return f"spec.output.{key}"


def _for_each(chance: Chance, draft: Draft) -> Found:
    """A step that runs for each item."""
    inner: Object = {"name": f"for-each-{len(steps_of(draft))}", "type": "sleep", "with": {"duration": "1s"}}
    new = {"type": "parallel", "with": {"forEach": [1], "steps": [inner]}}
    return a_step(chance, draft, lambda found: found.type == "parallel" and "forEach" in found.step["with"], new)


@breaks("story/items", "Story")
def _items_of_nothing(chance: Chance, draft: Draft) -> str:
    found = _for_each(chance, draft)
    wrong: tuple[Any, ...] = (list(range(MAX_ITEMS + 1)), "", "inputs.items", None, 3, True, {}, {"a": ["b"]})
    found.step["with"]["forEach"] = chance.pick(wrong)
    return f"{found.path}.with.forEach"


@breaks("story/item-steps", "Story")
def _several_steps_for_an_item(chance: Chance, draft: Draft) -> str:
    found = _for_each(chance, draft)
    insert_branch(chance, found, {"name": f"second-{len(steps_of(draft))}", "type": "stop"})
    return f"{found.path}.with.steps"


@breaks("story/item-name", "Story")
def _too_long_for_a_number(chance: Chance, draft: Draft) -> str:
    found = _for_each(chance, draft)
    branch = found.step["with"]["steps"][0]
    branch.pop("postExecution", None)  # it may refer to the step by the old name
    branch["name"] = "k" * chance.number(MAX_ITEM_STEP_NAME + 1, 62)
    return f"{found.path}.with.steps[0].name"


@breaks("story/expression", "Story")
def _an_item_elsewhere(chance: Chance, draft: Draft) -> str:
    if chance.yes():
        found = _for_each(chance, draft)
        if found.depth:  # it would refer to the item of the outer step
            section(draft.spec, "output")["bad"] = "{{ itemIndex }}"
            return "spec.output.bad"
        found.step["with"]["forEach"] = ["{{ item }}"]
        return f"{found.path}.with.forEach[0]"
    found = a_step(chance, draft, lambda found: not found.depth, {"type": "stop"})
    found.step["idempotencyKeyTemplate"] = chance.pick(("{{ item.id }}", "{{ .itemIndex }}", "{{ item[`a`] }}"))
    return f"{found.path}.idempotencyKeyTemplate"


@breaks("story/expression-step-unknown", "Story")
def _one_of_many(chance: Chance, draft: Draft) -> str:
    found = _for_each(chance, draft)
    branch = found.step["with"]["steps"][0]
    key = chance.pick(KEYS)
    section(draft.spec, "output")[key] = f"{{{{ {values.of_step(branch['name'])}.output.x }}}}"
    return f"spec.output.{key}"


@breaks("story/branch-concurrency", "Story")
def _nobody_at_work(chance: Chance, draft: Draft) -> str:
    found = _for_each(chance, draft) if chance.yes() else open_parallel(chance, draft)
    found.step["with"]["maxConcurrency"] = chance.pick((2**31, *_NO_COUNTS))
    return f"{found.path}.with.maxConcurrency"


@breaks("story/branch-needs", "Story")
def _a_branch_that_needs(chance: Chance, draft: Draft) -> str:
    found = _for_each(chance, draft) if chance.yes() else open_parallel(chance, draft)
    index = chance.number(0, len(found.step["with"]["steps"]) - 1)
    found.step["with"]["steps"][index]["needs"] = chance.pick((["a"], ["ghost", "b"]))
    return f"{found.path}.with.steps[{index}].needs"
