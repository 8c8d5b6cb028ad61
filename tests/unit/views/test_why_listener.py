"""Why an Impulse is down, found from its status and its Pods."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cli.render.why import lines_of_listener
from core.api.objects import Object
from core.api.phases import Phase
from localcluster.node import podstatus
from views.impulses import view_impulse
from views.why import listener
from views.why.cause import CauseKind
from views.why.document import document_of_listener
from views.why.listener import ListenerFacts, explain_listener, log_of_unready

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
BEGAN = "2026-01-02T11:59:00Z"


def an_impulse(
    reason: str = "Reconciling", message: str = "waiting for Deployment pods", phase: str = "Pending", **more: Any
) -> Object:
    status = "True" if reason == "DeploymentReady" else "False"
    ready = {"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": BEGAN}
    return {
        "metadata": {"namespace": "team", "name": "hook", "generation": 2, "creationTimestamp": BEGAN},
        "spec": {"templateRef": {"name": "webhook"}, "storyRef": {"name": "report"}, **more.pop("spec", {})},
        "status": {"phase": phase, "observedGeneration": 2, "conditions": [ready], **more},
    }


def a_pod(name: str = "hook-1", phase: str = "Running", **container: Any) -> Object:
    statuses = [{"name": "impulse", "image": "img", **container}] if container else []
    return {
        "metadata": {"name": name, "creationTimestamp": BEGAN},
        "status": {"phase": phase, "containerStatuses": statuses},
    }


def kinds(facts: ListenerFacts) -> list[CauseKind]:
    return [cause.kind for cause in explain_listener(facts).causes]


def test_an_impulse_is_seen_with_its_counters_and_defaults() -> None:
    view = view_impulse(
        an_impulse("DeploymentReady", "active", "Running", triggersReceived=5, storiesLaunched=3, failedTriggers=1)
    )
    assert (view.name, view.template, view.story, view.mode) == ("hook", "webhook", "report", "deployment")
    assert (view.phase, view.is_ready, view.is_current) == (Phase.RUNNING, True, True)
    assert (view.received, view.launched, view.failed, view.throttled, view.last_trigger) == (5, 3, 1, 0, None)


def test_a_story_elsewhere_is_shown_with_its_namespace() -> None:
    away: Object = {"storyRef": {"name": "report", "namespace": "shared"}, "workload": {"mode": "statefulset"}}
    view = view_impulse(an_impulse(spec=away))
    assert (view.story, view.mode) == ("shared/report", "statefulset")


def test_a_new_impulse_has_nothing_yet() -> None:
    new: Object = {"metadata": {"namespace": "team", "name": "hook", "generation": 1}, "spec": {}}
    view = view_impulse(new)
    assert (view.phase, view.is_ready, view.is_current, view.received) == (None, False, False, 0)
    assert kinds(ListenerFacts(new)) == [CauseKind.OPERATOR]


def test_of_an_impulse_that_is_up_there_is_no_cause() -> None:
    told = explain_listener(ListenerFacts(an_impulse("DeploymentReady", "active", "Running", triggersReceived=2)))
    assert told.causes == ()
    assert told.summary == "is active and listening; events: 2 received, 0 started a run, 0 rejected"


def test_an_impulse_of_the_embedded_cluster_is_shown_with_its_address() -> None:
    pod = a_pod(state={"running": {}}, ready=True)
    pod["status"]["conditions"] = [{"type": listener.LISTENING, "message": "port 8080 is 127.0.0.1:8082"}]
    told = explain_listener(ListenerFacts(an_impulse("DeploymentReady", "active", "Running"), (pod,)))
    assert told.summary.startswith("is active and listening; port 8080 is 127.0.0.1:8082; events: ")
    assert listener.LISTENING == podstatus.LISTENING


def test_a_status_of_an_earlier_spec_says_nothing_about_this_one() -> None:
    ready = an_impulse("DeploymentReady", "active", "Running")
    ready["metadata"]["generation"] = 3
    assert kinds(ListenerFacts(ready)) == [CauseKind.OPERATOR]


@pytest.mark.parametrize(
    ("reason", "kind", "command"),
    [
        ("TemplateNotFound", CauseKind.TEMPLATE, "kubectl apply --filename TEMPLATE.yaml"),
        ("StoryNotFound", CauseKind.STORY, "kubectl apply --filename STORY.yaml"),
        ("StoryReferenceInvalid", CauseKind.REFERENCE, ""),
        ("PermissionDenied", CauseKind.PERMISSION, ""),
        ("NameConflict", CauseKind.CONFLICT, ""),
        ("Suspended", CauseKind.SUSPENDED, "kubectl annotate impulse hook bubustack.io/suspend- --namespace team"),
        ("InvalidConfiguration", CauseKind.CONFIGURATION, "kubectl edit impulse hook --namespace team"),
        ("DeploymentReconcileFailed", CauseKind.CONFIGURATION, "kubectl edit impulse hook --namespace team"),
    ],
)
def test_a_reason_of_the_operator_is_the_cause(reason: str, kind: CauseKind, command: str) -> None:
    told = explain_listener(ListenerFacts(an_impulse(reason, "Story team/report is gone", "Blocked"), (a_pod(),)))
    [cause] = told.causes
    assert (cause.kind, cause.text) == (kind, "Story team/report is gone")
    assert cause.commands == ((command,) if command else ())


@pytest.mark.parametrize(
    ("pod", "kind", "text"),
    [
        (
            a_pod(phase="Pending", state={"waiting": {"reason": "ImagePullBackOff", "message": "not\nfound"}}),
            CauseKind.IMAGE,
            "Pod hook-1 cannot pull its image: ImagePullBackOff: not found",
        ),
        (
            a_pod(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": {"exitCode": 3}}),
            CauseKind.FAILED,
            "Pod hook-1 restarts: its container ended with exit code 3, 0 restarts",
        ),
        (
            a_pod(state={"running": {"startedAt": BEGAN}}),
            CauseKind.STARTING,
            "Pod hook-1 runs, but its readiness probe fails",
        ),
        (a_pod(phase="Pending"), CauseKind.STARTING, "waiting for Deployment pods"),
    ],
)
def test_while_it_starts_its_pods_are_the_cause(pod: Object, kind: CauseKind, text: str) -> None:
    [cause] = explain_listener(ListenerFacts(an_impulse(), (pod,))).causes
    assert (cause.kind, cause.text) == (kind, text)
    assert cause.commands[0].startswith("kubectl ")


CRASHED: Object = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1}}}


@pytest.mark.parametrize(
    ("pod", "previous"),
    [
        (a_pod(**CRASHED), True),
        (a_pod(state={"running": {}}, lastState={"terminated": {"exitCode": 1}}), True),
        (a_pod(state={"terminated": {"exitCode": 1}}, lastState={"terminated": {"exitCode": 1}}), False),
        (a_pod(state={"running": {}}), False),
        (a_pod(state={"running": {}}, ready=True), None),
        (a_pod(state={"waiting": {"reason": "ImagePullBackOff"}}), None),
        (a_pod(), None),
    ],
)
def test_the_log_of_a_container_that_has_run_and_is_not_ready_is_read(pod: Object, previous: bool | None) -> None:
    found = log_of_unready(pod)

    assert (None if found is None else found.get("previous") == "true") is previous
    assert found is None or found["container"] == "impulse"


def test_the_last_lines_of_its_log_are_shown_with_the_cause() -> None:
    line = '{"level": "error", "msg": "port: cannot listen on 127.0.0.1:8080"}'
    told = explain_listener(ListenerFacts(an_impulse(), (a_pod(**CRASHED),), last_lines={"hook-1": (line,)}))

    [shown] = [text for text, _ in lines_of_listener(told, NOW, width=100) if "cannot listen" in text]
    assert shown.startswith("  | ")
    assert document_of_listener(told)["causes"][0]["lastLines"] == [line]


def test_pods_that_are_ready_are_no_cause_and_without_others_the_status_is() -> None:
    [cause] = explain_listener(ListenerFacts(an_impulse(), (a_pod(ready=True, state={"running": {}}),))).causes
    assert (cause.kind, cause.text) == (CauseKind.STARTING, "waiting for Deployment pods")


def test_a_pod_that_is_ending_is_no_cause() -> None:
    ending = a_pod(state={"running": {}})
    ending["metadata"]["deletionTimestamp"] = BEGAN
    [cause] = explain_listener(ListenerFacts(an_impulse(), (ending,))).causes
    assert cause.text == "waiting for Deployment pods"


def test_when_its_pods_say_nothing_the_operator_does_and_commands_show_more() -> None:
    message = "waiting for Deployment pods: Secret 'keys' (secrets.auth) does not exist"
    [cause] = explain_listener(ListenerFacts(an_impulse(message=message), (a_pod(phase="Pending"),))).causes
    selector = "--selector app.kubernetes.io/instance=hook --namespace team"
    assert cause.text == message
    assert cause.commands == (f"kubectl describe deployment {selector}", f"kubectl describe pod {selector}")


def test_a_terminal_shows_the_cause_and_what_to_do() -> None:
    told = explain_listener(ListenerFacts(an_impulse("StoryNotFound", "Story team/report is gone", "Blocked")))
    assert [line for line, _ in lines_of_listener(told, NOW, width=80)] == [
        "impulse/hook  Blocked  since 2026-01-02T11:59:00Z",
        "",
        "Story team/report is gone",
        "  since   2026-01-02T11:59:00Z (1m00s ago)",
        "  who     the owner of the Story",
        "  do      kubectl apply --filename STORY.yaml",
    ]
    unseen = explain_listener(ListenerFacts(an_impulse(), unseen=("Pods",)))
    assert "you may not read Pods" in [line for line, _ in lines_of_listener(unseen, NOW, width=80)][-1]


def test_a_program_gets_the_same_as_data() -> None:
    document = document_of_listener(explain_listener(ListenerFacts(an_impulse("StoryNotFound", "gone", "Blocked"))))
    assert document["impulse"] == "hook"
    assert (document["ready"], document["reason"], document["since"]) == (False, "StoryNotFound", BEGAN)
    assert [cause["kind"] for cause in document["causes"]] == ["story"]
