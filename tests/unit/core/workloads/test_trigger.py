"""What a StoryTrigger requests, and the answer: Trigger contract 3 and 4."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bubu_contract.submission import input_hash, story_run_name, trigger_name
from core.api.keys import (
    ANNOTATION_TRIGGER_INPUT_HASH,
    ANNOTATION_TRIGGER_REQUEST_NAME,
    ANNOTATION_TRIGGER_REQUEST_UID,
    ANNOTATION_TRIGGER_TOKEN,
)
from core.api.objects import NamespacedName, Object
from core.api.unreadable import Unreadable, marked
from core.policy.settings import CrossNamespacePolicy
from core.workloads.keyed_request import Decision
from core.workloads.trigger import (
    TriggerAnswer,
    TriggerFacts,
    TriggerReason,
    answer_of,
    at_the_limit,
    final_refusal,
    is_answered,
    is_origin,
    obstacle,
    request_of,
    requested_run,
    waits_with_a_limit,
)

DENY, GRANT, ALLOW = CrossNamespacePolicy.DENY, CrossNamespacePolicy.GRANT, CrossNamespacePolicy.ALLOW
LIMIT = 1024


def trigger(identity: Object | None = None, *, name: str = "", **spec: Any) -> Object:
    """A stored StoryTrigger with the right name, unless another is given."""
    identity = {"submissionId": "sub-1"} if identity is None else identity
    spec = {"storyRef": {"name": "report"}, "deliveryIdentity": identity, **spec}
    namespace = spec["storyRef"].get("namespace") or "team"
    asked_by = str(identity.get("key") or identity.get("submissionId") or "").strip()
    name = name or trigger_name(namespace, spec["storyRef"].get("name", ""), asked_by)
    return {"metadata": {"name": name, "namespace": "team", "uid": "t-1", "generation": 1}, "spec": spec}


def keyed(key: str = "order-42", inputs: Object | None = None, **spec: Any) -> Object:
    identity = {"submissionId": key, "key": key, "mode": "token", "inputHash": input_hash(inputs)}
    return trigger(identity, **spec) if inputs is None else trigger(identity, inputs=inputs, **spec)


def story(version: str = "", name: str = "report", namespace: str = "team") -> Object:
    spec: Object = {"version": version} if version else {}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def refusal(obj: Object, policy: CrossNamespacePolicy = DENY, limit: int = LIMIT) -> TriggerAnswer | None:
    return final_refusal(obj, request_of(obj), policy, limit)


def stored(run: Object, **metadata: Any) -> Object:
    return {**run, "metadata": {**run["metadata"], "uid": "r-1", **metadata}}


def grant(*kinds: str) -> Object:
    source = [{"group": "runs.bubustack.io", "kind": kind, "namespace": "team"} for kind in kinds]
    return {"spec": {"from": source, "to": [{"group": "bubustack.io", "kind": "Story"}]}}


# The run.


def test_the_run_of_a_key_has_the_marks_of_the_key_and_of_the_origin() -> None:
    reference = {"name": "report", "namespace": "shared", "version": "2", "uid": "s-1"}
    impulse = {"name": "hook"}
    request = request_of(keyed(" Order 42 ", {"city": "Bern"}, storyRef=reference, impulseRef=impulse))

    run = requested_run(request)

    assert run["metadata"] == {
        "name": story_run_name("shared", "report", "Order 42"),
        "namespace": "team",
        "annotations": {
            ANNOTATION_TRIGGER_REQUEST_NAME: request.place.name,
            ANNOTATION_TRIGGER_REQUEST_UID: "t-1",
            ANNOTATION_TRIGGER_TOKEN: "Order 42",
            ANNOTATION_TRIGGER_INPUT_HASH: input_hash({"city": "Bern"}),
        },
    }
    assert run["spec"] == {"storyRef": reference, "impulseRef": impulse, "inputs": {"city": "Bern"}}


def test_the_run_of_a_submission_id_has_only_the_marks_of_the_origin() -> None:
    run = requested_run(request_of(trigger()))
    assert run["metadata"]["name"] == story_run_name("team", "report", "sub-1")
    assert set(run["metadata"]["annotations"]) == {ANNOTATION_TRIGGER_REQUEST_NAME, ANNOTATION_TRIGGER_REQUEST_UID}
    assert run["spec"] == {"storyRef": {"name": "report"}}


def test_the_run_inherits_the_trace_of_the_request() -> None:
    obj = trigger()
    context = {"bubustack.io/traceparent": "00-…", "bubustack.io/baggage": " a=1 ", "bubustack.io/tracestate": ""}
    obj["metadata"]["annotations"] = {**context, "team/other": "x"}
    annotations = requested_run(request_of(obj))["metadata"]["annotations"]
    assert annotations["bubustack.io/traceparent"] == "00-…"
    assert annotations["bubustack.io/baggage"] == "a=1"
    assert not annotations.keys() & {"bubustack.io/tracestate", "team/other"}


# What nothing can mend.


@pytest.mark.parametrize(
    "good",
    [
        trigger(),
        trigger({"submissionId": "sub-1", "mode": "none", "inputHash": input_hash({})}),
        keyed(),
        keyed(inputs={"city": "Bern"}),
        trigger({"submissionId": "x", "key": "k", "mode": "key", "inputHash": input_hash({})}),
        trigger(inputs={"rows": {"$bubuStorageRef": "inputs/team/rows.json"}}),
    ],
    ids=["submission", "hash without a key", "key", "key and inputs", "mode key", "stored inputs"],
)
def test_a_correct_request_is_not_refused(good: Object) -> None:
    assert refusal(good) is None


VALIDATION = TriggerReason.VALIDATION_FAILED
HASH = TriggerReason.INPUT_HASH_MISMATCH


@pytest.mark.parametrize(
    ("bad", "reason", "field"),
    [
        (trigger(storyRef={"name": " "}), VALIDATION, "spec.storyRef.name"),
        (trigger({"submissionId": " "}), VALIDATION, "spec.deliveryIdentity.submissionId"),
        (trigger({"submissionId": "s", "mode": "both"}), VALIDATION, "spec.deliveryIdentity.mode"),
        (trigger({"submissionId": "s", "key": "k"}), VALIDATION, "spec.deliveryIdentity.key"),
        (trigger({"submissionId": "s", "mode": "token"}), VALIDATION, "spec.deliveryIdentity.key"),
        (trigger({"submissionId": "s", "mode": "token", "key": "k"}), VALIDATION, "spec.deliveryIdentity.inputHash"),
        (trigger(name="report-trigger-of-mine"), VALIDATION, "metadata.name"),
        (trigger(storyRef={"name": "report", "namespace": "shared"}), VALIDATION, "spec.storyRef"),
        (trigger(inputs=["x"]), VALIDATION, "spec.inputs"),
        (trigger(inputs={"text": "x" * LIMIT}), VALIDATION, "spec.inputs"),
        (trigger(inputs={"n": float("inf")}), HASH, "spec.inputs"),
        (trigger({"submissionId": "sub-1", "inputHash": "0" * 64}), HASH, "spec.deliveryIdentity.inputHash"),
    ],
)
def test_what_nothing_can_mend_is_refused_with_its_field(bad: Object, reason: TriggerReason, field: str) -> None:
    answer = refusal(bad)
    assert answer is not None
    assert (answer.decision, answer.reason, answer.run) == (Decision.REJECTED, reason, None)
    assert answer.message.startswith(f"{field}: ")


def test_a_request_of_any_shape_has_an_answer() -> None:
    metadata = {"name": "x", "namespace": "team"}
    for spec in ({}, {"storyRef": "report", "deliveryIdentity": 7, "impulseRef": []}, None):
        answer = refusal({"metadata": metadata, "spec": spec})
        assert answer is not None
        assert answer.reason is VALIDATION


def test_a_request_that_cannot_be_read_is_refused() -> None:
    answer = refusal(marked(trigger(), Unreadable((("spec", "inputs"),), "is too large")))
    assert answer is not None
    assert (answer.decision, answer.reason) == (Decision.REJECTED, VALIDATION)


def test_too_large_inputs_name_the_setting() -> None:
    answer = refusal(trigger(inputs={"text": "<" * 200}), limit=1000)  # each counts six bytes
    assert answer is not None
    assert "storyrun.max-inline-inputs-size" in answer.message


@pytest.mark.parametrize("policy", [GRANT, ALLOW])
def test_a_story_of_another_namespace_is_refused_at_once_only_by_the_policy_deny(policy: CrossNamespacePolicy) -> None:
    assert refusal(trigger(storyRef={"name": "report", "namespace": "shared"}), policy) is None


# What a later change can mend.

FOREIGN = trigger(storyRef={"name": "report", "namespace": "shared"})
WITH_IMPULSE = trigger(impulseRef={"name": "hook"})
WITH_FOREIGN_IMPULSE = trigger(impulseRef={"name": "hook", "namespace": "hooks"})


def impulse(target: Object, namespace: str = "team") -> Object:
    return {"metadata": {"name": "hook", "namespace": namespace}, "spec": {"storyRef": target}}


@pytest.mark.parametrize(
    ("obj", "facts"),
    [
        (trigger(), TriggerFacts(DENY, story=story())),
        (trigger(storyRef={"name": "report", "version": " 2 "}), TriggerFacts(DENY, story=story("2"))),
        (FOREIGN, TriggerFacts(ALLOW, story=story())),
        (FOREIGN, TriggerFacts(GRANT, [grant("StoryTrigger"), grant("StoryRun")], story())),
        (FOREIGN, TriggerFacts(GRANT, [grant("StoryTrigger", "StoryRun")], story())),
        (WITH_IMPULSE, TriggerFacts(DENY, story=story(), impulse=impulse({"name": "report"}))),
        (WITH_IMPULSE, TriggerFacts(DENY, story=story(), impulse=impulse({"name": "another"}))),
        (
            WITH_FOREIGN_IMPULSE,
            TriggerFacts(DENY, story=story(), impulse=impulse({"name": "report", "namespace": "team"})),
        ),
        (
            WITH_FOREIGN_IMPULSE,
            TriggerFacts(DENY, story=story(), impulse=impulse({"name": "another", "namespace": "team"})),
        ),
    ],
    ids=[
        "story",
        "version",
        "allowed",
        "two grants",
        "one grant",
        "impulse",
        "impulse of this namespace, another story",
        "impulse of another namespace",
        "impulse of another namespace, another story of this one",
    ],
)
def test_nothing_is_in_the_way_of_a_run_that_may_start(obj: Object, facts: TriggerFacts) -> None:
    assert obstacle(request_of(obj), facts) is None


@pytest.mark.parametrize(
    ("obj", "facts", "reason", "after_the_limit"),
    [
        (trigger(), TriggerFacts(DENY), TriggerReason.STORY_NOT_FOUND, TriggerReason.STORY_NOT_FOUND),
        (
            trigger(storyRef={"name": "report", "version": "2"}),
            TriggerFacts(DENY, story=story("1")),
            TriggerReason.STORY_VERSION_MISMATCH,
            TriggerReason.STORY_VERSION_MISMATCH,
        ),
        (
            trigger(storyRef={"name": "report", "version": "2"}),
            TriggerFacts(DENY, story=story()),
            TriggerReason.STORY_VERSION_MISMATCH,
            TriggerReason.STORY_VERSION_MISMATCH,
        ),
        (FOREIGN, TriggerFacts(GRANT, [], story()), TriggerReason.REFERENCE_NOT_GRANTED, VALIDATION),
        (
            FOREIGN,
            TriggerFacts(GRANT, [grant("StoryTrigger")], story()),
            TriggerReason.REFERENCE_NOT_GRANTED,
            VALIDATION,
        ),
        (WITH_IMPULSE, TriggerFacts(DENY, story=story()), TriggerReason.IMPULSE_NOT_FOUND, VALIDATION),
        (
            WITH_FOREIGN_IMPULSE,
            TriggerFacts(DENY, story=story(), impulse=impulse({"name": "report"}, "hooks")),
            TriggerReason.IMPULSE_MISMATCH,
            VALIDATION,
        ),
    ],
)
def test_what_can_be_mended_is_waited_for_and_rejected_in_the_end(
    obj: Object, facts: TriggerFacts, reason: TriggerReason, after_the_limit: TriggerReason
) -> None:
    answer = obstacle(request_of(obj), facts)
    assert answer is not None
    assert (answer.decision, answer.reason) == (Decision.PENDING, reason)
    assert waits_with_a_limit(answer)
    last = at_the_limit(answer, timedelta(hours=24))
    assert (last.decision, last.reason) == (Decision.REJECTED, after_the_limit)
    assert last.message.startswith(answer.message)


def test_a_grant_names_the_kind_that_lacks_it() -> None:
    answer = obstacle(request_of(FOREIGN), TriggerFacts(GRANT, [grant("StoryTrigger")], story()))
    assert answer is not None
    assert "runs.bubustack.io/StoryRun from namespace team" in answer.message


# A run of that name exists.


def answer_to(obj: Object, existing: Object) -> TriggerAnswer:
    request = request_of(obj)
    return answer_of(request, requested_run(request), existing)


def run_of_another(obj: Object, **metadata: Any) -> Object:
    run = requested_run(request_of(obj))
    other = {ANNOTATION_TRIGGER_REQUEST_NAME: obj["metadata"]["name"], ANNOTATION_TRIGGER_REQUEST_UID: "t-0"}
    return stored(run, annotations={**run["metadata"]["annotations"], **other}, **metadata)


def test_the_run_that_it_has_started_is_recovered() -> None:
    for obj in (trigger(inputs={"a": 1}), keyed(inputs={"a": 1})):
        own = stored(requested_run(request_of(obj)))
        answer = answer_to(obj, own)
        assert (answer.decision, answer.reason, answer.run) == (
            Decision.CREATED,
            TriggerReason.STORY_RUN_CREATED,
            own,
        )


def test_the_origin_counts_before_everything_else() -> None:
    """A run whose inputs were moved into storage, or that is being deleted, is still the one that it started."""
    obj = trigger(inputs={"a": 1})
    own = stored(requested_run(request_of(obj)), deletionTimestamp="2025-01-02T03:04:05Z")
    moved = {**own, "spec": {**own["spec"], "inputs": {"$bubuStorageRef": "x"}}}
    assert answer_to(obj, moved).decision is Decision.CREATED


def test_the_run_of_an_equal_request_is_reused() -> None:
    obj = keyed(inputs={"a": 1})
    answer = answer_to(obj, run_of_another(obj))
    assert (answer.decision, answer.reason) == (Decision.REUSED, TriggerReason.STORY_RUN_REUSED)
    assert answer.run is not None


def test_a_run_of_another_origin_that_is_being_deleted_is_waited_for() -> None:
    answer = answer_to(keyed(), run_of_another(keyed(), deletionTimestamp="2025-01-02T03:04:05Z"))
    assert (answer.decision, answer.reason) == (Decision.PENDING, TriggerReason.STORY_RUN_TERMINATING)
    assert at_the_limit(answer, timedelta(minutes=1)).reason is TriggerReason.STORY_RUN_CONFLICT


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"storyRef": {"name": "report", "version": "1"}}, "storyRef"),
        ({"impulseRef": {"name": "hook"}}, "impulseRef"),
        ({"inputs": {"a": 2}}, "inputs"),
    ],
)
def test_a_run_of_another_request_is_a_conflict(change: Object, word: str) -> None:
    existing = run_of_another(trigger(inputs={"a": 1}))
    answer = answer_to(trigger(inputs={"a": 1}), {**existing, "spec": {**existing["spec"], **change}})
    assert (answer.decision, answer.reason, answer.run) == (
        Decision.REJECTED,
        TriggerReason.STORY_RUN_CONFLICT,
        None,
    )
    assert f"differs in {word}" in answer.message


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({ANNOTATION_TRIGGER_REQUEST_NAME: " a ", ANNOTATION_TRIGGER_REQUEST_UID: " t-1 "}, True),
        ({ANNOTATION_TRIGGER_REQUEST_NAME: "a", ANNOTATION_TRIGGER_REQUEST_UID: "t-2"}, False),
        ({ANNOTATION_TRIGGER_REQUEST_NAME: "b", ANNOTATION_TRIGGER_REQUEST_UID: "t-1"}, False),
        ({ANNOTATION_TRIGGER_REQUEST_NAME: "a", ANNOTATION_TRIGGER_REQUEST_UID: ""}, False),
        ({}, False),
        (None, False),
    ],
)
def test_the_origin_is_name_and_uid(annotations: Object | None, expected: bool) -> None:
    request = request_of(trigger(name="a"))
    assert is_origin(request, {"metadata": {"annotations": annotations}}) is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, False),
        ({}, False),
        ({"decision": "Pending", "observedGeneration": 1}, False),
        ({"decision": "Created", "observedGeneration": 1}, True),
        ({"decision": "Reused", "observedGeneration": 1}, True),
        ({"decision": "Rejected", "observedGeneration": 1}, True),
        ({"decision": "Rejected", "observedGeneration": 0}, False),
        ({"decision": "Rejected"}, False),
    ],
)
def test_an_answer_is_final_for_the_spec_that_it_is_about(status: Object | None, expected: bool) -> None:
    assert is_answered({**trigger(), "status": status}) is expected


def test_an_impulse_without_a_namespace_is_in_that_of_the_request() -> None:
    assert request_of(WITH_IMPULSE).impulse == NamespacedName("team", "hook")
    assert request_of(trigger()).impulse is None
