"""Containers without an SDK: real programs whose output the operator reads. Also on the real control plane.

The node of these tests gives containers no namespaces, so the files of a Pod are below ``BUBU_VOLUME_ROOT``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pytest

from core.api import keys
from core.api.objects import Object
from core.api.resource import ENGRAM_TEMPLATE, JOB, POD, STEP_RUN, STORY_RUN
from core.workloads.plain_container import MAX_INPUTS_FILE_BYTES
from tests.integration.operator_cluster import NAMESPACE_NAME, OperatorCluster, status_of, step

HOSTILE = [
    "$(touch hacked)",
    "`touch hacked`",
    "; touch hacked",
    "a\nb\n",
    "$HOME $(HOME) $$",
    "'\"\\",
    "{{ inputs.x }}",
    "",
]
WAITING = 'touch "$DIR/begun"; until test -e "$DIR/go"; do sleep 0.05; done; echo \'{"n": 1}\''
"""A program that begins, and waits until the test lets it end."""
ECHO = "import json, sys; print(json.dumps({'args': sys.argv[1:]}))"


async def container(world: OperatorCluster, name: str, script: str, engram: Object | None = None, **block: Any) -> None:
    """An Engram whose image is a shell script and whose template has the block ``container``."""
    await world.engram(name, script, engram=engram, container=block)


async def story(world: OperatorCluster, engram: str, inputs: Object | None = None, **fields: Any) -> None:
    await world.story("report", step("work", engram, **({"with": inputs} if inputs is not None else {}), **fields))


async def outcome(world: OperatorCluster, run: str = "one") -> Object:
    """The status of the only step of a new run, once the run has ended."""
    await world.run(run, "report")
    await world.finished(run)
    return status_of(await world.client.get(STEP_RUN, f"{run}-work", NAMESPACE_NAME))


def variable(name: str, value: object) -> Object:
    return {"name": name, "value": str(value)}


async def begun(world: OperatorCluster) -> None:
    """Return once the program ``WAITING`` has begun."""

    async def has_begun() -> bool:
        return (world.image_map.parent / "begun").exists()

    await world.eventually(has_begun)


RESULTS: list[tuple[str, Object, Object]] = [
    ("echo working; echo oops >&2; echo '{\"n\": 1}'", {"from": "stdout"}, {"n": 1}),
    ("printf 'two\\nlines\\n'", {"from": "stdout", "format": "text"}, {"text": "two\nlines"}),
    ("echo 7", {"from": "stdout", "format": "json"}, {"result": 7}),
    ("echo '{\"n\": 2}' > ${BUBU_VOLUME_ROOT:-}/dev/termination-log", {"from": "terminationMessage"}, {"n": 2}),
    (
        "echo '[3]' > ${BUBU_VOLUME_ROOT:-}/dev/shm/out.json",
        {"from": "file", "path": "/dev/shm/out.json"},
        {"result": [3]},
    ),
    ("echo ignored", {"from": "exitCode"}, {"exitCode": 0}),
    ("echo ignored", {}, {"exitCode": 0}),
]


@pytest.mark.parametrize(("script", "result", "output"), RESULTS, ids=[str(each[1]) for each in RESULTS])
async def test_each_kind_of_result_becomes_the_output(
    world: OperatorCluster, script: str, result: Object, output: Object
) -> None:
    await container(world, "tool", script, **({"result": result} if result else {}))
    await world.story("report", step("work", "tool"), output={"got": "{{ steps.work.output }}"})
    async with world.operator():
        await world.run("one", "report")
        run = await world.finished("one")
        [pod] = (await world.client.list(POD, NAMESPACE_NAME)).items
    assert status_of(run)["output"] == {"got": output}
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert not [volume for volume in pod["spec"].get("volumes") or [] if "projected" in volume]


async def test_arguments_variables_and_inputs_arrive_literally(world: OperatorCluster) -> None:
    block = {
        "args": ["-c", ECHO, *(f"{{{{ index inputs.texts {index} }}}}" for index in range(len(HOSTILE)))],
        "result": {"from": "stdout"},
    }
    await world.engram("tool", command=[sys.executable], container=block)
    await story(world, "tool", {"texts": "{{ inputs.texts }}"})
    async with world.operator():
        await world.create(STORY_RUN, "one", {"storyRef": {"name": "report"}, "inputs": {"texts": HOSTILE}})
        await world.finished("one")
        done = status_of(await world.client.get(STEP_RUN, "one-work", NAMESPACE_NAME))
    assert done["output"] == {"args": HOSTILE}


async def test_the_inputs_are_a_file_and_values_keep_their_json_form(world: OperatorCluster) -> None:
    script = 'printf \'{"file": %s, "list": %s, "who": "%s"}\' "$(cat $BUBU_VOLUME_ROOT$BUBU_INPUTS)" "$LIST" "$WHO"'
    variables = [
        {"name": "LIST", "value": "{{ inputs.list }}"},
        {"name": "WHO", "value": "{{ run.name }}/{{ step.name }}/{{ step.attempt }}/{{ run.story }}"},
    ]
    await container(world, "tool", script, env=variables, inputsFile="/in/all.json", result={"from": "stdout"})
    await story(world, "tool", {"list": [1, "ü"], "text": "<&>\u2028"})
    async with world.operator():
        done = await outcome(world)
    inputs = {"list": [1, "ü"], "text": "<&>\u2028"}
    assert done["output"] == {"file": inputs, "list": [1, "ü"], "who": "one/work/0/report"}


async def test_exit_codes_decide_about_retries(world: OperatorCluster) -> None:
    codes = {"retry": [75], "terminal": [137]}
    retried = {"retry": {"maxRetries": 2, "delay": "10ms"}}
    script = 'test "$ATTEMPT" = 2 && exit 0; exit "$CODE"'
    variables = [{"name": "ATTEMPT", "value": "{{ step.attempt }}"}, {"name": "CODE", "value": "{{ inputs.code }}"}]
    await container(world, "tool", script, env=variables, exitCodes=codes)
    await world.story(
        "report",
        step("again", "tool", execution=retried, **{"with": {"code": 75}}),
        step("never", "tool", execution=retried, allowFailure=True, **{"with": {"code": 137}}),
        step("table", "tool", execution=retried, allowFailure=True, **{"with": {"code": 2}}),
    )
    async with world.operator():
        await world.run("one", "report")
        await world.finished("one")
        found = {name: status_of(await world.client.get(STEP_RUN, f"one-{name}", NAMESPACE_NAME)) for name in ENDS}
    assert {name: (done["phase"], done["retries"], done.get("exitClass")) for name, done in found.items()} == ENDS


ENDS = {"again": ("Succeeded", 2, None), "never": ("Failed", 0, "terminal"), "table": ("Failed", 0, "terminal")}

REFUSED: list[tuple[str, Object, Object, str, Sequence[str]]] = [
    ("exit 0", {"args": ["a", "{{ inputs.nothing }}"]}, {}, "ExpressionFailed", ["container.args[1]", "nothing"]),
    (
        "printf '%05000d' 0",
        {"result": {"from": "stdout", "format": "text"}},
        {},
        "OutputTooLarge",
        ["5011 bytes", "4096", "execution.maxInlineSize"],
    ),
    (
        "echo sunny",
        {"result": {"from": "stdout", "format": "json"}},
        {},
        "OutputSchemaFailed",
        ["no line that is JSON"],
    ),
    (
        "printf '[%05000d' 1 > ${BUBU_VOLUME_ROOT:-}/dev/termination-log",
        {"result": {"from": "terminationMessage"}},
        {},
        "OutputSchemaFailed",
        ["4096", "from: stdout"],
    ),
    (
        "exit 0",
        {"args": ["{{ inputs.file }}"]},
        {"file": {"$bubuStorageRef": "outputs/team/x/y.json"}},
        "ExpressionFailed",
        ["with", "controller.storage.provider"],
    ),
    ("exit 0", {"args": ["{{ steps.a }}"]}, {}, "InvalidConfiguration", ["spec.container.args[0]", "EngramTemplate"]),
]


@pytest.mark.parametrize(
    ("script", "block", "inputs", "reason", "words"), REFUSED, ids=[str(each[1]) for each in REFUSED]
)
async def test_what_cannot_work_fails_the_step_with_its_reason(
    world: OperatorCluster, script: str, block: Object, inputs: Object, reason: str, words: Sequence[str]
) -> None:
    await container(world, "tool", script, **block)
    await story(world, "tool", inputs)
    async with world.operator():
        await world.run("one", "report")
        run = await world.finished("one")
    state = status_of(run)["stepStates"]["work"]
    assert state["phase"] == "Failed"
    assert state["message"].startswith(f"{reason}: ")
    assert [word for word in words if word not in state["message"]] == []


async def test_the_output_is_checked_against_the_schema_of_the_template(world: OperatorCluster) -> None:
    schema = {"type": "object", "required": ["n"]}
    await world.engram("tool", "echo '{}'", container={"result": {"from": "stdout"}}, outputSchema=schema)
    await story(world, "tool")
    async with world.operator():
        done = await outcome(world)
    assert (done["phase"], done["conditions"][0]["reason"]) == ("Failed", "OutputSchemaFailed")
    assert "output" not in done


async def test_a_template_that_changes_meanwhile_does_not_change_how_the_result_is_read(
    world: OperatorCluster,
) -> None:
    directory = world.image_map.parent
    await container(world, "tool", WAITING, env=[variable("DIR", directory)], result={"from": "stdout"})
    await story(world, "tool")
    async with world.operator():
        await world.run("one", "report")
        await begun(world)
        changed = {"spec": {"container": {"result": {"from": "exitCode"}}}}
        await world.client.patch(ENGRAM_TEMPLATE, "tool", changed)
        (directory / "go").touch()
        await world.finished("one")
        done = status_of(await world.client.get(STEP_RUN, "one-work", NAMESPACE_NAME))
    assert done["output"] == {"n": 1}


async def test_an_operator_that_was_not_there_at_the_end_reads_the_result_later(world: OperatorCluster) -> None:
    directory = world.image_map.parent
    await container(world, "tool", WAITING, env=[variable("DIR", directory)], result={"from": "stdout"})
    await story(world, "tool")
    async with world.operator():
        await world.run("one", "report")
        await begun(world)
    (directory / "go").touch()
    await world.until(JOB, "one-work", lambda job: bool(status_of(job).get("succeeded")))
    async with world.operator() as traffic:
        await world.finished("one")
    done = status_of(await world.client.get(STEP_RUN, "one-work", NAMESPACE_NAME))
    assert (done["phase"], done["output"]) == ("Succeeded", {"n": 1})
    assert traffic.requests.count("GET pods/log") == 1
    assert traffic.writes["PATCH stepruns/status"] == 1, "the end and the output are one write"


async def test_a_result_that_is_gone_with_its_pod_is_an_unknown_failure_and_is_retried(world: OperatorCluster) -> None:
    directory = world.image_map.parent
    await container(world, "tool", WAITING, env=[variable("DIR", directory)], result={"from": "stdout"})
    await story(world, "tool", execution={"retry": {"maxRetries": 1, "delay": "10ms"}})
    async with world.operator():
        await world.run("one", "report")
        await begun(world)
    (directory / "go").touch()
    job = await world.until(JOB, "one-work", lambda job: _is_complete(job))
    for name in await world.names(POD):
        await world.client.delete(POD, name, NAMESPACE_NAME)
    await world.none_left(POD)
    async with world.operator():
        done = status_of(await world.step("one-work", "Succeeded"))
        again = await world.client.get(JOB, "one-work", NAMESPACE_NAME)
    assert (done["retries"], done["output"]) == (1, {"n": 1})
    assert again["metadata"]["uid"] != job["metadata"]["uid"]


def _is_complete(job: Object) -> bool:
    conditions = status_of(job).get("conditions") or []
    return any(each["type"] == "Complete" and each["status"] == "True" for each in conditions)


async def test_inputs_too_large_for_the_file_are_refused(world: OperatorCluster) -> None:
    await container(world, "tool", "exit 0", {"overrides": {"maxInlineSize": 1 << 20}}, inputsFile="/in.json")
    await story(world, "tool", {"text": "x" * MAX_INPUTS_FILE_BYTES})
    async with world.operator():
        done = await outcome(world)
    assert done["phase"] == "Failed"
    assert "container.inputsFile" in done["lastFailureMsg"]
    assert keys.ANNOTATION_INPUTS not in done["lastFailureMsg"]
