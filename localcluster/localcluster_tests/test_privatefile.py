"""Folders that only their owner can enter."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from localcluster.privatefile import OpenFolderError, make_private_folder


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_folder_is_private(tmp_path: Path) -> None:
    make_private_folder(tmp_path / "a" / "b", ("lock",))

    assert mode_of(tmp_path / "a" / "b") == 0o700


def test_an_empty_folder_is_closed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)

    make_private_folder(tmp_path / "data", ("lock",))

    assert mode_of(tmp_path / "data") == 0o700


def test_a_folder_of_ours_is_closed_with_what_it_holds(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "node").mkdir(parents=True)
    data.chmod(0o775)
    (data / "node").chmod(0o755)
    for name in ("lock", "cluster.db"):
        (data / name).touch(mode=0o644)
    (data / "elsewhere").symlink_to(tmp_path / "target")
    (tmp_path / "target").touch(mode=0o644)

    make_private_folder(data, ("lock",))

    assert [mode_of(data / name) for name in (".", "node", "lock", "cluster.db")] == [0o700, 0o700, 0o600, 0o600]
    assert mode_of(tmp_path / "target") == 0o644


def test_a_private_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "of-somebody").touch(mode=0o644)

    make_private_folder(tmp_path / "data", ("lock",))

    assert mode_of(tmp_path / "data" / "of-somebody") == 0o644


@pytest.mark.parametrize(("mode", "mark"), [(0o755, "of-somebody"), (0o1777, "lock")])
def test_a_folder_of_others_or_of_everybody_is_refused(mode: int, mark: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(mode)
    (tmp_path / "data" / mark).touch()

    with pytest.raises(OpenFolderError, match=f"mode {mode:04o}.*chmod 700 {tmp_path / 'data'}"):
        make_private_folder(tmp_path / "data", ("lock",))
    assert mode_of(tmp_path / "data") == mode
