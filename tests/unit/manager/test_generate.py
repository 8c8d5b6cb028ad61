from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from ruamel.yaml import YAML

from core.api.crd import custom_resource_definition
from core.api.kinds import KINDS
from manager import generate

REPOSITORY = Path(__file__).parents[3]


def _crd_files(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "manifests/crds").iterdir())


def test_the_repository_holds_what_the_code_renders() -> None:
    stale = [str(path) for path, _ in generate.differences(REPOSITORY, [generate.custom_resource_definitions])]
    assert [path for path in stale if path.startswith("manifests/")] == []


def test_an_empty_tree_gets_one_file_a_kind_and_is_then_up_to_date(tmp_path: Path) -> None:
    assert generate.main(["--root", str(tmp_path)]) == 0
    assert len(_crd_files(tmp_path)) == len(KINDS)
    assert "bubustack.io_stories.yaml" in _crd_files(tmp_path)
    assert generate.main(["--root", str(tmp_path), "--check"]) == 0


def test_check_lists_every_difference_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generate.main(["--root", str(tmp_path)])
    crds = tmp_path / "manifests/crds"
    (crds / "bubustack.io_stories.yaml").unlink()
    (crds / "bubustack.io_engrams.yaml").write_text("edited by hand\n")
    (crds / "bubustack.io_fairies.yaml").write_text("of a kind that is gone\n")
    capsys.readouterr()

    assert generate.main(["--root", str(tmp_path), "--check"]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "manifests/crds/bubustack.io_engrams.yaml: differs from the code; run python -m manager.generate",
        "manifests/crds/bubustack.io_stories.yaml: missing; run python -m manager.generate",
        "manifests/crds/bubustack.io_fairies.yaml: rendered by nothing any more; run python -m manager.generate",
    ]
    assert (crds / "bubustack.io_engrams.yaml").read_text() == "edited by hand\n"
    assert not (crds / "bubustack.io_stories.yaml").exists()


def test_generating_restores_edited_files_and_removes_those_nothing_renders(tmp_path: Path) -> None:
    generate.main(["--root", str(tmp_path)])
    crds = tmp_path / "manifests/crds"
    rendered = (crds / "bubustack.io_engrams.yaml").read_text(encoding="utf-8")
    (crds / "bubustack.io_engrams.yaml").write_text("edited by hand\n")
    (crds / "bubustack.io_fairies.yaml").write_text("of a kind that is gone\n")

    generate.main(["--root", str(tmp_path)])

    assert (crds / "bubustack.io_engrams.yaml").read_text(encoding="utf-8") == rendered
    assert "bubustack.io_fairies.yaml" not in _crd_files(tmp_path)


def test_the_written_yaml_reads_back_as_the_rendered_document() -> None:
    files = dict(generate.custom_resource_definitions())
    for kind in KINDS:
        path = PurePosixPath("manifests/crds") / f"{kind.resource.group}_{kind.resource.plural}.yaml"
        assert YAML(typ="safe", pure=True).load(files[path]) == custom_resource_definition(kind)


@pytest.mark.parametrize("word", ["off", "on", "yes", "No", "y", "true", "null", "~", "1", "1.5", "a: b", "# c"])
def test_text_stays_text_for_every_yaml_reader(word: str) -> None:
    (line,) = generate.yaml_text({"key": word}).splitlines()
    assert line in (f"key: '{word}'", f'key: "{word}"')


def test_any_producer_may_add_files(tmp_path: Path) -> None:
    def greeting() -> Iterator[generate.GeneratedFile]:
        yield PurePosixPath("docs/hello.md"), "hello\n"

    assert [(str(path), why) for path, (why, _) in generate.differences(tmp_path, [greeting])] == [
        ("docs/hello.md", "missing")
    ]


def test_the_command_reference_is_rendered_exactly_when_the_command_line_can() -> None:
    files = [str(path) for path, _ in generate.command_reference()]
    assert files == (["docs/commands.md"] if (REPOSITORY / "manager/cli/reference.py").exists() else [])
