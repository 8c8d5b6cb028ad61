"""What ``graph`` draws of a file. (cli/commands/drawing.py)"""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from cli.app import app_for

STORY = """
apiVersion: bubustack.io/v1alpha1
kind: Story
metadata: {name: voice, namespace: team}
spec:
  pattern: %s
  transports: [{name: wire, transportRef: hub}]
  steps:
    - {name: ear, ref: {name: x}}
    - {name: mind, ref: {name: x}, runtime: {mood: "{{ steps.clock.mood }}"}}
    - {name: clock, ref: {name: x}, needs: []}
"""


def drawn(tmp_path: Path, pattern: str) -> list[str]:
    file = tmp_path / "story.yaml"
    file.write_text(STORY % pattern)
    result = CliRunner().invoke(app_for(["graph"]), ["graph", "-f", str(file)])
    assert result.exit_code == 0, result.output
    return [" ".join(line.split()) for line in result.output.splitlines()]


def test_the_edges_of_a_realtime_story_are_the_ways_of_its_packets(tmp_path: Path) -> None:
    assert drawn(tmp_path, "realtime") == ["voice", "1 ear", "clock", "2 mind ← ear"]


def test_a_step_without_needs_in_a_batch_story_needs_nothing(tmp_path: Path) -> None:
    assert drawn(tmp_path, "batch") == ["voice", "1 ear", "mind", "clock"]
