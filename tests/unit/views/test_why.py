"""What a run waits for, found from the objects that show it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from cli.render.why import lines_of
from core.api.objects import Object
from views.errors import ViewError
from views.run_view import plain_command
from views.why.cause import Cause, CauseKind, Explanation, Facts
from views.why.document import document_of
from views.why.explanation import explain

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
BEGAN = "2026-01-02T11:59:00Z"
LATER = "2026-01-02T13:00:00Z"
BEGAN_AT, LATER_AT = datetime(2026, 1, 2, 11, 59, tzinfo=UTC), datetime(2026, 1, 2, 13, 0, tzinfo=UTC)


def a_story(*steps: Object, **more: Any) -> Object:
    return {"metadata": {"name": "release", "namespace": "team"}, "spec": {"steps": list(steps), **more}}


def a_run(name: str = "release-1", timers: Object | None = None, spec: Object | None = None, **status: Any) -> Object:
    annotations = {"runs.bubustack.io/step-timers": json.dumps(timers)} if timers else {}
    return {
        "metadata": {"namespace": "team", "name": name, "creationTimestamp": BEGAN, "annotations": annotations},
        "spec": {"storyRef": {"name": "release"}, **(spec or {})},
        "status": {"phase": "Running", "startedAt": BEGAN, **status},
    }


def at_work(phase: str = "Running", message: str = "", **more: str) -> Object:
    return {"phase": phase, "startedAt": BEGAN, **({"message": message} if message else {}), **more}


def engram(name: str, *needs: str) -> Object:
    return {"name": name, "ref": {"name": "worker"}, "needs": list(needs)}


def a_step_run(step: str, **status: Any) -> Object:
    return {
        "metadata": {"name": f"release-1-{step}"},
        "spec": {"stepId": step, "retry": {"maxRetries": 5}},
        "status": status,
    }


def a_job(step: str) -> Object:
    annotations = {"runs.bubustack.io/deadline-at": LATER}
    return {"metadata": {"name": f"release-1-{step}", "creationTimestamp": BEGAN, "annotations": annotations}}


def a_pod(step: str, **status: Any) -> Object:
    labels = {"bubustack.io/steprun": f"release-1-{step}"}
    return {"metadata": {"name": "pod-x", "labels": labels, "creationTimestamp": BEGAN}, "status": status}


def about(facts: Facts, step: str = "") -> Explanation:
    return explain(facts, step, lambda namespace, verb, *arguments: plain_command(verb, *arguments))


def only(facts: Facts, step: str = "") -> Cause:
    (cause,) = about(facts, step).causes
    return cause


def of_engram(
    step_run: Object | None = None, job: Object | None = None, pod: Object | None = None, **more: Any
) -> Facts:
    return Facts(
        a_run(stepStates={"fetch": at_work()}),
        a_story(engram("fetch")),
        step_runs={"fetch": step_run} if step_run else {},
        jobs={"release-1-fetch": job} if job else {},
        pods={"release-1-fetch": pod} if pod else {},
        **more,
    )


def test_a_step_that_asks_for_a_warm_worker_and_has_a_job_says_why() -> None:
    job: Object = {"metadata": {"name": "release-1-fetch", "annotations": {"runs.bubustack.io/not-warm": "no SDK"}}}
    running = {"containerStatuses": [{"name": "engram", "state": {"running": {"startedAt": BEGAN}}}]}
    facts = of_engram(a_step_run("fetch"), job, a_pod("fetch", phase="Running", **running))
    assert only(facts).text == "runs in Pod pod-x; it is a Job, not in a warm worker: no SDK"


# Steps that wait by themselves.


def test_a_gate_names_who_decides_until_when_and_how() -> None:
    gate = {"name": "approve", "type": "gate", "with": {"timeout": "1h"}}
    timers = {"approve": {"gateTimeoutAt": LATER}}
    run = a_run(timers=timers, stepStates={"approve": at_work("Paused", f"Waiting for approval until {LATER}")})

    cause = only(Facts(run, a_story(gate)))

    assert (cause.kind, cause.since, cause.until) == (CauseKind.GATE, BEGAN_AT, LATER_AT)
    assert cause.then == "the step fails with Timeout"
    assert "bobrapet-gate-approver-role" in cause.who
    assert cause.commands == ("bobrapet approve release-1 approve", "bobrapet reject release-1 approve")


def test_a_gate_that_is_decided_waits_for_the_operator() -> None:
    decision = {"state": "Approved", "updatedBy": "jane", "updatedAt": BEGAN}
    run = a_run(stepStates={"approve": at_work("Paused")}, gates={"approve": decision})

    cause = only(Facts(run, a_story({"name": "approve", "type": "gate"})))

    assert (cause.kind, cause.text) == (CauseKind.OPERATOR, "was Approved by jane; the operator is about to act on it")


@pytest.mark.parametrize(
    ("step", "timer", "kind", "text", "then"),
    [
        pytest.param(
            {"name": "x", "type": "sleep"}, "sleepUntil", CauseKind.SLEEP, "sleeps", "the run continues", id="sleep"
        ),
        pytest.param(
            {"name": "x", "type": "wait", "with": {"until": "{{ steps.a.output.ok }}", "onTimeout": "skip"}},
            "waitTimeoutAt",
            CauseKind.WAIT,
            "waits until {{ steps.a.output.ok }}",
            "the step is skipped",
            id="wait",
        ),
    ],
)
def test_a_timed_step_tells_what_happens_then(step: Object, timer: str, kind: CauseKind, text: str, then: str) -> None:
    run = a_run(timers={"x": {timer: LATER}}, stepStates={"x": at_work("Paused", "…")})

    cause = only(Facts(run, a_story(step)))

    assert (cause.kind, cause.text, cause.until, cause.then) == (kind, text, LATER_AT, then)


def test_a_step_without_a_slot_tells_where_in_the_queue_it_is() -> None:
    message = "Queued due to queue concurrency limit (2 running, limit 2); 3rd in queue gpu"
    run = a_run(stepStates={"fetch": at_work("Pending", message)})

    cause = only(Facts(run, a_story(engram("fetch"))))

    assert (cause.kind, cause.text) == (
        CauseKind.QUEUE,
        "waits for its turn: queue concurrency limit (2 running, limit 2); 3rd in queue gpu",
    )


@pytest.mark.parametrize("phase", ["Pending", "Running"])
def test_a_step_that_waits_for_its_engram_tells_since_when_and_who_can_apply_it(phase: str) -> None:
    message = "Waiting until 2026-01-02T13:00:00Z: Engram team/http of step 'fetch' does not exist; apply it"
    state = at_work(phase, message) | {"reason": "EngramNotFound", "reasonSince": LATER}
    run = a_run(stepStates={"fetch": state})

    cause = only(Facts(run, a_story(engram("fetch"))))

    assert (cause.kind, cause.text, cause.since) == (CauseKind.DEFINITION, f"cannot continue: {message}", LATER_AT)
    assert cause.who == "a user who may apply the Engram, or the author of the Story"


# Engram steps.


def test_a_retry_tells_when_it_comes_and_what_went_wrong() -> None:
    step_run = a_step_run("fetch", phase="Pending", retries=1, nextRetryAt=LATER, lastFailureMsg="rate\nlimited")

    cause = only(of_engram(step_run, pod=a_pod("fetch", phase="Failed")))

    assert cause.text == "waits for its next attempt; attempt 1 of 6 failed: rate limited"
    assert (cause.kind, cause.until, cause.then) == (CauseKind.RETRY, LATER_AT, "attempt 2 of 6 starts")


def test_an_image_that_cannot_be_had_is_told_as_the_node_words_it() -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image w:1"}
    pod = a_pod("fetch", phase="Pending", containerStatuses=[{"name": "engram", "state": {"waiting": waiting}}])

    cause = only(of_engram(a_step_run("fetch", phase="Running"), a_job("fetch"), pod))

    assert cause.kind is CauseKind.IMAGE
    assert cause.text == "cannot pull its image: ImagePullBackOff: Back-off pulling image w:1"
    assert (cause.since, cause.until, cause.then) == (BEGAN_AT, LATER_AT, "the attempt times out")
    assert cause.commands == ("kubectl describe pod pod-x --namespace team",)


def test_a_pod_that_no_node_takes_tells_since_when() -> None:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes are available: insufficient cpu",
        "lastTransitionTime": BEGAN,
    }
    pod = a_pod("fetch", phase="Pending", conditions=[condition])

    cause = only(of_engram(a_step_run("fetch"), a_job("fetch"), pod))

    assert (cause.kind, cause.since) == (CauseKind.NODE, BEGAN_AT)
    assert "0/3 nodes are available: insufficient cpu" in cause.text


def test_a_missing_secret_is_no_matter_of_the_image() -> None:
    waiting = {"reason": "CreateContainerConfigError", "message": 'secret "s3" not found'}
    pod = a_pod("fetch", phase="Pending", containerStatuses=[{"name": "engram", "state": {"waiting": waiting}}])

    assert only(of_engram(a_step_run("fetch"), a_job("fetch"), pod)).kind is CauseKind.CONTAINER


def test_a_container_that_runs_says_since_when_and_which_attempt_it_is() -> None:
    running = {"name": "engram", "state": {"running": {"startedAt": BEGAN}}}
    pod = a_pod("fetch", phase="Running", containerStatuses=[running])

    cause = only(of_engram(a_step_run("fetch", phase="Running", retries=2), a_job("fetch"), pod))

    assert (cause.kind, cause.text, cause.since) == (CauseKind.RUNNING, "runs attempt 3 of 6 in Pod pod-x", BEGAN_AT)
    assert cause.commands == ("bobrapet logs release-1 fetch --follow",)


def test_a_container_that_has_ended_waits_for_the_operator() -> None:
    ended = {"name": "engram", "state": {"terminated": {"exitCode": 3, "finishedAt": BEGAN}}}

    cause = only(of_engram(a_step_run("fetch"), a_job("fetch"), a_pod("fetch", containerStatuses=[ended])))

    assert (cause.kind, cause.since) == (CauseKind.OPERATOR, BEGAN_AT)
    assert "exit code 3" in cause.text


def test_a_job_that_gets_no_pod_tells_the_last_warning() -> None:
    quota = {"release-1-fetch": "pods is forbidden: exceeded quota"}

    cause = only(of_engram(a_step_run("fetch"), a_job("fetch"), warnings=quota))

    assert (cause.kind, cause.text) == (CauseKind.JOB, "has a Job but no Pod: pods is forbidden: exceeded quota")


def test_a_container_that_does_not_start_tells_the_last_warning_about_its_pod() -> None:
    missing = 'MountVolume.SetUp failed for volume "settings" : configmap "settings" not found'
    taken = {"type": "PodScheduled", "status": "True", "lastTransitionTime": BEGAN}
    waiting = [{"name": "engram", "state": {"waiting": {"reason": "ContainerCreating"}}}]
    pod = a_pod("fetch", phase="Pending", conditions=[taken], containerStatuses=waiting)

    told = only(of_engram(a_step_run("fetch"), a_job("fetch"), pod, warnings={"release-1-fetch": missing}))
    silent = only(of_engram(a_step_run("fetch"), a_job("fetch"), pod))

    assert (told.kind, told.text) == (CauseKind.CONTAINER, f"cannot create its container: {missing}")
    assert told.commands == ("kubectl describe pod pod-x --namespace team",)
    assert silent.kind is CauseKind.STARTING


def test_without_a_right_to_see_pods_it_tells_what_the_step_run_says_and_what_is_missing() -> None:
    progressing = {"type": "Progressing", "status": "True", "message": "The Job is created"}
    step_run = a_step_run("fetch", phase="Running", conditions=[progressing])

    explanation = about(of_engram(step_run, a_job("fetch"), unseen=("Pods",)))

    assert explanation.causes[0].text == "is running: The Job is created"
    assert explanation.unseen == ("Pods",)
    shown = "\n".join(line for line, _ in lines_of(explanation, NOW, width=80))
    assert "this answer may be incomplete: you may not read Pods" in shown


def test_without_a_right_to_see_pods_what_the_step_says_is_told() -> None:
    state = at_work(message="No node fits since 2026-01-02T11:59:00Z: 0/3 nodes are available")
    facts = replace(
        of_engram(a_step_run("fetch"), a_job("fetch"), unseen=("Pods",)), run=a_run(stepStates={"fetch": state})
    )

    cause = only(facts)

    assert (cause.kind, cause.text) == (CauseKind.NODE, state["message"])


# The actual cause.


def test_a_child_run_is_followed_to_what_it_waits_for() -> None:
    calls = {"name": "deploy", "type": "executeStory", "with": {"storyRef": {"name": "deploy"}}}
    waits = at_work("Running", "Running StoryRun release-1-deploy", subStoryRunName="release-1-deploy")
    inner = Facts(
        a_run("release-1-deploy", stepStates={"go": at_work("Paused", "Waiting for approval")}),
        a_story({"name": "go", "type": "gate"}),
        unseen=("Pods",),
    )

    explanation = about(Facts(a_run(stepStates={"deploy": waits}), a_story(calls), children={"deploy": inner}))

    (cause,) = explanation.causes
    assert (cause.run, cause.step, cause.kind) == ("release-1-deploy", "go", CauseKind.GATE)
    assert cause.via == ("release-1/deploy",)
    assert cause.commands[0] == "bobrapet approve release-1-deploy go"
    assert explanation.unseen == ("Pods",)


def test_a_child_run_that_is_not_to_be_seen_is_named() -> None:
    calls = {"name": "deploy", "type": "executeStory"}
    waits = at_work("Running", "Running StoryRun other", subStoryRunName="other")

    cause = only(Facts(a_run(stepStates={"deploy": waits}), a_story(calls)))

    assert (cause.kind, cause.text) == (CauseKind.CHILD, "waits for StoryRun other, which you cannot see")


def test_of_a_parallel_step_its_branches_are_told() -> None:
    fan = {"name": "fan", "type": "parallel", "with": {"steps": [engram("a"), {"name": "ok", "type": "gate"}]}}
    states = {"fan": at_work(), "fan/a": at_work("Succeeded"), "fan/ok": at_work("Paused", "Waiting for approval")}

    cause = only(Facts(a_run(stepStates=states), a_story(fan)))

    assert (cause.step, cause.kind) == ("fan/ok", CauseKind.GATE)


NEEDY = a_story(
    {"name": "approve", "type": "gate"},
    engram("build"),
    engram("publish", "approve", "build"),
    engram("announce", "publish"),
    **{"finally": [engram("tidy")]},
)
WAITS = a_run(stepStates={"approve": at_work("Paused", "Waiting for approval"), "build": at_work("Succeeded")})


def test_what_comes_later_names_the_needs_that_are_not_met() -> None:
    explanation = about(Facts(WAITS, NEEDY))

    assert [cause.step for cause in explanation.causes] == ["approve"]
    assert explanation.later == (("publish", ("approve",)), ("announce", ("publish",)))


def test_a_step_that_has_not_begun_is_followed_through_its_needs() -> None:
    first, second, last = about(Facts(WAITS, NEEDY), "announce").causes

    assert (first.step, first.text) == ("announce", "needs publish (Pending)")
    assert (second.step, second.text) == ("publish", "needs approve (Paused)")
    assert (last.step, last.kind, last.via) == ("approve", CauseKind.GATE, ("release-1/announce", "release-1/publish"))
    assert about(Facts(WAITS, NEEDY), "tidy").causes[0].text.startswith("starts when the steps before")


def test_a_step_that_two_others_need_is_told_once() -> None:
    story = a_story(
        {"name": "approve", "type": "gate"}, engram("a", "approve"), engram("b", "approve"), engram("c", "a", "b")
    )
    run = a_run(stepStates={"approve": at_work("Paused", "Waiting for approval")})

    assert [cause.step for cause in about(Facts(run, story), "c").causes] == ["c", "a", "approve", "b"]


def test_the_trace_is_that_of_the_explained_step_or_run() -> None:
    of_run, of_step = ({"traceId": "ab" * 16, "spanId": span * 16, "sampled": True} for span in "cd")
    run = a_run(stepStates={"fetch": at_work()}, trace=of_run)
    facts = Facts(run, a_story(engram("fetch")), step_runs={"fetch": a_step_run("fetch", trace=of_step)})

    traces = [about(facts, step).trace for step in ("", "fetch")]
    assert [each.document() for each in traces if each is not None] == [of_run, of_step]
    assert about(of_engram()).trace is None


def test_a_step_that_is_unknown_is_no_step() -> None:
    with pytest.raises(ViewError, match="has no step 'publsh'") as refusal:
        about(Facts(WAITS, NEEDY), "publsh")

    assert refusal.value.remedy == "did you mean 'publish'?"


# The run itself.


@pytest.mark.parametrize(
    ("run", "kind", "text"),
    [
        pytest.param(
            {**a_run(), "status": {}}, CauseKind.OPERATOR, "has not been seen by an operator yet", id="no operator"
        ),
        pytest.param(
            a_run(
                phase="Pending",
                conditions=[
                    {"type": "Ready", "reason": "StoryNotFound", "message": "Story team/x does not exist (yet)"}
                ],
            ),
            CauseKind.STORY,
            "waits for its Story: Story team/x does not exist (yet)",
            id="no Story",
        ),
        pytest.param(
            a_run(conditions=[{"type": "Ready", "reason": "PermissionDenied", "message": "cannot create jobs"}]),
            CauseKind.PERMISSION,
            "waits for a permission that the operator does not have: cannot create jobs",
            id="no right",
        ),
        pytest.param(
            a_run(
                conditions=[{"type": "Ready", "reason": "StorageUnavailable", "message": "step b: bucket x: no answer"}]
            ),
            CauseKind.STORAGE,
            "waits for data of a step that is in object storage: step b: bucket x: no answer",
            id="no storage",
        ),
        pytest.param(
            a_run(spec={"cancelRequested": True}),
            CauseKind.CANCEL,
            "is being canceled: its steps are asked to end, then stopped",
            id="canceled",
        ),
    ],
)
def test_what_keeps_the_whole_run_comes_first(run: Object, kind: CauseKind, text: str) -> None:
    cause = about(Facts(run, None)).causes[0]

    assert (cause.kind, cause.step, cause.text) == (kind, "", text)


def test_a_retry_that_was_asked_for_waits_for_the_operator() -> None:
    run = a_run(phase="Failed")
    run["metadata"]["annotations"]["storyrun.bubustack.io/redrive-token"] = "t1"

    assert only(Facts(run, None)).kind is CauseKind.OPERATOR


def test_a_retry_that_was_refused_says_why() -> None:
    refused = {"type": "Redrive", "status": "False", "reason": "RedriveInvalid", "message": "no step 'x'"}

    causes = about(Facts(a_run(phase="Failed", message="broken", conditions=[refused]), None)).causes

    assert [cause.text for cause in causes] == ["is not run again: no step 'x'", "ended Failed: broken"]


def test_between_two_steps_the_next_one_is_about_to_begin() -> None:
    run = a_run(stepStates={"a": at_work("Succeeded")})

    cause = only(Facts(run, a_story(engram("a"), engram("b", "a"))))

    assert (cause.step, cause.text) == ("b", "is about to start: all steps that it needs have ended")


def test_of_an_output_that_was_not_made_here_run_and_time_are_told() -> None:
    step_run = a_step_run("a", cached=True, cachedFrom={"key": "0", "storyRun": "release-0", "storedAt": BEGAN})
    facts = Facts(a_run(stepStates={"a": at_work("Succeeded")}), a_story(engram("a")), step_runs={"a": step_run})

    cause = only(facts, "a")

    assert cause.text == f"has ended Succeeded: cached, from release-0, made at {BEGAN}"


def test_the_story_s_timeout_is_the_run_s_own() -> None:
    story = a_story(engram("a"), policy={"timeouts": {"story": "61m"}})

    assert about(Facts(a_run(stepStates={"a": at_work()}), story)).until == LATER_AT


@pytest.mark.parametrize(
    ("run", "summary"),
    [
        (a_run(phase="Succeeded"), "has ended Succeeded; it waits for nothing"),
        (a_run(phase="Finished", spec={"cancelRequested": True}), "was canceled; it waits for nothing"),
    ],
)
def test_a_run_that_ended_as_it_should_waits_for_nothing(run: Object, summary: str) -> None:
    explanation = about(Facts(run, None))

    assert (explanation.causes, explanation.summary) == ((), summary)


# Failures.


def test_the_first_step_that_failed_is_why_a_run_failed() -> None:
    states = {
        "late": {"phase": "Failed", "finishedAt": LATER, "message": "second"},
        "fan": {"phase": "Failed", "finishedAt": LATER, "message": "branches failed: a"},
        "fan/a": {"phase": "Failed", "finishedAt": BEGAN, "message": "no such table"},
    }
    fan = {"name": "fan", "type": "parallel", "with": {"steps": [engram("a")]}}
    facts = Facts(
        a_run(phase="Failed", stepStates=states),
        a_story(engram("late"), fan),
        step_runs={
            "fan/a": {
                "metadata": {"name": "n", "annotations": {"runs.bubustack.io/step-path": "fan/a"}},
                "spec": {"stepId": "a"},
                "status": {
                    "phase": "Failed",
                    "exitCode": 3,
                    "exitClass": "terminal",
                    "error": {"message": "no such table", "type": "execution_error", "exceptions": ["OSError"]},
                },
            }
        },
        last_lines={"fan/a": ("one", "two")},
    )

    cause = only(facts)

    assert (cause.step, cause.text) == ("fan/a", "ended Failed: exit 3, no such table")
    why = "OSError is not retried: retry.retryOn is [transient] (default); set it to [transient, OSError] or [any]"
    assert cause.facts == (("type", "execution_error"), ("exitClass", "terminal"), ("retry", why))
    assert cause.last_lines == ("one", "two")
    assert cause.commands == ("bobrapet logs release-1 fan/a", "bobrapet retry release-1 --from fan/a")


def test_a_failed_child_run_tells_its_own_reason_and_which_step_of_ours_to_run_again() -> None:
    calls = {"name": "deploy", "type": "executeStory"}
    failed = {"phase": "Failed", "finishedAt": BEGAN, "subStoryRunName": "release-1-deploy"}
    inner = Facts(
        a_run("release-1-deploy", phase="Failed", stepStates={"push": {"phase": "Failed", "message": "denied"}}),
        a_story(engram("push")),
        step_runs={"push": a_step_run("push", phase="Failed", podName="push-x")},
    )
    facts = Facts(a_run(phase="Failed", stepStates={"deploy": failed}), a_story(calls), children={"deploy": inner})

    cause = only(facts)

    assert (cause.run, cause.step, cause.text) == ("release-1-deploy", "push", "ended Failed: denied")
    assert cause.commands == ("bobrapet logs release-1-deploy push", "bobrapet retry release-1 --from deploy")


@pytest.mark.parametrize("unseen", [(), ("StepRuns",)])
def test_logs_are_proposed_only_of_steps_that_may_have_some(unseen: tuple[str, ...]) -> None:
    """A step whose image could not be pulled has none; of a StepRun that is not seen, nothing is known."""
    late = a_step_run("late", phase="Timeout", error={"details": {"obstacle": "ImageNotPulled"}})
    run = a_run(phase="Failed", stepStates={"late": {"phase": "Timeout"}})
    facts = Facts(run, a_story(engram("late")), step_runs={} if unseen else {"late": late}, unseen=unseen)

    proposed = {cause.step: cause.commands[0].split()[1] for cause in about(facts).causes}

    assert proposed == {"late": "logs" if unseen else "retry"}


def test_a_timeout_says_how_much_of_the_processor_the_container_had_used() -> None:
    step_run = a_step_run("late", phase="Timeout")
    used = "container engram was ended; it had used 3.2 s of processor in 180 s"
    run = a_run(phase="Failed", stepStates={"late": {"phase": "Timeout"}})
    facts = Facts(run, a_story(engram("late")), {"late": step_run}, processor={step_run["metadata"]["name"]: used})

    assert only(facts).facts == (("used", used),)


def test_a_failure_is_told_while_other_steps_go_on() -> None:
    states = {"a": {"phase": "Failed", "finishedAt": BEGAN, "message": "denied"}, "b": at_work()}

    causes = about(Facts(a_run(stepStates=states), a_story(engram("a"), engram("b")))).causes

    assert [(cause.step, cause.kind) for cause in causes] == [("b", CauseKind.STARTING), ("a", CauseKind.FAILED)]


def test_a_run_that_failed_before_its_first_step_tells_its_message() -> None:
    cause = only(Facts(a_run(phase="Failed", message="spec.inputs: city is required"), a_story(engram("a"))))

    assert (cause.kind, cause.text) == (CauseKind.FAILED, "ended Failed: spec.inputs: city is required")
    assert cause.commands == ("bobrapet resubmit release-1",)


# Effects that an earlier attempt holds.


def a_claim(taken: str = BEGAN, **spec: Any) -> Object:
    held = {"holderIdentity": "pod-0:5f0c", "acquireTime": taken, "renewTime": taken, "leaseDurationSeconds": 3660}
    return {"metadata": {"name": "c"}, "spec": {"effectKey": "card", **held, **spec}}


def with_claims(step_run: Object, *claims: Object, pod: Object | None = None) -> Facts:
    return of_engram(step_run, a_job("fetch"), pod, claims={"release-1-fetch": claims})


def test_a_step_between_two_attempts_names_the_effect_that_the_earlier_one_holds() -> None:
    ended = a_pod("fetch", containerStatuses=[{"name": "engram", "state": {"terminated": {"exitCode": 137}}}])
    step_run = a_step_run("fetch", nextRetryAt=LATER, retries=1)

    retry, effect = about(with_claims(step_run, a_claim(), pod=ended)).causes

    assert retry.kind is CauseKind.RETRY
    assert (effect.kind, effect.since, effect.until) == (CauseKind.EFFECT, BEGAN_AT, LATER_AT)
    assert effect.text == (
        "cannot perform effect 'card' yet: an earlier attempt (pod-0:5f0c) holds its claim and did not complete it"
    )
    assert effect.commands == ("bobrapet effects release-1",)


def test_a_running_attempt_that_waits_for_an_effect_says_so() -> None:
    running = a_pod("fetch", containerStatuses=[{"name": "engram", "state": {"running": {"startedAt": BEGAN}}}])
    earlier = a_claim("2026-01-02T11:58:59.900000Z")

    kinds = [cause.kind for cause in about(with_claims(a_step_run("fetch", retries=1), earlier, pod=running)).causes]

    assert kinds == [CauseKind.RUNNING, CauseKind.EFFECT]


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param(a_claim("2026-01-02T11:59:00.100000Z"), id="of-this-attempt"),
        pytest.param(a_claim("2026-01-02T11:00:00Z", completionStatus="completed"), id="completed"),
        pytest.param(a_claim("2026-01-02T11:00:00Z", completionStatus="released", holderIdentity=""), id="released"),
        pytest.param(a_claim("2026-01-02T11:00:00Z", completionStatus="abandoned"), id="abandoned"),
    ],
)
def test_an_effect_that_does_not_hold_the_attempt_up_is_not_named(claim: Object) -> None:
    running = a_pod("fetch", containerStatuses=[{"name": "engram", "state": {"running": {"startedAt": BEGAN}}}])

    assert only(with_claims(a_step_run("fetch", retries=1), claim, pod=running)).kind is CauseKind.RUNNING


FINALIZER = "storyrun.bubustack.io/finalizer"


@pytest.mark.parametrize(
    ("finalizers", "step_runs", "expected"),
    [
        (
            [FINALIZER, "x/y"],
            {"fetch": a_step_run("fetch")},
            "is being deleted, and waits for the end of its 1 steps and child runs",
        ),
        (
            [FINALIZER, "x/y"],
            {},
            "is being deleted, and waits until its containers have ended and what it has stored is deleted",
        ),
        (["x/y", "z/a"], {}, "is being deleted, and waits for other programs: finalizer x/y, z/a"),
    ],
)
def test_a_run_that_is_being_deleted_says_what_it_waits_for(
    finalizers: list[str], step_runs: dict[str, Object], expected: str
) -> None:
    run = a_run(phase="Succeeded", finishedAt=BEGAN)
    run["metadata"] |= {"deletionTimestamp": BEGAN, "finalizers": finalizers}

    cause = only(Facts(run, a_story(engram("fetch")), step_runs=step_runs))

    assert (cause.kind, cause.text, cause.since) == (CauseKind.DELETION, expected, BEGAN_AT)
    assert cause.who


@pytest.mark.parametrize("phase", ["Running", "Failed", "Succeeded"])
def test_a_step_tells_its_last_signal(phase: str) -> None:
    status = {"phase": phase, "signals": {"rows": {"value": 3}}, "signalEvents": [{"seq": 1, "key": "rows"}]}
    facts = Facts(
        a_run(stepStates={"load": at_work(phase)}), a_story(engram("load")), {"load": a_step_run("load", **status)}
    )

    explanation = about(facts, "load")

    assert document_of(explanation)["causes"][0]["signal"] == {"key": "rows", "text": "3", "at": None}
    assert "  signal  rows: 3" in [line for line, _ in lines_of(explanation, NOW, width=80)]
