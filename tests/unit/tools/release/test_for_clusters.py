"""The Helm chart as a package, without helm; and which registries its image may have."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tools.release.__main__ import main
from tools.release.for_clusters import CHART, ForClustersError, chart_package, image_of, registry_of

ROOT = Path(__file__).parents[4]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the chart, whose files have other times and modes; it has folders where the chart has links."""
    shutil.copytree(ROOT / CHART, tmp_path / CHART)
    for path in (tmp_path / CHART).rglob("*"):
        path.chmod(0o700)
        os.utime(path, (1, 1))
    return tmp_path


def members(package: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        found = [(each, archive.extractfile(each)) for each in archive]
        return {each.name: file.read() for each, file in found if file is not None}


def test_a_package_has_the_files_of_the_chart_below_its_name_and_nothing_of_the_machine(source: Path) -> None:
    package = chart_package(source, "")

    assert package == chart_package(ROOT, "")
    files = {f"bobrapet/{path.relative_to(source / CHART)}": path for path in (source / CHART).rglob("*")}
    assert members(package) == {name: path.read_bytes() for name, path in files.items() if path.is_file()}
    assert {"bobrapet/definitions/bubustack.io_stories.yaml", "bobrapet/dashboards/bobrapet-runs.json"} <= files.keys()
    assert next(iter(members(package))) == "bobrapet/Chart.yaml"
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        assert {(each.mtime, each.uid, each.gid, each.uname, each.gname, each.mode) for each in archive} == {
            (0, 0, 0, "", "", 0o644)
        }
    assert package[4:8] == b"\0" * 4, "the header of gzip has no time"
    assert gzip.decompress(package)


def test_with_a_registry_the_default_image_is_there(source: Path) -> None:
    values = members(chart_package(source, "registry.example:5000/team"))["bobrapet/values.yaml"]

    image = YAML(typ="safe").load(values)["controllerManager"]["manager"]["image"]
    assert image["repository"] == "registry.example:5000/team/bobrapet-py"
    assert image_of("0.2.0", "registry.example:5000/team") == f"{image['repository']}:0.2.0"
    assert image_of("0.2.0", "") == "bobrapet-py:0.2.0"


def test_values_without_the_image_are_refused(source: Path) -> None:
    file = source / CHART / "values.yaml"
    file.write_text(file.read_text().replace("repository: bobrapet-py", "repository: other"))

    with pytest.raises(ForClustersError, match="'repository: bobrapet-py' exactly once"):
        chart_package(source, "registry.example")


@pytest.mark.parametrize("text", ["", "registry.example", "registry.example:5000/a/b-c", "localhost:5000"])
def test_a_registry_is_a_host_with_a_path(text: str) -> None:
    assert registry_of(text) == text


@pytest.mark.parametrize("text", ["https://registry.example", "registry.example/", "a b", "Registry.example", "a|b"])
def test_another_form_of_a_registry_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be HOST, HOST:PORT or HOST/PATH"):
        registry_of(text)


def test_the_command_refuses_a_wrong_registry_before_it_builds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--registry=https://registry.example", f"--target={tmp_path / 'dist'}"])

    assert ended.value.code == 2
    assert "--registry: 'https://registry.example' must be HOST" in capsys.readouterr().err
    assert not (tmp_path / "dist").exists()
