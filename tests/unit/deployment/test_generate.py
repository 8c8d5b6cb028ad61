from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import pytest
from ruamel.yaml import YAML

from core.api.crd import custom_resource_definition
from core.api.kinds import KINDS
from core.api.story import STORY_KIND
from deployment import generate
from deployment.yaml_text import yaml_text
from kubewire import apply_json_patch

REPOSITORY = Path(__file__).parents[3]


STORIES, ENGRAMS, FAIRIES = (
    f"manifests/crds/bubustack.io_{plural}.yaml" for plural in ("stories", "engrams", "fairies")
)


@functools.cache
def rendered(producer: generate.Producer) -> Sequence[generate.GeneratedFile]:
    """Cached, because writing the definitions as YAML takes a second."""
    return list(producer())


def two_files() -> Iterator[generate.GeneratedFile]:
    for path in (STORIES, ENGRAMS):
        yield PurePosixPath(path), "rendered\n"


def run(root: Path, *flags: str) -> int:
    return generate.main(["--root", str(root), *flags], [two_files])


def spoil(root: Path) -> None:
    (root / STORIES).unlink()
    (root / ENGRAMS).write_text("edited by hand\n")
    (root / FAIRIES).write_text("of a kind that is gone\n")


def test_one_file_a_kind_is_named_by_group_and_plural() -> None:
    names = [path.name for path, _ in rendered(generate.custom_resource_definitions)]
    assert len(names) == len(KINDS)
    assert "catalog.bubustack.io_engramtemplates.yaml" in names


def test_an_empty_tree_is_filled_and_then_up_to_date(tmp_path: Path) -> None:
    assert run(tmp_path, "--check") == 1
    assert run(tmp_path) == 0
    assert (tmp_path / STORIES).read_text() == "rendered\n"
    assert run(tmp_path, "--check") == 0


def test_check_lists_every_difference_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path)
    spoil(tmp_path)
    capsys.readouterr()

    assert run(tmp_path, "--check") == 1

    assert capsys.readouterr().out.splitlines() == [
        f"{ENGRAMS}: differs from the code; run python -m deployment.generate",
        f"{STORIES}: missing; run python -m deployment.generate",
        f"{FAIRIES}: no code renders it any more; run python -m deployment.generate",
    ]
    assert (tmp_path / ENGRAMS).read_text() == "edited by hand\n"
    assert not (tmp_path / STORIES).exists()


def test_generating_restores_edited_files_and_removes_those_nothing_renders(tmp_path: Path) -> None:
    run(tmp_path)
    spoil(tmp_path)

    assert run(tmp_path) == 0

    assert (tmp_path / STORIES).read_text() == (tmp_path / ENGRAMS).read_text() == "rendered\n"
    assert not (tmp_path / FAIRIES).exists()


def test_the_written_yaml_reads_back_as_the_rendered_document() -> None:
    files = dict(rendered(generate.custom_resource_definitions))
    for kind in KINDS:
        path = PurePosixPath("manifests/crds") / f"{kind.resource.group}_{kind.resource.plural}.yaml"
        assert YAML(typ="safe", pure=True).load(files[path]) == custom_resource_definition(kind)


def test_links_and_what_they_lead_to_are_left_alone(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file.yaml").write_text("not ours\n")
    link = tmp_path / "manifests/crds/linked"
    link.symlink_to("../../elsewhere")
    (tmp_path / "manifests/crds/linked.yaml").symlink_to("../../elsewhere/file.yaml")
    (tmp_path / FAIRIES).symlink_to("../../nowhere")

    assert run(tmp_path) == 0

    assert (link / "file.yaml").read_text() == "not ours\n"
    assert (tmp_path / "manifests/crds/linked.yaml").read_text() == "not ours\n"
    assert not (tmp_path / FAIRIES).is_symlink()


@pytest.mark.parametrize("word", ["off", "on", "yes", "No", "y", "true", "null", "~", "1", "1.5", "a: b", "# c"])
def test_text_stays_text_for_every_yaml_reader(word: str) -> None:
    (line,) = yaml_text({"key": word}).splitlines()
    assert line in (f"key: '{word}'", f'key: "{word}"')


def test_the_command_reference_is_rendered_exactly_when_the_command_line_can() -> None:
    files = [str(path) for path, _ in generate.command_reference()]
    assert files == (["docs/commands.md"] if (REPOSITORY / "cli/reference.py").exists() else [])


def test_a_kind_with_several_versions_has_a_patch_that_serves_them_all() -> None:
    files = {str(path): text for path, text in rendered(generate.converted_definitions)}
    patch = YAML(typ="safe", pure=True).load(files["manifests/conversion/bubustack.io_stories.yaml"])
    definition = apply_json_patch(custom_resource_definition(STORY_KIND), patch)
    assert definition == custom_resource_definition(STORY_KIND, generate.CONVERSION_SERVICE)
    service = definition["spec"]["conversion"]["webhook"]["clientConfig"]["service"]
    assert service == {
        "namespace": "bobrapet-system",
        "name": "bobrapet-webhook-service",
        "path": "/convert",
        "port": 443,
    }
