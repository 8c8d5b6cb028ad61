"""Which layer decides a setting of a step's workload."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.api.objects import Object
from core.policy.layers import PolicyError, resolve_policy
from core.policy.settings import (
    JobSettings,
    OperatorSettings,
    PullPolicy,
    ResourceSettings,
    SecuritySettings,
    StorageProvider,
    StorageSettings,
)
from tests.unit.core.policy.policy_samples import sources

S3 = {"bucket": "own", "authentication": {}}


def in_template(**execution: Object) -> Object:
    return {"template": {"execution": execution}}


def in_engram(**fields: Object) -> Object:
    return {"engram": fields}


def in_story(**execution: Object) -> Object:
    return {"story_policy": {"execution": execution}}


def in_step(**execution: Any) -> Object:
    return {"step": {"execution": execution}}


LADDERS: dict[str, list[tuple[str, Object, Any]]] = {
    "image_pull_policy": [
        ("operator", {}, "IfNotPresent"),
        ("EngramTemplate", in_template(images={"pullPolicy": "Always"}), "Always"),
        ("Engram overrides", in_engram(overrides={"imagePullPolicy": "Never"}), "Never"),
        ("Story step", in_step(imagePullPolicy="IfNotPresent"), "IfNotPresent"),
    ],
    "run_as_non_root": [
        ("operator", {}, True),
        ("EngramTemplate", in_template(security={"requiresNonRoot": False}), False),
        ("Engram overrides", in_engram(overrides={"security": {"runAsNonRoot": True}}), True),
        ("Story policy", in_story(security={"runAsNonRoot": False}), False),
        ("Story step", in_step(security={"runAsNonRoot": True}), True),
    ],
    "read_only_root_filesystem": [
        ("operator", {}, True),
        ("EngramTemplate", in_template(security={"requiresReadOnlyRoot": False}), False),
        ("Engram overrides", in_engram(overrides={"security": {"readOnlyRootFilesystem": True}}), True),
        ("Story policy", in_story(security={"readOnlyRootFilesystem": False}), False),
        ("Story step", in_step(security={"readOnlyRootFilesystem": True}), True),
    ],
    "allow_privilege_escalation": [
        ("operator", {}, False),
        ("EngramTemplate", in_template(security={"requiresNoPrivilegeEscalation": False}), True),
        ("Engram overrides", in_engram(overrides={"security": {"allowPrivilegeEscalation": False}}), False),
        ("Story policy", in_story(security={"allowPrivilegeEscalation": True}), True),
        ("Story step", in_step(security={"allowPrivilegeEscalation": False}), False),
    ],
    "run_as_user": [
        ("operator", {}, 1000),
        ("EngramTemplate", in_template(security={"recommendedRunAsUser": 2}), 2),
        ("Engram overrides", in_engram(overrides={"security": {"runAsUser": 3}}), 3),
        ("Story policy", in_story(security={"runAsUser": 4}), 4),
        ("Story step", in_step(security={"runAsUser": 5}), 5),
    ],
    "backoff_limit": [
        ("operator", {}, 0),
        ("EngramTemplate", in_template(job={"recommendedBackoffLimit": 1}), 1),
        ("Story policy", in_story(job={"backoffLimit": 2}), 2),
        ("StepRun", {"step_run": {"backoffLimit": 0}}, 0),
    ],
    "ttl_seconds_after_finished": [
        ("operator", {}, 3600),
        ("EngramTemplate", in_template(job={"recommendedTtlSecondsAfterFinished": 1}), 1),
        ("Story policy", in_story(job={"ttlSecondsAfterFinished": 0}), 0),
        ("StepRun", {"step_run": {"ttlSecondsAfterFinished": -1}}, None),
    ],
    "restart_policy": [
        ("operator", {}, "Never"),
        ("EngramTemplate", in_template(job={"recommendedRestartPolicy": "OnFailure"}), "OnFailure"),
        ("Story policy", in_story(job={"restartPolicy": "Never"}), "Never"),
        ("StepRun", {"step_run": {"restartPolicy": "OnFailure"}}, "OnFailure"),
    ],
    "tolerations": [
        ("Engram executionPolicy", in_engram(executionPolicy={"placement": {"tolerations": [{"key": "a"}]}}), "a"),
        ("Engram overrides", in_engram(overrides={"placement": {"tolerations": [{"key": "b"}]}}), "b"),
        ("Story policy", in_story(placement={"tolerations": [{"key": "c"}]}), "c"),
        ("Story step", in_step(placement={"tolerations": []}), ""),
        ("StepRun", {"step_run": {"placement": {"tolerations": [{"key": "e"}]}}}, "e"),
    ],
    "affinity": [
        ("Engram executionPolicy", in_engram(executionPolicy={"placement": {"affinity": {"a": 1}}}), {"a": 1}),
        ("Engram overrides", in_engram(overrides={"placement": {"affinity": {"b": 1}}}), {"b": 1}),
        ("Story policy", in_story(placement={"affinity": {"c": 1}}), {"c": 1}),
        ("Story step", in_step(placement={"affinity": {"d": 1}}), {"d": 1}),
        ("StepRun", {"step_run": {"placement": {"affinity": {"e": 1}}}}, {"e": 1}),
    ],
    "cache": [
        ("Engram executionPolicy", in_engram(executionPolicy={"cache": {"salt": "a"}}), {"salt": "a"}),
        ("Engram overrides", in_engram(overrides={"cache": {"key": "b"}}), {"key": "b"}),
        ("Story policy", in_story(cache={"salt": "c"}), {"salt": "c"}),
        ("Story step", in_step(cache={"key": "d"}), {"key": "d"}),
        ("StepRun", {"step_run": {"cache": {"enabled": False}}}, {"enabled": False}),
    ],
    "max_inline_size_bytes": [
        ("operator", {}, 4096),
        ("Engram overrides", in_engram(overrides={"maxInlineSize": 1}), 1),
        ("Story step", in_step(maxInlineSize=0), 0),
    ],
    "debug": [
        ("Engram overrides", in_engram(overrides={"debug": True}), True),
        ("Story step", in_step(debug=False), False),
        ("StepRun", {"step_run": {"debug": True}}, True),
    ],
    "storage": [
        ("EngramTemplate", in_template(storage={"file": {"path": "/t"}}), {"file": {"path": "/t"}}),
        ("Engram overrides", in_engram(overrides={"storage": {"s3": S3}}), {"s3": S3}),
        ("Story policy", in_story(storage={"file": {"path": "/s"}}), {"file": {"path": "/s"}}),
        ("Story step", in_step(storage={"s3": S3, "timeoutSeconds": 3}), {"s3": S3, "timeoutSeconds": 3}),
    ],
}


def merged(layers: list[Object]) -> Object:
    """Arguments for ``sources`` that set something in several layers at once."""
    result: Object = {}
    for layer in layers:
        for place, fields in layer.items():
            result[place] = {**result.get(place, {}), **fields}
    return result


def seen(setting: str, value: Any) -> Any:
    return "".join(toleration["key"] for toleration in value) if setting == "tolerations" else value


@pytest.mark.parametrize(
    ("setting", "height"), [(setting, height) for setting, rungs in LADDERS.items() for height in range(len(rungs))]
)
def test_the_most_specific_layer_decides_and_is_remembered(setting: str, height: int) -> None:
    rungs = LADDERS[setting][: height + 1]
    policy = resolve_policy(sources(**merged([layer for _, layer, _ in rungs])))
    label, _, value = rungs[-1]
    assert seen(setting, getattr(policy, setting)) == value
    assert policy.provenance[setting] == label


def test_resources_come_field_by_field() -> None:
    policy = resolve_policy(
        sources(
            settings=replace(OperatorSettings(), engram_resources=ResourceSettings(cpu_limit="1")),
            template={"execution": {"resources": {"recommendedMemoryLimit": "1Gi", "minCpuRequest": "9"}}},
            engram={"executionPolicy": {"resources": {"memoryRequest": "256Mi"}}},
            story_policy={"execution": {"resources": {"cpuRequest": "200m", "memoryRequest": "300Mi"}}},
            step_run={"cpuRequest": "300m"},
        )
    )
    assert policy.resources == {"cpuRequest": "300m", "cpuLimit": "1", "memoryRequest": "300Mi", "memoryLimit": "1Gi"}
    assert {key: label for key, label in policy.provenance.items() if key.startswith("resources.")} == {
        "resources.cpuRequest": "StepRun",
        "resources.cpuLimit": "operator",
        "resources.memoryRequest": "Story policy",
        "resources.memoryLimit": "EngramTemplate",
    }


@pytest.mark.parametrize(
    ("asked", "resources", "decided"),
    [
        pytest.param(
            {"memoryLimit": "64Mi"}, {"memoryRequest": "64Mi", "memoryLimit": "64Mi"}, "memoryRequest", id="limit"
        ),
        pytest.param(
            {"memoryRequest": "1Gi"}, {"memoryRequest": "1Gi", "memoryLimit": "1Gi"}, "memoryLimit", id="request"
        ),
        pytest.param({"cpuLimit": "0.05"}, {"cpuRequest": "0.05", "cpuLimit": "0.05"}, "cpuRequest", id="cpu"),
    ],
)
def test_a_step_that_sets_a_request_or_a_limit_alone_can_start(asked: Object, resources: Object, decided: str) -> None:
    policy = resolve_policy(sources(step={"execution": {"resources": asked}}))

    assert resources.items() <= policy.resources.items()
    assert policy.provenance[f"resources.{decided}"] == "Story step"


def test_a_request_above_the_limit_of_the_same_layer_is_a_problem() -> None:
    contradiction = {"cpuRequest": "2", "cpuLimit": "1500m", "memoryRequest": "1Gi", "memoryLimit": "1024Mi"}

    with pytest.raises(PolicyError) as caught:
        resolve_policy(sources(step={"execution": {"resources": contradiction}}))

    assert caught.value.problems == (
        "Story step: resources.cpuRequest: 2 is more than cpuLimit, 1500m; request less, or raise the limit",
    )


def test_a_contradiction_that_a_later_layer_corrects_is_none() -> None:
    engram = {"overrides": {"resources": {"memoryRequest": "2Gi", "memoryLimit": "1Gi"}}}
    policy = resolve_policy(sources(engram=engram, step={"execution": {"resources": {"memoryLimit": "3Gi"}}}))

    assert (policy.resources["memoryRequest"], policy.resources["memoryLimit"]) == ("2Gi", "3Gi")


def test_node_selectors_merge_key_by_key() -> None:
    policy = resolve_policy(
        sources(
            engram={"executionPolicy": {"placement": {"nodeSelector": {"zone": "a", "disk": "ssd"}}}},
            story_policy={"execution": {"placement": {"nodeSelector": {"zone": "b"}}}},
            step_run={"placement": {"nodeSelector": {"gpu": "yes"}}},
        )
    )
    assert policy.node_selector == {"zone": "b", "disk": "ssd", "gpu": "yes"}
    assert policy.provenance["node_selector.zone"] == "Story policy"


def test_step_secrets_override_those_of_the_engram_one_by_one() -> None:
    policy = resolve_policy(
        sources(engram={"secrets": {"api": "openai", "db": "postgres"}}, step={"secrets": {"api": "mine"}})
    )
    assert policy.secrets == {"api": "mine", "db": "postgres"}
    assert policy.provenance["secrets.api"] == "Story step"
    assert policy.provenance["secrets.db"] == "Engram overrides"


def test_engrams_and_steps_can_only_switch_probes_off() -> None:
    probes = {"liveness": {"exec": {"command": ["true"]}}, "readiness": {"grpc": {"port": 1}}, "startup": {"x": 1}}
    policy = resolve_policy(
        sources(
            template={"execution": {"probes": probes}},
            engram={"overrides": {"probes": {"disableLiveness": True}}},
            step={"execution": {"probes": {"disableStartup": True, "disableReadiness": False}}},
        )
    )
    assert policy.probes == {"readiness": {"grpc": {"port": 1}}}


def test_service_accounts_of_definitions_are_ignored() -> None:
    policy = resolve_policy(
        sources(
            engram={"overrides": {"serviceAccountName": "admin"}, "executionPolicy": {"serviceAccountName": "admin"}},
            story_policy={"execution": {"serviceAccountName": "admin"}},
            step={"execution": {"serviceAccountName": "admin", "automountServiceAccountToken": True}},
        )
    )
    assert policy.service_account_name == ""


def test_only_the_operator_names_a_service_account() -> None:
    settings = replace(OperatorSettings(), security=SecuritySettings(service_account_name="shared"))
    assert resolve_policy(sources(settings=settings)).service_account_name == "shared"


def test_of_an_engrams_execution_policy_only_resources_placement_and_cache_count() -> None:
    policy = resolve_policy(
        sources(
            engram={
                "executionPolicy": {
                    "security": {"runAsUser": 7},
                    "job": {"backoffLimit": 7},
                    "storage": {"file": {"path": "/x"}},
                }
            }
        )
    )
    assert (policy.run_as_user, policy.backoff_limit, policy.storage) == (1000, 0, None)


def test_the_operators_object_store_is_the_widest() -> None:
    storage = StorageSettings(
        provider=StorageProvider.S3,
        s3_bucket="all",
        s3_region="eu",
        s3_endpoint="http://s3",
        s3_use_path_style=True,
        s3_auth_secret_name="keys",
    )
    policy = resolve_policy(sources(settings=replace(OperatorSettings(), storage=storage)))
    assert policy.storage == {
        "s3": {
            "bucket": "all",
            "usePathStyle": True,
            "region": "eu",
            "endpoint": "http://s3",
            "authentication": {"secretRef": {"name": "keys"}},
        },
        "timeoutSeconds": 300,
    }


def test_the_operators_cloud_store_is_a_block_with_its_secret() -> None:
    gcs = StorageSettings(StorageProvider.GCS, gcs_bucket="b", gcs_endpoint="https://e", gcs_auth_secret_name="keys")
    azure = StorageSettings(StorageProvider.AZURE, azure_account="acc", azure_container="con")
    found = [
        resolve_policy(sources(settings=replace(OperatorSettings(), storage=storage))).storage
        for storage in (gcs, azure)
    ]
    assert found == [
        {
            "gcs": {"bucket": "b", "endpoint": "https://e", "authentication": {"secretRef": {"name": "keys"}}},
            "timeoutSeconds": 300,
        },
        {"azure": {"account": "acc", "container": "con"}, "timeoutSeconds": 300},
    ]


def test_only_the_timeout_of_the_operators_cloud_store_can_be_changed() -> None:
    settings = replace(
        OperatorSettings(), storage=StorageSettings(StorageProvider.GCS, gcs_bucket="b", gcs_auth_secret_name="keys")
    )
    changed = resolve_policy(sources(settings=settings, step={"execution": {"storage": {"timeoutSeconds": 5}}})).storage
    assert changed == {"gcs": {"bucket": "b", "authentication": {"secretRef": {"name": "keys"}}}, "timeoutSeconds": 5}
    for block in ("gcs", "azure"):
        foreign = {"execution": {"storage": {block: {"bucket": "b", "endpoint": "https://evil.example"}}}}
        with pytest.raises(PolicyError, match=f"Story step: storage.{block}: only the operator's own store can be"):
            resolve_policy(sources(settings=settings, step=foreign))


def test_the_operators_volume_is_handed_on() -> None:
    storage = StorageSettings(provider=StorageProvider.FILE, file_path="/d", file_volume_claim_name="claim")
    policy = resolve_policy(sources(settings=replace(OperatorSettings(), storage=storage)))
    assert policy.storage == {"file": {"path": "/d", "volumeClaimName": "claim"}, "timeoutSeconds": 300}


def test_a_block_with_only_a_timeout_tunes_the_store_below() -> None:
    template = {"execution": {"storage": {"file": {"path": "/t"}, "timeoutSeconds": 9}}}
    policy = resolve_policy(sources(template=template, step={"execution": {"storage": {"timeoutSeconds": 5}}}))
    assert policy.storage == {"file": {"path": "/t"}, "timeoutSeconds": 5}


def test_a_timeout_without_a_store_gives_none() -> None:
    assert resolve_policy(sources(step={"execution": {"storage": {"timeoutSeconds": 5}}})).storage is None


def test_a_storys_own_storage_policy_beats_its_execution_policy_but_not_its_step() -> None:
    story = {"storage": {"file": {"path": "/a"}}, "execution": {"storage": {"file": {"path": "/b"}}}}
    assert resolve_policy(sources(story_policy=story)).storage == {"file": {"path": "/a"}}
    step = {"execution": {"storage": {"file": {"path": "/c"}}}}
    assert resolve_policy(sources(story_policy=story, step=step)).storage == {"file": {"path": "/c"}}


NO_IMAGE = (
    "EngramTemplate spec.image: is empty; name the image that runs the Engram, "
    "or set images.default-engram in the operator's ConfigMap"
)


@pytest.mark.parametrize(
    ("layers", "problem"),
    [
        ({"template": {"image": "  "}}, NO_IMAGE),
        (in_step(security={"runAsUser": 0}), "Story step: runAsUser 0 must be greater than 0"),
        (in_template(security={"recommendedRunAsUser": -1}), "EngramTemplate: runAsUser -1 must be greater than 0"),
        (
            in_story(job={"restartPolicy": "Always"}),
            "Story policy: restartPolicy 'Always' is not possible for a Job; use Never or OnFailure",
        ),
        (
            in_engram(overrides={"imagePullPolicy": "often"}),
            "Engram overrides: imagePullPolicy 'often' must be Always, Never or IfNotPresent",
        ),
        ({"step_run": {"backoffLimit": -1}}, "StepRun: backoffLimit -1 must be a whole number of at least 0"),
        ({"step_run": {"cpuLimit": "lots"}}, "StepRun: resources.cpuLimit: 'lots' is not a quantity"),
        (
            in_step(storage={"s3": S3, "file": {"path": "/x"}}),
            "Story step: storage: both s3 and file are set; keep one",
        ),
        (
            in_story(storage={"s3": {"region": "eu"}}),
            "Story policy: storage.s3.bucket: is empty; name the bucket",
        ),
    ],
)
def test_invalid_settings_are_named_with_their_layer(layers: Object, problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        resolve_policy(sources(**layers))
    assert caught.value.problems == (problem,)


def test_the_problems_of_all_layers_are_reported_together() -> None:
    with pytest.raises(PolicyError) as caught:
        resolve_policy(
            sources(
                template={"image": "", "execution": {"images": {"pullPolicy": "x"}}},
                story_policy={"execution": {"security": {"runAsUser": 0}}},
                step_run={"memoryLimit": "x", "cpuLimit": "y"},
            )
        )
    assert len(caught.value.problems) == 5


def test_the_image_is_the_templates() -> None:
    settings = replace(OperatorSettings(), pull_policy=PullPolicy.NEVER, job=JobSettings(backoff_limit=2))
    policy = resolve_policy(sources(settings=settings, template={"image": " registry.example/x:2 "}))
    assert (policy.image, policy.image_pull_policy, policy.backoff_limit) == ("registry.example/x:2", "Never", 2)
    assert policy.provenance["image"] == "EngramTemplate"
