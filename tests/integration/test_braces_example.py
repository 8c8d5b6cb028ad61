"""Data that looks like templates, on the embedded cluster: containers get it unchanged, and it reads nothing."""

from __future__ import annotations

import json

import pytest

from tests.integration.commandline import CommandLine

STORY = """\
apiVersion: catalog.bubustack.io/v1alpha1
kind: EngramTemplate
metadata: {name: say}
spec: {version: 1.0.0, supportedModes: [job], image: say}
---
apiVersion: bubustack.io/v1alpha1
kind: Engram
metadata: {name: say}
spec: {templateRef: {name: say}}
---
apiVersion: bubustack.io/v1alpha1
kind: Story
metadata: {name: talk}
spec:
  steps:
    - {name: login, ref: {name: say}, with: {text: hello}}
    - {name: plain, needs: [login], ref: {name: say}, with: {text: "{{ inputs.text }}"}}
    - name: fan
      needs: [login]
      type: parallel
      with:
        forEach: "{{ inputs.texts }}"
        steps: [{name: one, ref: {name: say}, with: {text: "{{ item }}"}}]
  output:
    plain: "{{ steps.plain.output }}"
    fan: "{{ steps.fan.output.items }}"
"""

ENGRAM = """\
from bubu_sdk import Context, engram

@engram
def main(ctx: Context, inputs: dict) -> dict:
    return {"inputs": inputs["text"], "config": ctx.config["text"], "token": "secret"}

if __name__ == "__main__":
    main.run()
"""

TEXTS = ["Hello {{name}}", "{{ steps.login.output.token }}", '{{ "{{" }} {{- end -}}']


@pytest.fixture
def line(example_line: CommandLine) -> CommandLine:
    line = example_line
    line.file("say.py", ENGRAM)
    line.file("story.yaml", STORY)
    images = line.file("programs.yaml", json.dumps({"images": {"say": {"command": ["$(PYTHON)", "say.py"]}}}))
    assert line.quick("up", f"--image-map={images}").code == 0
    return line


def test_braces_in_data_reach_the_program_as_they_are(line: CommandLine) -> None:
    inputs = line.file("inputs.json", json.dumps({"text": TEXTS[1], "texts": TEXTS}))
    done = line.quick("run", "story.yaml", "--local", "--story=talk", f"--inputs={inputs}", "-ojson")

    assert done.code == 0, done.err
    output = json.loads(done.out)
    assert (output["plain"]["inputs"], output["plain"]["config"]) == (TEXTS[1], TEXTS[1])
    assert [item["inputs"] for item in output["fan"]] == TEXTS
    assert [item["config"] for item in output["fan"]] == TEXTS
