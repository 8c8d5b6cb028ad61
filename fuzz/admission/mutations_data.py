"""Mistakes about settings that nobody reads, and about data that the schemas of a Story describe."""

from __future__ import annotations

from typing import Final

from core.api.objects import Object
from fuzz.admission.chance import Chance
from fuzz.admission.mutations import KEYS, Draft, breaks, section
from fuzz.admission.mutations_steps import a_primitive, a_step, plant, steps_of

_MISSPELT: Final = {
    "sleep": ("duratoin", "Duration", "durations"),
    "gate": ("timout", "onTimeOut", "poll_interval"),
    "stop": ("phsae", "phases"),
    "parallel": ("maxConcurency", "max-concurrency", "foreach"),
}


@breaks("story/setting-misspelt", "Story")
def _a_key_with_a_slip(chance: Chance, draft: Draft) -> str:
    type_ = chance.pick(tuple(_MISSPELT))
    inner: Object = {"name": f"slip-{len(steps_of(draft))}", "type": "stop"}
    new: Object = {"steps": [inner]} if type_ == "parallel" else {}
    found = plant(chance, draft, {"type": type_, "with": new}, lists=("compensations", "finally"))
    key = chance.pick(_MISSPELT[type_])
    found.step["with"][key] = chance.pick((1, "x", None))
    return f"{found.path}.with.{key}"


@breaks("story/setting-unknown", "Story")
def _a_key_of_nobody(chance: Chance, draft: Draft) -> str:
    settings, path = a_primitive(chance, draft, chance.pick(("stop", "gate")))
    key = chance.pick(("note", "zz"))
    settings[key] = chance.pick((1, "{{ unread", None))
    return f"{path}.{key}"


@breaks("story/message-unevaluated", "Story")
def _a_template_in_a_message(chance: Chance, draft: Draft) -> str:
    settings, path = a_primitive(chance, draft, "stop")
    settings["message"] = chance.pick(("{{ inputs.x }}", "no city {{", "{{ steps.a.output.b | upper }} is late"))
    return f"{path}.message"


@breaks("story/sleep-without-duration", "Story")
def _no_pause(chance: Chance, draft: Draft) -> str:
    found = a_step(chance, draft, lambda found: found.type == "sleep", {"type": "sleep"})
    if chance.yes() or "with" not in found.step:
        found.step["with"] = chance.pick(({}, {"duration": ""}, {"duration": " "}, {"duration": None}))
    else:
        del found.step["with"]
    return f"{found.path}.with.duration"


def _described(draft: Draft, closed: bool) -> None:
    """Describe the input ``town``, and all others that expressions read."""
    schema = section(draft.spec, "inputsSchema")
    properties = schema.setdefault("properties", {})
    for read in ("x", "a", "e-f", "n", "items", "env", "ready", "put"):
        properties.setdefault(read, {})
    properties["town"] = {"type": "string"}
    properties["count"] = {"type": "integer"}
    if closed:
        schema["additionalProperties"] = False
    else:
        schema.pop("additionalProperties", None)


def _output(chance: Chance, draft: Draft, *texts: str) -> str:
    key = chance.pick(KEYS)
    section(draft.spec, "output")[key] = chance.pick(texts)
    return f"spec.output.{key}"


@breaks("story/input-absent", "Story")
def _an_input_that_the_schema_excludes(chance: Chance, draft: Draft) -> str:
    _described(draft, closed=True)
    return _output(
        chance, draft, "{{ inputs.tonw }}", "{{ .inputs.city }}", "{{ inputs['t-n'] }}", "{{inputs.town2.x}}"
    )


@breaks("story/input-unknown", "Story")
def _an_input_that_the_schema_does_not_mention(chance: Chance, draft: Draft) -> str:
    _described(draft, closed=False)
    texts = (
        "{{ inputs.tonw }}",
        "in {{ .inputs.city }}",
        "{{ inputs.q | default `a` }}",
        "{{ upper (inputs['t-n']) }}",
    )
    return _output(chance, draft, *texts)


@breaks("story/comparison", "Story")
def _types_that_never_fit(chance: Chance, draft: Draft) -> str:
    _described(draft, closed=chance.yes())
    texts = ('inputs.count > "x"', "inputs.town <= 1", "{{ lt .inputs.count `a` }}", "{{ eq 3 inputs.town }}")
    found = plant(chance, draft, {"type": "stop", "if": chance.pick(texts)}, lists=("compensations", "finally"))
    return f"{found.path}.if"


@breaks("story/comparison-constant", "Story")
def _never_equal(chance: Chance, draft: Draft) -> str:
    _described(draft, closed=chance.yes())
    texts = ('inputs.count == "x"', "inputs.town != 1", "inputs.a && true == inputs.town")
    return plant(chance, draft, {"type": "stop", "if": chance.pick(texts)}).path + ".if"


@breaks("story/condition-constant", "Story")
def _always_the_same(chance: Chance, draft: Draft) -> str:
    texts = ("true", " NO ", "1", "1 + 1 == 2", "{{ true }}", "{{ eq `a` `b` }}", "[1].exists(x, x > 1)")
    return plant(chance, draft, {"type": "stop", "if": chance.pick(texts)}).path + ".if"


@breaks("story/output-unknown", "Story", realtime=False)
def _an_output_that_the_template_does_not_mention(chance: Chance, draft: Draft) -> str:
    described: Object = chance.pick(
        ({"declaredOutputKeys": ["count"]}, {"outputSchema": {"properties": {"count": {"type": "integer"}}}})
    )
    template = {"version": "v1", "image": "x", "supportedModes": ["job"], **described}
    named = {"name": "described", "namespace": draft.namespace}
    draft.objects += [
        {
            "apiVersion": "catalog.bubustack.io/v1alpha1",
            "kind": "EngramTemplate",
            "metadata": {"name": "described"},
            "spec": template,
        },
        {
            "apiVersion": "bubustack.io/v1alpha1",
            "kind": "Engram",
            "metadata": named,
            "spec": {"templateRef": {"name": "described"}},
        },
    ]
    step = plant(chance, draft, {"ref": {"name": "described"}}, lists=("steps",), top=True).step
    name = step["name"]
    return _output(
        chance, draft, f'{{{{ steps["{name}"].output.cuont }}}}', f'{{{{ index steps "{name}" "output" "c" }}}}'
    )


@breaks("story/items-no-list", "Story")
def _items_that_are_never_a_list(chance: Chance, draft: Draft) -> str:
    _described(draft, closed=chance.yes())
    texts = ("a {{ inputs.x }}", "{{ inputs.x }}{{ inputs.a }}", "{{ inputs.a | toJson }}", "{{ inputs.count }}")
    inner: Object = {"name": f"each-{len(steps_of(draft))}", "type": "stop"}
    settings: Object = {"forEach": chance.pick((*texts, {"$bubuTemplate": texts[0]})), "steps": [inner]}
    return plant(chance, draft, {"type": "parallel", "with": settings}).path + ".with.forEach"
