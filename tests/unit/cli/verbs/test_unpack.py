"""Examples and manifests are copied out of an installation, without what only a checkout can use."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.problem import CommandError
from cli.verbs.unpack import Part, files_of


def test_the_examples_have_all_that_their_commands_name_and_nothing_of_a_checkout() -> None:
    files = files_of(Part.EXAMPLES)

    assert {"weather/manifests.yaml", "weather/data/seattle.csv", "loops/images.yaml", "store.yaml"} <= set(files)
    assert [file for file in files if file.endswith(("run.py", "__init__.py", ".pyc"))] == []


def test_the_manifests_have_the_definitions_and_the_whole_installation() -> None:
    files = files_of(Part.MANIFESTS)

    assert {"default/Kustomization", "crds/bubustack.io_stories.yaml", "manager/deployment.yaml"} <= set(files)


def test_an_installation_without_them_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="this installation has no manifests"):
        files_of(Part.MANIFESTS, tmp_path)
