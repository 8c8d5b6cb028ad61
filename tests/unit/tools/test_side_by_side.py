"""Suites in their own processes: each test once, the worst exit code, and nothing left after a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.control_plane.suites import PAGES, SUITES
from tools.cpu_time import Times
from tools.side_by_side import INTERRUPTED, NOTHING_FOUND, OVER_BUDGET, Suite, run_side_by_side, suites
from tools.time_table import Spent, complaints

PASSES = "def test_passes(): pass\n"
FAILS = "def test_fails(): assert False\n"
BOTH = (Suite(("outer",)), Suite(("other",)))


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # loading plugins would take most of the time
    for name in ("outer/inner", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "outer/test_outer.py").write_text(PASSES)
    (tmp_path / "outer/inner/test_inner.py").write_text(PASSES)
    (tmp_path / "other/test_other.py").write_text(PASSES)
    return tmp_path


def test_a_folder_that_has_a_suite_of_its_own_is_left_out_of_the_one_around_it(
    folders: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_side_by_side([Suite(("outer/inner",)), Suite(("outer", "other"))], ["-q"]) == 0

    told = capfd.readouterr().out
    assert "1 passed" in told
    assert "2 passed" in told
    assert "### outer … other: exit code 0" in told


def test_the_worst_exit_code_counts_and_all_suites_are_run(folders: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folders / "outer/test_outer.py").write_text(FAILS)

    assert run_side_by_side(BOTH, ["-q"], cores=1.0) == 1
    assert "### other: exit code 0" in capfd.readouterr().out


def test_what_takes_more_cores_than_there_are_runs_alone(folders: Path) -> None:
    assert run_side_by_side([Suite(("outer",), 3.0), Suite(("other",), 3.0)], ["-q"], cores=2.0) == 0


def test_options_may_choose_tests_of_one_suite_only(folders: Path) -> None:
    assert run_side_by_side(BOTH, ["-q", "-k", "inner"]) == 0
    assert run_side_by_side(BOTH, ["-q", "-k", "nowhere"]) == NOTHING_FOUND


def test_a_suite_whose_tests_have_all_vanished_fails_the_run(folders: Path) -> None:
    (folders / "other/test_other.py").unlink()

    assert run_side_by_side(BOTH, ["-q"]) == NOTHING_FOUND


def test_what_there_is_room_for_runs_beside_others_and_the_rest_when_they_have_ended(
    folders: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    suites = [Suite(("outer/inner",)), Suite(("outer",)), Suite(("other",), 0.5)]

    assert run_side_by_side(suites, ["-q"], cores=1.5) == 0

    told = [line for line in capfd.readouterr().out.splitlines() if line.endswith(": begins") or "exit code" in line]
    assert sorted(told[:2]) == ["### other: begins", "### outer/inner: begins"]
    assert told.index("### outer: begins") > next(n for n, line in enumerate(told) if "outer/inner: exit code" in line)


def test_a_suite_may_have_options_of_its_own_and_give_way_to_others(folders: Path) -> None:
    (folders / "outer/test_outer.py").write_text("import os\ndef test_priority(): assert os.nice(0) == 19\n")
    (folders / "other/test_other.py").write_text("import os\ndef test_priority(): assert os.nice(0) < 19\n")
    (folders / "other/test_fails.py").write_text(FAILS)

    suites = [
        Suite(("outer",), 0.0, niceness=19),
        Suite(("other",), options=("--ignore=other/test_fails.py",)),
    ]
    assert run_side_by_side(suites, ["-q"], cores=1.0) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_what_runs_is_ended_and_nothing_more_begun(folders: Path, number: signal.Signals) -> None:
    begun = folders / "begun"
    (folders / "outer/test_outer.py").write_text(
        f"import pathlib, time\ndef test_long():\n    pathlib.Path({str(begun)!r}).touch()\n    time.sleep(600)\n"
    )
    program = (
        "import sys; from tools.side_by_side import Suite, run_side_by_side; "
        "sys.exit(run_side_by_side([Suite(('outer',)), Suite(('other',))], [], cores=1.0))"
    )
    path = os.pathsep.join(entry for entry in sys.path if entry)
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as tests:
        deadline = time.monotonic() + 30
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        if number == signal.SIGINT:
            os.killpg(tests.pid, number)  # as a terminal does
        else:
            tests.send_signal(number)
        told, _ = tests.communicate(timeout=30)

    assert tests.returncode == INTERRUPTED
    assert "### other: begins" not in told


def test_the_table_says_what_each_suite_took_and_names_the_dearest_tests(
    folders: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    computes = "import time\ndef test_computes():\n    while time.process_time() < 2: pass\n"
    (folders / "other/test_other.py").write_text(computes)

    assert run_side_by_side(BOTH, ["-q"]) == 0

    told = capfd.readouterr().out
    table = told[told.index("### suite") :].splitlines()
    assert [line.split()[1] for line in table[1:3]] == ["other", "outer"]
    assert float(table[1].split()[3]) >= 2.0
    assert table[4].endswith("other/test_other.py::test_computes")


@pytest.mark.parametrize(
    ("options", "ci", "code"),
    [((), "", 0), ((), "true", OVER_BUDGET), (("--budgets",), "", OVER_BUDGET)],
    ids=["on a laptop", "in CI", "on request"],
)
def test_a_suite_over_its_budget_fails_where_budgets_are_binding(
    folders: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    ci: str,
    code: int,
) -> None:
    monkeypatch.setenv("CI", ci)

    assert run_side_by_side([Suite(("other",), budget=0.01)], ["-q", *options]) == code

    assert "### other took" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("speed", "budget", "outgrown"),
    [(1.0, 31, False), (1.0, 29, True), (0.5, 16, False), (0.5, 14, True), (2.0, 31, False)],
)
def test_a_budget_makes_up_for_a_slow_machine(speed: float, budget: float, outgrown: bool) -> None:
    spent = Spent("tests/unit", wall=40.0, times=Times(total=30.0, speed=speed), budget=budget)

    assert [complaint.split(" took")[0] for complaint in complaints([spent])] == (["tests/unit"] if outgrown else [])


def test_a_suite_without_a_budget_takes_what_it_likes() -> None:
    assert complaints([Spent("tests/unit", wall=40.0, times=Times(total=30.0), budget=None)]) == []


def test_the_pages_of_the_docs_are_played_by_make_e2e_only() -> None:
    file = "tests/e2e/test_documented_pages.py"

    assert [suite.paths for suite in SUITES if file in suite.paths] == [PAGES]
    assert [suite.paths for suite in suites() if any(file.startswith(path) for path in suite.paths)] == []
