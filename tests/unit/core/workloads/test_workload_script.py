"""Script steps: which images they may use, what runs their text, and what they stand for."""

from __future__ import annotations

from typing import Any

import pytest

from core.policy.settings import ScriptSettings
from core.workloads.container_problems import container_problems
from core.workloads.script import (
    image_of,
    is_allowed,
    is_script,
    script_of,
    shell_of,
    template_of,
    why_image_not_allowed,
)

STEP: dict[str, Any] = {
    "name": "count",
    "run": "print('{{ inputs.x }}')",
    "image": "python:3.12-slim",
    "with": {"x": 1},
}


@pytest.mark.parametrize(
    ("pattern", "image", "allowed"),
    [
        ("python:3.12", "python:3.12", True),
        ("python:3.12", "python:3.12-slim", False),
        ("python:*", "python:3.12-slim", True),
        ("python:*", "python", False),
        ("python:*", "python:5000/evil", False),
        ("python:*", "evil/python:3", False),
        ("python:3.?", "python:3.9", True),
        ("ghcr.io/acme/*", "ghcr.io/acme/tool:1", True),
        ("ghcr.io/acme/*", "ghcr.io/acme/deep/tool:1", False),
        ("ghcr.io/acme/**", "ghcr.io/acme/deep/tool:1", True),
        ("ghcr.io/acme/**", "ghcr.io/acmes/tool", False),
        ("*", "any/thing@sha256:0", True),
        ("a.c", "abc", False),
        ("a[bc]", "ab", False),
    ],
)
def test_a_pattern_is_compared_with_the_whole_image(pattern: str, image: str, allowed: bool) -> None:
    assert is_allowed(image, ["other", pattern]) is allowed


@pytest.mark.parametrize(
    ("step", "settings", "words"),
    [
        ({}, ScriptSettings(), ("not allowed here", "scripts.images")),
        ({"image": "busybox"}, ScriptSettings(), ("not allowed here", "scripts.images")),
        ({}, ScriptSettings(("busybox",)), ("needs an image", "scripts.default-image")),
        ({"image": "evil"}, ScriptSettings(("busybox", "a")), ("evil is not an image", "one of busybox, a")),
        ({}, ScriptSettings(("busybox",), "alpine"), ("alpine is not an image", "busybox")),
    ],
)
def test_a_refusal_names_the_setting(step: dict[str, Any], settings: ScriptSettings, words: tuple[str, str]) -> None:
    refused = why_image_not_allowed({"run": "x", **step}, settings)

    assert refused is not None
    assert all(word in text for word, text in zip(words, refused, strict=True))


def test_the_operators_image_is_used_where_the_step_names_none() -> None:
    settings = ScriptSettings(("*",), "busybox")

    assert why_image_not_allowed({"run": "x"}, settings) is None
    assert image_of({"run": "x"}, settings) == "busybox"
    assert image_of(STEP, settings) == "python:3.12-slim"


@pytest.mark.parametrize(
    ("image", "shell", "words"),
    [
        ("busybox", None, ("sh", "-ec")),
        ("python:3.12-slim", None, ("python3", "-c")),
        ("docker.io/library/python@sha256:0", None, ("python3", "-c")),
        ("registry:5000/python", None, ("python3", "-c")),
        ("acme/python-tools", None, ("sh", "-ec")),
        ("python:3", ["sh", "-e", "-c"], ("sh", "-e", "-c")),
    ],
)
def test_one_rule_says_what_runs_the_text(image: str, shell: list[str] | None, words: tuple[str, ...]) -> None:
    assert shell_of({"run": "x", **({"shell": shell} if shell else {})}, image) == words


def test_a_script_stands_for_a_template_whose_text_is_left_alone() -> None:
    made = template_of(STEP, "python:3.12-slim")

    assert made["spec"]["container"]["command"] == ["python3", "-c", "print('{{ inputs.x }}')"]
    assert made["spec"]["image"] == "python:3.12-slim"
    assert "args" not in made["spec"]["container"]
    assert container_problems(made["spec"]) == []


def test_the_step_run_gets_the_script_as_it_is_declared() -> None:
    assert script_of(STEP) == {"run": STEP["run"], "image": STEP["image"]}
    assert is_script(STEP)
    assert not is_script({"ref": {"name": "x"}, "with": {"run": "x"}})
