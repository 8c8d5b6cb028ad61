"""Structural schemas: defaulting, pruning, and the validation errors, field by field."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from tests.conformance.conformance_api import MERGE_PATCH, Api
from tests.conformance.conformance_kinds import GROUP, config_map, container, deployment, job, pod, widget

INVALID = "FieldValueInvalid"
TYPE = "FieldValueTypeInvalid"
UNSUPPORTED = "FieldValueNotSupported"
RULES_NOT_RUN = (INVALID, "<nil>")
"""Reported with other errors: the validation rules run only when the schema is satisfied."""

# --- defaulting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, {"size": 3, "mode": "Fast", "nested": {"depth": 7}, "filled": "full"}),
        ({"size": 9}, {"size": 9, "mode": "Fast", "nested": {"depth": 7}, "filled": "full"}),
        ({"nested": {"name": "n"}}, {"size": 3, "mode": "Fast", "nested": {"depth": 7, "name": "n"}, "filled": "full"}),
        ({"filled": None}, {"size": 3, "mode": "Fast", "nested": {"depth": 7}, "filled": "full"}),
        (
            {"parts": [{"name": "a"}, {"name": "b", "count": 5}]},
            {
                "size": 3,
                "mode": "Fast",
                "nested": {"depth": 7},
                "filled": "full",
                "parts": [{"name": "a", "count": 1}, {"name": "b", "count": 5}],
            },
        ),
    ],
    ids=["all", "not what is given", "inside what is given", "for null", "in items"],
)
async def test_defaults_are_filled_in(api: Api, spec: Object, expected: Object) -> None:
    created = await api.create("widgets", widget("one", spec))
    assert created["spec"] == {"color": "red", **expected}


async def test_a_null_that_may_be_stays(api: Api) -> None:
    created = await api.create("widgets", widget("one", {"maybe": None}))
    assert created["spec"]["maybe"] is None


async def test_a_null_that_may_not_be_and_has_no_default_is_dropped(api: Api) -> None:
    created = await api.create("widgets", widget("one", {"code": None}))
    assert "code" not in created["spec"]


async def test_a_field_taken_away_gets_its_default_again(api: Api) -> None:
    await api.create("widgets", widget("one", {"size": 9}))
    answer = await api.patch("widgets", "one", {"spec": {"size": None}})
    assert answer.spec["size"] == 3


async def test_pods_are_completed(api: Api) -> None:
    await api.until_pods_are_taken()
    spec = (await api.create("pods", pod("one", container("c", ports=[{"containerPort": 80}]))))["spec"]
    assert spec["serviceAccountName"] == "default"
    assert spec["serviceAccount"] == "default"
    assert spec["restartPolicy"] == "Always"
    assert spec["dnsPolicy"] == "ClusterFirst"
    assert spec["terminationGracePeriodSeconds"] == 30
    assert spec["securityContext"] == {}
    assert spec["enableServiceLinks"] is True
    assert spec["priority"] == 0
    assert spec["preemptionPolicy"] == "PreemptLowerPriority"
    assert {found["key"] for found in spec["tolerations"]} == {
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    }
    (found,) = spec["containers"]
    assert found["imagePullPolicy"] == "IfNotPresent"
    assert found["terminationMessagePath"] == "/dev/termination-log"
    assert found["terminationMessagePolicy"] == "File"
    assert found["resources"] == {}
    assert found["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    (mount,) = found["volumeMounts"]
    assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    (volume,) = spec["volumes"]
    assert volume["name"] == mount["name"]
    assert [set(source) for source in volume["projected"]["sources"]] == [
        {"serviceAccountToken"},
        {"configMap"},
        {"downwardAPI"},
    ]


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("app", "Always"),
        ("app:latest", "Always"),
        ("app:1", "IfNotPresent"),
        ("app@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)
async def test_when_an_image_is_pulled_depends_on_its_tag(api: Api, image: str, policy: str) -> None:
    created = await api.create("deployments", deployment("one", container("c", image=image)))
    assert created["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == policy


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ([container("a")], "BestEffort"),
        ([container("a", resources={"requests": {"cpu": "1"}})], "Burstable"),
        ([container("a", resources={"limits": {"cpu": "1", "memory": "1Gi"}})], "Guaranteed"),
        ([container("a", resources={"limits": {"cpu": "1", "memory": "1Gi"}}), container("b")], "Burstable"),
    ],
)
async def test_a_pods_class_of_service_follows_its_resources(api: Api, containers: list[Object], expected: str) -> None:
    await api.until_pods_are_taken()
    created = await api.create("pods", pod("one", *containers))
    assert created["status"] == {"phase": "Pending", "qosClass": expected}


async def test_limits_are_also_requests(api: Api) -> None:
    await api.until_pods_are_taken()
    created = await api.create("pods", pod("one", container("c", resources={"limits": {"cpu": "1500m"}})))
    assert created["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1500m"}


async def test_jobs_are_completed(api: Api) -> None:
    created = await api.create("jobs", job("one"))
    spec, uid = created["spec"], created["metadata"]["uid"]
    assert (spec["backoffLimit"], spec["parallelism"], spec["completions"]) == (6, 1, 1)
    assert (spec["completionMode"], spec["manualSelector"]) == ("NonIndexed", False)
    assert spec["podReplacementPolicy"] == "TerminatingOrFailed"
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert spec["template"]["metadata"]["labels"] == {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": "one",
        "controller-uid": uid,
        "job-name": "one",
    }


async def test_deployments_are_completed(api: Api) -> None:
    body = deployment("one")
    del body["spec"]["replicas"]
    spec = (await api.post("deployments", body, dryRun="All")).spec
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)


async def test_services_are_completed(api: Api) -> None:
    body = {"metadata": {"name": "one"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}}
    spec = (await api.create("services", body))["spec"]
    assert (spec["type"], spec["sessionAffinity"], spec["internalTrafficPolicy"]) == ("ClusterIP", "None", "Cluster")
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]


async def test_secrets_take_text_and_give_base64(api: Api) -> None:
    body = {"metadata": {"name": "one"}, "stringData": {"a": "hello"}, "data": {"b": "eA=="}}
    created = await api.create("secrets", body)
    assert created["type"] == "Opaque"
    assert created["data"] == {"a": "aGVsbG8=", "b": "eA=="}
    assert "stringData" not in created


# --- pruning ---------------------------------------------------------------------------------------------------------


async def test_what_the_schema_does_not_know_is_pruned(api: Api) -> None:
    spec = {"bogus": 1, "nested": {"bogus": 2}, "parts": [{"name": "a", "bogus": 3}], "free": {"any": {"thing": [1]}}}
    answer = await api.post("widgets", {**widget("one", spec), "bogus": {}})
    assert answer.code == 201
    assert "bogus" not in answer.body
    assert "bogus" not in answer.spec
    assert answer.spec["nested"] == {"depth": 7}
    assert answer.spec["parts"] == [{"name": "a", "count": 1}]
    assert answer.spec["free"] == {"any": {"thing": [1]}}
    assert sorted(answer.warnings) == [
        'unknown field \\"bogus\\"',
        'unknown field \\"spec.bogus\\"',
        'unknown field \\"spec.nested.bogus\\"',
        'unknown field \\"spec.parts[0].bogus\\"',
    ]


async def test_unknown_fields_are_refused_together_when_asked_to(api: Api) -> None:
    answer = await api.post("widgets", widget("one", {"bogus": 1, "strange": 2}), fieldValidation="Strict")
    assert answer.refusal() == (400, "BadRequest")
    assert 'strict decoding error: unknown field "spec.bogus", unknown field "spec.strange"' in answer.message


async def test_an_embedded_object_keeps_its_fields_and_needs_a_type(api: Api) -> None:
    inner = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "x"}, "any": {"thing": 1}}
    created = await api.create("widgets", widget("one", {"embedded": inner}))
    assert created["spec"]["embedded"] == inner
    answer = await api.post("widgets", widget("two", {"embedded": {"metadata": {"name": "x"}}}))
    assert answer.causes == {
        ("FieldValueRequired", "spec.embedded.apiVersion"),
        ("FieldValueRequired", "spec.embedded.kind"),
        RULES_NOT_RUN,
    }


async def test_built_in_kinds_drop_what_they_do_not_know(api: Api) -> None:
    body = deployment("one", container("c", bogus=1))
    answer = await api.post("deployments", body)
    assert "bogus" not in answer.spec["template"]["spec"]["containers"][0]
    assert answer.warnings == ['unknown field \\"spec.template.spec.containers[0].bogus\\"']


# --- validation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "reason", "field", "text"),
    [
        ({"color": None}, "FieldValueRequired", "spec.color", "Required value"),
        ({"color": 1}, TYPE, "spec.color", 'must be of type string: "integer"'),
        ({"color": ""}, INVALID, "spec.color", "should be at least 1 chars long"),
        ({"color": "x" * 21}, "FieldValueTooLong", "spec.color", "may not be more than 20 bytes"),
        ({"size": 0}, INVALID, "spec.size", "should be greater than or equal to 1"),
        ({"size": 101}, INVALID, "spec.size", "should be less than or equal to 100"),
        ({"size": "5"}, TYPE, "spec.size", 'must be of type integer: "string"'),
        ({"size": 1.5}, TYPE, "spec.size", 'must be of type integer: "number"'),
        ({"small": 3000000000}, *RULES_NOT_RUN, "int32"),
        ({"ratio": 0.75}, INVALID, "spec.ratio", "should be a multiple of 0.5"),
        ({"above": 0}, INVALID, "spec.above", "should be greater than 0"),
        ({"enabled": "yes"}, TYPE, "spec.enabled", 'must be of type boolean: "string"'),
        ({"mode": "Odd"}, UNSUPPORTED, "spec.mode", 'supported values: "Fast", "Slow"'),
        ({"code": "A1"}, INVALID, "spec.code", "should match '^[a-z]+$'"),
        ({"at": "yesterday"}, TYPE, "spec.at", "must be of type date-time"),
        ({"port": 1.5}, TYPE, "spec.port", "must be of type integer,string"),
        ({"tags": ["a", "a"]}, "FieldValueDuplicate", "spec.tags[1]", 'Duplicate value: "a"'),
        ({"tags": ["a", "b", "c", "d", "e"]}, "FieldValueTooMany", "spec.tags", "must have at most 4 items"),
        ({"tags": "a"}, TYPE, "spec.tags", 'must be of type array: "string"'),
        ({"parts": [{"name": "a"}, {"name": "a"}]}, "FieldValueDuplicate", "spec.parts[1]", "Duplicate value"),
        ({"parts": [{"count": 1}]}, "FieldValueRequired", "spec.parts[0].name", "Required value"),
        ({"parts": [{"name": "a", "count": "x"}]}, TYPE, "spec.parts[0].count", "must be of type integer"),
        ({"parts": {}}, TYPE, "spec.parts", 'must be of type array: "object"'),
        ({"notes": {"a": "1", "b": "2", "c": "3"}}, "FieldValueTooMany", "spec.notes", "must have at most 2 items"),
        ({"notes": {"a": 1}}, TYPE, "spec.notes.a", 'must be of type string: "integer"'),
        ({"notes": {"a": "x" * 11}}, "FieldValueTooLong", "spec.notes.a", "may not be more than 10 bytes"),
        ({"either": {}}, *RULES_NOT_RUN, "must validate one and only one schema (oneOf)"),
        ({"either": {"a": "1", "b": "2"}}, *RULES_NOT_RUN, "must validate one and only one schema (oneOf)"),
        ({"nested": []}, TYPE, "spec.nested", 'must be of type object: "array"'),
    ],
)  # fmt: skip
async def test_a_bad_field_is_named(api: Api, spec: Object, reason: str, field: str, text: str) -> None:
    if spec == {"color": None}:
        body = widget("one")
        del body["spec"]["color"]
    else:
        body = widget("one", spec)
    answer = await api.post("widgets", body)
    assert answer.refusal() == (422, "Invalid")
    assert (reason, field) in answer.causes
    assert text in answer.message
    assert answer.message.startswith(f'Widget.{GROUP} "one" is invalid: ')
    assert answer.body["details"]["kind"] == "Widget"


async def test_all_complaints_come_at_once(api: Api) -> None:
    answer = await api.post("widgets", widget("one", {"size": 0, "mode": "Odd", "code": "A"}))
    assert answer.causes == {
        (INVALID, "spec.size"),
        (UNSUPPORTED, "spec.mode"),
        (INVALID, "spec.code"),
        RULES_NOT_RUN,
    }
    assert answer.message.startswith(f'Widget.{GROUP} "one" is invalid: [')


@pytest.mark.parametrize("port", [80, "http"])
async def test_a_number_or_text_may_be_either(api: Api, port: Any) -> None:
    assert (await api.create("widgets", widget("one", {"port": port})))["spec"]["port"] == port


async def test_a_spec_that_is_no_object_is_refused(api: Api) -> None:
    answer = await api.post("widgets", {**widget("one"), "spec": "text"})
    assert {(TYPE, "spec"), RULES_NOT_RUN} <= answer.causes


async def test_metadata_that_is_no_object_is_refused(api: Api) -> None:
    answer = await api.post("widgets", {**widget("one"), "metadata": "text"})
    assert answer.refusal() == (400, "BadRequest")


async def test_large_whole_numbers_keep_every_digit(api: Api) -> None:
    created = await api.create("widgets", widget("one", {"big": 9007199254740993}))
    assert created["spec"]["big"] == 9007199254740993


@pytest.mark.parametrize(
    ("spec", "causes"),
    [
        ({"containers": []}, {("FieldValueRequired", "spec.containers")}),
        (
            {"containers": [{"name": "UP", "image": "i"}]},
            {(INVALID, "spec.containers[0].name")},
        ),
        ({"containers": [{"name": "a"}]}, {("FieldValueRequired", "spec.containers[0].image")}),
        (
            {"containers": [container("a"), container("a")]},
            {("FieldValueDuplicate", "spec.containers[1].name")},
        ),
        (
            {"containers": [container("a", env=[{"name": ""}])]},
            {("FieldValueRequired", "spec.containers[0].env[0].name")},
        ),
        (
            {"containers": [container("a", volumeMounts=[{"name": "none", "mountPath": "/x"}])]},
            {("FieldValueNotFound", "spec.containers[0].volumeMounts[0].name")},
        ),
        ({"restartPolicy": "Sometimes"}, {(UNSUPPORTED, "spec.restartPolicy")}),
        (
            {"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]},
            {("FieldValueForbidden", "spec.volumes[0].hostPath")},
        ),
        ({"activeDeadlineSeconds": 0}, {(INVALID, "spec.activeDeadlineSeconds")}),
        (
            {"containers": [container("a", resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})]},
            {(INVALID, "spec.containers[0].resources.requests")},
        ),
    ],
    ids=["no containers", "bad name", "no image", "name given twice", "nameless variable", "mount of nothing",
         "unknown policy", "two sources", "no deadline", "more than the limit"],
)  # fmt: skip
async def test_a_bad_pod_is_refused(api: Api, spec: Object, causes: set[tuple[str, str]]) -> None:
    await api.until_pods_are_taken()
    body = pod("one")
    body["spec"] |= spec
    answer = await api.post("pods", body)
    assert answer.refusal() == (422, "Invalid"), answer.message
    assert answer.causes == causes


async def test_most_of_a_pod_is_immutable(api: Api) -> None:
    await api.until_pods_are_taken()
    await api.create("pods", pod("one"))
    answer = await api.patch("pods", "one", {"spec": {"hostname": "other"}}, MERGE_PATCH)
    assert answer.refusal() == (422, "Invalid")
    assert answer.causes == {("FieldValueForbidden", "spec")}
    assert "pod updates may not change fields other than" in answer.message


async def test_a_jobs_template_is_immutable(api: Api) -> None:
    await api.create("jobs", job("one", suspend=False, parallelism=0))
    answer = await api.patch("jobs", "one", {"spec": {"template": {"spec": {"hostname": "other"}}}})
    assert answer.refusal() == (422, "Invalid")
    assert (INVALID, "spec.template") in answer.causes
    assert "field is immutable" in answer.message


async def test_a_deployments_selector_is_immutable(api: Api) -> None:
    await api.create("deployments", deployment("one"))
    labels = {"app": "other"}
    patch = {"spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}}
    answer = await api.patch("deployments", "one", patch)
    assert answer.causes == {(INVALID, "spec.selector")}


async def test_a_deployment_must_select_its_own_pods(api: Api) -> None:
    answer = await api.post("deployments", deployment("one", selector={"matchLabels": {"app": "other"}}))
    assert answer.causes == {(INVALID, "spec.template.metadata.labels")}
    assert "`selector` does not match template `labels`" in answer.message


async def test_a_job_must_not_restart_always(api: Api) -> None:
    body = job("one")
    body["spec"]["template"]["spec"]["restartPolicy"] = "Always"
    answer = await api.post("jobs", body)
    assert answer.causes == {("FieldValueRequired", "spec.template.spec.restartPolicy")}
    assert 'valid values: "OnFailure", "Never"' in answer.message


async def test_owner_references_are_checked(api: Api) -> None:
    first = {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "1", "controller": True}
    second = {**first, "name": "b", "uid": "2"}
    answer = await api.post("configmaps", config_map("one", ownerReferences=[first, second]))
    assert answer.causes == {(INVALID, "metadata.ownerReferences")}
    assert "Only one reference can have Controller set to true" in answer.message


@pytest.mark.parametrize("name", ["bare", "example.com/Bad Name"])
async def test_a_custom_objects_finalizers_are_qualified(api: Api, name: str) -> None:
    answer = await api.post("widgets", widget("one", finalizers=[name]))
    if name == "bare":
        assert answer.code == 201
        assert any("prefer a domain-qualified finalizer name" in text for text in answer.warnings)
        await api.patch("widgets", "one", {"metadata": {"finalizers": None}})
    else:
        assert answer.causes == {(INVALID, "metadata.finalizers")}
