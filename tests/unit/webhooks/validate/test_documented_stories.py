"""The Stories of the pages are in v1beta1, and admitted without findings in both versions.

docs/stories.md shows exactly the existing settings.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

from bubu_contract.durations import format_duration
from core.policy.config_keys import KEYS
from core.policy.settings import OperatorSettings, ScriptSettings, SecuritySettings
from webhooks.cluster_view import InMemoryView
from webhooks.conversion.story import V1ALPHA1, V1BETA1, converted
from webhooks.validate import admission

DOCS: Final = Path(__file__).parents[4] / "docs"
TEXT: Final = (DOCS / "stories.md").read_text(encoding="utf-8")
SETTINGS: Final = OperatorSettings(
    security=SecuritySettings(priority_classes=("batch-*",)), scripts=ScriptSettings(("*",), "busybox")
)
"""Those that the pages with PriorityClasses and scripts mention."""
PAGES_WITH_STORIES: Final = {
    *("containers-without-an-sdk", "first-hour", "quickstart", "realtime-stories", "resources", "scheduling"),
    *("steps", "start-from-a-schedule", "start-from-a-webhook", "stories", "story-v1beta1"),
    *("stories-in-python", "write-your-first-engram"),
}


def stories_of(page: str) -> list[dict[str, Any]]:
    blocks = re.findall(r"^```yaml\n(.*?)^```", page, re.S | re.M)
    documents = [each for text in blocks for each in YAML(typ="safe").load_all(text) if isinstance(each, dict)]
    return [each for each in documents if each.get("kind") == "Story"]


STORIES: Final = [
    pytest.param(page.stem, story, id=f"{page.stem}-{story['metadata']['name']}")
    for page in sorted(DOCS.glob("*.md"))
    for story in stories_of(page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("page", "story"), STORIES)
def test_each_story_is_in_v1beta1_and_admitted_in_both_versions(page: str, story: dict[str, Any]) -> None:
    world = InMemoryView(complete=False, settings=SETTINGS)
    stored = converted(story, V1ALPHA1)

    assert story["apiVersion"] == V1BETA1
    assert admission.validate(stored, None, world) == []
    assert "bubustack.io/v1beta1-conversion" not in story["metadata"].get("annotations", {})
    assert converted(stored, V1BETA1) == story


def test_the_stories_of_these_pages_are_checked() -> None:
    assert {str(each.values[0]) for each in STORIES} >= PAGES_WITH_STORIES


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
