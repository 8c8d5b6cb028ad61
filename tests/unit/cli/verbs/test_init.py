"""The project that ``init`` writes: sound manifests, a sound name, and nothing is ever overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from cli.linting import check, read_documents, world_of_files
from cli.problem import CommandError
from cli.verbs.init import MAX_NAME_LENGTH, files_of, name_of, write
from localcluster.node.images import parse_image_map


def test_the_story_has_no_findings_not_even_warnings() -> None:
    documents, found = read_documents([("story.yaml", files_of("words")["story.yaml"])])
    found += check(documents, world_of_files(documents, ""), "")

    assert [document.kind for document in documents] == ["EngramTemplate", "Engram", "Story"]
    assert found == []


def test_the_image_map_has_the_image_of_the_template(tmp_path: Path) -> None:
    files = files_of("words")
    template, *_ = YAML(typ="safe", pure=True).load_all(files["story.yaml"])
    (pattern,) = parse_image_map(files["images.yaml"], tmp_path / "images.yaml")

    assert template["spec"]["image"].startswith(pattern.removesuffix("*"))


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("words", "words"),
        ("My Project_2", "my-project-2"),
        ("--x--", "x"),
        ("x" * 60, "x" * MAX_NAME_LENGTH),
        ("y" * 39 + "-z", "y" * 39),
        ("Ö", "words"),
        ("a/b/../c", "c"),
    ],
)
def test_the_story_is_called_like_the_folder(folder: str, name: str, tmp_path: Path) -> None:
    assert name_of(tmp_path / folder) == name
    documents, found = read_documents([("story.yaml", files_of(name)["story.yaml"])])
    assert [*found, *check(documents, world_of_files(documents, ""), "")] == []


def test_no_placeholder_is_left() -> None:
    assert [file for file, text in files_of("words").items() if "PROJECT" in text] == []


def test_files_that_exist_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    files = files_of("words")
    (tmp_path / "story.yaml").write_text("mine")
    (tmp_path / "README.md").symlink_to(tmp_path / "nowhere")

    with pytest.raises(CommandError) as caught:
        write(tmp_path, files)

    assert str(caught.value).splitlines() == [f"{tmp_path / name} exists" for name in ("story.yaml", "README.md")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "story.yaml"]
    assert (tmp_path / "story.yaml").read_text() == "mine"


def test_a_file_is_not_taken_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("")

    with pytest.raises(CommandError, match="is not a folder"):
        write(tmp_path / "words", files_of("words"))


def test_a_project_is_written_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"first\.txt"):
        write(tmp_path, {"first.txt": "1", "first.txt/second.txt": "2"})

    assert list(tmp_path.iterdir()) == []
