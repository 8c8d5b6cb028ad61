"""The wheels in fresh environments, on each supported Python of this machine, and as a tool of uv and of pipx.

Libraries come from the package index, in the versions of ``requirements.lock``. About 8 s of CPU for each Python, 15 s
in total for uv and pipx with uv, 20 s for pipx with pip; more if libraries must be downloaded.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.pythons import missing, python, supported
from tests.integration.wheels import PROJECTS, REPOSITORY, UV, VERSION, Environment, build, write_namesakes

LOCK = REPOSITORY / "tools/release/locks/requirements.lock"
PIPX_LOCK = REPOSITORY / "tools/release/locks/requirements-pipx.lock"
WEATHER = (
    "examples/weather/manifests.yaml",
    "--image-map=examples/weather/images.yaml",
    "--input=data=examples/weather/data",
)
EFFECTS = ("examples/effects/manifests.yaml", "--image-map=examples/effects/images.yaml", "--input=order=A-17")
MAX_SDK_KIB = 1536
MAX_OPERATOR_KIB = 3072
ENGRAM = """\
from bubu_sdk import Context, engram

@engram
def main(ctx: Context, inputs: dict) -> dict:
    return {"greeting": f"hello {inputs['name']}"}

if __name__ == "__main__":
    main.run()
"""


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    target = tmp_path_factory.mktemp("wheels")
    return {name: build(project, target) for name, project in PROJECTS.items()}


@pytest.fixture(params=supported())
def interpreter(request: pytest.FixtureRequest) -> str:
    return python(request.param) or missing(f"Python {request.param}")


@pytest.fixture
def fresh(interpreter: str, tmp_path: Path) -> Iterator[Environment]:
    """An empty environment with an empty home; whatever runs in it ends with the test."""
    environment = Environment(tmp_path / "venv", tmp_path / "home")
    environment.create(interpreter)
    yield environment
    if (environment.folder / "bin" / "bobrapet").is_file():
        assert environment.run("bobrapet", "down").returncode == 0


def test_an_installation_runs_the_example_beside_modules_of_the_user(
    wheels: dict[str, Path], fresh: Environment
) -> None:
    operator = f"bobrapet[examples] @ {wheels['bobrapet'].as_uri()}"
    fresh.install("--constraints", str(LOCK), operator, str(wheels["bubu_sdk"]))
    write_namesakes(fresh.packages)
    write_namesakes(fresh.home)
    absolute = [word.replace("data=", f"data={fresh.home}/") for word in WEATHER]

    assert fresh.run("bobrapet", "--version").stdout == f"bobrapet {VERSION}\n"
    assert fresh.run("bobrapet", "unpack", "examples").returncode == 0
    done = fresh.run("bobrapet", "run", *absolute, f"--input=report={fresh.home}/report", python_path=[fresh.home])

    assert done.returncode == 0, done.stderr
    assert (fresh.home / "report" / "report.html").is_file()
    assert [
        name for name in ("core", "manager", "certs") if f"the {name} of the user" in done.stdout + done.stderr
    ] == []


def test_the_sdk_alone_is_small_and_runs_an_engram(wheels: dict[str, Path], fresh: Environment) -> None:
    fresh.install(str(wheels["bubu_sdk"]))
    (fresh.home / "hello.py").write_text(ENGRAM)

    done = fresh.run("python", "hello.py", "--inputs", '{"name": "Ada"}')

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"greeting": "hello Ada"}
    installed = {path.name for path in fresh.packages.glob("*.dist-info")}
    assert installed - {f"bubu_sdk-{VERSION}.dist-info"} <= {name for name in installed if "backports" in name}
    assert wheels["bubu_sdk"].stat().st_size < MAX_SDK_KIB * 1024 / 4
    assert sum(path.stat().st_size for path in fresh.packages.rglob("*.py")) < MAX_SDK_KIB * 1024


def test_the_impulses_start_from_their_wheel(wheels: dict[str, Path], fresh: Environment) -> None:
    impulses = f"bobrapet-impulses[cron,webhook] @ {wheels['bobrapet_impulses'].as_uri()}"
    fresh.install("--constraints", str(LOCK), impulses, str(wheels["bubu_sdk"]))

    for module in ("bubu_impulses.cron", "bubu_impulses.webhook"):
        done = fresh.run("python", "-m", module)
        assert "no Kubernetes API server" in done.stdout + done.stderr, "it starts, and asks for the cluster"


def test_the_wheel_of_the_operator_is_small(wheels: dict[str, Path]) -> None:
    assert wheels["bobrapet"].stat().st_size < MAX_OPERATOR_KIB * 1024


@pytest.fixture(scope="module")
def pipx(tmp_path_factory: pytest.TempPathFactory) -> str:
    environment = Environment(tmp_path_factory.mktemp("pipx") / "venv", tmp_path_factory.mktemp("home"))
    environment.create()
    environment.install("--require-hashes", "-r", str(PIPX_LOCK))
    return str(environment.folder / "bin" / "pipx")


def with_venv() -> str:
    """A supported Python that can make environments by itself, as pipx asks it to, without uv."""
    for minor in supported():
        found = python(minor)
        if found is not None and subprocess.run([found, "-c", "import ensurepip"], capture_output=True).returncode == 0:
            return found
    return missing("Python with the module ensurepip")


@pytest.mark.parametrize("installer", ["uv", "pipx", "pipx on uv"])
def test_a_tool_runs_a_cluster_and_survives_an_interruption(
    installer: str, wheels: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """uv and pipx find bubu-sdk as the index will have it: by its name. pipx uses venv and pip, unless uv is there."""
    places = {
        "UV_TOOL_DIR": f"{tmp_path}/tools",
        "UV_TOOL_BIN_DIR": f"{tmp_path}/bin",
        "PIPX_HOME": f"{tmp_path}/tools",
        "PIPX_BIN_DIR": f"{tmp_path}/bin",
        "PIPX_MAN_DIR": f"{tmp_path}/man",
    }
    links = str(wheels["bobrapet"].parent)
    variables = {**os.environ, **places, "UV_FIND_LINKS": links, "PIP_FIND_LINKS": links, "UV_PYTHON": sys.executable}
    if installer == "pipx":
        variables["PATH"] = "/usr/bin:/bin"  # where no uv is, which pipx would take
        command = [request.getfixturevalue("pipx"), "install", f"--python={with_venv()}"]
    elif installer == "pipx on uv":
        variables["PATH"] = f"{Path(UV).parent}:{variables['PATH']}"
        command = [request.getfixturevalue("pipx"), "install", "--backend=uv"]
    else:
        command = [UV, "tool", "install"]
    subprocess.run([*command, str(wheels["bobrapet"])], env=variables, check=True, capture_output=True, timeout=300)
    if installer == "pipx":
        assert list(tmp_path.glob("tools/shared/lib/python3*/site-packages/pip")), "installed by pip"
    tool = Environment(tmp_path, tmp_path / "home")
    tool.home.mkdir()

    assert tool.run("bobrapet", "unpack", "examples").returncode == 0
    up = tool.run("bobrapet", "up", "--image-map=examples/effects/images.yaml")
    assert up.returncode == 0, up.stderr
    try:
        # The command ends at Ctrl-C; the run goes on.
        started = subprocess.Popen(
            [str(tmp_path / "bin" / "bobrapet"), "run", *EFFECTS, f"--input=payments={tmp_path}/payments.jsonl"],
            cwd=tool.home,
            env={"HOME": str(tool.home), "PATH": "/usr/bin:/bin"},
            stderr=subprocess.PIPE,
            text=True,
        )
        with started:
            assert started.stderr is not None
            run = next(found[1] for line in started.stderr if (found := re.search(r"Z (\S+) ", line)))
            started.send_signal(signal.SIGINT)
            started.stderr.read()
        assert started.returncode == 130
        done = tool.run("bobrapet", "wait", run, "--timeout=60s")
        assert done.returncode == 0, done.stderr
    finally:
        down = tool.run("bobrapet", "down")
    assert down.returncode == 0, down.stderr
