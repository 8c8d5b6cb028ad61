"""Templates that make a text from data. (text_template.py)"""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from bubu_sdk.text_template import MAX_TEXT_BYTES, TemplateDataError, TemplateSyntaxError, TextTemplate

DATA: dict[str, Any] = {
    "body": {
        "id": "evt-1",
        "number": 42,
        "large": 123456789,
        "ratio": 0.25,
        "tiny": 1.5e-7,
        "open": True,
        "nothing": None,
        "labels": [{"name": "Bug"}],
        "two words": "yes",
        "stored": {"$bubuStorageRef": "inputs/a/b.json"},
    },
    "headers": {"x-delivery": "d-7", "blank": ""},
}


def render(text: str) -> str:
    return TextTemplate(text, ("body", "headers")).render(DATA)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{ body.id }}", "evt-1"),
        ("{{.body.id}}", "evt-1"),
        ('{{ headers["x-delivery"] }}', "d-7"),
        ('{{ body["two words"] }}', "yes"),
        ("{{ body.labels[0].name | lower }}", "bug"),
        ("{{ body.number }}", "42"),
        ("{{ body.large }}", "123456789"),
        ("{{ body.labels }}", '[{"name":"Bug"}]'),
        ("{{ body.open }}", "true"),
        ("n{{ body.number }}/{{ body.open }}", "n42/true"),
        ("n{{ body.large }}, {{ body.ratio }}, {{ body.tiny }}", "n1.23456789e+08, 0.25, 1.5e-07"),
        ("n{{ body.labels | toJson }}", 'n[{"name":"Bug"}]'),
        ('{{ body.missing | default "a | b }} c" }}', "a | b }} c"),
        ('{{ headers.blank | default "none" }}', "none"),
        ('{{ body.nothing | default "none" | upper }}', "NONE"),
        ("{{ body.id | sha256sum }}", hashlib.sha256(b"evt-1").hexdigest()),
        ('{"a": {{ body.number }}}', '{"a": 42}'),
    ],
)
def test_templates_are_filled_in(template: str, text: str) -> None:
    assert render(template) == text


def test_a_single_action_keeps_the_type_of_its_value() -> None:
    assert TextTemplate("{{ body.labels }}", ("body",)).value(DATA) == [{"name": "Bug"}]
    assert TextTemplate("{{ body.number }}", ("body",)).value(DATA) == 42
    assert TextTemplate("n{{ body.number }}", ("body",)).value(DATA) == "n42"


@pytest.mark.parametrize(
    "template",
    [
        "{{ body.id",
        "{{ }}",
        "{{ body.id | }}",
        "{{ body.id | nope }}",
        "{{ body.id | default }}",
        '{{ body.id | lower "x" }}',
        "{{ now }}",
        '{{ env "HOME" }}',
        "{{ range body.labels }}x{{ end }}",
        "{{ steps.a.output }}",
    ],
)
def test_anything_but_paths_and_known_functions_is_refused_at_once(template: str) -> None:
    with pytest.raises(TemplateSyntaxError):
        TextTemplate(template, ("body", "headers"))


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("{{ body.missing }}", "body.missing"),
        ("{{ body.nothing }}", "body.nothing"),
        ("{{ body.labels[7].name | lower }}", r"body.labels\[7\].name"),
        ("x{{ body.labels }}", "toJson"),
        ("{{ body.stored.part }}", "in the object store"),
    ],
)
def test_data_that_does_not_fit_is_named(template: str, named: str) -> None:
    with pytest.raises(TemplateDataError, match=named):
        render(template)


def test_the_result_is_bounded() -> None:
    with pytest.raises(TemplateDataError, match=str(MAX_TEXT_BYTES)):
        TextTemplate("x{{ body }}", ("body",)).render({"body": "é" * MAX_TEXT_BYTES})
