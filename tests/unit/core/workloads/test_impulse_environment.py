"""The environment of a listener, value by value and in order."""

from __future__ import annotations

from typing import Any

import pytest

from core.workloads.environment import EnvironmentTooLargeError
from core.workloads.impulse_environment import impulse_environment
from core.workloads.impulse_workload import ListenerWorkload
from core.workloads.variables import MAX_VARIABLE_BYTES
from tests.unit.core.workloads.impulse_samples import listening

POD = ["BUBU_POD_NAME", "BUBU_POD_NAMESPACE"]
ALWAYS = {
    "BUBU_IMPULSE_NAME": "voice-hook",
    "BUBU_IMPULSE_NAMESPACE": "team-a",
    "BUBU_TARGET_STORY_NAME": "report",
    "BUBU_TARGET_STORY_NAMESPACE": "team-a",
    "BUBU_DEBUG": "false",
    "BUBU_MAX_INLINE_SIZE": "4096",
    "BUBU_MAX_RECURSION_DEPTH": "32",
}


def names(workload: ListenerWorkload) -> list[str]:
    return [variable["name"] for variable in impulse_environment(workload)]


def values(workload: ListenerWorkload) -> dict[str, Any]:
    return {variable["name"]: variable.get("value") for variable in impulse_environment(workload)}


def test_a_plain_listener_has_what_every_listener_has() -> None:
    assert names(listening()) == [*ALWAYS, *POD]
    assert {name: value for name, value in values(listening()).items() if value is not None} == ALWAYS
    own = impulse_environment(listening())[-2:]
    assert [variable["valueFrom"]["fieldRef"]["fieldPath"] for variable in own] == [
        "metadata.name",
        "metadata.namespace",
    ]


def test_everything_stands_in_the_order_of_the_contract() -> None:
    s3 = {"bucket": "b", "region": "r", "endpoint": "e", "usePathStyle": True}
    s3["authentication"] = {"secretRef": {"name": "keys"}}
    workload = listening(
        policy={"storage": {"s3": s3}, "secrets": {"zed": "z", "api": "a"}, "debug": True, "max_inline_size_bytes": 7},
        step_config='{"a":1}',
        dedupe={"mode": "key", "keyTemplate": "{{ .inputs.id }}"},
        retry={"maxAttempts": 0, "baseDelay": "1s", "maxDelay": "5m", "backoff": "linear"},
        throttle={"maxInFlight": 3, "ratePerSecond": 0, "burst": 2},
        secret_schema={"api": {"expectedKeys": ["token"]}, "zed": {"mountType": "file"}},
    )
    assert names(workload) == [
        *ALWAYS,
        "BUBU_STEP_CONFIG",
        "BUBU_TRIGGER_DEDUPE_MODE",
        "BUBU_TRIGGER_DEDUPE_KEY_TEMPLATE",
        "BUBU_TRIGGER_RETRY_MAX_ATTEMPTS",
        "BUBU_TRIGGER_RETRY_BASE_DELAY",
        "BUBU_TRIGGER_RETRY_MAX_DELAY",
        "BUBU_TRIGGER_RETRY_BACKOFF",
        "BUBU_TRIGGER_THROTTLE_MAX_IN_FLIGHT",
        "BUBU_TRIGGER_THROTTLE_RATE_PER_SECOND",
        "BUBU_TRIGGER_THROTTLE_BURST",
        "BUBU_STORAGE_PROVIDER",
        "BUBU_STORAGE_S3_BUCKET",
        "BUBU_STORAGE_S3_REGION",
        "BUBU_STORAGE_S3_ENDPOINT",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "BUBU_S3_FORCE_PATH_STYLE",
        "BUBU_STORAGE_TIMEOUT",
        "api_token",
        "BUBU_SECRET_api",
        "BUBU_SECRET_api_NAME",
        "BUBU_SECRET_zed",
        *POD,
    ]
    found = values(workload)
    assert (found["BUBU_DEBUG"], found["BUBU_MAX_INLINE_SIZE"]) == ("true", "7")
    assert (found["BUBU_TRIGGER_RETRY_MAX_ATTEMPTS"], found["BUBU_TRIGGER_THROTTLE_RATE_PER_SECOND"]) == ("0", "0")
    assert found["BUBU_STORAGE_TIMEOUT"] == "300s"
    assert (found["BUBU_SECRET_api"], found["BUBU_SECRET_zed"]) == ("env:api_", "file:/etc/bubu/secrets/zed")


def test_a_file_store_has_its_own_timeout_or_that_of_the_operator() -> None:
    file = {"file": {"path": "/data", "volumeClaimName": "c"}}
    assert names(listening(policy={"storage": file}))[7:-2] == [
        "BUBU_STORAGE_PROVIDER",
        "BUBU_STORAGE_PATH",
        "BUBU_STORAGE_TIMEOUT",
    ]
    assert values(listening(policy={"storage": {**file, "timeoutSeconds": 5}}))["BUBU_STORAGE_TIMEOUT"] == "5s"
    assert values(listening(policy={"storage": {**file, "timeoutSeconds": 0}}))["BUBU_STORAGE_TIMEOUT"] == "300s"


def test_what_is_blank_or_absent_is_left_out() -> None:
    workload = listening(
        dedupe={"mode": " ", "keyTemplate": ""}, retry={"baseDelay": None, "backoff": " "}, throttle={"burst": None}
    )
    assert names(workload) == [*ALWAYS, *POD]


def test_kubernetes_expands_nothing_in_any_value() -> None:
    workload = listening(
        step_config='{"a":"$(HOME) $$ $x"}',
        dedupe={"mode": "key", "keyTemplate": "{{ $x := .inputs }}"},
        policy={"secrets": {"s": "keys"}, "storage": {"file": {"path": "/d/$(X)"}}},
        secret_schema={"s": {"mountType": "file", "mountPath": "/mnt/$(Y)"}},
    )
    found = values(workload)
    assert found["BUBU_STEP_CONFIG"] == '{"a":"$$(HOME) $$$$ $$x"}'
    assert found["BUBU_TRIGGER_DEDUPE_KEY_TEMPLATE"] == "{{ $$x := .inputs }}"
    assert found["BUBU_STORAGE_PATH"] == "/d/$$(X)"
    assert found["BUBU_SECRET_s"] == "file:/mnt/$$(Y)"


def test_a_configuration_that_no_process_takes_is_refused_by_name() -> None:
    with pytest.raises(EnvironmentTooLargeError) as caught:
        impulse_environment(listening(step_config="x" * MAX_VARIABLE_BYTES))
    assert caught.value.name == "BUBU_STEP_CONFIG"
