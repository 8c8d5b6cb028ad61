"""Files between steps, on the embedded cluster: saved by one step, fetched by another and by a person."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.integration.commandline import CommandLine

ROOT = Path(__file__).parents[2]

MAKE = """\
import os
from pathlib import Path
from bubu_sdk import Context, engram

@engram
def main(ctx: Context, inputs: dict) -> dict:
    folder = Path(inputs["folder"])
    (folder / "model.bin").write_bytes(os.urandom(3 << 20))
    tree = folder / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner" / "rows.csv").write_text("a,b")
    (folder / "chart.png").write_bytes(b"png")
    return {
        "model": ctx.artifacts.save(folder / "model.bin"),
        "tree": ctx.artifacts.save(tree),
        "chart": ctx.artifacts.save(folder / "chart.png"),
    }

if __name__ == "__main__":
    main.run()
"""
MEASURE = """\
from dataclasses import dataclass
from pathlib import Path
from bubu_sdk import Context, engram

@dataclass
class Inputs:
    model: Path
    tree: Path

@engram
def main(ctx: Context, inputs: Inputs) -> dict:
    return {"size": inputs.model.stat().st_size, "rows": (inputs.tree / "inner" / "rows.csv").read_text()}

if __name__ == "__main__":
    main.run()
"""
DEFINITIONS = """\
apiVersion: catalog.bubustack.io/v1alpha1
kind: EngramTemplate
metadata: {name: %(name)s}
spec: {version: 1.0.0, supportedModes: [job], image: %(name)s}
---
apiVersion: bubustack.io/v1alpha1
kind: Engram
metadata: {name: %(name)s}
spec: {templateRef: {name: %(name)s}}
---
"""
STORY = """\
apiVersion: bubustack.io/v1alpha1
kind: Story
metadata: {name: files}
spec:
  steps:
    - name: make
      ref: {name: make}
      with: {folder: "{{ inputs.folder }}"}
    - name: use
      ref: {name: measure}
      with: {model: "{{ steps.make.output.model }}", tree: "{{ steps.make.output.tree }}"}
  output: {model: "{{ steps.make.output.model }}", size: "{{ steps.use.output.size }}"}
"""


@pytest.fixture
def line(example_line: CommandLine) -> CommandLine:
    line = example_line
    line.file("make.py", MAKE)
    line.file("measure.py", MEASURE)
    images = {name: {"command": ["$(PYTHON)", f"{name}.py"]} for name in ("make", "measure")}
    images_file = line.file("programs.yaml", json.dumps({"images": images}))
    line.file("story.yaml", "".join(DEFINITIONS % {"name": name} for name in images) + STORY)
    assert line.quick("up", f"--image-map={images_file}").code == 0
    return line


def test_a_file_goes_from_step_to_step_and_to_a_person(line: CommandLine) -> None:
    made = line.folder / "made"
    made.mkdir()
    run = line.quick(
        "run", str(ROOT / "examples" / "store.yaml"), "story.yaml", "--local", f"--input=folder={made}", "--story=files"
    )
    assert run.code == 0, run.err
    look = ("outputs", "@latest:files", "--local")

    assert "model: model.bin (3.0 MiB, application/octet-stream)" in run.out
    assert json.loads(line.quick(*look, "use").out) == {"size": 3 << 20, "rows": "a,b"}
    assert json.loads(line.quick(*look).out)["model"]["$bubuArtifact"].startswith("outputs/default/")
    saved = line.quick(*look, "--save=kept")
    assert saved.code == 0, saved.err
    kept = line.folder / "kept"
    assert (kept / "make" / "model.bin").read_bytes() == (made / "model.bin").read_bytes()
    assert (kept / "output" / "model.bin").read_bytes() == (made / "model.bin").read_bytes()
    assert (kept / "make" / "tree" / "inner" / "rows.csv").read_text() == "a,b"
    assert "kept/make/chart.png" in saved.out.split()
    [stored] = line.data.rglob("model.sha256-*.bin")
    os.truncate(stored, 100)
    damaged = line.quick(*look, "make", "--save=again")
    assert damaged.code != 0
    assert "does not have the content that was saved" in damaged.err
    assert not (line.folder / "again" / "make" / "model.bin").exists()
