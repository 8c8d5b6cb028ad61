"""The facts of a release, read from the repository; and its files at a commit, without anything else."""

from __future__ import annotations

import re
import subprocess
import tarfile
import tomllib
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Final

from deployment import metadata
from tools.release.bill import PROJECTS, version_of
from tools.release.readiness import ReleaseFacts

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_CHART_VERSION: Final = re.compile(r"^version: (\S+)$", re.MULTILINE)


def facts(root: Path) -> ReleaseFacts:
    """
    Raises:
        subprocess.CalledProcessError: ``root`` is not in a git repository with a commit.
    """
    changed = _git(root, "status", "--porcelain", "--untracked-files=normal").splitlines()
    refs = _git(root, "for-each-ref", "--format=%(refname:strip=2) %(objectname) %(*objectname)", "refs/tags")
    tags = {words[0]: words[-1] for words in map(str.split, refs.splitlines())}
    return ReleaseFacts(
        versions={name: version_of(name) for name in PROJECTS},
        needs={name: _needs(folder) for name, folder in PROJECTS.items()},
        image=metadata.image(),
        chart=_chart_version((root / "deployment/charts/bobrapet/Chart.yaml").read_text(encoding="utf-8")),
        changelog=(root / "CHANGELOG.md").read_text(encoding="utf-8"),
        changed_files=[line[3:] for line in changed],
        commit=_git(root, "rev-parse", "HEAD").strip(),
        tags=tags,
    )


def origin(root: Path) -> str:
    """The address of the repository's remote ``origin``; empty if it has none."""
    command = ["git", "config", "--get", "remote.origin.url"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def export(root: Path, commit: str, target: Path) -> None:
    """Write the files of ``commit`` to ``target``: no file that is not in it can get into a release."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", commit],
        cwd=root,
        capture_output=True,
        check=True,
    ).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(target)


def _needs(folder: Path) -> list[str]:
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stated: list[str] = [*project.get("dependencies", ()), *chain(*project.get("optional-dependencies", {}).values())]
    named = ((need, _NAME.match(need)) for need in stated)
    return [need for need, name in named if name is not None and name[0] in PROJECTS and ">" in need]


def _chart_version(text: str) -> str:
    """Empty if the chart has none."""
    found = _CHART_VERSION.search(text)
    return found[1] if found is not None else ""


def _git(root: Path, *words: str) -> str:
    command = ["git", *words]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
