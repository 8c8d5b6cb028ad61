"""The Stories in docs/stories.md are admitted without findings in both versions.

The page shows exactly the existing settings.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from core.api.duration import format_duration
from core.policy.config_keys import KEYS
from core.policy.settings import OperatorSettings
from webhooks.cluster_view import InMemoryView
from webhooks.conversion.story import V1ALPHA1, V1BETA1, converted
from webhooks.validate import admission

TEXT = (Path(__file__).parents[4] / "docs" / "stories.md").read_text(encoding="utf-8")
STORIES: list[dict[str, Any]] = [YAML(typ="safe").load(text) for text in re.findall(r"```yaml\n(.*?)```", TEXT, re.S)]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story["metadata"]["name"])
def test_each_story_is_admitted_in_both_versions(story: dict[str, Any]) -> None:
    world = InMemoryView(complete=False)
    there = converted(story, V1BETA1)

    assert admission.validate(story, None, world) == []
    assert "bubustack.io/v1beta1-conversion" not in there["metadata"].get("annotations", {})
    assert converted(there, V1ALPHA1) == story


def test_every_primitive_is_named() -> None:
    shown = set(re.findall(r"^\| `(\w+)` \|", TEXT, re.M))

    assert {"condition", "sleep", "wait", "gate", "stop", "parallel", "executeStory"} <= shown


def test_settings_are_shown_with_their_defaults() -> None:
    runs = OperatorSettings().runs
    shown = dict(re.findall(r"^\| `(storyrun\.[a-z-]+)` \| `(\w+)` \|", TEXT, re.M))

    assert shown == {
        "storyrun.cleanup-timeout": format_duration(runs.cleanup_timeout).removesuffix("0s"),
        "storyrun.max-story-depth": str(runs.max_story_depth),
    }
    assert shown.keys() <= KEYS.keys()
