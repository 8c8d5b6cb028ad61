"""A release is refused with all reasons, each with its remedy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tools.release.readiness import ReleaseFacts, admits, problems
from tools.release.tree import facts

READY = ReleaseFacts(
    versions={"bobrapet": "0.1.0", "bubu-sdk": "0.1.0"},
    needs={"bobrapet": ["bubu-sdk>=0.1,<0.2"]},
    image="bobrapet-py:0.1.0",
    chart="0.1.0",
    changelog="## 0.1.0 - 2026-11-30\n\n- All of it.\n",
    changed_files=(),
    commit="a" * 40,
    tags={"v0.0.9": "b" * 40},
)


def test_a_tree_that_agrees_with_itself_is_ready() -> None:
    assert problems(READY) == []
    assert problems(replace(READY, tags={"v0.1.0": READY.commit})) == []


def test_all_reasons_are_named_at_once() -> None:
    found = problems(
        replace(
            READY,
            versions={"bobrapet": "0.2.0", "bubu-sdk": "0.1.0"},
            changed_files=("README.md", "new.txt"),
            tags={"v0.2.0": "b" * 40},
        )
    )

    assert found == [
        "pyproject.toml of bubu-sdk: version is 0.1.0, and that of bobrapet is 0.2.0; make them equal",
        "pyproject.toml of bobrapet: bubu-sdk>=0.1,<0.2 does not admit 0.2.0; change its bounds",
        "deployment/metadata.py: the image is bobrapet-py:0.1.0; it must be bobrapet-py:0.2.0; make generate",
        "deployment/charts/bobrapet/Chart.yaml: the version is 0.1.0; it must be 0.2.0; make generate",
        "CHANGELOG.md: the newest version is 0.1.0; it must be 0.2.0, the version of pyproject.toml",
        "the tree must be clean; commit or remove: README.md, new.txt",
        "tag v0.2.0 is commit bbbbbbbbbbbb; a released version stays: choose a higher version",
    ]


@pytest.mark.parametrize(
    ("changelog", "reason"),
    [
        ("", "the newest version is none; it must be 0.1.0"),
        ("## 0.1.0 - unreleased\n- x", "'## 0.1.0' must have the day of the release: '## 0.1.0 - YYYY-MM-DD'"),
        ("## 0.1.0 - 2026-11-30\n", "the section of 0.1.0 must say what changed"),
        ("## Unreleased\n", "'## Unreleased' must be '## VERSION - YYYY-MM-DD'"),
    ],
    ids=["empty", "unreleased", "without-changes", "form"],
)
def test_a_changelog_that_does_not_fit_is_refused(changelog: str, reason: str) -> None:
    (found,) = problems(replace(READY, changelog=changelog))

    assert reason in found


def test_bounds_admit_versions_between_them() -> None:
    assert admits("bubu-sdk[trio]>=0.1,<0.2", "0.1.0")
    assert admits("bubu-sdk>=0.1,<0.2", "0.1.7")
    assert not admits("bubu-sdk>=0.1,<0.2", "0.2.0")
    assert not admits("bubu-sdk", "0.1.0")


def test_the_facts_of_this_repository_differ_from_a_release_only_where_work_goes_on() -> None:
    root = Path(__file__).parents[4]
    if not (root / ".git").exists():
        pytest.skip("not a git repository")

    found = facts(root)

    assert found.needs == {
        "bobrapet": ["bubu-sdk>=0.1,<0.2"],
        "bubu-sdk": [],
        "bobrapet-impulses": ["bubu-sdk[trio]>=0.1,<0.2", "bubu-sdk[schema]>=0.1,<0.2"],
    }
    allowed = ("CHANGELOG.md: '## ", "the tree must be clean", "tag v")
    assert [problem for problem in problems(found) if not problem.startswith(allowed)] == []
