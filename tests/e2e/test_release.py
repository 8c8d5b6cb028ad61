"""A release in a clone: refused with all reasons, then built, and nothing is pushed. About 12 s of CPU."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deployment import installer
from tests.integration.wheels import REPOSITORY, VERSION, build
from tools.release.for_clusters import chart_package

DAY = "2026-12-24"
REGISTRY = "registry.example/team"


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=A Tester", "-c", "user.email=tester@example.org", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=60).stdout


def release(clone: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(clone / folder) for folder in ("", "sdk", "localcluster")),
    }
    command = [sys.executable, "-m", "tools.release", "--registry", REGISTRY]
    return subprocess.run(command, cwd=clone, env=environment, check=False, capture_output=True, text=True, timeout=600)


def publish(clone: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [clone / ".ci" / "publish"]
    given = {**os.environ, **environment}
    return subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository whose one commit has the files of this tree, as git knows them."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git repository")
    listed = git(REPOSITORY, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in listed:
        if (REPOSITORY / name).is_file() or (REPOSITORY / name).is_symlink():
            (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, tmp_path / "clone" / name, follow_symlinks=False)
    changelog = tmp_path / "clone" / "CHANGELOG.md"
    text = re.sub(r"^## \S+ - .*$", f"## {VERSION} - {DAY}", changelog.read_text(), count=1, flags=re.MULTILINE)
    changelog.write_text(text)
    git(tmp_path / "clone", "init", "--quiet", "--initial-branch=main")
    git(tmp_path / "clone", "add", "--all")
    git(tmp_path / "clone", "commit", "--quiet", "--message=All of it")
    return tmp_path / "clone"


def test_a_release_has_everything_that_is_pushed_later(clone: Path, tmp_path: Path) -> None:
    (clone / "forgotten.txt").write_text("not committed")
    refused = release(clone)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "error: the tree must be clean; commit or remove: forgotten.txt\n"
    assert not (clone / "dist").exists()
    (clone / "forgotten.txt").unlink()

    done = release(clone)

    assert done.returncode == 0, done.stderr
    files = {path.name: path for path in (clone / "dist").iterdir()}
    sums = dict(line.split("  ")[::-1] for line in files["SHA256SUMS"].read_text().splitlines())
    assert set(files) - set(sums) == {"SHA256SUMS", "provenance.predicate.json"}
    assert {name: hashlib.sha256(files[name].read_bytes()).hexdigest() for name in sums} == sums
    assert len([name for name in files if name.endswith((".whl", ".tar.gz"))]) == 6
    image = f"{REGISTRY}/bobrapet-py:{VERSION}"
    assert files["install.yaml"].read_text() == installer.text(image)
    assert files[f"bobrapet-{VERSION}.tgz"].read_bytes() == chart_package(REPOSITORY, REGISTRY)

    said = json.loads(files["provenance.intoto.json"].read_text())
    subjects = {each["name"]: each["digest"]["sha256"] for each in said["subject"]}
    assert subjects.items() <= sums.items()
    assert {"install.yaml", f"bobrapet-{VERSION}.tgz"} <= subjects.keys()
    (source, *tools) = said["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert source["digest"] == {"gitCommit": git(clone, "rev-parse", "HEAD").strip()}
    assert any(tool["uri"].startswith("pkg:pypi/hatchling@") for tool in tools)

    components = {each["name"] for each in json.loads(files[f"bobrapet-{VERSION}.cdx.json"].read_text())["components"]}
    assert {"bobrapet", "bubu-sdk", "trio"} <= components
    assert str(tmp_path) not in files[f"bobrapet-{VERSION}.cdx.json"].read_text()
    assert "| trio |" in files[f"bobrapet-{VERSION}-licences.md"].read_text()
    assert files["RELEASE_NOTES.md"].read_text().startswith(f"# bobrapet {VERSION}\n\nThe first release.\n")

    wheel = build(REPOSITORY, tmp_path / "working-tree")
    assert wheel.read_bytes() == files[wheel.name].read_bytes(), "the same files give the same bytes"
    shown = publish(clone, REGISTRY=REGISTRY)
    assert (shown.returncode, shown.stderr) == (0, "")
    signed = next(line for line in shown.stdout.splitlines() if "sigstore attest" in line)
    attached = next(line for line in shown.stdout.splitlines() if line.startswith("attach "))
    for name in ("install.yaml", f"bobrapet-{VERSION}.tgz"):
        assert f"dist/{name}" in signed
        assert f"dist/{name}" in attached
    assert "no chart is pushed" in shown.stdout
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "helm").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "helm").chmod(0o700)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    charts = publish(clone, REGISTRY=REGISTRY, CHARTS="oci://charts.example", PATH=path)
    assert f"would run: helm push dist/bobrapet-{VERSION}.tgz oci://charts.example\n" in charts.stdout
    for name in ("bobrapet-py", "impulse-cron", "impulse-webhook"):
        assert f"would run: make docker-buildx IMG={REGISTRY}/{name}:{VERSION}" in shown.stdout
    elsewhere = publish(clone)
    assert (elsewhere.returncode, elsewhere.stdout) == (1, "")
    assert f"must have the image bobrapet-py:{VERSION}; run make release with the same" in elsewhere.stderr
    assert f"would run: git push origin v{VERSION}\n" in shown.stdout
    assert git(clone, "tag") == git(clone, "remote") == ""
