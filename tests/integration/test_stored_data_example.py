"""Data that steps put into object storage, on the embedded cluster. A claim stores it, and the operator reads it.

Nothing is configured: each namespace has a claim for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.embedded.folder import claims_folder
from cli.embedded.store_claims import STORE_CLAIM
from tests.integration.commandline import CommandLine, wait_until

CONFIGURATION = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: bobrapet-operator-config, namespace: bobrapet-system}
data: {controller.storage.provider: "%s", controller.storage.file.volume-claim-name: payloads}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: payloads}
spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}
---
apiVersion: bubustack.io/v1alpha1
kind: Story
metadata: {name: nothing}
spec: {steps: [{name: done, type: condition}]}
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
metadata: {name: big}
spec:
  steps:
    - {name: make, ref: {name: make}}
    - name: pass
      ref: {name: measure}
      with: {value: "{{ steps.make.output.note }}"}
    - name: many
      ref: {name: measure}
      if: "{{ gt (len steps.make.output.rows) 900 }}"
      with: {value: '{{ join "," steps.make.output.words }}'}
    - name: few
      ref: {name: measure}
      if: size(steps.make.output.rows) < 900
      with: {value: x}
    - name: each
      type: parallel
      with:
        forEach: "{{ steps.make.output.words }}"
        steps: [{name: word, ref: {name: measure}, with: {value: "{{ item }}"}}]
  output:
    pass: "{{ steps.pass.output.length }}"
    many: "{{ steps.many.output.length }}"
    rows: "{{ steps.make.output.rows }}"
    each: "{{ steps.each.output.items }}"
"""

ENGRAM = """\
from bubu_sdk import Context, engram

@engram
def main(ctx: Context, inputs: dict) -> dict:
    return %s

if __name__ == "__main__":
    main.run()
"""

MAKES = '{"rows": list(range(1000)), "words": [f"{n}-" + "x" * 400 for n in range(3)], "note": "y" * 3000}'


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """One cluster: each test configures the store anew."""
    line = CommandLine(tmp_path_factory.mktemp("stored"))
    line.file("make.py", ENGRAM % MAKES)
    line.file("measure.py", ENGRAM % '{"length": len(inputs["value"])}')
    images = {name: {"command": ["$(PYTHON)", f"{name}.py"]} for name in ("make", "measure")}
    images_file = line.file("programs.yaml", json.dumps({"images": images}))
    line.file("story.yaml", "".join(DEFINITIONS % {"name": name} for name in images) + STORY)
    assert line.bobrapet("up", f"--image-map={images_file}").code == 0
    yield line
    line.quick("down")
    line.wait_until_nothing_runs()


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_conditions_templates_and_loops_look_into_it_and_plain_paths_pass_it_on(line: CommandLine) -> None:
    done = line.quick("run", "story.yaml", "--local", "--story=big", "-ojson")
    assert done.code == 0, done.err
    output = json.loads(done.out)

    assert output["pass"] == 3000
    assert output["many"] == 3 * 402 + 2
    assert output["each"] == [{"length": 402}] * 3
    assert output["rows"]["$bubuStorageRef"].startswith("outputs/default/")
    assert "few Pending→Skipped" in done.err
    look = ("outputs", "@latest:big", "--local")
    assert json.loads(line.quick(*look).out)["rows"] == list(range(1000))
    assert line.quick(*look, "make", "--path=rows[999]").out == "999\n"
    assert json.loads(line.quick(*look, "--references").out) == output
    by_kubeconfig = f"--kubeconfig={line.data / 'kubeconfig'}"
    assert line.quick("outputs", "@latest:big", "make", "--path=rows[1]", by_kubeconfig).out == "1\n"
    assert line.quick(*look, "--save=kept").code == 0
    assert json.loads((line.folder / "kept" / "make.json").read_text())["note"] == "y" * 3000

    store = claims_folder(line.data) / "default" / STORE_CLAIM
    # A run does not wait for the log of its last step to be stored: make, pass, many and three of each.
    wait_until(lambda: len([*store.rglob("*.log")]) == 6)
    usage = json.loads(line.quick("storage", "usage", "--local", "-ojson").out)
    files = files_in(store)
    assert [each["kind"] for each in usage["kinds"] if each["bytes"]] == ["outputs", "logs"]
    assert sum(each["objects"] for each in usage["kinds"]) == len(files)
    assert all(each["exists"] for each in usage["runs"])
    swept = line.quick("storage", "sweep", "--local", "--delete", "--older-than=1ms", "--yes")
    assert (swept.code, swept.out, swept.err) == (0, "", "every stored object belongs to a run\n")
    assert json.loads(line.quick("storage", "usage", "--local", "-ojson").out) == usage
    assert line.quick("cache", "list", "--local").err == "no such entry is in the output cache\n"
    assert line.quick("cache", "clear", "--local").code == 2


def test_without_a_store_of_the_operator_a_condition_on_such_data_says_what_to_do(line: CommandLine) -> None:
    """The steps have a store, which their Story names. They resolve their inputs themselves."""
    configured = line.quick("run", line.file("none.yaml", CONFIGURATION % ""), "--local", "--story=nothing")
    assert configured.code == 0, configured.err
    store = "  policy: {storage: {file: {volumeClaimName: payloads}}, retries: {continueOnStepFailure: true}}\n"
    named = Path(line.folder / "story.yaml").read_text().replace("spec:\n  steps:\n", f"spec:\n{store}  steps:\n")
    done = line.quick("run", line.file("named.yaml", named), "--local", "--story=big", "-ojson")

    assert done.code != 0
    assert "controller.storage.provider" in done.err
    assert re.search(r"pass \w+→Succeeded", done.err), done.err


def test_a_store_of_the_user_is_kept_over_restarts(line: CommandLine) -> None:
    configured = line.quick("run", line.file("own.yaml", CONFIGURATION % "file"), "--local", "--story=nothing")
    assert configured.code == 0, configured.err
    assert line.bobrapet("down").code == 0
    assert line.bobrapet("up", "--image-map=programs.yaml").code == 0
    ours, users = (claims_folder(line.data) / "default" / claim for claim in (STORE_CLAIM, "payloads"))
    before = files_in(ours), files_in(users)
    done = line.quick("run", "story.yaml", "--local", "--story=big", "-ojson")

    assert done.code == 0, done.err
    assert files_in(ours) == before[0]
    assert files_in(users) > before[1]
