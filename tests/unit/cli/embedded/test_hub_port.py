"""The port of an embedded hub. (cli/embedded/hub_port.py)"""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.embedded.hub_port import PORT_FILE, hub_endpoint


def test_it_is_chosen_once_and_kept(tmp_path: Path) -> None:
    first = hub_endpoint(tmp_path)
    assert first.startswith("127.0.0.1:")
    assert hub_endpoint(tmp_path) == first
    assert first.endswith((tmp_path / PORT_FILE).read_text())


@pytest.mark.parametrize("damaged", ["", "x", "0", "70000"])
def test_a_damaged_file_is_written_again(tmp_path: Path, damaged: str) -> None:
    (tmp_path / PORT_FILE).write_text(damaged)
    assert hub_endpoint(tmp_path) == f"127.0.0.1:{(tmp_path / PORT_FILE).read_text()}"
    assert (tmp_path / PORT_FILE).read_text() != damaged
