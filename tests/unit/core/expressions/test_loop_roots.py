"""The roots of items and iterations: both dialects read them, and names that had a meaning before keep it."""

from __future__ import annotations

from typing import Any

import pytest

from core.expressions import (
    ExpressionError,
    OffloadedDataError,
    check_condition,
    check_value,
    evaluate_condition,
    references_of,
    resolve_value,
)
from core.expressions.roots import OF_ITEMS, OF_ITERATIONS
from core.expressions.scopes import BATCH_RUNTIME, CONTAINER

DATA: dict[str, Any] = {
    "inputs": {"tags": ["a", "b"], "objects": [{"x": 1}, {"x": 2}], "item": {"y": 3}, "previous": 4},
    "steps": {},
}
IN_LOOP: dict[str, Any] = {
    **DATA,
    "item": {"url": "u", "a-b": [1], "none": None},
    "itemIndex": 2,
    "previous": {"done": True},
    "iteration": 3,
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ item }}", IN_LOOP["item"]),
        ("{{ item.url }}", "u"),
        ("{{ .item.url }}", "u"),
        ('{{ index .item "a-b" }}', [1]),
        ('{{ index item "a-b" }}', [1]),
        ('{{ item["a-b"] }}', [1]),
        ("{{ item['a-b'][0] }}", 1),
        ("{{ item.none }}", None),
        ("{{ itemIndex }}", 2),
        ("n-{{ itemIndex }}", "n-2"),
        ("{{ previous.done }}", True),
        ("{{ iteration }}", 3),
        ("{{ range inputs.tags }}{{ . }}{{ item.url }}{{ end }}", "aubu"),
    ],
)
def test_templates_read_them(text: str, value: Any) -> None:
    assert resolve_value(text, IN_LOOP) == value


@pytest.mark.parametrize(
    "text",
    [
        'item.url == "u"',
        "has(item.url) && !has(item.path)",
        'item["a-b"][0] == 1',
        "itemIndex == 2",
        "previous.done && iteration > 2",
        'item.exists(item, item == "url")',
    ],
)
def test_conditions_read_them(text: str) -> None:
    assert evaluate_condition(text, IN_LOOP) is True


@pytest.mark.parametrize(
    "text",
    [
        'inputs.tags.exists(item, item == "b")',
        "inputs.objects.exists(item, item.x == 2)",
        "inputs.objects.map(item, item.x) == [1, 2]",
        "inputs.objects.filter(previous, previous.x > 1).size() == 1",
        "inputs.objects.all(iteration, inputs.objects.exists(item, item.x == iteration.x))",
        "cel.bind(item, inputs.objects, item[0].x == 1)",
        '{"item": 1}.item == 1',
        "inputs.item.y == 3 && inputs.previous == 4",
    ],
)
@pytest.mark.parametrize("data", [DATA, IN_LOOP], ids=["outside", "inside"])
def test_a_name_that_a_condition_gives_itself_is_its_own(text: str, data: dict[str, Any]) -> None:
    assert evaluate_condition(text, data) is True
    assert check_condition(text, "if", BATCH_RUNTIME) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ range $item := inputs.tags }}{{ $item }}{{ end }}", "ab"),
        ("{{ range inputs.objects }}{{ .x }}{{ end }}", "12"),
        ("{{ with inputs }}{{ .item.y }}{{ end }}", 3),
        ('{{ print "item" }}', "item"),
    ],
)
def test_a_name_that_a_template_gives_itself_is_its_own(text: str, value: Any) -> None:
    assert str(resolve_value(text, DATA)) == str(value)
    assert check_value(text, "with", BATCH_RUNTIME) == []


@pytest.mark.parametrize("name", sorted(OF_ITEMS | OF_ITERATIONS))
def test_elsewhere_they_are_refused_with_the_place_where_they_are(name: str) -> None:
    where = "inside a parallel step with forEach" if name in OF_ITEMS else "an executeStory step that has until"
    for text in (f"{{{{ {name} }}}}", f"{{{{ .{name} }}}}", f'{{{{ index . "{name}" }}}}', f"{name} == 1"):
        (problem,) = check_condition(text, "if", BATCH_RUNTIME)
        assert where in problem.message, text
        assert check_condition(text, "if", BATCH_RUNTIME.offering(OF_ITEMS | OF_ITERATIONS)) == []


@pytest.mark.parametrize("text", ["{{ item }}", "{{ item.url }}", '{{ index .item "a" }}', "{{ itemIndex }}"])
def test_without_their_data_a_value_is_an_error(text: str) -> None:
    with pytest.raises(ExpressionError, match=r"item(Index)? is missing"):
        resolve_value(text, DATA)


@pytest.mark.parametrize("text", ["item.url == 1", "has(item.url)", "itemIndex == 0", "previous.x == 1"])
def test_without_their_data_a_condition_is_an_error(text: str) -> None:
    with pytest.raises(ExpressionError, match=r"there is no (item|itemIndex|previous) here"):
        evaluate_condition(text, DATA)


def test_they_are_told_as_roots_and_not_as_steps() -> None:
    found = references_of(["{{ item.steps.a }}", "{{ $.previous.x }}"])

    assert found.roots == {"item", "previous"}
    assert not found.steps
    assert not found.unknown_steps


def test_a_path_into_an_item_in_object_storage_passes_the_reference_on() -> None:
    kept = {"$bubuStorageRef": "key"}
    data = {**DATA, "item": {"body": kept}, "previous": kept}

    assert resolve_value("{{ item.body }}", data) == kept
    assert resolve_value("{{ item.body.title }}", data) == {**kept, "$bubuStoragePath": "title"}
    assert resolve_value("{{ previous.a.b }}", data) == {**kept, "$bubuStoragePath": "a.b"}


@pytest.mark.parametrize("text", ["{{ item.body | upper }}", "{{ toJson item }}", "{{ len previous }}"])
def test_the_content_of_an_item_in_object_storage_is_not_at_hand(text: str) -> None:
    kept = {"$bubuStorageRef": "key"}
    with pytest.raises(OffloadedDataError, match="use a plain path"):
        resolve_value(text, {**DATA, "item": [{"body": kept}], "previous": kept})


def test_a_name_with_a_dash_is_told_as_for_other_roots() -> None:
    (problem,) = check_condition("item.a-b == 1", "if")

    assert problem.remedy == 'did you mean item["a-b"]?'


def test_step_and_run_are_roots_of_containers_alone_and_data_of_these_names_keeps_its_meaning() -> None:
    values = {"inputs": {"step": 1, "run": 2}, "steps": {}, "step": {"name": "a"}, "run": {"name": "b"}}

    assert resolve_value(["{{ step.name }}-{{ .run.name }}", "{{ step }}"], values) == ["a-b", {"name": "a"}]
    assert resolve_value("{{ inputs.step }}", values) == 1
    assert resolve_value("{{ with inputs }}{{ .step }}{{ .run }}{{ end }}", values) == "12"
    assert check_value("{{ step.name }}{{ run.name }}", "f", CONTAINER) == []
    for scope in (CONTAINER, BATCH_RUNTIME):
        assert check_value("{{ inputs.run }}", "f", scope) == []
    [problem] = check_value("{{ run.name }}", "f", BATCH_RUNTIME)
    assert "only in the container of an EngramTemplate" in problem.message
