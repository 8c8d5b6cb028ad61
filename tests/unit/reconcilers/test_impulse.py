"""What the controller of Impulses does, step by step, and what it reports."""

from __future__ import annotations

from typing import Any

import pytest

from core.api.objects import Object
from core.api.resource import (
    DEPLOYMENT,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    STORY_TRIGGER,
    Resource,
)
from core.engine.errors import UnavailableError
from core.policy.settings import CrossNamespacePolicy, OperatorSettings
from kubewire import status_failure
from reconcilers.adapters.impulse_access import RECHECK_MISSING
from reconcilers.runtime.outcome import Done, RetryLater
from tests.unit.reconcilers.impulse_world import (
    NAMESPACE,
    PORTS,
    RUNNER,
    WORKLOAD,
    ImpulseStage,
    open_stage,
)
from tests.unit.reconcilers.reconciler_samples import controlled, stored


async def test_a_new_impulse_gets_access_service_and_workload_in_this_order() -> None:
    async with open_stage() as stage:
        stage.definitions(template={"execution": PORTS})
        assert await stage.reconcile() == Done()
        assert stage.server.writes == [
            "POST serviceaccounts",
            "POST roles",
            "POST rolebindings",
            "POST services",
            "POST deployments",
            "PATCH impulses/status",
        ]
        for resource, name in ((SERVICE_ACCOUNT, RUNNER), (ROLE, RUNNER), (ROLE_BINDING, RUNNER), (SERVICE, WORKLOAD)):
            made = stage.stored_object(resource, name)
            assert made is not None
            assert made["metadata"]["ownerReferences"][0]["name"] == "hook"
        assert (stage.status["phase"], stage.ready["reason"]) == ("Pending", "Reconciling")
        assert stage.ready["message"] == "waiting for Deployment pods"


async def test_an_impulse_that_is_as_it_should_be_costs_no_request() -> None:
    async with open_stage() as stage:
        stage.definitions(template={"execution": PORTS})
        await stage.reconcile()
        stage.running()
        await stage.reconcile()
        assert (stage.status["phase"], stage.ready["status"]) == ("Running", "True")
        assert stage.ready["reason"] == "DeploymentReady"
        sent = len(stage.server.requests)
        await stage.reconcile()
        assert len(stage.server.requests) == sent
        stage.restart()
        await stage.reconcile()
        assert stage.server.requests[sent:] == ["GET serviceaccounts", "GET roles", "GET rolebindings"]


@pytest.mark.parametrize(
    ("replicas", "ready", "phase", "status", "reason", "message"),
    [
        (0, 0, "Pending", "False", "Reconciling", "waiting for Deployment pods"),
        (1, 0, "Pending", "False", "Reconciling", "waiting for Deployment pods"),
        (2, 1, "Running", "False", "Reconciling", "Deployment is scaling up"),
        (1, 1, "Running", "True", "DeploymentReady", "active and listening"),
        (3, 3, "Running", "True", "DeploymentReady", "active and listening"),
        (0, 1, "Running", "True", "DeploymentReady", "active and listening"),
        (1, 2, "Running", "False", "Reconciling", "active and listening"),
    ],
)
async def test_the_phase_follows_the_pods(
    replicas: int, ready: int, phase: str, status: str, reason: str, message: str
) -> None:
    async with open_stage() as stage:
        stage.definitions()
        await stage.reconcile()
        stage.running(replicas=replicas, ready=ready)
        await stage.reconcile()
        assert (stage.status["phase"], stage.ready["status"], stage.ready["reason"]) == (phase, status, reason)
        assert stage.ready["message"] == message
        assert (stage.status["replicas"], stage.status["readyReplicas"]) == (replicas, ready)
        assert stage.status["observedGeneration"] == 1


async def test_an_impulse_that_is_down_says_what_its_pod_suffers_from() -> None:
    async with open_stage() as stage:
        stage.definitions()
        await stage.reconcile()
        stage.running(replicas=1, ready=0)
        labels = {"app.kubernetes.io/name": "bobrapet-impulse", "app.kubernetes.io/instance": "hook"}
        owner = {"kind": "ReplicaSet", "name": f"{WORKLOAD}-abc", "uid": "r", "controller": True}
        waiting = {"name": "impulse", "image": "img", "state": {"waiting": {"reason": "ErrImagePull"}}}
        pod = stored("Pod", "p", meta={"labels": labels, "ownerReferences": [owner]}, status={})
        pod["status"] = {"phase": "Pending", "containerStatuses": [waiting]}
        stage.know("pods", pod)
        await stage.reconcile()
        assert stage.ready["message"] == "waiting for Deployment pods: Pod p cannot pull its image img"


@pytest.mark.parametrize(("missing", "reason"), [("templateRef", "TemplateNotFound"), ("storyRef", "StoryNotFound")])
async def test_what_is_missing_is_named_once_and_waited_for(missing: str, reason: str) -> None:
    async with open_stage() as stage:
        stage.definitions(**{missing: {"name": "gone"}})
        for _ in range(3):
            assert await stage.reconcile() == Done()
        assert (stage.status["phase"], stage.ready["reason"]) == ("Blocked", reason)
        assert "gone" in stage.ready["message"]
        assert [emitted[2] for emitted in stage.events.emitted] == [reason]
        assert stage.server.writes == ["PATCH impulses/status"]


async def test_a_story_out_of_reach_fails_the_impulse_until_the_policy_allows_it() -> None:
    async with open_stage() as stage:
        stage.definitions(storyRef={"name": "report", "namespace": "shared"})
        stage.world.stories.remember(stored("Story", "report", namespace="shared", spec={"steps": []}))
        assert await stage.reconcile() == Done()
        assert (stage.status["phase"], stage.ready["reason"]) == ("Failed", "StoryReferenceInvalid")
        stage.settings = OperatorSettings(cross_namespace_policy=CrossNamespacePolicy.ALLOW)
        await stage.reconcile()
        assert stage.status["phase"] == "Pending"
        env = _env(stage)
        assert (env["BUBU_IMPULSE_NAMESPACE"], env["BUBU_TARGET_STORY_NAMESPACE"]) == ("team", "shared")


def _env(stage: ImpulseStage) -> dict[str, Any]:
    made = stage.stored_object(DEPLOYMENT, WORKLOAD)
    assert made is not None
    [container] = made["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable.get("value") for variable in container["env"]}


async def test_a_configuration_that_cannot_be_used_is_told_and_not_retried() -> None:
    async with open_stage() as stage:
        stage.definitions(template={"image": ""})
        assert await stage.reconcile() == Done()
        assert (stage.status["phase"], stage.ready["reason"]) == ("Failed", "InvalidConfiguration")
        assert "spec.image" in stage.ready["message"]


FOREIGN: Object = {"kind": "Impulse", "name": "other", "uid": "x", "controller": True}


@pytest.mark.parametrize(
    ("resource", "name", "event"),
    [
        (SERVICE_ACCOUNT, RUNNER, "AccessReconcileFailed"),
        (ROLE, RUNNER, "AccessReconcileFailed"),
        (ROLE_BINDING, RUNNER, "AccessReconcileFailed"),
        (SERVICE, WORKLOAD, "ServiceReconcileFailed"),
        (DEPLOYMENT, WORKLOAD, "DeploymentReconcileFailed"),
    ],
)
@pytest.mark.parametrize("owners", [[], [FOREIGN], [{**FOREIGN, "kind": "Deployment"}]], ids=["none", "other", "kind"])
async def test_an_object_that_the_impulse_does_not_control_is_never_adopted(
    resource: Resource, name: str, event: str, owners: list[Object]
) -> None:
    async with open_stage() as stage:
        stage.definitions(template={"execution": PORTS})
        foreign = stored(resource.kind, name, meta={"ownerReferences": owners}, spec={"foreign": True})
        before = stage.server.put(resource.plural, foreign)
        for _ in range(2):
            assert isinstance(await stage.reconcile(), RetryLater)
        assert stage.stored_object(resource, name) == before
        assert (stage.status["phase"], stage.ready["reason"]) == ("Failed", "NameConflict")
        assert f"{resource.kind} {NAMESPACE}/{name}" in stage.ready["message"]
        assert [emitted[2] for emitted in stage.events.emitted if emitted[1] == "Warning"] == [event]
        stage.server.ended(resource.plural, name)
        assert await stage.reconcile() == Done()
        assert stage.status["phase"] == "Pending"


async def test_objects_of_a_deleted_impulse_of_that_name_are_waited_for() -> None:
    async with open_stage() as stage:
        stage.definitions()
        old: Object = {"kind": "Impulse", "name": "hook", "uid": "before", "controller": True}
        stage.server.put("deployments", stored("Deployment", WORKLOAD, meta={"ownerReferences": [old]}, spec={}))
        with pytest.raises(UnavailableError, match="is still being removed"):
            await stage.reconcile()


async def test_another_mode_ends_the_pods_of_the_old_workload_before_the_new_one_starts() -> None:
    async with open_stage() as stage:
        stage.definitions(template={"execution": PORTS})
        await stage.reconcile()
        stage.running()
        stage.change("impulses", "hook", spec={"workload": {"mode": "statefulset"}}, metadata={"generation": 2})
        assert await stage.reconcile() == Done()
        assert stage.server.writes[-2:] == ["DELETE services", "PATCH impulses/status"]  # it becomes headless
        await stage.reconcile()
        assert "DELETE deployments" in stage.server.writes
        assert stage.stored_object(STATEFUL_SET, WORKLOAD) is None
        assert (stage.status["phase"], stage.status["readyReplicas"]) == ("Pending", 1)
        assert "must end first" in stage.ready["message"]
        await stage.reconcile()
        assert stage.stored_object(STATEFUL_SET, WORKLOAD) is None
        stage.hear_end("deployments", WORKLOAD)
        await stage.reconcile()
        made, service = stage.stored_object(STATEFUL_SET, WORKLOAD), stage.stored_object(SERVICE, WORKLOAD)
        assert made is not None
        assert service is not None
        assert (made["spec"]["serviceName"], service["spec"]["clusterIP"]) == (WORKLOAD, "None")
        assert stage.ready["message"] == "waiting for StatefulSet pods"


async def test_another_template_means_another_workload_and_the_old_one_goes() -> None:
    async with open_stage() as stage:
        stage.definitions()
        await stage.reconcile()
        spec = {"image": "img", "version": "1", "supportedModes": ["deployment"]}
        stage.know("impulsetemplates", stored("ImpulseTemplate", "next", namespace="", spec=spec))
        stage.change("impulses", "hook", spec={"templateRef": {"name": "next"}}, metadata={"generation": 2})
        await stage.reconcile()
        stage.hear_end("deployments", WORKLOAD)
        await stage.reconcile()
        assert stage.stored_object(DEPLOYMENT, "hook-next-impulse") is not None


async def test_a_stateful_set_without_ports_is_refused() -> None:
    async with open_stage() as stage:
        stage.definitions(workload={"mode": "statefulset"})
        await stage.reconcile()
        assert (stage.status["phase"], stage.ready["reason"]) == ("Failed", "ServiceReconcileFailed")
        assert stage.stored_object(STATEFUL_SET, WORKLOAD) is None


async def test_services_of_the_impulse_with_other_names_go_and_those_of_others_stay() -> None:
    async with open_stage() as stage:
        stage.definitions(template={"execution": PORTS})
        impulse = stage.server.objects["impulses", "hook"]
        own = stored("Service", "old-name", meta={"ownerReferences": [controlled(impulse)]}, spec={})
        stage.know("services", own)
        stage.know("services", stored("Service", "users", meta={"ownerReferences": []}, spec={}))
        await stage.reconcile()
        assert stage.stored_object(SERVICE, "old-name") is None
        assert stage.stored_object(SERVICE, "users") is not None
        assert stage.stored_object(SERVICE, WORKLOAD) is not None


async def test_without_ports_no_service_of_another_owner_is_deleted() -> None:
    async with open_stage() as stage:
        stage.definitions(workload={"mode": "deployment", "statefulSet": {"serviceName": "users"}})
        stage.know("services", stored("Service", "users", spec={}))
        await stage.reconcile()
        assert stage.stored_object(SERVICE, "users") is not None
        assert stage.status["phase"] == "Pending"


async def test_a_changed_template_is_rolled_out_with_one_patch() -> None:
    async with open_stage() as stage:
        stage.definitions()
        await stage.reconcile()
        stage.running()
        await stage.reconcile()
        sent = len(stage.server.writes)
        stage.change("impulsetemplates", "webhook", spec={"image": "next"})
        await stage.reconcile()
        assert stage.server.writes[sent:] == ["PATCH deployments"]
        made = stage.stored_object(DEPLOYMENT, WORKLOAD)
        assert made is not None
        assert made["spec"]["template"]["spec"]["containers"][0]["image"] == "next"
        await stage.reconcile()
        assert stage.server.writes[sent:] == ["PATCH deployments"]


async def test_an_annotation_suspends_and_resumes_the_listener() -> None:
    async with open_stage() as stage:
        stage.definitions()
        await stage.reconcile()
        stage.running()
        stage.change("deployments", WORKLOAD, spec={"replicas": 3})
        stage.change("impulses", "hook", metadata={"annotations": {"bubustack.io/suspend": "true"}})
        await stage.reconcile()
        suspended = stage.stored_object(DEPLOYMENT, WORKLOAD)
        assert suspended is not None
        assert suspended["spec"]["replicas"] == 0
        assert (stage.status["phase"], stage.ready["reason"]) == ("Paused", "Suspended")
        stage.change("impulses", "hook", metadata={"annotations": {"bubustack.io/suspend": None}})
        await stage.reconcile()
        resumed = stage.stored_object(DEPLOYMENT, WORKLOAD)
        assert resumed is not None
        assert resumed["spec"]["replicas"] == 3


@pytest.mark.parametrize("missing", ["template", "story", "access"])
async def test_a_suspension_counts_whatever_holds_the_listener_up(missing: str) -> None:
    async with open_stage() as stage:
        stage.definitions()
        await stage.reconcile()
        stage.running()
        if missing == "access":
            stage.server.refusals["GET roles"] = status_failure("Forbidden", "no", code=403)
            stage.restart()
        else:
            field = "templateRef" if missing == "template" else "storyRef"
            stage.change("impulses", "hook", spec={field: {"name": "gone"}}, metadata={"generation": 2})
        await stage.reconcile()
        assert stage.status["phase"] == ("Failed" if missing == "access" else "Blocked")
        assert stage.ready["message"].endswith(". Until then, its Deployment stays as it is")
        stage.change("impulses", "hook", metadata={"annotations": {"bubustack.io/suspend": "true"}})
        await stage.reconcile()
        suspended = stage.stored_object(DEPLOYMENT, WORKLOAD)
        assert suspended is not None
        assert (suspended["spec"]["replicas"], stage.status["phase"]) == (0, "Paused")
        assert stage.ready["reason"] == "Suspended"
        assert "after that, this prevents its start: " in stage.ready["message"]
        sent = len(stage.server.writes)
        await stage.reconcile()
        assert stage.server.writes[sent:] == []


async def test_a_secret_that_a_pod_waits_for_is_named_until_it_exists() -> None:
    async with open_stage() as stage:
        schema = {"auth": {"expectedKeys": ["token"]}}
        stage.definitions(template={"secretSchema": schema}, secrets={"auth": "keys"})
        await stage.reconcile()
        missing = "Secret 'keys' (secrets.auth) does not exist"
        assert stage.ready["message"] == f"waiting for Deployment pods: {missing}"
        stage.server.put("secrets", stored("Secret", "keys", data={}))
        stage.now += RECHECK_MISSING
        await stage.reconcile()
        assert stage.ready["message"] == "waiting for Deployment pods: Secret 'keys' lacks token"
        stage.server.put("secrets", stored("Secret", "keys", data={"token": "eA=="}))
        stage.now += RECHECK_MISSING
        await stage.reconcile()
        assert stage.ready["message"] == "waiting for Deployment pods"
        sent = len(stage.server.requests)
        stage.now += RECHECK_MISSING
        await stage.reconcile()
        assert stage.server.requests[sent:] == []


async def test_each_decision_about_the_listener_is_an_event() -> None:
    async with open_stage() as stage:
        stage.definitions(template={"execution": PORTS})
        await stage.reconcile()
        stage.running()
        stage.change("impulsetemplates", "webhook", spec={"image": "next"})
        await stage.reconcile()
        for value in ("true", None):
            stage.change("impulses", "hook", metadata={"annotations": {"bubustack.io/suspend": value}})
            await stage.reconcile()
        ports = [{"name": "http", "port": 81, "targetPort": 8080}]
        stage.change("impulsetemplates", "webhook", spec={"execution": {"service": {"ports": ports}}})
        await stage.reconcile()
        stage.change("impulsetemplates", "webhook", spec={"execution": None})
        await stage.reconcile()
        spec = {"image": "img", "version": "1", "supportedModes": ["deployment"]}
        stage.know("impulsetemplates", stored("ImpulseTemplate", "next", namespace="", spec=spec))
        stage.change("impulses", "hook", spec={"templateRef": {"name": "next"}}, metadata={"generation": 2})
        await stage.reconcile()
        told = [reason for _, type_, reason in stage.events.emitted if type_ == "Normal"]
        assert told == [
            "DeploymentUpdated",
            "DeploymentSuspended",
            "DeploymentResumed",
            "ServiceUpdated",
            "ServiceDeleted",
            "DeploymentDeleted",
        ]


async def test_with_an_account_of_its_own_the_managed_role_loses_its_rules() -> None:
    async with open_stage() as stage:
        stage.definitions()
        await stage.reconcile()
        stage.change("impulses", "hook", spec={"execution": {"serviceAccountName": "mine"}}, metadata={"generation": 2})
        await stage.reconcile()
        role, made = stage.stored_object(ROLE, RUNNER), stage.stored_object(DEPLOYMENT, WORKLOAD)
        assert role is not None
        assert made is not None
        assert role["rules"] == []
        assert made["spec"]["template"]["spec"]["serviceAccountName"] == "mine"
        for _ in range(2):
            await stage.reconcile()
        assert [emitted[2] for emitted in stage.events.emitted].count("CustomServiceAccount") == 1
        stage.restart()
        await stage.reconcile()
        assert [emitted[2] for emitted in stage.events.emitted].count("CustomServiceAccount") == 1


async def test_a_role_that_somebody_changed_is_restored_when_it_is_checked_again() -> None:
    async with open_stage() as stage:
        stage.definitions()
        await stage.reconcile()
        role = stage.stored_object(ROLE, RUNNER)
        assert role is not None
        stage.server.put("roles", {**role, "rules": []})
        stage.restart()
        await stage.reconcile()
        restored = stage.stored_object(ROLE, RUNNER)
        assert restored is not None
        assert restored["rules"] == role["rules"]


async def test_when_the_api_server_does_not_answer_nothing_is_reported_and_it_is_tried_again() -> None:
    async with open_stage() as stage:
        stage.definitions()
        stage.server.refusals["POST deployments"] = status_failure("ServiceUnavailable", "away", code=503)
        with pytest.raises(UnavailableError):
            await stage.reconcile()
        assert stage.status == {}


async def test_what_the_api_server_refuses_is_reported_and_tried_again() -> None:
    async with open_stage() as stage:
        stage.definitions()
        stage.server.refusals["POST deployments"] = status_failure("Invalid", "bad image", code=422)
        assert isinstance(await stage.reconcile(), RetryLater)
        assert (stage.status["phase"], stage.ready["reason"]) == ("Failed", "DeploymentReconcileFailed")
        assert "bad image" in stage.ready["message"]


async def test_a_permission_that_the_operator_lacks_is_named_with_a_remedy() -> None:
    async with open_stage() as stage:
        stage.definitions()
        text = "attempting to grant RBAC permissions not currently held:\n{Resources:[x]}"
        stage.server.refusals["POST roles"] = status_failure("Forbidden", text, code=403)
        assert isinstance(await stage.reconcile(), RetryLater)
        assert stage.ready["reason"] == "PermissionDenied"
        assert "bubustack.io/aggregate-to-runner-grants" in stage.ready["message"]


@pytest.mark.parametrize("call", ["POST serviceaccounts", "POST services", "POST deployments"])
async def test_in_a_namespace_that_is_being_deleted_it_stops_quietly(call: str) -> None:
    async with open_stage() as stage:
        stage.definitions(template={"execution": PORTS})
        details = {"causes": [{"reason": "NamespaceTerminating", "message": "x", "field": "metadata.namespace"}]}
        stage.server.refusals[call] = status_failure("Forbidden", "being terminated", code=403, details=details)
        assert await stage.reconcile() == Done()
        assert (stage.status, stage.events.emitted) == ({}, stage.events.emitted)


@pytest.mark.parametrize("phase", ["Succeeded", "Canceled", "Compensated"])
async def test_an_impulse_that_has_ended_is_left_alone(phase: str) -> None:
    async with open_stage() as stage:
        stage.definitions()
        stage.change("impulses", "hook", status={"phase": phase})
        assert await stage.reconcile() == Done()
        assert stage.server.requests == []


async def test_a_workload_of_an_impulse_in_deletion_is_not_created_again() -> None:
    async with open_stage() as stage:
        stage.definitions()
        await stage.reconcile()
        stage.hear_end("deployments", WORKLOAD)
        stage.server.ended("impulses", "hook")
        with pytest.raises(Exception, match="has been deleted"):
            await stage.reconcile()
        assert stage.stored_object(DEPLOYMENT, WORKLOAD) is None


async def test_triggers_count_in_the_namespaces_of_impulse_and_story_only() -> None:
    async with open_stage() as stage:
        stage.definitions(storyRef={"name": "report", "namespace": "shared"})
        stage.settings = OperatorSettings(cross_namespace_policy=CrossNamespacePolicy.ALLOW)
        decided = {"decision": "Created", "acceptedAt": "2025-01-02T03:00:00Z", "completedAt": "2025-01-02T03:00:00Z"}
        reference = {"name": "hook", "namespace": "team"}
        for namespace in ("team", "shared", "elsewhere"):
            trigger = stored(
                "StoryTrigger", f"t-{namespace}", namespace=namespace, spec={"impulseRef": reference}, status=decided
            )
            stage.world.informer(STORY_TRIGGER).remember(trigger)
        await stage.reconcile()
        assert (stage.status["triggersReceived"], stage.status["storiesLaunched"]) == (2, 2)
