"""Programs of ours find their own modules beside a user's modules with the same names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bobrapet
from bobrapet.launch import ROOT, module_command, search_order

OURS = ("cli", "core", "manager", "hub", "localcluster", "views")


def test_our_folder_comes_first_and_folders_of_the_user_come_last() -> None:
    order = search_order(["/a", "/b", "/lib/python", str(ROOT)], os.pathsep.join(["/a", "/b/"]), [ROOT])

    assert order == [str(ROOT), "/lib/python", "/a", "/b"]


def test_our_folder_comes_first_when_the_user_names_it_too() -> None:
    python_path = os.pathsep.join([str(ROOT), "/a"])

    assert search_order(["/a", str(ROOT), "/lib/python"], python_path, [ROOT]) == [str(ROOT), "/lib/python", "/a"]


def test_our_folder_is_added_when_nothing_leads_to_it() -> None:
    assert search_order(["/a", "/lib/python"], "/a", [ROOT]) == [str(ROOT), "/lib/python", "/a"]


def test_a_checkout_is_its_own_folder_of_modules() -> None:
    assert Path(bobrapet.__file__).parents[1] == ROOT


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
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(beside), str(ROOT)])}

    done = subprocess.run(command, cwd=beside, env=environment, capture_output=True, text=True, timeout=120)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("bobrapet ")
