"""The Story of the weather example in YAML and in Python is the same."""

from __future__ import annotations

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
