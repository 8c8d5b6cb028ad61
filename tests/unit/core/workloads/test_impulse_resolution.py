"""An Impulse, its template and its Story become the input of the builders."""

from __future__ import annotations

from typing import Any

import pytest

from bubu_contract.canonical import NotJsonError
from core.api.objects import Object
from core.api.phases import ImpulseReason
from core.policy.layers import PolicyError
from core.policy.settings import OperatorSettings, SecuritySettings
from core.workloads.impulse_resolution import ResolvedImpulse, resolve_impulse
from core.workloads.impulse_workload import ListenerMode
from tests.unit.core.workloads.impulse_samples import impulse, story, template


def resolved(
    *, of_template: Object | None = None, of_story: Object | None = None, settings: Any = None, **spec: Any
) -> ResolvedImpulse:
    return resolve_impulse(
        impulse(**spec), template(**(of_template or {})), story(**(of_story or {})), settings or OperatorSettings()
    )


def reasons(found: ResolvedImpulse) -> list[str]:
    return [notice.reason for notice in found.notices]


def test_a_plain_impulse_is_a_deployment_with_its_own_account() -> None:
    found = resolved()
    workload = found.workload
    assert (workload.name, workload.mode) == ("voice-hook-livekit-webhook-impulse", ListenerMode.DEPLOYMENT)
    assert (workload.account, workload.service_name) == ("voice-hook-impulse-runner", workload.name)
    assert (workload.story_namespace, workload.story_name) == ("team-a", "report")
    assert (workload.policy.image, workload.policy.image_pull_policy) == ("registry.example/hook:1", "IfNotPresent")
    assert (workload.step_config, workload.max_recursion_depth, workload.storage_timeout_seconds) == (None, 32, 300)
    assert (found.ports, found.rules, found.notices) == ((), (), ())
    assert found.is_account_managed


def test_the_configuration_is_compact_json_with_sorted_keys_as_the_api_server_gives_it() -> None:
    assert resolved(**{"with": {"b": "<x>", "a": [1, 2**60]}}).workload.step_config == (
        '{"a":[1,1152921504606846976],"b":"\\u003cx\\u003e"}'
    )
    assert resolved(**{"with": {}}).workload.step_config == "{}"
    with pytest.raises(NotJsonError):
        resolved(**{"with": {"a": float("inf")}})


def test_the_story_decides_how_deep_templates_may_go() -> None:
    assert resolved(of_story={"execution": {"maxRecursionDepth": 5}}).workload.max_recursion_depth == 5


def test_the_impulse_outranks_its_workload_settings_and_these_the_template() -> None:
    execution = {
        "resources": {"recommendedCpuLimit": "1", "recommendedMemoryLimit": "1Gi"},
        "images": {"pullPolicy": "Always"},
        "probes": {"readiness": {"httpGet": {"port": 80}}, "liveness": {"httpGet": {"port": 80}}},
    }
    policy = resolved(
        of_template={"execution": execution},
        workload={
            "resources": {"limits": {"cpu": "2"}, "requests": {"ephemeralStorage": "1Gi"}, "placement": _node("slow")}
        },
        execution={"placement": _node("fast"), "probes": {"disableLiveness": True}, "debug": True, "maxInlineSize": 9},
        secrets={"api": "keys"},
    ).workload.policy
    assert policy.resources["cpuLimit"] == "2"
    assert policy.resources["memoryLimit"] == "1Gi"
    assert policy.resources["ephemeralStorageRequest"] == "1Gi"
    assert policy.node_selector == {"speed": "fast"}
    assert policy.image_pull_policy == "Always"
    assert list(policy.probes) == ["readiness"]
    assert (policy.debug, policy.max_inline_size_bytes, policy.secrets) == (True, 9, {"api": "keys"})


def _node(speed: str) -> Object:
    return {"nodeSelector": {"speed": speed}}


def test_a_template_without_an_image_gets_the_operators_if_there_is_one() -> None:
    no_image = {"image": " "}
    with pytest.raises(PolicyError, match=r"ImpulseTemplate spec\.image: is empty"):
        resolved(of_template=no_image)
    settings = OperatorSettings(default_impulse_image="registry.example/any:1")
    assert resolved(of_template=no_image, settings=settings).workload.policy.image == "registry.example/any:1"
    assert resolved(settings=settings).workload.policy.image == "registry.example/hook:1"


def test_settings_of_jobs_in_a_template_have_no_meaning_for_a_listener() -> None:
    resolved(of_template={"execution": {"job": {"recommendedRestartPolicy": "Always"}}})


def test_an_impulse_may_not_lower_its_security_and_says_so() -> None:
    found = resolved(execution={"security": {"runAsNonRoot": False}})
    assert found.workload.policy.run_as_non_root is True
    assert reasons(found) == [ImpulseReason.POLICY_ENFORCED]


@pytest.mark.parametrize(
    ("operators", "own", "account", "told"),
    [
        ("", None, "voice-hook-impulse-runner", []),
        ("default", None, "voice-hook-impulse-runner", []),
        ("shared", None, "shared", [ImpulseReason.CUSTOM_ACCOUNT]),
        ("shared", "mine", "mine", [ImpulseReason.CUSTOM_ACCOUNT]),
        ("shared", "default", "voice-hook-impulse-runner", []),
    ],
)
def test_the_account_is_that_of_the_impulse_or_of_the_operator(
    operators: str, own: str | None, account: str, told: list[str]
) -> None:
    settings = OperatorSettings(security=SecuritySettings(service_account_name=operators))
    found = resolved(settings=settings, **({"execution": {"serviceAccountName": own}} if own else {}))
    assert found.workload.account == account
    assert reasons(found) == told
    assert found.is_account_managed is not bool(told)


@pytest.mark.parametrize(
    ("workload", "mode", "service", "told"),
    [
        ({"mode": "job"}, "deployment", None, [ImpulseReason.UNSUPPORTED_MODE]),
        ({"mode": "statefulset", "statefulSet": {"serviceName": "hook"}}, "statefulset", "hook", []),
        ({"mode": "deployment", "statefulSet": {"serviceName": "hook"}}, "deployment", "hook", []),
        ({"statefulSet": {"serviceName": "a.b"}}, "statefulset", None, [ImpulseReason.INVALID_SERVICE_NAME]),
    ],
)
def test_mode_and_service_name_are_used_as_far_as_they_can_be(
    workload: Object, mode: str, service: str | None, told: list[str]
) -> None:
    found = resolved(of_template={"supportedModes": ["deployment", "statefulset"]}, workload=workload)
    assert (found.workload.mode, reasons(found)) == (mode, told)
    assert found.workload.service_name == (service or found.workload.name)


@pytest.mark.parametrize(("supported", "given"), [(["deployment"], {"mode": "statefulset"}), (["statefulset"], None)])
def test_a_mode_that_the_template_does_not_support_is_told(supported: list[str], given: Object | None) -> None:
    """Admission refuses it, but it may be off, and a template may change."""
    found = resolved(of_template={"supportedModes": supported}, **({"workload": given} if given else {}))
    [notice] = found.notices
    assert notice.reason == ImpulseReason.UNSUPPORTED_MODE
    assert notice.text.endswith(f"ImpulseTemplate livekit-webhook does not support; set one of: {supported[0]}")


def test_the_delivery_policy_is_that_of_the_template_with_the_fields_of_the_impulse() -> None:
    found = resolved(
        of_template={"deliveryPolicy": {"retry": {"maxAttempts": 3, "backoff": "linear"}}},
        deliveryPolicy={"retry": {"maxAttempts": 5}, "dedupe": {"mode": "token"}},
        throttle={"burst": 2},
    ).workload
    assert found.retry == {"maxAttempts": 5, "backoff": "linear"}
    assert (found.dedupe, found.throttle) == ({"mode": "token"}, {"burst": 2})


def test_a_rule_that_no_container_gets_is_told() -> None:
    pods = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    found = resolved(of_template={"execution": {"rbac": {"rules": [pods]}}}, execution={"rbac": {"rules": [pods]}})
    assert (found.rules, reasons(found)) == ((pods,), [ImpulseReason.RULE_REFUSED])


def test_a_suspended_impulse_is_resolved_as_such() -> None:
    suspended = impulse()
    suspended["metadata"]["annotations"] = {"bubustack.io/suspend": "true"}
    assert resolve_impulse(suspended, template(), story(), OperatorSettings()).workload.suspended
