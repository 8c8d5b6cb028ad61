"""The release before this one: its code and manifests, from the history of this repository.

There is no published release yet. A commit stands for it: the oldest one whose operator starts with the dependencies of
today. Installations of it gave each run an account of its own, let accounts report instead of Pods, and had neither
warm workers nor realtime runs.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PREVIOUS: Final = "699b1e68"
_FOLDERS: Final = ("certs", "cli", "core", "localcluster", "manager", "manifests", "reconcilers", "sdk", "webhooks")


def unpacked_release(directory: Path, commit: str = PREVIOUS, folders: Sequence[str] = _FOLDERS) -> Path:
    """A new folder in ``directory`` with code and manifests of that release, or of others; skips without history."""
    try:
        return unpack(directory, commit, folders)
    except LookupError as error:
        pytest.skip(str(error))


def unpack(directory: Path, commit: str, folders: Sequence[str] = _FOLDERS) -> Path:
    """The same for any commit.

    Raises:
        LookupError: the history does not have it.
    """
    folder = directory / f"release-{commit}"
    folder.mkdir(parents=True)
    archive = folder / "release.tar"
    command = ["git", "-C", str(ROOT), "archive", f"--output={archive}", commit, *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LookupError(f"needs the history of the repository, for commit {commit}: {done.stderr.strip()}")
    subprocess.run(["tar", "-x", "-f", str(archive), "-C", str(folder)], check=True)
    archive.unlink()
    return folder
