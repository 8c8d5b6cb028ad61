"""Each value of a step's Job and its layer: before the step, while it runs, afterwards, and with few rights."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from core.api.objects import Object
from tests.unit.core.workloads import golden_jobs
from tests.unit.views.explain_samples import facts
from views.explain.document import document_of
from views.explain.explanation import explain_step
from views.explain.facts import ExplainedValue, StepExplanation
from views.explain.job import is_same, job_values
from views.explain.settings import field_of

LATER = "2026-01-02T03:10:00Z"
EARLIER = "2026-01-02T03:00:00Z"


def by_setting(explanation: StepExplanation) -> dict[str, ExplainedValue]:
    return {value.setting: value for value in explanation.values}


def sources(explanation: StepExplanation, *settings: str) -> dict[str, tuple[Any, str]]:
    values = by_setting(explanation)
    return {setting: (values[setting].value, values[setting].source) for setting in settings}


def changed(obj: Object, at: str, **spec: Any) -> Object:
    """``obj`` with another spec, written ``at`` that time."""
    managed = [{"time": at, "manager": "kubectl"}, {"time": "2027-01-01T00:00:00Z", "subresource": "status"}]
    metadata = {**obj["metadata"], "creationTimestamp": EARLIER, "managedFields": managed}
    return {**obj, "metadata": metadata, "spec": {**obj["spec"], **spec}}


# Before the step.


def test_each_value_has_its_layer_before_the_step_has_started() -> None:
    explanation = explain_step(facts())

    assert explanation.state == "has not started; its Job would now get these values"
    assert (explanation.engram, explanation.template, explanation.job) == ("team-a/worker", "worker", "")
    assert sources(
        explanation,
        *("image", "resources.cpuLimit", "resources.memoryLimit", "resources.cpuRequest", "sharedMemory"),
        *("resources.extended.nvidia.com/gpu", "runtimeClassName", "placement.nodeSelector.accelerator"),
        *(
            "timeout",
            "job.activeDeadlineSeconds",
            "job.backoffLimit",
            "retry.maxRetries",
            "debug",
        ),
    ) == {
        "image": ("registry.example/worker:1", "EngramTemplate worker"),
        "resources.cpuLimit": ("8", "EngramTemplate worker"),
        "resources.memoryLimit": ("128Gi", "Story step"),
        "resources.cpuRequest": ("100m", "operator setting resources.default.cpu-request (built-in)"),
        "sharedMemory": ("16Gi", "EngramTemplate worker"),
        "resources.extended.nvidia.com/gpu": ("4", "Story step"),
        "runtimeClassName": ("nvidia", "EngramTemplate worker"),
        "placement.nodeSelector.accelerator": ("a100", "Story step"),
        "timeout": ("4h0m0s", "Story step"),
        "job.activeDeadlineSeconds": (14520, "timeout + 2m0s"),
        "job.backoffLimit": (0, "operator setting job.backoff-limit (built-in)"),
        "retry.maxRetries": (3, "operator setting retry.max-retries (built-in)"),
        "debug": (False, "built-in"),
    }
    assert not explanation.differing
    assert not explanation.problems


def test_retries_and_timeouts_have_layers_too() -> None:
    assert sources(
        explain_step(facts("retries-and-timeouts")),
        *("timeout", "retry.maxRetries", "retry.delay", "retry.maxDelay", "retry.backoff", "retry.jitter"),
        "retry.retryOn",
        *("job.backoffLimit", "job.restartPolicy", "job.ttlSecondsAfterFinished"),
    ) == {
        "timeout": ("1m30s", "Story policy"),
        "retry.maxRetries": (4, "Story policy"),
        "retry.delay": ("5s", "EngramTemplate worker"),
        "retry.maxDelay": ("1m0s", "EngramTemplate worker"),
        "retry.backoff": ("linear", "Story policy"),
        "retry.jitter": (0, "built-in"),
        "retry.retryOn": (["transient"], "built-in"),
        "job.backoffLimit": (1, "operator setting job.backoff-limit"),
        "job.restartPolicy": ("OnFailure", "Story policy"),
        "job.ttlSecondsAfterFinished": (600, "operator setting job.ttl-seconds-after-finished"),
    }


def test_secrets_and_stores_are_shown_by_name() -> None:
    secrets = sources(explain_step(facts("secrets")), "secrets.api", "secrets.database", "secrets.both")
    assert secrets == {
        "secrets.api": ("api-of-step", "Story step"),
        "secrets.database": ("database", "Engram worker overrides"),
        "secrets.both": ("both", "Engram worker overrides"),
    }
    store = sources(explain_step(facts("s3-store")), "storage", "storage.secret")
    assert store["storage.secret"] == ("team-a-s3", "Story policy")
    assert store["storage"][0]["bucket"] == "team-a"
    of_google = sources(explain_step(facts("gcs-store")), "storage", "storage.secret")
    assert of_google["storage.secret"] == ("payload-store", "operator setting controller.storage.gcs.auth-secret-name")
    endpoint = "https://storage-payloads.p.googleapis.com"
    described = {"provider": "gcs", "bucket": "payloads", "endpoint": endpoint, "timeout": "300s"}
    assert of_google["storage"] == (described, "operator setting controller.storage.*")
    of_azure = by_setting(explain_step(facts("azure-store")))["storage"].value
    assert (of_azure["account"], of_azure["container"]) == ("payloads", "runs")
    assert sources(explain_step(facts("tls")), "tlsSecret") == {"tlsSecret": ("worker-tls", "Engram worker annotation")}
    claim = {"persistentVolumeClaim": {"claimName": "payloads"}}
    assert by_setting(explain_step(facts("file-store")))["storage.volume"].value == claim


def test_a_step_that_asks_for_workers_says_that_one_executes_it() -> None:
    assert warm_notes(modes=["job", "worker"]) == [
        "warm: a kept worker executes the step; there is no Job, and the values are those of its container"
    ]


def test_a_step_that_asks_for_workers_says_why_it_runs_as_a_job() -> None:
    [note] = warm_notes(modes=["job"])

    assert note.startswith("warm: the step runs as a Job: EngramTemplate worker does not have worker in spec.supported")
    assert warm_notes(modes=["job"], warm=None) == []


def warm_notes(modes: list[str], warm: Object | None = {}) -> list[str]:  # noqa: B006 - not changed
    """What ``explain step`` says about workers for an Engram that asks for them, and a template with these modes."""
    given = facts("plain")
    assert given.engram is not None
    assert given.template is not None
    overrides = {**(given.engram["spec"].get("overrides") or {}), "warm": warm}
    engram = {**given.engram, "spec": {**given.engram["spec"], "overrides": overrides}}
    template = {**given.template, "spec": {**given.template["spec"], "supportedModes": modes}}
    explanation = explain_step(replace(given, engram=engram, template=template))
    return [note for note in explanation.notes if note.startswith("warm: ")]


def test_values_that_are_not_applied_are_notes() -> None:
    explanation = explain_step(facts("priority-and-pull-secrets"))
    assert sources(explanation, "priorityClassName") == {"priorityClassName": ("batch-high", "Engram worker overrides")}
    assert ["'system-cluster-critical'" in note for note in explanation.notes] == [True]


@pytest.mark.parametrize("case", golden_jobs.cases())
def test_every_value_of_the_policy_is_explained(case: str) -> None:
    """Whatever a layer has decided is shown, with that layer."""
    values = by_setting(explain_step(facts(case, with_job=True)))
    provenance = golden_jobs.policy_of(case).provenance

    assert {setting: values[field_of(setting)].layer for setting in provenance} == provenance
    assert [value.setting for value in values.values() if not value.source] == []


@pytest.mark.parametrize("case", golden_jobs.cases())
def test_the_shown_values_are_those_of_the_job_that_production_code_makes(case: str) -> None:
    """So nothing differs, also where an API server has rewritten quantities and filled in defaults."""
    given = facts(case, with_job=True)
    assert given.job is not None
    as_stored(given.job)

    explanation = explain_step(given)

    assert [value.setting for value in explanation.differing] == []
    shown = {value.setting for value in explanation.values if value.in_job is not None}
    assert len(shown) > 15


def as_stored(job: Object) -> None:
    """As an API server answers: other spellings of quantities, more fields in volumes."""
    pod = job["spec"]["template"]["spec"]
    resources = pod["containers"][0]["resources"]
    for group in resources.values():
        for name, amount in group.items():
            group[name] = {"500m": "0.5", "128Gi": "131072Mi", "512Mi": "0.5Gi"}.get(amount, amount)
    for volume in pod.get("volumes") or ():
        if "configMap" in volume:
            volume["configMap"]["defaultMode"] = 420
    pod |= {"dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"}
    job["spec"] |= {"completions": 1, "parallelism": 1}


# Beside the Job.


def test_what_differs_from_the_job_says_what_has_changed_since() -> None:
    given = facts(with_job=True)
    assert given.engram is not None
    overrides = {"sharedMemory": "8Gi", "placement": {"nodeSelector": {"disk": "ssd"}}}
    explanation = explain_step(replace(given, engram=changed(given.engram, LATER, overrides=overrides)))

    assert explanation.state == "is running; its Job exists"
    assert {value.setting: (value.value, value.in_job, value.why) for value in explanation.differing} == {
        "sharedMemory": ("8Gi", "16Gi", "the Engram has changed since"),
        "placement.nodeSelector.disk": ("ssd", None, "the Engram has changed since"),
        "security.fsGroup": (None, 1000, "the Engram has changed since"),
        **{
            name: (None, by_setting(explanation)[name].in_job, "the Engram has changed since")
            for name in ("volumes.checkpoints", "volumes.models", "volumes.settings")
        },
    }
    assert by_setting(explanation)["volumes.models"].in_job["readOnly"] is True
    assert by_setting(explanation)["volumes.models"].source == "no layer sets it"


def test_a_status_that_was_written_is_no_change_and_an_earlier_change_is_none_either() -> None:
    given = facts(with_job=True)
    assert given.engram is not None
    assert given.template is not None
    engram = changed(given.engram, EARLIER, overrides={"sharedMemory": "8Gi"})
    template = changed(given.template, LATER)

    explanation = explain_step(replace(given, engram=engram, template=template))

    assert by_setting(explanation)["sharedMemory"].why == "the EngramTemplate has changed since"


def test_the_step_run_keeps_the_retries_it_was_created_with() -> None:
    given = facts("retries-and-timeouts", with_job=True)
    assert given.step_run is not None
    given.step_run["spec"]["retry"] = {"maxRetries": 1, "delay": "5s", "maxDelay": "1m", "backoff": "linear"}

    [value] = explain_step(given).differing

    assert (value.setting, value.value, value.in_job) == ("retry.maxRetries", 4, 1)


def test_overrides_of_the_step_run_are_a_layer() -> None:
    given = facts("layers-in-conflict", with_job=True)
    assert sources(explain_step(given), "resources.cpuLimit") == {"resources.cpuLimit": ("8", "StepRun")}


@pytest.mark.parametrize(
    ("status", "with_job", "state"),
    [
        ({"phase": "Succeeded"}, True, "has ended; its Job still exists"),
        ({"phase": "Succeeded"}, False, "has ended, and its Job was deleted; a new Job would now get these values"),
        ({"phase": "Pending"}, False, "has no Job at the moment; its next Job would now get these values"),
    ],
)
def test_the_state_says_what_is_shown(status: Object, with_job: bool, state: str) -> None:
    given = facts(with_job=True)
    assert given.step_run is not None
    given = replace(given, step_run={**given.step_run, "status": status}, job=given.job if with_job else None)
    assert explain_step(given).state == state


# Without everything.


def test_without_the_operators_settings_their_values_are_unknown_and_not_wrong() -> None:
    """The real ones are other than the built-in ones here; none of the built-in ones is shown."""
    given = replace(facts("priority-and-pull-secrets"), config=None, unseen=("the operator's ConfigMap",))
    values = by_setting(explain_step(given))

    of_operator = [value for value in values.values() if value.source.startswith("operator setting")]
    assert len(of_operator) > 12
    assert [value.setting for value in of_operator if value.value is not None or value.is_known] == []
    assert {"storage", "serviceAccountName", "timeout", "job.activeDeadlineSeconds", "job.backoffLimit"} <= {
        value.setting for value in of_operator
    }
    bounded = values["priorityClassName"]
    assert (bounded.value, bounded.is_known) == ("system-cluster-critical", False)
    assert bounded.source == "Story step, if operator setting security.priority-classes allows it"


def test_a_template_may_name_any_class_whatever_the_settings_are() -> None:
    value = by_setting(explain_step(facts(config=None)))["runtimeClassName"]
    assert (value.value, value.source, value.is_known) == ("nvidia", "EngramTemplate worker", True)


def test_a_job_shows_what_the_operators_settings_are() -> None:
    given = replace(facts("retries-and-timeouts", with_job=True), config=None)
    explanation = explain_step(given)

    backoff = by_setting(explanation)["job.backoffLimit"]
    assert (backoff.value, backoff.in_job, backoff.differs) == (None, 1, False)
    assert explanation.differing == []
    assert explanation.notes[0].startswith("you may not read the operator's ConfigMap")


def test_a_class_that_the_operator_refuses_is_no_change_of_the_engram() -> None:
    explanation = explain_step(replace(facts("priority-and-pull-secrets", with_job=True), config=None))
    [value] = explanation.differing
    assert (value.setting, value.in_job) == ("priorityClassName", "batch-high")
    assert value.why.startswith("the operator's settings do not allow another one, or ")


def test_an_invalid_config_map_is_as_good_as_none() -> None:
    explanation = explain_step(facts(config={"job.backoff-limit": "many"}))
    assert by_setting(explanation)["job.backoffLimit"].value is None
    assert "is invalid" in explanation.notes[0]


@pytest.mark.parametrize("missing", ["engram", "template"])
def test_what_is_missing_is_a_problem_and_the_job_is_shown_still(missing: str) -> None:
    gone: dict[str, Any] = {missing: None}
    explanation = explain_step(replace(facts(with_job=True), **gone))

    [problem] = explanation.problems
    assert "worker does not exist; the step waits for it" in problem
    assert by_setting(explanation)["sharedMemory"].in_job == "16Gi"
    assert not any(value.is_known for value in explanation.values)
    assert explain_step(replace(facts(), **gone)).values == ()


def test_all_problems_of_the_layers_are_told_at_once() -> None:
    given = facts()
    step = {
        **given.step,
        "execution": {
            "timeout": "soon",
            "retry": {"delay": "later"},
            "volumes": [{"name": "a", "mountPath": "/", "hostPath": {}}],
        },
    }
    assert [problem.partition(": ")[0] for problem in explain_step(replace(given, step=step)).problems] == [
        *("Story step", "Story step"),
        *("step execution.timeout", "retry.delay"),
    ]


def test_an_engram_of_another_version_is_noted() -> None:
    given = facts()
    step = {**given.step, "ref": {"name": "worker", "version": "v2"}}
    assert explain_step(replace(given, step=step)).notes == (
        "the step asks for version 'v2' of the Engram, which has '': it waits until they are equal",
    )


def test_no_value_of_a_secret_is_read_from_a_job() -> None:
    given = facts("secrets", with_job=True)
    assert given.job is not None
    env = given.job["spec"]["template"]["spec"]["containers"][0]["env"]
    env += [{"name": "TOKEN", "value": "hush"}, {"name": "BUBU_TRIGGER_DATA", "value": "hush"}]
    assert "hush" not in json.dumps(document_of(explain_step(given)))


def test_a_password_in_the_address_of_a_store_is_hidden() -> None:
    given = facts("s3-store")
    s3 = {"bucket": "b", "endpoint": "https://ann:hush@s3.example.com", "authentication": {}}
    step = {**given.step, "execution": {"storage": {"s3": s3}}}
    value = by_setting(explain_step(replace(given, step=step)))["storage"].value
    assert value["endpoint"] == "https://***@s3.example.com"


@pytest.mark.parametrize("odd", [{}, {"containers": []}, {"containers": [{"name": "other"}]}])
def test_a_job_of_another_form_is_read_as_far_as_it_goes(odd: Object) -> None:
    assert job_values({"spec": {"backoffLimit": 1, "template": {"spec": odd}}}, {})["backoff_limit"] == 1


@pytest.mark.parametrize(
    ("setting", "wanted", "found", "same"),
    [
        ("resources.cpuLimit", "1000m", "1", True),
        ("resources.cpuLimit", "1", "2", False),
        ("shared_memory", "1Gi", "1024Mi", True),
        ("volumes.a", {"configMap": {"name": "a"}}, {"configMap": {"name": "a", "defaultMode": 420}}, True),
        ("volumes.a", {"configMap": {"name": "a"}}, {"configMap": {"name": "b"}}, False),
        ("tolerations", [{"key": "a"}], [{"key": "a"}, {"key": "b"}], False),
        ("debug", True, None, False),
        ("image", "a:1", "a:2", False),
        ("node_selector.gpus", "1", "1.0", False),
        ("volumes.a", {"emptyDir": {"sizeLimit": "1Gi"}}, {"emptyDir": {"sizeLimit": "1024Mi"}}, True),
    ],
)
def test_an_api_servers_spelling_is_no_difference(setting: str, wanted: Any, found: Any, same: bool) -> None:
    assert is_same(setting, wanted, found) is same


def test_programs_get_all_of_it() -> None:
    document = document_of(explain_step(facts(with_job=True)))
    assert (document["job"], document["engramTemplate"]) == ("nightly-1-work", "worker")
    found = next(value for value in document["values"] if value["setting"] == "sharedMemory")
    assert found == {
        "setting": "sharedMemory",
        "value": "16Gi",
        "known": True,
        "layer": "EngramTemplate",
        "from": "EngramTemplate worker",
        "inJob": "16Gi",
        "differs": False,
    }
