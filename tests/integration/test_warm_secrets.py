"""A step in a warm worker reads its Secrets, one as a file and one as a variable, on the embedded cluster."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.integration.commandline import REPOSITORY, CommandLine

PROGRAM = """
import os, pathlib
from bubu_sdk import Context, engram, volume


@engram
def main(ctx: Context, inputs: dict) -> dict:
    return {
        "warm": os.environ["BUBU_WORKER_POOL"] != "",
        "variable": os.environ["API_TOKEN"],
        "file": pathlib.Path(volume.mounted("/etc/certificate", os.environ), "pem").read_text(),
        "sdk": ctx.secrets.select("TOKEN", "pem"),
    }


main.run()
"""
MANIFESTS = """
apiVersion: catalog.bubustack.io/v1alpha1
kind: EngramTemplate
metadata: {name: keeper}
spec:
  version: 1.0.0
  supportedModes: [job, worker]
  image: test/keeper
  secretSchema:
    api: {expectedKeys: [TOKEN], envPrefix: API_, required: true}
    certificate: {mountType: file, mountPath: /etc/certificate, expectedKeys: [pem], required: true}
---
apiVersion: v1
kind: Secret
metadata: {name: api}
stringData: {TOKEN: from-a-variable}
---
apiVersion: v1
kind: Secret
metadata: {name: certificate}
stringData: {pem: from-a-file}
---
apiVersion: bubustack.io/v1alpha1
kind: Engram
metadata: {name: keeper}
spec:
  templateRef: {name: keeper}
  secrets: {api: api, certificate: certificate}
  overrides: {warm: {replicas: 1}}
---
apiVersion: bubustack.io/v1beta1
kind: Story
metadata: {name: secrets}
spec:
  steps:
    - {name: read, ref: {name: keeper}}
    - {name: again, ref: {name: keeper}, needs: [read]}
  output: {steps: ["{{ steps.read.output }}", "{{ steps.again.output }}"]}
"""


def test_a_warm_step_reads_a_secret_as_a_file_and_one_as_a_variable(tmp_path: Path) -> None:
    line = CommandLine(tmp_path)
    program, manifests = tmp_path / "keeper.py", tmp_path / "manifests.yaml"
    program.write_text(PROGRAM)
    manifests.write_text(MANIFESTS)
    command = ["/usr/bin/env", f"PYTHONPATH={REPOSITORY / 'sdk'}", sys.executable, str(program)]
    images = line.file("images.yaml", json.dumps({"images": {"test/keeper": {"command": command}}}))
    up = line.bobrapet("up", "--quiet", f"--image-map={images}")
    assert up.code == 0, up.err
    try:
        done = line.bobrapet("run", str(manifests), "--story=secrets", "-ojson")
    finally:
        line.quick("down")
        line.wait_until_nothing_runs()

    assert done.code == 0, done.err
    read = {
        "warm": True,
        "variable": "from-a-variable",
        "file": "from-a-file",
        "sdk": {"TOKEN": "from-a-variable", "pem": "from-a-file"},
    }
    assert json.loads(done.out)["steps"] == [read, read]
