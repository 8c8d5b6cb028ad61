"""Submissions: create, compare, wait, retry, offload. (triggers.py, storytrigger.py; Trigger contract 5.2, 5.5, 5.7)"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bubu_contract import submission
from bubu_sdk import (
    ImpulseContext,
    Outcome,
    StorageError,
    TriggerCancelledError,
    TriggerConflictError,
    TriggerError,
    TriggerMissingError,
    TriggerPendingError,
    TriggerPolicyError,
    TriggerRefusedError,
    TriggerRejectedError,
    TriggerThrottledError,
    TriggerUnavailableError,
    storytrigger,
)
from bubu_sdk.cancellation import Cancellation
from bubu_sdk.errors import Object
from bubu_sdk.kube import UnreachableError, status_error
from bubu_sdk.storytrigger import Origin
from bubu_sdk.testing import ImpulseEnvironment, Rejection
from bubu_sdk.triggers import Request

TRIGGERS = "/apis/runs.bubustack.io/v1alpha1/namespaces/default/storytriggers"
RIGHT_LACKS = {"group": "runs.bubustack.io", "kind": "storytriggers"}
RETRIES = {"BUBU_TRIGGER_RETRY_MAX_ATTEMPTS": "3"}


def methods(environment: ImpulseEnvironment) -> list[str]:
    return [sent.method for sent in environment.cluster.requests]


def lost_answer(environment: ImpulseEnvironment) -> None:
    """The next POST is served, but its answer is lost."""
    observe = environment.cluster.after
    assert observe is not None

    def hook(method: str, path: str, body: Any) -> None:
        observe(method, path, body)
        environment.cluster.after = observe
        raise UnreachableError("connection reset")

    environment.cluster.after = hook


# What is submitted.


@pytest.mark.parametrize("call", ["trigger", "accept"])
def test_a_request_may_continue_the_trace_of_its_event(call: str) -> None:
    environment = ImpulseEnvironment(story="orders")
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    with environment.context() as ctx:
        getattr(ctx, call)(inputs={"n": 1}, key="customer-42", trace={"traceparent": parent})

    (trigger,) = environment.triggers
    assert trigger["metadata"]["annotations"]["bubustack.io/traceparent"] == parent


def test_a_request_becomes_a_storytrigger_of_the_impulse() -> None:
    environment = ImpulseEnvironment(story="orders")

    with environment.context() as ctx:
        decision = ctx.trigger(inputs={"n": 1}, key="customer-42")

    (trigger,) = environment.triggers
    assert (trigger["apiVersion"], trigger["kind"]) == ("runs.bubustack.io/v1alpha1", "StoryTrigger")
    assert trigger["metadata"]["name"] == decision.trigger == "orders-trigger-2939e86abcbefb1a"
    assert trigger["metadata"]["namespace"] == "default"
    assert trigger["metadata"]["labels"] == {"bubustack.io/impulse": "impulse"}
    assert trigger["spec"] == {
        "storyRef": {"name": "orders"},
        "impulseRef": {"name": "impulse", "namespace": "default"},
        "inputs": {"n": 1},
        "deliveryIdentity": {
            "mode": "token",
            "key": "customer-42",
            "inputHash": submission.input_hash({"n": 1}),
            "submissionId": "customer-42",
        },
    }
    assert (decision.outcome, decision.story_run) == (Outcome.CREATED, "orders-customer-42-2939e86abcbefb1a")


def test_a_request_without_a_key_has_an_id_of_its_own() -> None:
    environment = ImpulseEnvironment()

    with environment.context() as ctx:
        ctx.trigger()
        ctx.trigger()

    first, second = (trigger["spec"]["deliveryIdentity"] for trigger in environment.triggers)
    assert first.keys() == second.keys() == {"mode", "submissionId"}
    assert first["submissionId"] != second["submissionId"]
    assert [trigger["spec"]["inputs"] for trigger in environment.triggers] == [{}, {}]


def test_a_story_abroad_is_named_abroad_but_requested_at_home() -> None:
    environment = ImpulseEnvironment(story="orders", story_namespace="shop")

    with environment.context() as ctx:
        decision = ctx.trigger(key="k")

    (trigger,) = environment.triggers
    assert trigger["metadata"]["namespace"] == "default"
    assert trigger["spec"]["storyRef"] == {"name": "orders", "namespace": "shop"}
    assert decision.trigger == submission.trigger_name("shop", "orders", "k")
    assert decision.namespace == "default"


@pytest.mark.parametrize(
    ("call", "story_ref"),
    [
        (Request(), {"name": "orders", "namespace": "shop"}),
        (Request(version="v2"), {"name": "orders", "namespace": "shop", "version": "v2"}),
        (Request(namespace="default"), {"name": "orders"}),
        (Request("other"), {"name": "other"}),
        (Request("other", namespace="shop"), {"name": "other", "namespace": "shop"}),
    ],
)
def test_a_call_may_name_its_own_story(call: Request, story_ref: Object) -> None:
    environment = ImpulseEnvironment(story="orders", story_namespace="shop")

    with environment.context() as ctx:
        ctx.trigger(call.story, namespace=call.namespace, version=call.version)

    assert environment.triggers[0]["spec"]["storyRef"] == story_ref


def test_a_call_in_a_step_names_its_step() -> None:
    origin = Origin.of(
        {
            "BUBU_STEPRUN_NAMESPACE": "team",
            "BUBU_STEPRUN_NAME": "Run.1-notify",
            "BUBU_STORYRUN_ID": "run-1",
            "BUBU_STEP_NAME": "notify",
        }
    )

    assert origin.namespace == "team"
    assert origin.labels == {
        "bubustack.io/parent-storyrun": "run-1",
        "bubustack.io/parent-step": "notify",
        "bubustack.io/steprun": "run-1-notify",
    }
    assert origin.annotations["bubustack.io/parent-steprun"] == "Run.1-notify"


@pytest.mark.parametrize(
    ("environ", "namespace"),
    [
        ({"BUBU_TARGET_STORY_NAMESPACE": "abroad", "BUBU_IMPULSE_NAMESPACE": "home"}, "home"),
        ({"BUBU_STEPRUN_NAMESPACE": "home", "BUBU_POD_NAMESPACE": "pod"}, "home"),
        ({"BUBU_POD_NAMESPACE": "home", "BUBU_TARGET_STORY_NAMESPACE": "abroad"}, "home"),
        ({"BUBU_TARGET_STORY_NAMESPACE": "abroad"}, "abroad"),
        ({}, ""),
    ],
)
def test_the_impulses_own_namespace_comes_first(environ: dict[str, str], namespace: str) -> None:
    assert Origin.of(environ).namespace == namespace


@pytest.mark.parametrize(
    ("environ", "inputs", "named"),
    [
        ({"BUBU_TARGET_STORY_NAME": ""}, {}, "BUBU_TARGET_STORY_NAME"),
        ({}, {"a": float("nan")}, "inputs.a"),
        ({}, {"a": b"bytes"}, "inputs.a"),
        ({"BUBU_TRIGGER_TOKEN": "k"}, {"a": 10**400}, "too large"),
    ],
)
def test_what_cannot_be_submitted_is_refused_before_anything_is_sent(
    environ: dict[str, str], inputs: dict[str, Any], named: str
) -> None:
    environment = ImpulseEnvironment(environ=environ)

    with environment.context() as ctx, pytest.raises(TriggerPolicyError, match=named):
        ctx.trigger(inputs=inputs)

    assert environment.cluster.requests == []


# Large inputs.


def test_large_inputs_move_to_the_store_and_the_hash_is_over_what_is_submitted() -> None:
    environment = ImpulseEnvironment(story="workflow")
    large = "x" * 2000

    with environment.context() as ctx:
        ctx.trigger(inputs={"body": large, "n": 1}, key="token-123", version="v3")

    (trigger,) = environment.triggers
    folder = submission.storage_id("default", "default", "workflow", "token-123", {"body": large, "n": 1})
    assert trigger["spec"]["inputs"] == {
        "n": 1,
        "body": {
            "$bubuStorageRef": f"inputs/{folder}/body.json",
            "$bubuStorageContentType": "text/plain",
            "$bubuStorageSchema": "bubu://story/default/workflow/inputs",
            "$bubuStorageSchemaVersion": "v3",
        },
    }
    assert trigger["spec"]["deliveryIdentity"]["inputHash"] == submission.input_hash(trigger["spec"]["inputs"])
    assert set(environment.store.objects) == {f"inputs/{folder}/body.json"}


def test_the_same_key_with_other_large_inputs_is_a_conflict_and_overwrites_nothing() -> None:
    environment = ImpulseEnvironment()

    with environment.context() as ctx:
        ctx.trigger(inputs={"body": "x" * 2000}, key="k")
        again = ctx.trigger(inputs={"body": "x" * 2000}, key="k")
        with pytest.raises(TriggerConflictError):
            ctx.trigger(inputs={"body": "y" * 2000}, key="k")

    assert again.existed
    assert len(environment.store.objects) == 2


def test_many_references_become_one() -> None:
    environment = ImpulseEnvironment()

    with environment.context() as ctx:
        ctx.trigger(inputs={f"part{n}": "x" * 2000 for n in range(10)}, key="k")

    inputs = environment.triggers[0]["spec"]["inputs"]
    assert inputs["$bubuStorageRef"].endswith("/input.json")
    assert len(environment.store.objects) == 11


def test_without_a_store_large_inputs_are_refused_before_anything_is_sent() -> None:
    environment = ImpulseEnvironment(inline_bytes=None, environ={"BUBU_MAX_INLINE_SIZE": "100"})

    with environment.context() as ctx, pytest.raises(StorageError, match="BUBU_MAX_INLINE_SIZE"):
        ctx.trigger(inputs={"body": "x" * 200})

    assert environment.cluster.requests == []


# Compare.


def test_a_repeated_request_meets_the_same_storytrigger() -> None:
    environment = ImpulseEnvironment()

    with environment.context() as ctx:
        first = ctx.trigger(inputs={"n": 1.0}, key="k")
        second = ctx.trigger(inputs={"n": 1}, key="k")
        third = ctx.accept(inputs={"n": 1}, submission_id="once")
        fourth = ctx.accept(inputs={"n": 1}, submission_id="once")

    assert (first.existed, second.existed, third.existed, fourth.existed) == (False, True, False, True)
    assert first.story_run == second.story_run
    assert third.trigger == fourth.trigger
    assert len(environment.triggers) == 2


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda spec: spec["inputs"].update(n=2), "inputs"),
        (lambda spec: spec["storyRef"].update(version="v1"), "storyRef"),
        (lambda spec: spec["impulseRef"].update(name="another"), "impulseRef"),
        (lambda spec: spec.pop("impulseRef"), "impulseRef"),
        (lambda spec: spec["deliveryIdentity"].update(key="another"), "deliveryIdentity"),
    ],
)
def test_another_request_of_the_same_name_is_a_conflict(change: Callable[[Object], Any], named: str) -> None:
    environment = ImpulseEnvironment()
    with environment.context() as ctx:
        name = ctx.trigger(inputs={"n": 1}, key="k").trigger
        change(environment.cluster.objects[f"{TRIGGERS}/{name}"]["spec"])

        with pytest.raises(TriggerConflictError, match=named) as conflict:
            ctx.trigger(inputs={"n": 1}, key="k")

    assert (conflict.value.trigger, conflict.value.retryable) == (name, False)


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec["storyRef"].update(namespace="default"),
        lambda spec: spec["impulseRef"].update(uid="u-1"),
        lambda spec: spec["impulseRef"].pop("namespace"),
        lambda spec: spec["deliveryIdentity"].update(mode="key"),
        lambda spec: spec["deliveryIdentity"].update(submissionId="another"),
        lambda spec: spec["inputs"].update(n=9007199254740992.0),
    ],
)
def test_a_request_that_is_written_in_another_way_is_the_same(change: Callable[[Object], Any]) -> None:
    environment = ImpulseEnvironment()
    with environment.context() as ctx:
        name = ctx.trigger(inputs={"n": 9007199254740993}, key="k").trigger
        change(environment.cluster.objects[f"{TRIGGERS}/{name}"]["spec"])

        assert ctx.trigger(inputs={"n": 9007199254740993}, key="k").existed


def test_a_storytrigger_that_is_being_deleted_is_not_reused() -> None:
    environment = ImpulseEnvironment()
    with environment.context() as ctx:
        name = ctx.trigger(key="k").trigger
        environment.cluster.objects[f"{TRIGGERS}/{name}"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

        with pytest.raises(TriggerUnavailableError):
            ctx.trigger(key="k")


# Wait.


def test_a_rejection_is_final_and_has_the_operators_words() -> None:
    environment = ImpulseEnvironment(environ=RETRIES)
    environment.operator.rejects = lambda _: Rejection("StoryNotFound", "Story default/story does not exist")

    with environment.context() as ctx, pytest.raises(TriggerRejectedError) as rejected:
        ctx.trigger(key="k")

    assert str(rejected.value) == "Story default/story does not exist"
    assert (rejected.value.reason, rejected.value.retryable) == ("StoryNotFound", False)
    assert methods(environment) == ["POST", "GET"]


def test_an_undecided_request_is_looked_at_less_and_less_often_until_the_time_is_up() -> None:
    environment = ImpulseEnvironment()
    environment.operator.holds = True

    with environment.context() as ctx, pytest.raises(TriggerPendingError) as pending:
        ctx.trigger(key="k", timeout_seconds=4)

    assert environment.clock.waits == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1, 1, 0.45])
    assert pending.value.retryable
    assert pending.value.trigger == environment.triggers[0]["metadata"]["name"]


def test_a_pending_request_is_retried_as_the_policy_says_and_stays_one_request() -> None:
    environment = ImpulseEnvironment(environ=RETRIES)
    environment.operator.holds = True

    with environment.context() as ctx:
        with pytest.raises(TriggerPendingError):
            ctx.trigger(key="k", timeout_seconds=0.05)
        assert environment.clock.waits == pytest.approx([0.05, 1.0, 0.05, 2.0, 0.05])
        environment.operator.decide_pending()
        assert ctx.trigger(key="k").outcome is Outcome.CREATED

    assert len(environment.triggers) == 1


def test_a_decision_that_comes_while_the_call_waits_is_seen() -> None:
    environment = ImpulseEnvironment()
    environment.operator.holds = True
    observe = environment.cluster.after

    def decide_at_the_third_look(method: str, path: str, body: Any) -> None:
        assert observe is not None
        observe(method, path, body)
        if methods(environment).count("GET") == 3:
            environment.operator.decide_pending()

    environment.cluster.after = decide_at_the_third_look
    with environment.context() as ctx:
        assert ctx.trigger(key="k").outcome is Outcome.CREATED

    assert methods(environment).count("GET") == 4


def test_a_decision_without_a_run_is_not_a_decision_yet() -> None:
    found = storytrigger.decision_of({"metadata": {"name": "t", "namespace": "n"}, "status": {"decision": "Pending"}})
    assert found.is_pending
    environment = ImpulseEnvironment()
    environment.operator.holds = True
    with environment.context() as ctx:
        name = ctx.accept(key="k").trigger
        environment.cluster.objects[f"{TRIGGERS}/{name}"]["status"] = {"decision": "Created"}

        with pytest.raises(TriggerUnavailableError, match="names no StoryRun"):
            ctx.trigger(key="k")


def test_a_run_that_was_retired_does_not_matter() -> None:
    environment = ImpulseEnvironment()
    with environment.context() as ctx:
        first = ctx.trigger(key="k")
        for path in [path for path in environment.cluster.objects if "/storyruns/" in path]:
            del environment.cluster.objects[path]

        assert ctx.trigger(key="k").story_run == first.story_run


def test_a_storytrigger_that_is_deleted_during_the_wait_can_be_submitted_again() -> None:
    environment = ImpulseEnvironment(environ=RETRIES)
    environment.operator.holds = True
    observe = environment.cluster.after

    def delete_once(method: str, path: str, body: Any) -> None:
        assert observe is not None
        observe(method, path, body)
        if methods(environment) == ["POST", "GET"]:
            environment.cluster.objects.pop(path)
            environment.operator.holds = False

    environment.cluster.after = delete_once
    with environment.context() as ctx:
        assert ctx.trigger(key="k").outcome is Outcome.CREATED


# Failures of the API server.


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_failure_of_the_server_is_retryable(code: int) -> None:
    environment = ImpulseEnvironment(environ=RETRIES)
    environment.cluster.fail(code, times=2, method="POST")

    with environment.context() as ctx:
        assert ctx.trigger(key="k").outcome is Outcome.CREATED

    assert environment.clock.waits[:2] == [1.0, 2.0]


def test_without_retries_the_first_failure_is_the_callers() -> None:
    environment = ImpulseEnvironment()
    environment.cluster.fail(503, method="POST")

    with environment.context() as ctx:
        with pytest.raises(TriggerUnavailableError) as unavailable:
            ctx.trigger(key="k")
        assert unavailable.value.retryable
        assert ctx.trigger(key="k").outcome is Outcome.CREATED


@pytest.mark.parametrize("code", [400, 403, 404, 413, 422])
def test_a_refusal_is_final(code: int) -> None:
    environment = ImpulseEnvironment(environ=RETRIES)
    environment.cluster.fail(code, times=9, method="POST")

    with environment.context() as ctx, pytest.raises(TriggerRefusedError) as refused:
        ctx.trigger(key="k")

    assert (refused.value.http_code, refused.value.retryable) == (code, False)
    assert methods(environment) == ["POST"]


def test_a_server_that_does_not_know_the_rights_yet_is_asked_again() -> None:
    """For seconds after its start, a kube-apiserver refuses every account whose roles it has not read yet."""
    environment = ImpulseEnvironment(environ=RETRIES)
    environment.cluster.fail(403, times=2, method="POST", details=RIGHT_LACKS)

    with environment.context() as ctx:
        assert ctx.trigger(key="k").outcome is Outcome.CREATED

    assert methods(environment)[:3] == ["POST"] * 3


def test_a_right_that_stays_missing_can_be_waited_for_by_the_caller() -> None:
    environment = ImpulseEnvironment(environ=RETRIES)
    environment.cluster.fail(403, times=9, method="POST", details=RIGHT_LACKS)

    with environment.context() as ctx, pytest.raises(TriggerUnavailableError) as unavailable:
        ctx.trigger(key="k")

    assert unavailable.value.retryable


def test_the_last_error_is_the_one_that_is_raised() -> None:
    environment = ImpulseEnvironment(environ=RETRIES)
    errors = iter([status_error(503, "one"), status_error(503, "two"), status_error(403, "three")])

    def hook(*_: Any) -> None:
        raise next(errors)

    environment.cluster.before = hook
    with environment.context() as ctx, pytest.raises(TriggerError, match="three"):
        ctx.trigger(key="k")


def test_a_longer_pause_that_the_server_asks_for_is_kept() -> None:
    environment = ImpulseEnvironment(environ=RETRIES)
    environment.cluster.fail(429, method="POST", retry_after_seconds=7)

    with environment.context() as ctx:
        ctx.trigger(key="k")

    assert environment.clock.waits[0] == 7


def test_a_lost_answer_does_not_start_a_second_run() -> None:
    environment = ImpulseEnvironment(environ=RETRIES)
    lost_answer(environment)

    with environment.context() as ctx:
        decision = ctx.trigger(inputs={"n": 1})

    assert decision.existed
    assert (len(environment.triggers), len(environment.story_runs)) == (1, 1)


def test_a_failure_while_waiting_does_not_end_the_wait() -> None:
    environment = ImpulseEnvironment()
    environment.cluster.fail(503, times=3, method="GET")

    with environment.context() as ctx:
        assert ctx.trigger(key="k").outcome is Outcome.CREATED


FAULTS = st.lists(st.sampled_from(["", "", "refused", "lost answer", "conflict"]), max_size=12)


@settings(max_examples=40, deadline=None)
@given(FAULTS, st.integers(1, 3), st.booleans(), st.booleans())
def test_whatever_fails_at_whichever_request_one_run_comes_of_it(
    faults: list[str], attempts: int, waits: bool, keyed: bool
) -> None:
    """The caller repeats the call as long as it fails for a reason that may pass."""
    environment = ImpulseEnvironment(environ={"BUBU_TRIGGER_RETRY_MAX_ATTEMPTS": str(attempts)})
    observe, left = environment.cluster.after, iter(faults)
    assert observe is not None
    fault = ""

    def before(method: str, *_: Any) -> None:
        nonlocal fault
        fault = next(left, "")
        if fault == "refused":
            raise status_error(503, "away")
        if fault == "conflict" and method == "POST":
            raise status_error(409, "already exists")

    def after(method: str, path: str, body: Any) -> None:
        observe(method, path, body)
        if fault == "lost answer":
            raise UnreachableError("connection reset")

    environment.cluster.before, environment.cluster.after = before, after
    key, submission_id = ("k", None) if keyed else (None, "s")
    with environment.context() as ctx:
        call = ctx.trigger if waits else ctx.accept
        for _ in range(len(faults) + 1):
            try:
                decision = call(inputs={"n": 1}, key=key, submission_id=submission_id)
                break
            except TriggerError as error:
                if not error.retryable:
                    raise
        else:
            raise AssertionError("it did not succeed although nothing failed any more")

    assert [trigger["metadata"]["name"] for trigger in environment.triggers] == [decision.trigger]
    assert len(environment.story_runs) == 1


# Throttle, acceptance, cancellation.


def test_accept_stores_the_request_and_does_not_wait() -> None:
    environment = ImpulseEnvironment()
    environment.operator.holds = True

    with environment.context() as ctx:
        accepted = ctx.accept(inputs={"n": 1}, key="k")
        assert accepted.is_pending
        assert ctx.decision(accepted.trigger).is_pending
        environment.operator.decide_pending()
        assert ctx.decision(accepted.trigger).outcome is Outcome.CREATED
        assert ctx.accept(inputs={"n": 1}, key="k").outcome is Outcome.CREATED

    assert methods(environment)[0] == "POST"


@pytest.mark.parametrize("name", ["missing", "../storyruns/x", "", "A" * 300])
def test_a_decision_needs_a_storytrigger_that_exists(name: str) -> None:
    environment = ImpulseEnvironment()
    with environment.context() as ctx, pytest.raises(TriggerMissingError):
        ctx.decision(name)


def test_the_decision_of_another_impulses_request_is_not_shown() -> None:
    environment = ImpulseEnvironment()
    with environment.context() as ctx:
        name = ctx.accept(key="k").trigger
        environment.cluster.objects[f"{TRIGGERS}/{name}"]["spec"]["impulseRef"]["name"] = "another"

        with pytest.raises(TriggerMissingError):
            ctx.decision(name)


def test_an_earlier_request_can_be_found_without_submitting_it() -> None:
    environment = ImpulseEnvironment()
    with environment.context() as ctx:
        assert ctx.decision_of(key="k") is None
        ctx.trigger(key="k")
        found = ctx.decision_of(key="k")
        assert found is not None
        assert found.outcome is Outcome.CREATED
        with pytest.raises(TriggerPolicyError):
            ctx.decision_of()

    assert len(environment.triggers) == 1


def test_waits_of_the_throttle_are_counted_in_the_impulse() -> None:
    environment = ImpulseEnvironment(environ={"BUBU_TRIGGER_THROTTLE_RATE_PER_SECOND": "1"})
    with environment.context() as ctx:
        for number in range(3):
            ctx.trigger(key=f"k{number}")
        with pytest.raises(TriggerThrottledError):
            ctx.accept(key="k4", patience_seconds=0.1)

    status = environment.cluster.objects[environment.impulse_path]["status"]
    assert status.keys() == {"throttledTriggers", "lastThrottled"}
    assert status["throttledTriggers"] == 3


def test_a_cancelled_call_stops_waiting_and_its_request_stays() -> None:
    environment = ImpulseEnvironment()
    environment.operator.holds = True
    errors: list[Exception] = []

    with environment.context() as ctx:
        triggers, cancellation = ctx._services.triggers, Cancellation()
        environment.cluster.after = lambda method, *_: cancellation.cancel() if method == "GET" else None

        def call() -> None:
            try:
                triggers.trigger(Request(key="k"), cancellation=cancellation)
            except TriggerCancelledError as error:
                errors.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join(10)

    assert len(errors) == 1
    assert len(environment.triggers) == 1


@dataclass
class Event:
    city: str
    days: int


def test_inputs_may_hold_what_has_a_json_form() -> None:
    environment = ImpulseEnvironment()

    def main(ctx: ImpulseContext) -> None:
        ctx.trigger(inputs={"event": Event("Oslo", 3)})

    environment.run(main)
    assert environment.triggers[0]["spec"]["inputs"] == {"event": {"city": "Oslo", "days": 3}}
