"""``make quick``: lint, types, and the unit tests that are nearest to the changes, within a minute.

``python -m tools.quick [BASE]`` compares with the point where this branch left BASE (``main``), and includes
uncommitted changes. It is for the time between two edits. ``make test`` runs what it leaves out.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import grimp
import pytest
import trio

from tests.packages import PACKAGES

ROOT: Final = Path(__file__).parents[1]
_UNIT_TESTS: Final = {"tests/unit": "", "localcluster/localcluster_tests": "localcluster/localcluster"}
"""Folders of unit tests, and where the modules are that they mirror."""
_PROJECTS: Final = ("sdk", "impulses", "localcluster")
TEST_SECONDS: Final = 40.0
"""Time for tests. Tests that have not begun by then are skipped; these are the farthest ones."""
BRANCH: Final = "main"
SMOKE: Final = (
    "tests/unit/core/graph",
    "tests/unit/core/engine/test_engine_scenarios.py",
    "tests/unit/core/engine/primitives/test_engine_parallel.py",
    "tests/unit/core/expressions/test_worked_cases.py",
    "tests/unit/core/kube/test_informer.py",
    "tests/unit/reconcilers/test_runtime_controller.py",
    "tests/unit/test_repository.py",
)
"""Run when nothing has changed, or when no unit test is near to the changes."""


def main(arguments: Sequence[str]) -> int:
    os.chdir(ROOT)
    changed = changed_files(arguments[0] if arguments else BRANCH)
    tests = nearest_tests(ROOT, changed)
    print(f"quick: {len(changed)} files have changed, {len(tests)} test modules are near to them", flush=True)
    return trio.run(_all_of_it, tests or SMOKE)


# Changed files.


def changed_files(base: str) -> list[str]:
    """Paths relative to the root: changes since the branch left ``base``, uncommitted changes, and new files."""
    since = _git("merge-base", "HEAD", base) or ["HEAD"]
    return sorted({*_git("diff", "--name-only", since[0]), *_git("ls-files", "--others", "--exclude-standard")})


def _git(*arguments: str) -> list[str]:
    """The output lines of git. None if git fails, for example because there is no such branch."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()


# Tests near to the changes.


def nearest_tests(root: Path, changed: Collection[str]) -> list[str]:
    """Unit-test modules, nearest first: those that have changed, and those that ``UnitTests.near`` returns."""
    tests = UnitTests(root)
    ranks = {path: 0 for path in changed if path in tests.imports}
    for path in changed:
        for test, rank in tests.near(path).items():
            ranks[test] = min(rank, ranks.get(test, rank))
    return sorted(ranks, key=lambda test: (ranks[test], test))


class UnitTests:
    """The modules with unit tests below ``root``, and what they import."""

    def __init__(self, root: Path) -> None:
        self.imports: Final = {
            test.relative_to(root).as_posix(): frozenset(_imports(test))
            for folder in _UNIT_TESTS
            for test in (root / folder).rglob("test_*.py")
        }

    def near(self, changed: str) -> dict[str, int]:
        """The tests that are near to a changed file, with their distance.

        1: they mirror it by name and folder, or it is a ``conftest.py`` above them. 2: they import it; a builder in a
        test folder counts as a module. 3, for a module without any of these: they import the modules that import it,
        over as many steps as it takes. 4: they are in the nearest folder that mirrors one above it.
        """
        module = _module_of(changed)
        found = {test: 2 for test, names in self.imports.items() if module in names}
        found |= {test: 1 for test in self.imports if _mirrors(test, changed)}
        if not found and module is not None and changed not in self.imports:
            found = dict.fromkeys(self._of_importers(module), 3) or dict.fromkeys(self._of_folder(changed), 4)
        return found

    def _of_importers(self, module: str) -> list[str]:
        graph = self._graph
        seen = above = {module} & graph.modules
        while above:
            above = {each for one in above for each in graph.find_modules_that_directly_import(one)} - seen
            seen = seen | above
            if found := [test for test, names in self.imports.items() if not names.isdisjoint(above)]:
                return found
        return []

    def _of_folder(self, module: str) -> list[str]:
        for place in map(str, Path(module).parents):
            if found := [test for test in self.imports if _mirrored_folder(test) == place]:
                return found
        return []

    @cached_property
    def _graph(self) -> grimp.ImportGraph:
        return grimp.build_graph(*PACKAGES)


def _module_of(path: str) -> str | None:
    """The import name of a changed file: ``core.graph.needs``, ``tests.unit.certs.certs_world``."""
    if not path.endswith(".py"):
        return None
    parts = path.removesuffix(".py").split("/")
    parts = parts[1:] if parts[0] in _PROJECTS else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _mirrors(test: str, changed: str) -> bool:
    """Whether a test is for the file: ``tests/unit/core/graph/test_needs.py`` for ``core/graph/needs.py``.

    The name may be longer (``test_payload_key.py`` for ``core/payloads/key.py``), and the folder of the test may be one
    level higher. A ``conftest.py`` is for all tests below it.
    """
    if changed.endswith("/conftest.py"):
        return test.startswith(changed.removesuffix("conftest.py"))
    folder, (name, suffix) = _mirrored_folder(test), Path(changed).name.rpartition(".")[::2]
    if suffix != "py" or not folder or not changed.startswith(f"{folder}/"):
        return False
    return f"_{name}_" in f"_{Path(test).stem.removeprefix('test_')}_"


def _mirrored_folder(test: str) -> str:
    """``core/graph`` of a test in ``tests/unit/core/graph``; empty for one that mirrors no folder."""
    top = next(folder for folder in _UNIT_TESTS if test.startswith(folder))
    return f"{_UNIT_TESTS[top]}{test.removeprefix(top).rpartition('/')[0]}".removeprefix("/")


def _imports(test: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(test.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


# Running the checks.


async def _all_of_it(tests: Sequence[str]) -> int:
    """Lint first, because it takes a second, then types beside tests.

    Prints all results; returns the worst exit code.
    """
    codes: list[int] = []
    binaries = Path(sys.executable).parent
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."]):
        codes.append((await trio.run_process([binaries / command[0], *command[1:]], check=False)).returncode)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_types, codes, binaries)
        run = [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "tools.quick", *tests]
        environment = os.environ | {"PYTHONHASHSEED": "0", _ENDS_AT: str(time.monotonic() + TEST_SECONDS)}
        codes.append((await trio.run_process(run, check=False, env=environment)).returncode)
    return max(codes)


async def _types(codes: list[int], binaries: Path) -> None:
    """Prints its result when it is complete, so that it does not appear between the tests."""
    done = await trio.run_process([binaries / "mypy"], check=False, capture_stdout=True, capture_stderr=True)
    codes.append(done.returncode)
    print(f"mypy: {(done.stdout + done.stderr).decode().strip()}", flush=True)


# In the process of the tests, as a plugin of pytest.

_ENDS_AT: Final = "BOBRAPET_QUICK_ENDS_AT"


@dataclass(eq=False)  # pytest keeps its plugins in sets
class _Bound:
    ends_at: float
    left_out: int = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if time.monotonic() > self.ends_at:
            self.left_out += 1
            pytest.skip("no time left")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.left_out:
            terminalreporter.write_line(f"quick: {self.left_out} tests were left out after {TEST_SECONDS:.0f} s")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Bound(float(os.environ[_ENDS_AT])), "quick bound")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
