"""The Story of the weather example in YAML and in Python is the same, and in Python it has half the lines."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from cli.pythonfiles import build
from core.api.objects import Object
from webhooks.conversion.story import V1ALPHA1, V1BETA1, converted

ROOT = Path(__file__).parents[4]
WEATHER = ROOT / "examples" / "weather"


def written() -> list[Object]:
    text = (WEATHER / "manifests.yaml").read_text()
    return list(YAML(typ="safe", pure=True).load_all(text))


async def test_yaml_and_python_are_the_same_manifests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "sdk"))

    (built,) = await build([str(WEATHER / "engrams" / "two_cities.py")])

    *definitions, story = [each.document for each in built.documents]
    assert story["apiVersion"] == V1BETA1
    expected = written()
    assert [*definitions, converted(story, V1ALPHA1)] == expected


def test_python_has_at_most_half_the_lines() -> None:
    """Without blank lines and comments: inputs and function in Python, the Story without its Engrams in YAML."""
    source = (WEATHER / "engrams" / "two_cities.py").read_text()
    parts = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    lines = source.splitlines()
    python = [
        line
        for node in parts
        for line in lines[min(each.lineno for each in (node, *node.decorator_list)) - 1 : node.end_lineno]
    ]
    (yaml,) = [text for text in (WEATHER / "manifests.yaml").read_text().split("\n---\n") if "kind: Story\n" in text]

    assert [node.name for node in parts] == ["Inputs", "two_cities"]
    assert 2 * written_lines(python) <= written_lines(yaml.splitlines())


def written_lines(lines: list[str]) -> int:
    return sum(1 for line in lines if line.strip() and not line.lstrip().startswith("#"))
