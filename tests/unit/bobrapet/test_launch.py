"""Programs of ours find their own modules beside a user's modules with the same names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bobrapet
from bobrapet.launch import module_command, search_order

ROOT = str(Path(bobrapet.__file__).parents[1])
OURS = ("cli", "core", "manager", "embedded", "kubewire", "localcluster", "process")


def test_folders_of_the_user_come_last() -> None:
    order = search_order(["/a", "/b", "/lib/python", ROOT], os.pathsep.join(["/a", "/b/"]))

    assert order == ["/lib/python", ROOT, "/a", "/b"]


def test_our_folder_keeps_its_place_when_the_user_names_it() -> None:
    assert search_order([ROOT, "/a", "/lib/python"], os.pathsep.join([ROOT, "/a"])) == [ROOT, "/lib/python", "/a"]


def test_our_folder_is_added_when_nothing_leads_to_it() -> None:
    assert search_order(["/a", "/lib/python"], "/a") == ["/lib/python", ROOT, "/a"]


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A folder with modules that have the names of our packages."""
    for name in OURS:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a module of the user was imported')\n")
    return tmp_path


@pytest.mark.parametrize(
    "command", [(sys.executable, "-m", "bobrapet", "--version"), module_command("cli", "--version")]
)
def test_a_command_works_beside_modules_with_its_names(beside: Path, command: tuple[str, ...]) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(beside), ROOT])}

    done = subprocess.run(command, cwd=beside, env=environment, capture_output=True, text=True, timeout=120)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("bobrapet ")
