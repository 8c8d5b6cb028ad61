"""The page about Stories in Python shows what its file builds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.pythonfiles import build

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "stories-in-python.md").read_text()
_BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for found, text in _BLOCK.findall(PAGE) if found == language]


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "sdk"))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "pipeline.py"
    file.write_text(blocks("python")[0])
    return file


async def test_the_yaml_is_what_the_file_builds(pipeline: Path) -> None:
    (built,) = await build([pipeline.name])

    assert [f"{built.documents[-1].text}\n"] == blocks("yaml")


def test_the_page_names_all_that_users_import() -> None:
    from bubu_sdk import stories

    assert [name for name in stories.__all__ if name not in PAGE and name not in ("Story", "StoryBuildError")] == []
