"""The fixture ``run_story`` for pytest: ``pytest_plugins = ["bubu_sdk.testing.story_fixture"]`` in a conftest.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bubu_sdk.testing.story_runner import StoryRunner


@pytest.fixture(scope="session")
def run_story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoryRunner]:
    """Runs Stories on an embedded cluster that all tests of the session share."""
    runner = StoryRunner(tmp_path_factory.mktemp("bobrapet"))
    yield runner
    runner.close()
