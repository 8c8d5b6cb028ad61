"""The wheels: what is in them, and that they work beside anything. All of it takes about 8 s of CPU."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.integration.wheels import LOCALCLUSTER, PROJECTS, VERSION, Environment, build, write_namesakes


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    target = tmp_path_factory.mktemp("wheels")
    return {name: build(project, target) for name, project in PROJECTS.items()}


@pytest.fixture(scope="module")
def installed(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheels in a new environment, where the user has modules with our names."""
    folder = tmp_path_factory.mktemp("installed")
    environment = Environment(folder / "venv", folder / "home")
    environment.create()
    environment.install("--offline", "--no-deps", *map(str, wheels.values()))
    environment.borrow_libraries()
    write_namesakes(environment.packages)
    return environment


@pytest.fixture
def line(installed: Environment, tmp_path: Path) -> Iterator[Environment]:
    """The same environment with a new home, in which nothing runs at the end."""
    yield Environment(installed.folder, tmp_path)
    installed_down = Environment(installed.folder, tmp_path).run("bobrapet", "down")
    assert installed_down.returncode == 0, installed_down.stderr


def names_of(wheel: Path) -> list[str]:
    with ZipFile(wheel) as archive:
        return archive.namelist()


def test_each_wheel_has_one_name_at_the_top_level(wheels: dict[str, Path]) -> None:
    tops = {name: {file.partition("/")[0] for file in names_of(wheel)} for name, wheel in wheels.items()}

    assert tops == {
        "bobrapet": {"bobrapet", f"bobrapet-{VERSION}.dist-info"},
        "bubu_sdk": {"bubu_sdk", "bubu_contract", "bubu_wire", f"bubu_sdk-{VERSION}.dist-info"},
        "bobrapet_impulses": {"bubu_impulses", f"bobrapet_impulses-{VERSION}.dist-info"},
    }


def test_no_two_wheels_write_the_same_file(wheels: dict[str, Path]) -> None:
    files = [file for wheel in wheels.values() for file in names_of(wheel)]

    assert len(files) == len(set(files)) > 1_000


def test_each_wheel_has_its_licence_its_list_of_software_and_the_mark_of_typed_packages(
    wheels: dict[str, Path],
) -> None:
    for name, wheel in wheels.items():
        files = names_of(wheel)
        assert f"{name}-{VERSION}.dist-info/sboms/{name.replace('_', '-')}.cdx.json" in files
        assert f"{name}-{VERSION}.dist-info/licenses/LICENSE" in files
        assert [file for file in files if file.count("/") == 1 and file.endswith("/py.typed")] != []


def test_everything_that_a_checkout_has_is_in_the_wheel_and_nothing_else(wheels: dict[str, Path]) -> None:
    files = {file.removeprefix("bobrapet/_modules/") for file in names_of(wheels["bobrapet"])}
    project = PROJECTS["bobrapet"]
    kept = {
        path.relative_to(project).as_posix()
        for folder in ("core", "deployment", "examples", "manifests")
        for path in (project / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and "charts" not in path.parts
    }

    assert {file for file in kept - files if not file.startswith("examples/")} == set()
    assert {Path(file).name for file in kept - files} == {"__init__.py", "run.py"}
    assert [file for file in files if file.endswith((".pyc", ".lock")) or "/tests/" in file] == []


def test_another_folder_another_time_and_another_umask_give_the_same_bytes(
    wheels: dict[str, Path], tmp_path: Path
) -> None:
    """The other folder is the unpacked source distribution, so that has everything that is necessary."""
    for name, project in PROJECTS.items():
        source = build(project, tmp_path / "first", "sdist")
        subprocess.run(["tar", "-xzf", source, "-C", tmp_path], check=True)
        elsewhere = tmp_path / source.name.removesuffix(".tar.gz")
        for path in elsewhere.rglob("*"):
            os.utime(path, (1_000_000_000, 1_000_000_000))
            path.chmod(0o700 if path.is_dir() else 0o600)

        again, source_again = build(elsewhere, tmp_path / "second"), build(elsewhere, tmp_path / "second", "sdist")

        assert again.read_bytes() == wheels[name].read_bytes()
        assert source_again.read_bytes() == source.read_bytes()


def test_the_embedded_cluster_can_be_installed_alone(tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv", tmp_path / "home")
    environment.create()
    environment.install("--offline", "--no-deps", str(build(LOCALCLUSTER, tmp_path)))
    environment.borrow_libraries()
    command = [str(environment.folder / "bin" / "localcluster"), "--port=0", f"--data-dir={tmp_path / 'data'}"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"HOME": str(environment.home)}) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.terminate()

    assert (said, process.returncode) == (f"export KUBECONFIG={tmp_path / 'data' / 'kubeconfig'}\n", 0)


@pytest.mark.parametrize("command", ["bobrapet", "kubectl-bobrapet"])
def test_the_command_works_beside_modules_with_its_names(command: str, installed: Environment, tmp_path: Path) -> None:
    write_namesakes(tmp_path)

    done = installed.run(command, "--version", folder=tmp_path, python_path=[tmp_path])

    assert (done.returncode, done.stdout, done.stderr) == (0, f"bobrapet {VERSION}\n", "")


def test_modules_of_the_operator_are_not_found_by_programs_of_the_user(installed: Environment) -> None:
    program = "import core, manager, webhooks; print(core.OWNER, manager.OWNER, webhooks.OWNER)"

    done = installed.run("python", "-c", program)

    assert done.stdout.splitlines()[-1] == "the user the user the user"


ENGRAM = """\
import os, sys
import core, manager
from bubu_sdk import Context, engram
from bubu_sdk.stories import story

@engram
def look(ctx: Context) -> dict[str, object]:
    ours = [place for place in sys.path if "_modules" in place]
    return {"core": core.OWNER, "manager": manager.OWNER, "ours": ours, "path": os.environ.get("PYTHONPATH", "")}

@story(timeout="1m", step_timeout="1m")
def around() -> dict[str, object]:
    seen = look()
    return {"seen": seen}
"""


def test_a_story_in_python_runs_and_its_step_sees_only_modules_of_the_user(line: Environment) -> None:
    (line.home / "around.py").write_text(ENGRAM)

    done = line.run("bobrapet", "run", "around.py", "-o", "json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["seen"] == {"core": "the user", "manager": "the user", "ours": [], "path": ""}


def test_examples_and_manifests_come_out_of_the_installation(line: Environment) -> None:
    copied = line.run("bobrapet", "unpack", "examples")
    assert copied.returncode == 0, copied.stderr
    linted = line.run("bobrapet", "lint", "examples/weather", "examples/effects")
    assert linted.returncode == 0, linted.stdout
    manifests = line.run("bobrapet", "unpack", "manifests", "mine")
    assert (line.home / "mine" / "default" / "Kustomization").is_file(), manifests.stderr

    again = line.run("bobrapet", "unpack", "manifests", "mine")

    assert again.returncode == 1
    assert "mine/default/Kustomization exists" in again.stderr
