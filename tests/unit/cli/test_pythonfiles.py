"""Python files on the command line: executed apart, and only when the user names them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from cli import complete
from cli.builtfiles import BuiltDocument, BuiltFile
from cli.linting import check, of_python, world_of_files
from cli.main import main
from cli.manifests import load_manifests
from cli.problem import CommandError, RejectedManifestError
from cli.pythonfiles import build, write_image_maps
from localcluster.node.images import ImageMap, parse_image_map

ROOT = Path(__file__).parents[3]
STORY = """
from dataclasses import dataclass
from bubu_sdk import engram
from bubu_sdk.stories import sleep, story

print("read")

@dataclass
class Inputs:
    text: str

@engram(image="letters:1")
def count(ctx, inputs: Inputs):
    return {"letters": len(inputs.text)}

@story
def letters(inputs: Inputs):
    counted = count(text=inputs.text)
    sleep("1s", after=counted)
    return {"letters": counted["letters"]}
"""


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child is a process of its own; it imports the SDK of this tree."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "sdk"))


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.py"
    path.write_text(STORY)
    return path


def write(path: Path, text: str) -> None:
    path.write_text(text)


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


async def test_the_child_says_what_the_file_describes(pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (built,) = await build([str(pipeline)])

    assert [each.document["kind"] for each in built.documents] == ["EngramTemplate", "Engram", "Story"]
    assert built.images == ["letters:1"]
    assert {each.file for each in built.documents} == {str(pipeline)}
    lines = STORY.splitlines()
    story = built.documents[-1]
    assert lines[story.lines["spec.steps[1]"] - 1].strip() == 'sleep("1s", after=counted)'
    assert capsys.readouterr() == ("", "read\n")
    manifests = load_manifests([], [built])
    assert [(one.kind, one.name) for one in manifests] == [
        ("EngramTemplate", "count"),
        ("Engram", "count"),
        ("Story", "letters"),
    ]


@pytest.mark.parametrize(
    ("text", "told", "hidden"),
    [
        ("x = 1", "defines no Story; decorate a function with @story", "Traceback"),
        ("def a():\n    1 / 0\na()", "ZeroDivisionError", "importlib"),
        (STORY.replace("sleep(", "count("), "give its inputs by name", "Traceback"),
    ],
)
async def test_a_file_that_cannot_be_built_has_its_own_words(pipeline: Path, text: str, told: str, hidden: str) -> None:
    write(pipeline, text)

    with pytest.raises(CommandError) as refused:
        await build([str(pipeline)])

    assert told in str(refused.value)
    assert hidden not in str(refused.value)
    assert "bubu_sdk/" not in str(refused.value)


async def test_a_file_that_does_not_end_is_stopped(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.pythonfiles.BUILD_SECONDS", 0.5)
    write(pipeline, "import time\ntime.sleep(600)")

    with pytest.raises(CommandError, match="was not read within"):
        await build([str(pipeline)])


async def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"nowhere\.py does not exist"):
        await build([str(tmp_path / "nowhere.py")])


def described(pipeline: Path, **step: object) -> BuiltFile:
    story = {
        "apiVersion": "bubustack.io/v1beta1",
        "kind": "Story",
        "metadata": {"name": "letters"},
        "spec": {"steps": [{"name": "first", "sleep": {"duration": "1s"}}, {"name": "second", **step}]},
    }
    lines = {"": 15, "spec.steps[0]": 17, "spec.steps[1]": 18}
    return BuiltFile(pipeline, (BuiltDocument(story, "", str(pipeline), lines),))


def test_findings_are_at_the_lines_of_the_python_file(pipeline: Path) -> None:
    built = described(pipeline, needs=["frist"], sleep={"duration": "soon"})

    with pytest.raises(RejectedManifestError) as refused:
        load_manifests([], [built])
    assert all(line.startswith(f"{pipeline}:18: ") for line in str(refused.value).splitlines() if "spec." in line)

    documents = of_python([built])
    places = {found.place for found in check(documents, world_of_files(documents))}
    assert places == {(18, 1)}


def test_manifest_prints_what_run_would_apply(pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("manifest", str(pipeline)) == 0

    written = capsys.readouterr()
    kinds = [document["kind"] for document in YAML(typ="safe", pure=True).load_all(written.out)]
    assert kinds == ["EngramTemplate", "Engram", "Story"]
    assert written.err == "read\n"

    assert run("manifest", str(pipeline), "-o", "json") == 0
    assert [each["kind"] for each in json.loads(capsys.readouterr().out)["items"]] == kinds


def test_manifest_prints_nothing_with_an_error(pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.write_text(STORY.replace('sleep("1s"', 'sleep("soon"'))

    assert run("manifest", str(pipeline)) == 7

    written = capsys.readouterr()
    assert written.out == ""
    assert f"{pipeline}:19:1: error: spec.steps[1].sleep.duration" in written.err


def test_lint_reads_python_and_yaml_together(pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = pipeline.with_name("other.yaml")
    other.write_text("apiVersion: bubustack.io/v1alpha1\nkind: Story\nmetadata: {name: letters}\nspec: {steps: []}\n")

    assert run("lint", str(pipeline), str(other)) == 7

    out = capsys.readouterr().out
    assert f"{pipeline}:16:1: error: metadata.name: Story 'letters' is already declared" in out


@pytest.mark.parametrize("words", [("manifest",), ("convert", "--to=v1beta1"), ("graph", "-f"), ("submit", "-f")])
def test_other_commands_execute_no_python(
    pipeline: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    mark = pipeline.with_name("executed")
    file = pipeline.rename(pipeline.with_suffix(".yaml")) if words == ("manifest",) else pipeline
    file.write_text(f"open({str(mark)!r}, 'w')")

    assert run(*words, str(file)) == (2 if words == ("manifest",) else 1)

    assert not mark.exists()
    assert "Python" in capsys.readouterr().err


def test_neither_a_folder_nor_a_tab_executes_python(pipeline: Path) -> None:
    mark = pipeline.with_name("executed")
    pipeline.write_text(f"open({str(mark)!r}, 'w')")
    pipeline.with_name("a.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")

    assert [one.kind for one in load_manifests([str(pipeline.parent)])] == ["ConfigMap"]
    with pytest.raises(CommandError, match="executes no Python"):
        complete._stories_in_files([str(pipeline)], "")
    assert not mark.exists()


def test_the_map_starts_the_file_for_each_of_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"sdk{os.pathsep}")
    folder = tmp_path / "a $(HOME) b"
    folder.mkdir()
    file = BuiltFile(
        folder / "pipeline.py",
        tuple(
            BuiltDocument({"kind": "EngramTemplate", "spec": {"image": image}}, "", "", {"": 1})
            for image in ("letters:1", "words:1", "letters:1")
        ),
    )

    (path,) = write_image_maps(tmp_path, [file], None)

    assert set(parse_image_map(path.read_text(), path)) == {"letters:1", "words:1"}
    program = ImageMap(path).find("words:1")
    assert program.argv({}, {}) == (sys.executable, "-m", "bubu_sdk.stories", str(folder / "pipeline.py"))
    assert (program.workdir, program.env) == (str(folder), {"PYTHONPATH": str(Path("sdk").resolve())})
    assert path.stat().st_mode & 0o77 == 0
    assert write_image_maps(tmp_path, [file], None) == [path]


def test_a_map_of_the_user_wins_over_that_of_a_file(tmp_path: Path) -> None:
    documents = (BuiltDocument({"kind": "EngramTemplate", "spec": {"image": "letters:1"}}, "", "", {"": 1}),)
    file = BuiltFile(tmp_path / "pipeline.py", documents)
    chosen = tmp_path / "images.yaml"
    chosen.write_text("images:\n  'letters:*': {command: [echo]}\n")

    (path,) = write_image_maps(tmp_path, [file], chosen)
    assert parse_image_map(path.read_text(), path) == {}

    write_image_maps(tmp_path, [file], None)
    assert set(parse_image_map(path.read_text(), path)) == {"letters:1"}
    assert write_image_maps(tmp_path, [], chosen) == []
    assert parse_image_map(path.read_text(), path) == {}
