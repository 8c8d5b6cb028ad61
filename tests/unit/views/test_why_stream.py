"""What a step of a realtime run waits for. (views/why/stream.py)"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bubu_contract.identity import compose
from core.api import keys
from core.api.objects import Object
from tests.unit.views import stream_samples as samples
from views.run_view import plain_command
from views.why.cause import Cause, CauseKind, Explanation, Facts, HubStanding
from views.why.explanation import explain
from views.why.stream import hub_standing

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
BEGAN_AT = datetime(2026, 1, 2, 11, 59, tzinfo=UTC)
RUNS: Object = {"state": {"running": {"startedAt": samples.BEGAN}}}
CRASHED: Object = {"terminated": {"exitCode": 3, "reason": "Error", "message": "no table", "finishedAt": samples.BEGAN}}


def pod(container: Object | None = None, *, phase: str = "Running", **status: Any) -> Object:
    statuses = {"containerStatuses": [{"name": "engram", **(RUNS if container is None else container)}]}
    return {
        "metadata": {"name": "pod-x", "creationTimestamp": samples.BEGAN},
        "status": {"phase": phase, **statuses, **status},
    }


def facts(*bindings: Object, pods: dict[str, Object] | None = None, run: Object | None = None, **more: Any) -> Facts:
    """All steps run; those without a binding of their own are connected."""
    found = {step: samples.binding(step) for step in samples.NEEDS} | {b["spec"]["stepName"]: b for b in bindings}
    given = {step: pod() for step in samples.NEEDS} | (pods or {})
    return Facts(
        run or samples.run(),
        samples.story(),
        step_runs={step: samples.step_run(step) for step in samples.NEEDS},
        pods={compose(samples.RUN, step): each for step, each in given.items()},
        bindings=found,
        **{"hub": HubStanding(is_there=True), **more},
    )


def about(found: Facts, step: str = "") -> Explanation:
    return explain(found, step, lambda namespace, verb, *arguments: plain_command(verb, *arguments))


def only(found: Facts, step: str = "days") -> Cause:
    (cause,) = about(found, step).causes
    return cause


def test_a_step_that_starts_jobs_has_no_container_to_wait_for() -> None:
    jobs = {keys.ANNOTATION_STREAM_JOBS: "true"}
    served = samples.binding("days", annotations=jobs, delivered=3, received=2, lost=1, trouble="job: no luck")
    waiting = samples.binding("days", annotations=jobs, connected=False)
    waiting["status"]["conditions"][0]["message"] = "the run waits for the bindings of page"
    full = samples.binding("days", annotations=jobs, waiting=40, waitingPct=80)
    for binding, kind, text in (
        (served, CauseKind.RUNNING, "is served by the hub; 3 messages in, 2 messages out"),
        (waiting, CauseKind.CONNECTION, "is not served by the hub yet: the run waits for the bindings of page"),
        (full, CauseKind.BACKPRESSURE, "is slower than its sources: 40 messages waiting, 80 % full"),
    ):
        found = facts(binding)
        there = {name: each for name, each in found.pods.items() if not name.endswith("-days")}
        cause = only(replace(found, pods=there))
        assert (cause.kind, cause.text) == (kind, text)
    assert dict(only(facts(served)).facts) == {"lost": "1 message", "last problem": "job: no luck"}
    assert (only(facts(full)).who, only(facts(full)).commands) == ("its Jobs", ())
    without = only(facts(served, hub=HubStanding(is_there=False)))
    assert (without.kind, without.text) == (
        CauseKind.HUB,
        "waits for the hub, which is not running: it starts no Jobs; what the hub held is lost",
    )


def test_a_step_that_is_connected_says_what_has_passed() -> None:
    binding = samples.binding("days", delivered=2089, received=1, waiting=4, connectedAt=samples.BEGAN)

    cause = only(facts(binding))

    assert (cause.kind, cause.since) == (CauseKind.RUNNING, BEGAN_AT)
    assert cause.text == "is connected; 2,089 messages in, 1 message out, 4 on their way"


def test_a_step_that_is_connected_also_says_what_went_wrong_before() -> None:
    binding = samples.binding("days", lost=2, trouble="expression: packet.volume is no number")
    cause = only(facts(binding, pods={"days": pod({**RUNS, "restartCount": 4, "lastState": CRASHED})}))

    assert dict(cause.facts) == {
        "lost": "2 messages",
        "last problem": "expression: packet.volume is no number",
        "restarts": "4, the last after exit code 3",
    }


REFUSED: Object = {"reason": "wrong_token", "message": "the token is not valid", "at": "2026-01-02T11:59:30Z"}


def test_a_step_whose_client_the_hub_refuses_says_so() -> None:
    waiting = samples.binding("days", connected=False, lastRefusal=REFUSED)
    text = only(facts(waiting)).text
    assert text.endswith("although its container runs: the hub refuses its client: the token is not valid")
    crashing = only(facts(waiting, pods={"days": pod({"state": CRASHED})}))
    assert crashing.kind is CauseKind.CONTAINER
    assert dict(crashing.facts) == {"message": "no table", "refused by the hub": "the token is not valid"}


def test_a_refusal_before_the_last_connection_is_only_a_detail() -> None:
    later: Object = {"connectedAt": "2026-01-02T11:59:40Z", "lastRefusal": REFUSED}
    assert dict(only(facts(samples.binding("days", **later))).facts) == {
        "last refused client": "the token is not valid (2026-01-02T11:59:30Z)"
    }
    gone = samples.binding("days", connected=False, disconnectedAt="2026-01-02T11:59:50Z", **later)
    assert "token" not in only(facts(gone)).text


def test_a_step_that_is_held_up_leads_to_the_one_that_is_full() -> None:
    held = samples.binding("replay", pausedBy=["days"])
    full = samples.binding("days", pausedBy=["page"], waiting=40, waitingPct=80)
    gone = samples.binding("page", connected=False, waitingPct=87, disconnectedAt=samples.BEGAN)

    causes = about(facts(held, full, gone), "replay").causes

    assert [(cause.step, cause.kind) for cause in causes] == [
        ("replay", CauseKind.BACKPRESSURE),
        ("days", CauseKind.BACKPRESSURE),
        ("page", CauseKind.CONNECTION),
    ]
    assert causes[0].text == "is blocked by days (80 % full)"
    assert causes[1].text == "is blocked by page (87 % full, not connected)"
    assert causes[2].via == ("buoy-1/replay", "buoy-1/days")
    assert (causes[2].text, causes[2].since) == (
        "is not connected to the hub yet, although its container runs; the hub reports: no client serves the step yet",
        BEGAN_AT,
    )


def test_a_step_that_a_primitive_holds_up_names_it() -> None:
    assert only(facts(samples.binding("days", pausedBy=["pause"]))).text == "is blocked by pause"


def test_a_slow_step_is_told_apart_from_one_at_work() -> None:
    cause = only(facts(samples.binding("days", waiting=40, waitingPct=80, delivered=5)))

    assert cause.kind is CauseKind.BACKPRESSURE
    assert "is slower than its sources: 40 messages waiting, 80 % full" in cause.text


def test_a_container_that_fails_again_shows_code_message_and_log() -> None:
    crashing = pod({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": CRASHED, "restartCount": 2})
    gone = samples.binding("days", connected=False)

    cause = only(facts(gone, pods={"days": crashing}, last_lines={"days": ("Traceback", "no such table")}))

    assert (cause.kind, cause.since) == (CauseKind.CONTAINER, BEGAN_AT)
    assert cause.text == "is being restarted: its container has ended with exit code 3 (Error), 2 restarts so far"
    assert (cause.facts, cause.last_lines) == ((("message", "no table"),), ("Traceback", "no such table"))
    assert cause.commands == ("bobrapet logs buoy-1 days",)


def test_an_image_that_cannot_be_pulled_comes_before_the_missing_connection() -> None:
    waiting = pod({"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}, phase="Pending")

    cause = only(facts(samples.binding("days", connected=False), pods={"days": waiting}))

    assert (cause.kind, cause.text) == (CauseKind.IMAGE, "cannot pull its image: ImagePullBackOff: no such image")


def test_a_step_without_a_pod_waits_for_it() -> None:
    cause = only(replace(facts(samples.binding("days", connected=False)), pods={}))

    assert (cause.kind, cause.text) == (CauseKind.STARTING, "waits for its Pod, which Kubernetes is about to create")


def test_who_may_not_see_pods_is_told_what_the_hub_says() -> None:
    found = replace(facts(samples.binding("days", delivered=3)), pods={}, unseen=("Pods",))

    assert only(found).text == "is connected; 3 messages in, 0 messages out"


@pytest.mark.parametrize("connected", [True, False], ids=["connected when it died", "not connected"])
def test_without_a_hub_that_is_the_cause_and_what_to_do(connected: bool) -> None:
    hub = HubStanding(is_there=False, since=BEGAN_AT, who="an administrator", commands=("look",))

    cause = only(facts(samples.binding("days", connected=connected), hub=hub))

    assert (cause.kind, cause.since, cause.who, cause.commands) == (
        CauseKind.HUB,
        BEGAN_AT,
        "an administrator",
        ("look",),
    )
    assert ("what the hub held is lost" in cause.text) is connected


def test_who_may_not_see_the_lease_of_a_dead_hub_is_told_what_the_operator_says() -> None:
    lost = {
        "type": "TransportReady",
        "status": "False",
        "reason": "AwaitingTransport",
        "message": "no hub has renewed the Lease bobrapet-hub since 2026-01-02T11:59:00Z",
        "lastTransitionTime": samples.BEGAN,
    }
    found = facts(samples.binding("days", delivered=3), hub=None)
    paused = samples.step_run("days", phase="Paused", conditions=[lost])

    cause = only(replace(found, step_runs={**found.step_runs, "days": paused}))

    assert (cause.kind, cause.since) == (CauseKind.HUB, BEGAN_AT)
    assert cause.text == f"is not connected any more: {lost['message']}"
    assert only(found).kind is CauseKind.RUNNING


def test_a_hub_that_has_said_nothing_is_asked_for_also_by_users_who_may_not_see_it() -> None:
    cause = only(facts(samples.binding("days", reported=False, connected=False), hub=None))

    assert (cause.kind, cause.text) == (CauseKind.HUB, "waits for the hub, which has not reported about it yet")
    assert cause.who == "an administrator: check that the hub runs"


def test_a_run_that_the_hub_cannot_serve_says_why() -> None:
    binding = samples.binding("days", connected=False)
    binding["status"]["conditions"][0] |= {"reason": "InvalidConfiguration", "message": "days: replay.mode: durable"}

    cause = only(facts(binding))

    assert (cause.kind, cause.text) == (
        CauseKind.CONFIGURATION,
        "is not served by the hub: days: replay.mode: durable",
    )


@pytest.mark.parametrize(
    ("annotation", "stream", "text"),
    [
        (
            keys.ANNOTATION_STREAM_ENDING,
            {"drained": True},
            "has received everything; the operator is stopping its worker",
        ),
        (keys.ANNOTATION_STREAM_FINISHED, {"waiting": 3}, "has finished; the hub still has 3 messages for it"),
        (keys.ANNOTATION_STREAM_FINISHED, {}, "has finished; the hub is delivering its last messages"),
    ],
)
def test_a_step_that_ends_says_what_is_left(annotation: str, stream: Object, text: str) -> None:
    word = "true" if annotation == keys.ANNOTATION_STREAM_FINISHED else "drained"
    binding = samples.binding("days", connected=False, annotations={annotation: word}, **stream)

    assert (only(facts(binding)).kind, only(facts(binding)).text) == (CauseKind.DRAIN, text)


def test_a_canceled_run_drains() -> None:
    canceled = samples.run(spec={"storyRef": {"name": "buoy"}, "cancelRequested": True})
    cause = only(facts(samples.binding("days", waiting=7), run=canceled))

    assert (cause.kind, cause.text) == (CauseKind.DRAIN, "is ending; the hub still has 7 messages for it")


def test_of_a_whole_run_the_trouble_comes_first() -> None:
    causes = about(facts(samples.binding("page", connected=False))).causes

    assert [(cause.step, cause.kind) for cause in causes] == [
        ("page", CauseKind.CONNECTION),
        ("replay", CauseKind.RUNNING),
        ("days", CauseKind.RUNNING),
    ]


def test_a_run_whose_operator_does_not_know_the_hub_says_so() -> None:
    run = samples.run(states={})
    ready = {"type": "Ready", "status": "False", "reason": "AwaitingTransport", "message": "no Secret bobrapet-hub-key"}
    run["status"]["conditions"] = [{**ready, "lastTransitionTime": samples.BEGAN}]
    found = Facts(run, samples.story(), hub=HubStanding(is_there=False, commands=("look",)))

    cause = about(found).causes[0]

    assert (cause.kind, cause.commands) == (CauseKind.HUB, ("look",))
    assert cause.text == "waits for the address of the hub: no Secret bobrapet-hub-key"


def test_a_lease_that_is_not_renewed_means_that_no_hub_serves() -> None:
    spec = {"holderIdentity": "hub-1", "renewTime": "2026-01-02T12:00:00.000000Z", "leaseDurationSeconds": 60}
    lease = {"spec": spec}

    assert hub_standing(lease, NOW + timedelta(seconds=59)) == HubStanding(is_there=True)
    assert hub_standing(lease, NOW + timedelta(seconds=61)) == HubStanding(is_there=False, since=NOW)
    assert not hub_standing({"spec": {**spec, "holderIdentity": ""}}, NOW).is_there, "it has stopped in order"
