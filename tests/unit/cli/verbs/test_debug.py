"""A step that runs again on this machine: what it gets, and where its reports go. (cli/debugging.py and its parts)"""

from __future__ import annotations

import base64
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from bubu_sdk import Context, EffectLease, engram, kubeconfig, logs, stores
from bubu_sdk.batch import BatchRun, World
from bubu_sdk.contract import Identity
from bubu_sdk.kubeclient import KubeClient
from cli.debugged_step import (
    DebugWish,
    Program,
    completed_claims,
    container_of,
    for_debugger,
    program_of,
    variables_of,
    with_local_storage,
    words_of,
)
from cli.exit_code import ExitCode
from cli.problem import CommandError
from cli.runs import run_manifest, start_run
from cli.sandbox import open_sandbox
from cli.session import Session
from cli.step_details import FoundStep, find_step
from cli.verbs.debug import debug_step, in_debugger
from core.api import keys
from core.api.objects import Object
from core.api.resource import EFFECT_CLAIM, JOB, SECRET, STEP_RUN, STORY, Resource
from core.workloads.container_result import ResultReading
from tests.unit.cli.stored_cluster import stored_cluster

MOUNTS = [{"name": "shop", "mountPath": "/etc/bubu/secrets/shop"}, {"name": "store", "mountPath": "/var/store"}]
ENV = [
    {"name": "BUBU_STEPRUN_NAME", "value": "report-1-load"},
    {"name": "BUBU_STEPRUN_NAMESPACE", "value": "default"},
    {"name": "BUBU_POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
    {"name": "BUBU_TRIGGER_DATA", "value": '{"price": "5 $$"}'},
    {"name": "BUBU_STEP_TIMEOUT", "value": "30s"},
    {"name": "BUBU_MAX_RECURSION_DEPTH", "value": "32"},
    {"name": "BUBU_STORAGE_PROVIDER", "value": "s3"},
    {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "shop", "key": "token"}}},
    {"name": "LOST", "valueFrom": {"secretKeyRef": {"name": "lost", "key": "token"}}},
    {"name": "BUBU_SKIP_SCHEMA_VALIDATION", "value": "true"},
]


async def make(session: Session, resource: Resource, obj: Object) -> Object:
    kind = {"apiVersion": resource.api_version, "kind": resource.kind}
    return await session.client.create(resource, {**kind, **obj}, namespace="default")


def owned(owner: Object) -> list[Object]:
    kind = {name: owner[name] for name in ("apiVersion", "kind")}
    return [{**kind, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "controller": True}]


async def a_step(session: Session, *, with_job: bool = True) -> FoundStep:
    steps = [{"name": "load", "ref": {"name": "http"}}]
    await make(session, STORY, {"metadata": {"name": "report"}, "spec": {"steps": steps}})
    run = await start_run(session, run_manifest("report", "default", {}, name="report-1"))
    labels = {"bubustack.io/storyrun": "report-1"}
    metadata = {"name": "report-1-load", "labels": labels, "ownerReferences": owned(run)}
    spec = {"stepId": "load", "storyRunRef": {"name": "report-1"}, "engramRef": {"name": "http"}, "input": {"a": 1}}
    step_run = await make(session, STEP_RUN, {"metadata": metadata, "spec": spec})
    status = {"status": {"phase": "Failed", "retries": 1, "podName": "gone"}}
    await session.client.patch(STEP_RUN, "report-1-load", status, namespace="default", subresource="status")
    if with_job:
        await make(
            session, SECRET, {"metadata": {"name": "shop"}, "data": {"token": base64.b64encode(b"t-1").decode()}}
        )
        container = {"name": "engram", "image": "http:1", "env": ENV, "volumeMounts": MOUNTS}
        volumes = [{"name": "shop", "secret": {"secretName": "shop"}}, {"name": "store", "emptyDir": {}}]
        pod = {"restartPolicy": "Never", "containers": [container], "volumes": volumes}
        meta = {"name": "report-1-load", "ownerReferences": owned(step_run)}
        await make(session, JOB, {"metadata": meta, "spec": {"template": {"spec": pod}}})
    return await find_step(session, "report-1", "load")


async def test_the_step_gets_the_variables_and_files_of_its_job(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = await a_step(session)

    variables = await variables_of(session, found, container_of(found), tmp_path)

    assert variables["BUBU_TRIGGER_DATA"] == '{"price": "5 $"}'
    assert (variables["TOKEN"], variables["BUBU_POD_NAMESPACE"]) == ("t-1", "default")
    assert "LOST" not in variables
    assert (tmp_path / "etc/bubu/secrets/shop/token").read_text() == "t-1"
    assert variables["BUBU_VOLUME_ROOT"] == str(tmp_path)
    assert "Secret lost is missing here" in capsys.readouterr().err


async def test_stored_inputs_are_copied_and_the_store_of_the_cluster_is_not_used(
    session: Session, tmp_path: Path
) -> None:
    cluster = await stored_cluster(session, tmp_path / "cluster")
    key = "outputs/default/report-1-first/rows.json"
    cluster.put(key, {"rows": [1, 2]})
    given = {"BUBU_TRIGGER_DATA": f'{{"rows": {{"$bubuStorageRef": "{key}"}}}}', "BUBU_STORAGE_S3_BUCKET": "b"}

    variables = await with_local_storage(cluster.session, given, "default", tmp_path / "copy")

    assert (tmp_path / "copy" / key).read_bytes() == (cluster.folder / "default/payloads" / key).read_bytes()
    assert "BUBU_STORAGE_S3_BUCKET" not in variables
    assert variables["BUBU_STORAGE_PATH"] == str(tmp_path / "copy")


async def test_a_missing_object_is_named(session: Session, tmp_path: Path) -> None:
    cluster = await stored_cluster(session, tmp_path / "cluster")
    given = {"BUBU_TRIGGER_DATA": '{"$bubuStorageRef": "outputs/default/gone/x.json"}'}

    with pytest.raises(CommandError, match=r"inputs of the step cannot be read: .*outputs/default/gone/x\.json"):
        await with_local_storage(cluster.session, given, "default", tmp_path / "copy")


async def test_the_program_is_that_of_the_image_map_or_the_given_one(session: Session, tmp_path: Path) -> None:
    found = await a_step(session)
    images = tmp_path / "images.yaml"
    images.write_text("images: {'http:*': {command: [python3, step.py], env: {A: b}}}")
    container = container_of(found)

    mapped = program_of(session, container, DebugWish(image_map=images), {})
    given = program_of(session, container, DebugWish(command="node 'my step.js'"), {})

    assert (mapped.words, mapped.workdir, mapped.variables) == (("python3", "step.py"), str(tmp_path), {"A": "b"})
    assert given.words == ("node", "my step.js")
    assert words_of(mapped, DebugWish(debugger="-m debugpy --listen 1")) == [
        *("python3", "-m", "debugpy", "--listen", "1", "step.py")
    ]
    assert words_of(mapped, DebugWish(debugger="gdb --args")) == ["gdb", "--args", "python3", "step.py"]
    images.write_text("images: {other: {command: [python3]}}")
    with pytest.raises(CommandError, match='image "http:1": the image map has no program') as refused:
        program_of(session, container, DebugWish(image_map=images), {})
    assert "--command" in refused.value.remedy


async def test_without_its_job_the_step_needs_a_command_and_gets_what_its_step_run_knows(
    session: Session, tmp_path: Path
) -> None:
    found = await a_step(session, with_job=False)
    container = container_of(found)

    variables = await variables_of(session, found, container, tmp_path)

    assert (variables["BUBU_TRIGGER_DATA"], variables["BUBU_STEPRUN_NAME"]) == ('{"a": 1}', "report-1-load")
    with pytest.raises(CommandError, match="its image is not known"):
        program_of(session, container, DebugWish(), {})


def as_script(found: FoundStep, **script: Any) -> FoundStep:
    assert found.step_run is not None
    spec = {**found.step_run["spec"], "script": script}
    return replace(found, step_run={**found.step_run, "spec": spec})


async def test_a_step_that_serves_a_stream_is_refused_and_the_tools_for_it_are_named(session: Session) -> None:
    found = await a_step(session, with_job=False)
    assert found.step_run is not None
    stream = {**found.step_run, "spec": {**found.step_run["spec"], "executor": "stream"}}

    with pytest.raises(CommandError, match="serves a stream") as refused:
        container_of(replace(found, step_run=stream))
    assert "bobrapet stream tap report-1/load" in refused.value.remedy
    assert "StreamHarness" in refused.value.remedy
    with pytest.raises(CommandError, match="has no StepRun"):
        container_of(replace(found, step_run=None))


async def test_a_script_runs_with_its_inputs_and_its_output_is_read_as_by_the_operator(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "import json, os, sys", "print('reading', file=sys.stderr)", "cost = '$$5'"
    run = "\n".join((*lines, "print(json.dumps({**json.load(open(os.environ['BUBU_INPUTS'])), 'cost': cost}))"))
    found = as_script(await a_step(session, with_job=False), image="python:3.12-slim", run=run)

    code = await debug_step(session, found, DebugWish())

    said = capsys.readouterr()
    assert code == ExitCode.DONE
    assert said.out == 'reading\n{"a": 1, "cost": "$$5"}\na: 1\ncost: $$5\n'
    assert "its output is not reported to the cluster" in said.err
    assert "ended Succeeded with code 0" in said.err


async def test_the_inputs_and_the_script_are_those_of_the_job(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    found = as_script(await a_step(session), image="busybox", run="echo changed")
    assert found.job is not None
    reading = ResultReading.of({"result": {"from": "stdout"}}).encoded()
    container = {"name": "engram", "image": "busybox", "command": ["sh", "-ec", 'cat "$BUBU_INPUTS"; exit 4']}
    pod = {"metadata": {"annotations": {keys.ANNOTATION_INPUTS: '{"a": 2}'}}, "spec": {"containers": [container]}}
    metadata = {**found.job["metadata"], "annotations": {keys.ANNOTATION_RESULT: reading}}
    job = {**found.job, "metadata": metadata, "spec": {"template": pod}}

    code = await debug_step(session, replace(found, job=job), DebugWish(debugger="-x"))

    said = capsys.readouterr()
    assert (code, said.out) == (ExitCode.RUN_FAILED, "")  # a debugger has the terminal
    assert "ended Failed with code 4" in said.err
    assert await debug_step(session, replace(found, job=job), DebugWish()) == ExitCode.RUN_FAILED
    assert capsys.readouterr().out == '{"a": 2}\n'


async def test_only_a_python_script_has_a_debugger_of_its_own(session: Session, tmp_path: Path) -> None:
    python = Program(("python3", "-c", "x = 1"), "/")
    stopped = in_debugger(python, DebugWish(pdb=True), tmp_path)

    assert stopped.words == ("python3", "-m", "pdb", str(tmp_path / "script.py"))
    assert (tmp_path / "script.py").read_text() == "x = 1"
    assert in_debugger(python, DebugWish(), tmp_path) == python
    with pytest.raises(CommandError, match="--pdb needs a Python script") as refused:
        in_debugger(Program(("sh", "-ec", "true"), "/"), DebugWish(pdb=True), tmp_path)
    assert "--debugger=-x" in refused.value.remedy


async def test_a_script_without_an_image_needs_its_job_or_a_command(session: Session) -> None:
    found = as_script(await a_step(session, with_job=False), run="echo 1")

    with pytest.raises(CommandError, match="its image is not known"):
        await debug_step(session, found, DebugWish())


def test_a_debugger_gets_time() -> None:
    assert for_debugger({"BUBU_STEP_TIMEOUT": "30s"}, DebugWish()) == {"BUBU_STEP_TIMEOUT": "30s"}
    assert for_debugger({}, DebugWish(pdb=True)) == {"BUBU_STEP_TIMEOUT": "24h0m0s", "BUBU_DEBUGGER": "pdb"}


async def test_reports_reach_the_sandbox_only_and_effects_that_have_happened_are_not_repeated(
    session: Session, tmp_path: Path
) -> None:
    found, happened = await a_step(session), []
    assert found.step_run is not None

    @engram
    def main(ctx: Context[Any]) -> dict[str, Any]:
        def charge(lease: EffectLease) -> dict[str, Any]:
            happened.append(ctx.attempt)
            return {"id": len(happened)}

        ctx.emit_signal("progress", 1)
        return {"charge": ctx.execute_once("charge", charge).details, "attempt": ctx.attempt}

    def run(environ: dict[str, str]) -> int:
        handler, client = logs.JsonLines(Identity.of(environ)), KubeClient(kubeconfig.load(environ))
        with logs.Attached(handler, debug=False, root=False), closing(client):
            return BatchRun(main, World(environ, lambda _: client, stores.open_store), handler).execute().exit_code

    variables = await variables_of(session, found, container_of(found), tmp_path / "volumes")
    variables = await with_local_storage(session, variables, "default", tmp_path / "storage")
    async with open_sandbox(tmp_path, found.step_run, []) as first:
        environ = {**variables, "KUBECONFIG": str(first.kubeconfig)}
        assert await trio.to_thread.run_sync(run, environ) == 0
        status = await first.status()
        (claim,) = (await first.client.list(EFFECT_CLAIM, "default")).items
    assert (status["phase"], status["output"]) == ("Succeeded", {"charge": {"id": 1}, "attempt": 2})

    uid = found.step_run["metadata"]["uid"]
    spec = claim["spec"] | {"stepRunRef": {"name": "report-1-load", "uid": uid}}
    kept = {"metadata": {"name": claim["metadata"]["name"]}, "spec": spec}
    await make(session, EFFECT_CLAIM, kept)
    claims = await completed_claims(session, found)
    async with open_sandbox(tmp_path, found.step_run, claims) as second:
        assert await trio.to_thread.run_sync(run, {**variables, "KUBECONFIG": str(second.kubeconfig)}) == 0
        again = await second.status()
    assert (again["output"]["charge"], happened) == ({"id": 1}, [2])
    stored = await session.client.get(STEP_RUN, "report-1-load", "default")
    assert (stored["status"]["phase"], "signals" in stored["status"]) == ("Failed", False)


async def test_the_end_is_shown_and_decides_the_exit_code(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    found = await a_step(session)
    program = "import os; print(os.environ['BUBU_TRIGGER_DATA'], flush=True); raise SystemExit(4)"

    code = await debug_step(session, found, DebugWish(command=f'{sys.executable} -c "{program}"'))

    said = capsys.readouterr()
    assert (code, said.out) == (ExitCode.RUN_FAILED, '{"price": "5 $"}\n')
    assert "not reported to the cluster" in said.err
    assert "the program ended with code 4 and reported nothing" in said.err
    with pytest.raises(CommandError, match="'/nowhere/program' is not a program"):
        await debug_step(session, found, DebugWish(command="/nowhere/program"))
