"""The container resolves plain paths. Any richer expression is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from bubu_sdk import template
from bubu_sdk.errors import TemplateError

STORED = {"$bubuStorageRef": "outputs/ns/sr/output.json", "$bubuStorageContentType": "application/json"}
VARIABLES = {
    "inputs": {"n": 3, "list": [1, {"k": "v"}]},
    "steps": {"my-step": {"output": {"id": "x"}}, "big": {"output": STORED}, "nested": {"output": {"body": STORED}}},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ inputs.n }}", 3),
        ("{{.inputs.n}}", 3),
        ("{{- inputs.list -}}", [1, {"k": "v"}]),
        ("{{ inputs.list[1].k }}", "v"),
        ('{{ steps["my-step"].output.id }}', "x"),
        ("{{ steps['my-step'].output.id }}", "x"),
        ('{{ index steps "my-step" }}', {"output": {"id": "x"}}),
        ('{{ (index .steps "my-step").output.id }}', "x"),
        ("{{ steps.big.output }}", STORED),
        ("{{ steps.big.output.a[0].b }}", {"$bubuStorageRef": STORED["$bubuStorageRef"], "$bubuStoragePath": "a[0].b"}),
        ("{{ steps.nested.output.body.x }}", {"$bubuStorageRef": STORED["$bubuStorageRef"], "$bubuStoragePath": "x"}),
        ("no template", "no template"),
    ],
)
def test_a_plain_path_keeps_the_type_of_what_it_names(text: str, expected: Any) -> None:
    assert template.resolve({"v": [text]}, VARIABLES, "inputs") == {"v": [expected]}


def test_all_unresolvable_templates_are_listed_with_their_paths() -> None:
    value = {"a": "hello {{ inputs.n }}", "b": ["{{ inputs.n | toJson }}"], "c": "{{ steps.none.output }}"}

    with pytest.raises(TemplateError) as caught:
        template.resolve(value, VARIABLES, "inputs")

    message = str(caught.value)
    assert "inputs.a: unresolved template" in message
    assert "inputs.b[0]: unresolved template" in message
    assert "inputs.c: steps.none names nothing" in message


def test_a_value_that_was_pruned_from_the_context_is_explained() -> None:
    pruned = {"steps": {"s": {"output": {"$bubuOmitted": True, "reason": "template_context_size_limit"}}}}

    with pytest.raises(TemplateError, match="too large for the template context"):
        template.resolve("{{ steps.s.output }}", pruned, "config")


@pytest.mark.parametrize("text", ["Hello {{name}}", "{{ steps.my-step.output.id }}", "{{", "{{{{ 1 }}"])
def test_braces_of_data_as_the_operator_spells_them_are_data_again(text: str) -> None:
    spelled = text.replace("{{", '{{ "{{" }}')

    assert template.resolve({"v": [spelled]}, VARIABLES, "config") == {"v": [text]}


def test_texts_inside_a_reference_are_not_templates() -> None:
    node = {"$bubuStorageRef": "outputs/{{x}}"}

    assert template.resolve(node, {}, "inputs") == node
