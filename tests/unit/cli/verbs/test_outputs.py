"""Outputs on the screen and as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from cli.session import Session
from cli.verbs import outputs as module
from cli.verbs.outputs import outputs_of, printed, save_outputs


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


@pytest.mark.parametrize(
    ("step", "names"),
    [
        ("fetch", {"output": "of the run", "fetch": "of the step"}),
        ("output", {"run.output": "of the run", "output": "of the step"}),
    ],
)
async def test_the_output_of_the_run_is_kept_beside_that_of_a_step_called_output(
    step: str, names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = {"metadata": {"name": "one"}, "status": {"output": "of the run"}}

    async def made(session: Session, run: object) -> list[dict[str, Any]]:
        return [{"metadata": {"name": f"one-{step}"}, "spec": {"stepId": step}, "status": {"output": "of the step"}}]

    monkeypatch.setattr(module, "step_runs_of", made)

    assert await outputs_of(cast(Session, None), run, "") == names
