from __future__ import annotations

import stat
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.problem import CommandError
from cli.verbs.dump import refuse_target, write_archive

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def test_an_archive_has_all_files_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    target = tmp_path / "d.tar.gz"
    write_archive(target, "dump", {"a.json": b"{}", "logs/b.log": b"x"}, NOW)

    with tarfile.open(target) as archive:
        assert archive.getnames() == ["dump/a.json", "dump/logs/b.log"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["d.tar.gz"]


def test_an_existing_file_is_never_replaced(tmp_path: Path) -> None:
    target = tmp_path / "d.tar.gz"
    target.write_text("mine")

    with pytest.raises(CommandError, match="exists"):
        refuse_target(target)
    with pytest.raises(CommandError, match="exists"):
        write_archive(target, "dump", {}, NOW)

    assert target.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["d.tar.gz"]


def test_a_folder_that_does_not_exist_is_refused_before_anything_is_collected(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="there is no folder"):
        refuse_target(tmp_path / "no" / "d.tar.gz")


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be written"):
        write_archive(tmp_path / "no" / "d.tar.gz", "dump", {}, NOW)

    assert list(tmp_path.iterdir()) == []
