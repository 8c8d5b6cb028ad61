"""Which unit tests are close to a change."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.packages import PACKAGES, folder_of
from tools.quick import SMOKE, UnitTests, nearest_tests

ROOT = Path(__file__).parents[3]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    files = {
        "tests/unit/core/graph/test_needs.py": "",
        "tests/unit/core/graph/test_graph_reach.py": "",
        "tests/unit/core/engine/test_engine_plan.py": "from core.graph import needs\n",
        "tests/unit/core/engine/test_engine_slots.py": "from tests.unit.core.engine.samples import slots\n",
        "tests/unit/core/engine/samples.py": "",
        "tests/unit/sdk/test_client.py": "import bubu_sdk.client\n",
        "localcluster/localcluster_tests/server/test_apply.py": "from kubewire import Object\n",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "near"),
    [
        ("core/graph/needs.py", ["core/graph/test_needs.py", "core/engine/test_engine_plan.py"]),
        ("core/graph/reach.py", ["core/graph/test_graph_reach.py"]),
        ("tests/unit/core/graph/test_needs.py", ["core/graph/test_needs.py"]),
        ("tests/unit/core/engine/samples.py", ["core/engine/test_engine_slots.py"]),
        (
            "tests/unit/core/engine/conftest.py",
            ["core/engine/test_engine_plan.py", "core/engine/test_engine_slots.py"],
        ),
        ("core/graph/__init__.py", ["core/engine/test_engine_plan.py"]),
        ("sdk/bubu_sdk/client.py", ["sdk/test_client.py"]),
        ("docs/proof.md", []),
        ("core/graph/added.py", ["core/graph/test_graph_reach.py", "core/graph/test_needs.py"]),
    ],
)
def test_tests_are_near_that_mirror_a_changed_module_or_import_it(
    repository: Path, changed: str, near: list[str]
) -> None:
    assert nearest_tests(repository, [changed]) == [f"tests/unit/{path}" for path in near]


@pytest.mark.parametrize("changed", ["localcluster/localcluster/server/apply.py", "localcluster/kubewire/__init__.py"])
def test_tests_of_the_embedded_cluster_are_in_its_own_project(repository: Path, changed: str) -> None:
    assert nearest_tests(repository, [changed]) == ["localcluster/localcluster_tests/server/test_apply.py"]


def test_every_module_has_a_test_that_is_near() -> None:
    modules = [path for package in PACKAGES for path in folder_of(package).rglob("*.py") if path.stem != "__init__"]
    tests = UnitTests(ROOT)

    assert [str(path) for path in modules if not tests.near(str(path.relative_to(ROOT)))] == []


def test_the_nearest_come_first(repository: Path) -> None:
    changed = ["core/graph/needs.py", "tests/unit/sdk/test_client.py"]

    assert [Path(path).name for path in nearest_tests(repository, changed)] == [
        "test_client.py",
        "test_needs.py",
        "test_engine_plan.py",
    ]


@pytest.mark.parametrize("path", SMOKE)
def test_what_is_run_when_nothing_has_changed_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_tests_below_different_conftests_run_in_one_process(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "conftest.py").write_text("def pytest_runtest_setup(item): pass\n")
        (tmp_path / folder / f"test_{folder}.py").write_text("def test_passes(): pass\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "BOBRAPET_QUICK_ENDS_AT": str(time.monotonic() + 60)}

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tools.quick", "-p", "no:cacheprovider", "first", "second"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.splitlines()[-1].startswith("2 passed")
