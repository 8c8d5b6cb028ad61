"""The write budget notices one request more, unless the log shows why it was sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from core.api.objects import Object
from tests.e2e.write_budget.circumstances import Case, explained
from tests.e2e.write_budget.counting import (
    Request,
    Sender,
    Sent,
    beside_runs,
    counted,
    sender_of,
    sent_requests,
    while_idle,
)
from tests.e2e.write_budget.judging import Played, Warned, deviations, slopes
from tests.e2e.write_budget.scenario_budgets import SCENARIOS

OPERATOR = "system:serviceaccount:bobrapet-system:bobrapet-controller-manager"


def sent(text: str, at: float = 0.0, name: str = "run", code: int = 200, answered: float = 0.0) -> Sent:
    """``text``: sender, verb, target."""
    sender, verb, target = text.split()
    return Sent(Request(Sender(sender), verb, target), name, at, at + answered, code)


def steps(number: int, *, step_seconds: float = 0.3, job_after: float = 0.01) -> list[Sent]:
    """A run whose ``number`` steps follow each other."""
    log, at = [sent("other create storyruns", 100.1, code=201)], 100.2
    log += [sent(f"operator create {target}", at) for target in ("events", "serviceaccounts", "rolebindings")]
    log += [sent("operator create controllerrevisions", at), sent("operator patch storyruns/status", at + 0.25)]
    for name in map(str, range(number)):
        log += [sent("operator create stepruns", at, name), sent("operator create jobs", at + job_after, name)]
        at += job_after + step_seconds
        log.append(sent("operator patch stepruns/status", at, name))
    log += [sent("operator patch storyruns/status", at + 0.01), sent("operator create events", at + 0.01)]
    return [*log, *(sent(f"operator patch {target}/status", at + 2) for target in ("stories", "engrams"))]


def judged(log: Sequence[Sent], name: str = "one_step", **warned: int) -> list[str]:
    warnings = Counter({Warned("StoryRun", reason): number for reason, number in warned.items()})
    return deviations(Played(log, warnings), SCENARIOS[name])


def test_a_run_as_usual_does_not_deviate() -> None:
    assert judged(steps(1)) == []


@pytest.mark.parametrize(
    ("request_", "at"),
    [
        ("patch stepruns/status", 100.3),
        ("patch storyruns/status", 100.47),
        ("list pods", 100.205),
        ("get stepruns", 100.205),
        ("get storyruns", 100.205),
        ("patch engrams/status", 105.0),
        ("patch stories/status", 105.0),
        ("create events", 100.3),
        ("get secrets", 100.3),
    ],
)
def test_one_request_more_is_named(request_: str, at: float) -> None:
    [first, *others] = judged([*steps(1), sent(f"operator {request_}", at, "0" if "step" in request_ else "run")])

    assert first.startswith(f"operator {request_}: ")
    assert others == ["requests of ours: 13, but 12 are allowed"]


@pytest.mark.parametrize("number", [5, 10])
@pytest.mark.parametrize("request_", ["patch stepruns/status", "patch storyruns/status", "get storyruns", "list pods"])
def test_one_request_more_for_each_step_is_named(number: int, request_: str) -> None:
    scenario = {5: "five_steps_in_a_row", 10: "ten_branches"}[number]
    usual = steps(number, step_seconds=0.1)
    more = [sent(f"operator {request_}", each.at + 0.05, each.name) for each in usual if "jobs" in each.request.target]
    runs = [replace_name(each, "run") if request_.endswith("storyruns/status") else each for each in more]

    assert len(runs) == number
    assert judged(usual, scenario) == []
    assert judged([*usual, *runs], scenario) != []


def replace_name(one: Sent, name: str) -> Sent:
    return one._replace(name=name)


def test_a_request_that_is_always_sent_and_is_not_is_named() -> None:
    log = [each for each in steps(1) if each.request.target != "controllerrevisions"]

    assert judged(log) == ["operator create controllerrevisions: 0, but the budget says 1; correct it"]


def test_requests_of_kubernetes_have_some_room() -> None:
    def of_kubernetes(number: int) -> list[Sent]:
        return [sent("cluster create pods"), *[sent("cluster update jobs/status")] * (number - 1)]

    assert judged([*steps(1), *of_kubernetes(17)]) == []
    owners = [sent("cluster get storyruns")] * 4  # as its garbage collector on a slow machine
    assert judged([*steps(1), *of_kubernetes(17), *owners]) == []
    assert judged([*steps(1), *of_kubernetes(18)]) == ["requests in all: 30, but 29 are allowed"]


def test_a_step_of_two_seconds_may_be_shown_as_running() -> None:
    running = sent("operator patch stepruns/status", 102.3, "0")

    assert judged([*steps(1, step_seconds=2.2), running]) == []
    assert judged([*steps(1, step_seconds=2.2), running, running]) != []


def test_a_late_job_may_cost_three_questions() -> None:
    questions = [sent(f"operator {what}", 100.3) for what in ("list pods", "get stepruns", "get storyruns")]

    assert judged([*steps(1, job_after=0.3), *questions]) == []
    assert judged([*steps(1, job_after=0.3), *questions, *questions]) != []


def test_a_status_of_a_run_may_be_written_again_after_a_second() -> None:
    begin, end = sent("operator patch storyruns/status", 1.0), sent("operator patch storyruns/status", 9.0)
    between = sent("operator patch storyruns/status", 2.1, answered=0.2)

    def found(*writes: Sent) -> int:
        return explained(Case.APART, begin.request, writes)

    assert found(begin, end) == 0
    assert found(begin, between, end) == 1
    assert found(begin, between, between._replace(at=3.2), end) == 1
    assert found(begin, between, between._replace(at=3.4), end) == 2
    assert found(begin, between._replace(at=1.9), end) == 0
    assert found(begin, between._replace(name="another"), end) == 0
    assert found(begin, between._replace(at=1.9, code=409), between, end) == 1


def test_a_run_that_lasts_shows_its_start() -> None:
    created, end = sent("other create storyruns", 1.0, code=201), sent("operator patch storyruns/status", 1.2)

    late = sent("operator create controllerrevisions", 1.15)
    assert explained(Case.LASTS, end.request, [created, end]) == 0
    assert explained(Case.LASTS, end.request, [created, late, end]) == 0
    assert explained(Case.LASTS, end.request, [created, late, end._replace(at=1.3)]) == 1


def test_an_engram_is_counted_again_when_steps_end_in_different_seconds() -> None:
    request = Request(Sender.OPERATOR, "patch", "engrams/status")

    def found(*ends: float) -> int:
        begun = [sent("operator create stepruns", 10.3, str(end)) for end in ends]
        return explained(
            Case.ROUNDS, request, [*begun, *(sent("operator patch stepruns/status", end, str(end)) for end in ends)]
        )

    assert found(10.5) == 0
    assert found(10.6, 10.9) == 0
    assert found(10.5, 11.5) == 1
    assert found(10.6, 10.7, 11.5) == 1
    assert found(12.4) == 1
    assert found() == 0


def test_a_refused_request_explains_another_look() -> None:
    read, write = sent("container get stepruns"), sent("container patch stepruns/status", code=409)

    assert explained(Case.REFUSED, read.request, [read, write]) == 1
    assert explained(Case.REFUSED, read.request, [read, write._replace(code=200)]) == 0
    assert explained(Case.REFUSED, read.request, [sent("operator patch stepruns/status", code=409)]) == 0


def test_a_pod_that_is_not_gone_is_asked_for_again() -> None:
    asked, gone = sent("operator list pods", 1.0), sent("cluster delete pods", 0.9, answered=0.2)
    deleted, started = sent("operator delete jobs", 0.8), sent("operator create jobs", 1.3)

    def found(*more: Sent) -> int:
        return explained(Case.LINGERS, asked.request, [deleted, started, *more])

    assert found(asked, gone) == 1
    assert found(asked._replace(at=1.2), gone) == 0
    assert found(asked._replace(at=0.7), gone) == 0
    assert found(asked, gone._replace(done=1.4)) == 0
    assert found(asked) == 0
    assert explained(Case.LINGERS, asked.request, [asked, gone, started]) == 0


def test_two_seconds_without_a_request_are_a_pause() -> None:
    first, second = sent("operator create stepruns", 1.0), sent("container patch stepruns/status", 3.1)

    assert explained(Case.HELD_UP, first.request, [first, second]) == 1
    assert explained(Case.HELD_UP, first.request, [first, second._replace(at=2.9)]) == 0
    assert explained(Case.HELD_UP, first.request, [first, sent("operator patch engrams/status", 3.1)]) == 0


def test_only_warnings_that_load_can_cause_come_in_addition() -> None:
    log = [*steps(1), sent("operator create events", 100.3)]

    assert judged(log, PermissionDenied=1) == []
    assert judged(log, EngineError=1) == [
        "Warning EngineError about a StoryRun: 1, but the budget says 0",
        "operator create events: 3, but the budget allows 2",
        "requests of ours: 13, but 12 are allowed",
    ]


def test_a_further_step_may_not_cost_more() -> None:
    played = {name: Played([]) for name in SCENARIOS} | {
        "one_step": Played(steps(1)),
        "five_steps_in_a_row": Played(steps(5)),
        "ten_branches": Played(steps(10)),
    }
    assert slopes(played, SCENARIOS) == []
    played["one_step"] = Played(steps(1, step_seconds=0.1)[:5] + steps(1, step_seconds=0.1)[6:])  # over at once
    assert slopes(played, SCENARIOS) == []
    played["ten_branches"] = Played([*steps(10), *[sent("operator get jobs")] * 10])
    assert slopes(played, SCENARIOS) == [
        "operator: 4.22 requests for each step of ten_branches beyond those of one_step, but 3.3 are allowed"
    ]


def test_a_further_warm_step_may_not_cost_more() -> None:
    played = {name: Played([]) for name in SCENARIOS} | {
        "eight_warm_steps": Played([sent("container patch stepruns/status")] * 6)
    }
    assert slopes(played, SCENARIOS) == [
        (
            "container: 1.20 requests for each step of eight_warm_steps beyond those of three_warm_steps, "
            "but 1.0 are allowed"
        )
    ]


@pytest.mark.parametrize(
    ("user", "sender"),
    [
        (OPERATOR, Sender.OPERATOR),
        ("system:serviceaccount:team:one-engram-runner", Sender.CONTAINER),
        ("system:serviceaccount:team:report-3f9c2a7d1b-story-runner", Sender.CONTAINER),
        ("controllers", Sender.CLUSTER),
        ("node", Sender.CLUSTER),
        ("admin", Sender.OTHER),
        ("system:apiserver", Sender.OTHER),
    ],
)
def test_senders_are_known_by_their_users(user: str, sender: Sender) -> None:
    assert sender_of({"user": {"username": user}}) is sender


def logged(verb: str, at: str = "2026-11-30T10:00:00.000000Z", user: str = OPERATOR, **reference: str) -> Object:
    """One line of an audit log."""
    about = {"resource": "storyruns", **reference}
    return {"verb": verb, "user": {"username": user}, "objectRef": about, "requestReceivedTimestamp": at}


def test_what_is_sent_again_is_not_counted() -> None:
    events: list[Object] = [
        logged("watch", namespace="team"),
        logged("list", namespace="team"),
        logged("patch", namespace="team", subresource="status"),
        logged("update", namespace="team", resource="leases"),
        logged("create", user="admin"),
        *({**logged("patch"), "responseStatus": {"code": code}} for code in (409, 429, 500, 503)),
        {**logged("patch"), "responseStatus": {"code": 404}},
    ]
    assert counted(sent_requests(events)) == {
        Request(Sender.OPERATOR, "list", "storyruns"): 1,
        Request(Sender.OPERATOR, "patch", "storyruns/status"): 1,
        Request(Sender.OPERATOR, "patch", "storyruns"): 1,
    }


def test_while_nothing_happens_every_request_counts() -> None:
    start, later = "2026-11-30T10:00:00.000000Z", "2026-11-30T10:05:00.000000Z"
    events: list[Object] = [
        logged("list", start),
        logged("watch", later),
        logged("update", later, resource="leases"),
        logged("list", later, user="admin"),
        logged("list", later, resource="pods"),
        logged("list", later, resource="pods"),
        {**logged("patch", later, namespace="team"), "responseStatus": {"code": 409}},
        {"verb": "get", "user": {"username": OPERATOR}, "requestURI": "/version", "requestReceivedTimestamp": later},
    ]
    assert while_idle(events, sent_requests(events)[0].at + 1) == [
        "operator get /version: 1",
        "operator list pods: 2",
        "operator patch storyruns in team: 1",
    ]


@pytest.mark.parametrize(
    ("at", "verb", "namespace", "counts"),
    [
        ("10:10:00", "list", "", False),
        ("10:20:10", "list", "", False),
        ("10:05:00", "list", "", True),
        ("10:15:00", "list", "", True),
        ("10:10:00", "list", "team", True),
        ("10:10:00", "patch", "", True),
    ],
)
def test_only_the_lists_of_the_round_are_left_out(at: str, verb: str, namespace: str, counts: bool) -> None:
    place = {"namespace": namespace} if namespace else {}
    events = [logged("list"), logged(verb, f"2026-11-30T{at}.000000Z", **place)]

    assert bool(while_idle(events, sent_requests(events)[0].at + 1)) is counts


def test_one_list_may_follow_the_end_of_a_watch() -> None:
    start, later = "2026-11-30T10:00:00.000000Z", "2026-11-30T10:01:15.000000Z"
    watch = {**logged("watch", start, resource="roles"), "stageTimestamp": later}
    roles, pods = logged("list", later, resource="roles"), logged("list", later, resource="pods")
    since = sent_requests([logged("list", start)])[0].at + 1

    assert while_idle([watch, roles], since) == []
    assert while_idle([watch, roles, roles], since) == ["operator list roles: 1"]
    assert while_idle([watch, pods], since) == ["operator list pods: 1"]
    assert while_idle([{**watch, "stageTimestamp": start}, roles], since) == ["operator list roles: 1"]


def test_a_run_may_not_cost_requests_in_no_namespace() -> None:
    later = "2026-11-30T10:01:15.000000Z"
    events = [
        logged("list"),
        logged("list", later, resource="pods"),
        logged("get", later, resource="secrets", namespace="bobrapet-system"),
        logged("get", later, resource="pods", namespace="team"),
        logged("patch", later, resource="engramtemplates", subresource="status"),
        {"verb": "get", "user": {"username": OPERATOR}, "requestURI": "/version", "requestReceivedTimestamp": later},
    ]
    assert beside_runs(events, sent_requests(events)[0].at + 1) == [
        "operator get secrets in bobrapet-system: 1",
        "operator list pods: 1",
    ]
