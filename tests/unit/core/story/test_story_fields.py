"""Every field of a Story that holds an expression is found, with its dialect and the roots it may use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.story import fields
from core.story.fields import ExpressionField, FieldKind
from core.story.story import Story, read_story

ENGRAM = {"name": "worker"}

STORY: dict[str, Any] = {
    "steps": [
        {
            "name": "fetch",
            "ref": ENGRAM,
            "if": "inputs.ready",
            "with": {"url": "{{ inputs.url }}", "list": ["x", {"$bubuTemplate": "{{ 1 }}", "$bubuTemplateVars": {}}]},
            "runtime": {"x": "{{ packet.id }}"},
            "idempotencyKeyTemplate": "{{ inputs.key }}",
            "postExecution": {"condition": "steps.fetch.output.ok"},
        },
        {"name": "hold", "type": "wait", "with": {"until": "steps.fetch.output.ok", "timeout": "1h"}},
        {
            "name": "both",
            "type": "parallel",
            "with": {"steps": [{"name": "left", "ref": ENGRAM, "with": {"a": "{{ steps.fetch.output }}"}}, "odd"]},
        },
        {"name": "other", "type": "executeStory", "with": {"storyRef": {"name": "s"}, "with": {"b": "{{ 2 }}"}}},
        {
            "name": "again",
            "type": "executeStory",
            "with": {"storyRef": {"name": "s"}, "until": "previous.ok", "with": {"n": "{{ iteration }}"}},
        },
        {
            "name": "fan",
            "type": "parallel",
            "with": {
                "forEach": "{{ inputs.list }}",
                "steps": [{"name": "each", "ref": ENGRAM, "if": "item.ok", "idempotencyKeyTemplate": "{{ item.id }}"}],
            },
        },
        {"name": "rest", "type": "sleep", "with": {"duration": "{{ not a template }}"}},
        "odd",
    ],
    "finally": [{"name": "last", "ref": ENGRAM, "if": " "}],
    "output": {"n": "{{ steps.fetch.output.n }}"},
    "policy": {"with": {"c": "{{ inputs.c }}"}},
}


def story(spec: dict[str, Any]) -> Story:
    return read_story({"spec": spec})


def of_step(step: dict[str, Any]) -> Iterator[ExpressionField]:
    return fields.of_step(next(story({"steps": [step]}).top()))


def test_the_fields_of_a_story_come_in_the_order_in_which_it_is_written() -> None:
    assert [(field.path, field.step, field.kind) for field in fields.of_story(story(STORY))] == [
        ("spec.steps[0].if", "fetch", FieldKind.CONDITION),
        ("spec.steps[0].with", "fetch", FieldKind.VALUE),
        ("spec.steps[0].runtime", "fetch", FieldKind.VALUE),
        ("spec.steps[0].idempotencyKeyTemplate", "fetch", FieldKind.VALUE),
        ("spec.steps[0].postExecution.condition", "fetch", FieldKind.CONDITION),
        ("spec.steps[1].with.until", "hold", FieldKind.CONDITION),
        ("spec.steps[2].with.steps[0].with", "left", FieldKind.VALUE),
        ("spec.steps[3].with", "other", FieldKind.VALUE),
        ("spec.steps[4].with", "again", FieldKind.VALUE),
        ("spec.steps[4].with.until", "again", FieldKind.CONDITION),
        ("spec.steps[5].with.forEach", "fan", FieldKind.VALUE),
        ("spec.steps[5].with.steps[0].if", "each", FieldKind.CONDITION),
        ("spec.steps[5].with.steps[0].idempotencyKeyTemplate", "each", FieldKind.VALUE),
        ("spec.output", "", FieldKind.VALUE),
        ("spec.policy.with", "", FieldKind.VALUE),
    ]


def test_each_text_is_a_leaf_and_a_wrapper_is_one() -> None:
    field = next(field for field in fields.of_story(story(STORY)) if field.path == "spec.steps[0].with")

    assert [(leaf.path, leaf.is_constant) for leaf in field.leaves()] == [
        ("spec.steps[0].with.url", False),
        ("spec.steps[0].with.list[0]", True),
        ("spec.steps[0].with.list[1]", False),
    ]


def test_what_a_field_may_refer_to_depends_on_the_pattern() -> None:
    def scopes(**spec: Any) -> dict[str, str]:
        return {field.path: field.scope.name for field in fields.of_story(story({**STORY, **spec}))}

    batch, realtime = scopes(), scopes(pattern="realtime")
    assert (batch["spec.steps[0].if"], realtime["spec.steps[0].if"]) == ("batch-runtime", "realtime-runtime")
    assert (batch["spec.steps[0].with"], realtime["spec.steps[0].with"]) == ("batch-runtime", "realtime-static")
    assert realtime["spec.steps[0].runtime"] == "realtime-runtime"
    assert realtime["spec.output"] == "story-output"


def test_a_loop_has_roots_of_its_own() -> None:
    base = {"inputs", "steps"}
    roots = {field.path: set(field.scope.roots) - base for field in fields.of_story(story(STORY))}

    assert roots["spec.steps[3].with"] == set()
    assert roots["spec.steps[4].with"] == roots["spec.steps[4].with.until"] == {"previous", "iteration"}
    assert roots["spec.steps[5].with.forEach"] == set()
    assert roots["spec.steps[5].with.steps[0].if"] == {"item", "itemIndex"}
    assert roots["spec.steps[5].with.steps[0].idempotencyKeyTemplate"] == {"item", "itemIndex"}


def test_what_is_inside_an_item_sees_it_too_and_a_loop_in_it_both() -> None:
    again = {"name": "again", "type": "executeStory", "with": {"until": "item.x == previous.x"}}
    hold = {"name": "hold", "type": "wait", "with": {"until": "item.ready"}}
    inner = {"name": "inner", "type": "parallel", "with": {"forEach": "{{ item.list }}", "steps": [again, hold]}}
    step = {"name": "fan", "type": "parallel", "with": {"forEach": [1], "steps": [inner]}}
    roots = {field.path.removeprefix("spec.steps[0].with.steps[0].with."): field.scope.roots for field in of_step(step)}

    found = {field.path.removeprefix("spec.steps[0].with.steps[0].with."): field for field in of_step(step)}
    outer, inside = found["spec.steps[0].with.forEach"], found["forEach"]
    assert (outer.items, inside.items, found["steps[1].with.until"].items) == (None, outer, inside)
    assert [leaf.items for leaf in inside.leaves()] == [outer]
    assert roots["forEach"] == {"inputs", "steps", "item", "itemIndex"}
    assert roots["steps[0].with.until"] == {"inputs", "steps", "item", "itemIndex", "previous", "iteration"}
    assert roots["steps[1].with.until"] == {"inputs", "steps", "item", "itemIndex"}


def test_a_list_that_is_none_leaves_its_items_what_they_are() -> None:
    branch = {"name": "each", "ref": ENGRAM, "if": "item.ok"}
    for items in ("", None):
        step = {"name": "fan", "type": "parallel", "with": {"forEach": items, "steps": [branch]}}
        (field,) = of_step(step)

        assert "item" in field.scope.roots


def test_an_until_is_read_as_a_condition_and_not_as_part_of_what_is_handed_on() -> None:
    field = next(field for field in fields.of_story(story(STORY)) if field.path == "spec.steps[4].with")

    assert [leaf.path for leaf in field.leaves()] == ["spec.steps[4].with.storyRef.name", "spec.steps[4].with.with.n"]


def test_clean_up_runs_as_a_batch_in_a_realtime_story_too() -> None:
    (field,) = fields.of_story(
        story({"pattern": "realtime", "finally": [{"name": "a", "ref": ENGRAM, "if": "inputs.x"}]})
    )

    assert field.scope.name == "batch-runtime"


def test_a_check_after_execution_sees_its_own_output_only() -> None:
    found = {field.path: field.own_output_only for field in fields.of_story(story(STORY))}

    assert [path for path, own in found.items() if own] == ["spec.steps[0].postExecution.condition"]


def test_a_damaged_spec_has_no_fields() -> None:
    assert not list(fields.of_story(story({"steps": "x", "output": None, "policy": []})))


def test_a_plain_text_in_a_value_is_itself_and_in_a_condition_an_expression() -> None:
    text = "steps.fetch.output.ok == true"
    condition, value = (next(of_step({"name": "a", "ref": ENGRAM, key: text})) for key in ("if", "with"))

    assert (condition.references.steps, condition.is_constant) == (frozenset({"fetch"}), False)
    assert (value.references.steps, value.is_constant) == (frozenset(), True)


def test_the_place_of_every_step_is_known() -> None:
    step = {
        "name": "a",
        "ref": ENGRAM,
        "if": "inputs.x &&\n  steps['b-c'].output.ok",
        "with": {"y": "{{ with steps.d }}{{ .output }}{{ end }} {{ index steps `e` `output` }}"},
    }
    places = [place for field in of_step(step) for place in field.step_places]

    assert [(place.step, place.path, place.position.line, place.position.column) for place in places] == [
        ("b-c", "spec.steps[0].if", 2, 3),
        ("d", "spec.steps[0].with.y", 1, 9),
        ("e", "spec.steps[0].with.y", 1, 51),
    ]


def test_the_text_of_a_script_is_no_expression_but_its_inputs_are() -> None:
    step = {"name": "a", "run": "echo {{ steps.x.output }}", "image": "{{ x }}", "with": {"n": "{{ inputs.n }}"}}

    found = list(of_step(step))

    assert [(field.path, field.value) for field in found] == [("spec.steps[0].with", {"n": "{{ inputs.n }}"})]
