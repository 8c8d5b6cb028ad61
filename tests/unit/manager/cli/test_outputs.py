"""Outputs for the screen and as files."""

from __future__ import annotations

import json
from pathlib import Path

from manager.cli.outputs import printed, save_outputs


def test_an_output_is_printed_whole_or_in_part_as_json_or_yaml() -> None:
    output = {"city": "Bern", "sizes": [1, 2]}

    assert json.loads(printed(output, "", "table")) == output
    assert printed(output, "", "yaml") == "city: Bern\nsizes:\n- 1\n- 2"
    assert printed(output, "sizes[1]", "table") == "2"


def test_every_output_becomes_a_file_of_its_own(tmp_path: Path) -> None:
    outputs = {"output": {"city": "Zürich"}, "fetch": [1]}

    files = list(save_outputs(outputs, tmp_path / "new" / "folder"))

    assert [file.name for file in files] == ["output.json", "fetch.json"]
    assert json.loads(files[0].read_text(encoding="utf-8")) == {"city": "Zürich"}
