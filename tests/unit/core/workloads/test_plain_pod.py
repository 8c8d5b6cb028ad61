"""The Job of a container without an SDK."""

from __future__ import annotations

from typing import Any

from core.api import keys
from core.workloads.job import step_job
from core.workloads.plain_container import call_of
from core.workloads.pod import pod_template
from core.workloads.step_workload import StepWorkload
from tests.unit.core.workloads.workload_samples import workload

INPUTS = {"city": "Rome"}


def plain(spec: dict[str, Any] | None = None, **fields: Any) -> StepWorkload:
    given = {"args": ["-s", "$(id)"], "env": [{"name": "CITY", "value": "$HOME"}], "inputsFile": "/run/in.json"}
    given |= {"result": {"from": "file", "path": "/dev/shm/out.json"}, **(spec or {})}
    resolved = {"args": given["args"], "env": given["env"]}
    return workload(call=call_of(given, resolved, INPUTS), **fields)


def container_of(made: StepWorkload) -> dict[str, Any]:
    container: dict[str, Any] = step_job(made)["spec"]["template"]["spec"]["containers"][0]
    return container


def test_the_pod_has_no_token_and_only_the_variables_that_are_documented() -> None:
    secrets = {"api": {"expectedKeys": ["KEY"]}, "tls": {"mountType": "file"}, "all": {}}
    made = plain(policy={"secrets": {"api": "keys", "tls": "certs", "all": "more"}}, secret_schema=secrets)
    spec, container = step_job(made)["spec"]["template"]["spec"], container_of(made)

    assert spec["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] == "demo-run-engram-runner"
    assert [variable["name"] for variable in container["env"]] == [
        "BUBU_STORY_NAME",
        "BUBU_STORY_VERSION",
        "BUBU_STORYRUN_ID",
        "BUBU_STEP_NAME",
        "BUBU_STEPRUN_NAME",
        "BUBU_STEPRUN_NAMESPACE",
        "BUBU_INPUTS",
        "api_KEY",
        "CITY",
    ]
    assert container["envFrom"] == [{"prefix": "all_", "secretRef": {"name": "more"}}]
    assert {"name": "secret-tls", "mountPath": "/etc/bubu/secrets/tls", "readOnly": True} in container["volumeMounts"]


def test_arguments_and_variables_arrive_as_they_are() -> None:
    container = container_of(plain({"command": ["sh", "$X"]}))

    assert container["command"] == ["sh", "$$X"]
    assert container["args"] == ["-s", "$$(id)"]
    assert container["env"][-1] == {"name": "CITY", "value": "$$HOME"}
    assert "command" not in container_of(plain())


def test_the_inputs_are_a_file_that_is_mounted_alone() -> None:
    job = step_job(plain())
    template, container = job["spec"]["template"], container_of(plain())
    [volume] = template["spec"]["volumes"]
    [item] = volume["downwardAPI"]["items"]

    assert template["metadata"]["annotations"][keys.ANNOTATION_INPUTS] == '{"city":"Rome"}'
    assert item["fieldRef"] == {"fieldPath": f"metadata.annotations['{keys.ANNOTATION_INPUTS}']"}
    assert container["volumeMounts"] == [
        {"name": volume["name"], "mountPath": "/run/in.json", "subPath": item["path"], "readOnly": True}
    ]
    bare = step_job(plain({"inputsFile": None}))["spec"]["template"]
    assert keys.ANNOTATION_INPUTS not in bare["metadata"]["annotations"]
    assert "volumes" not in bare["spec"]


def test_the_node_reads_the_file_of_the_result() -> None:
    assert container_of(plain())["terminationMessagePath"] == "/dev/shm/out.json"
    assert "terminationMessagePath" not in container_of(plain({"result": {"from": "terminationMessage"}}))


def test_the_job_says_how_its_result_is_read() -> None:
    made = plain({"exitCodes": {"retry": [75]}})

    assert step_job(made)["metadata"]["annotations"][keys.ANNOTATION_RESULT] == (
        '{"from":"file","format":"auto","exitCodes":{"75":"retry"}}'
    )
    assert keys.ANNOTATION_RESULT not in step_job(workload())["metadata"]["annotations"]


def test_all_else_is_as_in_every_step() -> None:
    with_sdk, without = pod_template(workload()), step_job(plain())["spec"]["template"]

    for key in ("restartPolicy", "securityContext", "terminationGracePeriodSeconds"):
        assert without["spec"][key] == with_sdk["spec"][key]
    for key in ("name", "image", "imagePullPolicy", "resources", "securityContext"):
        assert without["spec"]["containers"][0][key] == with_sdk["spec"]["containers"][0][key]
    assert without["metadata"]["labels"] == with_sdk["metadata"]["labels"]
