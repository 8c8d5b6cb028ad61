"""The policies refuse nothing that admission would allow, and each check refuses something."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from bubu_contract.identity import is_pod_name, runner_name
from core.api import manifest
from core.api.keys import (
    ANNOTATION_ATTEMPT,
    ANNOTATION_DEADLINE_AT,
    ANNOTATION_EXECUTION_KEY,
    ANNOTATION_WORKER_STATE,
    LABEL_WORKER_POOL,
)
from core.api.objects import Object
from core.api.phases import TERMINAL_PHASES
from core.engine.ports import STREAM
from core.engine.step.assignment import Assignment, assignment_patch
from core.engine.step.manifest import step_run_name
from core.workloads import runner_rules
from core.workloads.stream_pod import is_stream_pod_name
from core.workloads.stream_workload import StreamMode, workload_name
from deployment.files import policies
from deployment.permissions.roles import DEFAULT_INSTALLATION
from deployment.policies.policy import documents
from deployment.policies.rights import NEVER_HANDED_ON
from tests.e2e.policy_evaluation import ANN, Request, refusals
from tests.unit.webhooks.validate.rule_table import cases
from webhooks.caller import ADMINISTRATORS, Caller
from webhooks.finding import errors_among
from webhooks.validate import status
from webhooks.validate.catalogue import RULES

CASES = cases()
FUZZED = 10_000


def requests_of(case: Any) -> Iterator[Request]:
    for new in (case.accepted, case.refused):
        yield request_of(case, new)


def request_of(case: Any, new: Object) -> Request:
    caller = case.caller or case.author
    if caller is None:
        return Request(new, case.old, ANN, (ADMINISTRATORS,))  # a user to whom only the checks for all users apply
    username = DEFAULT_INSTALLATION.user if caller.is_operator else caller.username
    old, subresource = (case.old or {}, "status") if case.caller is not None else (case.old, "")
    return Request(new, old, username, tuple(caller.groups), subresource, caller.pod)


def settings_of(case: Any) -> dict[str, str]:
    return {"references.cross-namespace-policy": str(case.world.policy)}


def why_not_handed_on(new: Object) -> list[str]:
    """Rules that a definition requests and that are never granted."""
    if new.get("kind") == "Engram":
        return runner_rules.refusals({}, new)
    if new.get("kind") == "Impulse":
        return runner_rules.extra_rules_of_impulse({}, new)[1]
    return runner_rules.refusals(new, {})


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule} {case.path}")
def test_what_a_policy_refuses_is_refused_by_the_validators(case: Any) -> None:
    for request in requests_of(case):
        found = refusals(request, settings_of(case))
        known = bool(errors_among(case.findings(request.new)) or why_not_handed_on(request.new))

        assert known or found == {}


FREE_FORM = frozenset({"with", "inputs", "input", "mapping", "output", "runtime", "rawSettings", "settings"})
"""Fields for which the schema declares no properties, so that nulls are kept."""


ODDITIES: list[Any] = [
    *(None, True, 0, -1, 1.5, 2**53, "", " ", "a", "{{", "{{ steps.a.b }}", [], ["a"], [{}], {}, {"a": 1}),
    *({"name": "x"}, {"name": "x", "namespace": "shared"}, {"$bubuSecretRef": "x"}, {"$bubuStorageRef": {}}),
]


def places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in ``value``, once for each of its keys."""
    for key, child in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        yield value, key
        yield from places_in(child)


def as_stored(value: Any) -> Any:
    """``value`` without the nulls that a server drops before any admission."""
    if isinstance(value, list):
        return [as_stored(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: item for key, item in value.items() if item is not None}
    return {key: item if key in FREE_FORM else as_stored(item) for key, item in kept.items()}


def test_no_mistake_makes_a_policy_refuse_more_than_the_validators() -> None:
    """Objects with random mistakes. An object that does not fit its schema is refused before any policy is asked."""
    chance = random.Random(1)
    small = [case for case in CASES if len(repr(case.refused)) < 5_000]
    refused = 0
    asked: set[str] = set()
    for _ in range(FUZZED):
        case = chance.choice(small)
        new = json.loads(json.dumps(chance.choice([case.accepted, case.refused])))
        for _ in range(chance.randint(0, 2)):
            places = [*places_in(new.get("spec")), *places_in(new.get("status"))]
            if places:
                parent, key = chance.choice(places)
                parent[key] = copy.deepcopy(chance.choice(ODDITIES))
        new = as_stored(new)
        if is_known(asked, [id(case), new]) or manifest.errors_of(new):
            continue
        found = refusals(request_of(case, new), settings_of(case))
        refused += bool(found)

        assert not found or errors_among(case.findings(new)) or why_not_handed_on(new), (found, new, case.old)
    assert refused > FUZZED / 100


def is_known(asked: set[str], question: Any) -> bool:
    """Whether this random question was asked before, as many are. Afterwards it is known."""
    text = json.dumps(question, sort_keys=True)
    known = text in asked
    asked.add(text)
    return known


def rule_ids(name: str) -> set[str]:
    return {rule for policy in policies() if policy.name == name for check in policy.checks for rule in check.rules}


@pytest.mark.parametrize("name", ["identity", "status", "references", "authors"])
def test_each_rule_of_a_policy_refuses_a_case_of_the_table(name: str) -> None:
    caught = {
        case.rule
        for case in CASES
        if name in refusals(request_of(case, case.refused), settings_of(case))
        and name not in refusals(request_of(case, case.accepted), settings_of(case))
    }

    assert rule_ids(name) <= caught


def test_policies_name_rules_that_exist() -> None:
    known = {rule.id for rule in RULES} | {NEVER_HANDED_ON}

    assert {rule for policy in policies() for rule in rule_ids(policy.name)} <= known


@pytest.mark.parametrize(
    ("before", "now", "refused"),
    [
        ("revision 1", "revision 1", False),
        ("revision 9", "revision 10", False),
        ("revision 10", "revision 9", True),
        ("revision 1", "", True),
        ("revision 1", "of another form", True),
        ("", "", False),
        ("", "revision 1", False),
    ],
)
def test_a_definition_is_not_replaced_by_an_older_one(before: str, now: str, refused: bool) -> None:
    def definition(title: str, name: str = "stories.bubustack.io") -> Object:
        schema = {"type": "object", **({"title": title} if title else {})}
        stored = {"name": "v1alpha1", "storage": True, "schema": {"openAPIV3Schema": schema}}
        other = {"name": "v1beta1", "storage": False, "schema": {"openAPIV3Schema": {"title": "revision 5"}}}
        head = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name}}
        return {**head, "spec": {"versions": [other, stored]}}

    found = refusals(Request(definition(now), definition(before), ANN, (ADMINISTRATORS,)), {})

    assert ("definitions" in found) == refused
    assert all("crds.install=false" in message for message in found.get("definitions", ()))
    of_others = Request(definition(now, "stories.example.org"), definition(before, "stories.example.org"))
    assert refusals(of_others, {}) == {}


def run(**spec: Any) -> Object:
    return thing("runs.bubustack.io", "StoryRun", {"storyRef": {"name": "s"}, **spec})


def thing(group: str, kind: str, spec: Object, **metadata: Any) -> Object:
    named = {"name": "x", "namespace": "team", **metadata}
    return {"apiVersion": f"{group}/v1alpha1", "kind": kind, "metadata": named, "spec": spec}


def story(**spec: Any) -> Object:
    return thing("bubustack.io", "Story", spec)


def template(*rules: Object) -> Object:
    spec = {"version": "1", "image": "i", "supportedModes": ["job"], "execution": {"rbac": {"rules": list(rules)}}}
    return thing("catalog.bubustack.io", "EngramTemplate", spec, namespace="")


def engram(*rules: Object) -> Object:
    return thing(
        "bubustack.io", "Engram", {"templateRef": {"name": "t"}, "overrides": {"rbac": {"rules": list(rules)}}}
    )


def impulse(*rules: Object) -> Object:
    spec = {
        "templateRef": {"name": "t"},
        "storyRef": {"name": "s"},
        "execution": {"rbac": {"rules": list(rules)}},
    }
    return thing("bubustack.io", "Impulse", spec)


READS: Object = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["a"]}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({**READS, "verbs": ["*"]}, "wildcards"),
        ({**READS, "apiGroups": ["*"]}, "wildcards"),
        ({**READS, "resources": ["*/exec"]}, "wildcards"),
        ({**READS, "resourceNames": [""]}, "wildcards"),
        ({**READS, "apiGroups": []}, "must name something"),
        ({"nonResourceURLs": ["/metrics"], "verbs": ["get"]}, "must name something"),
        ({**READS, "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"]}, "permissions to grant"),
        ({**READS, "resources": ["users"], "verbs": ["impersonate"]}, "permissions to grant"),
        ({**READS, "resources": ["secrets"], "verbs": ["get", "list"]}, "Secrets"),
        ({**READS, "resources": ["secrets"], "resourceNames": []}, "Secrets"),
        ({**READS, "resources": ["serviceaccounts/token"], "verbs": ["create"]}, "ServiceAccounts"),
        ({**READS, "resources": ["serviceaccounts"], "verbs": ["create"]}, "ServiceAccounts"),
    ],
)
def test_a_rule_that_is_never_handed_on_cannot_be_asked_for(rule: Object, message: str) -> None:
    for asking in (template(READS, rule), engram(READS, rule), impulse(READS, rule)):
        told = refusals(Request(asking, None), {})["rights"]

        assert why_not_handed_on(asking)
        assert message in told[0]


def test_of_a_rule_that_may_be_handed_on_nothing_is_said() -> None:
    pods = {"apiGroups": [""], "resources": ["pods", "pods/exec"], "verbs": ["get", "create"]}

    assert refusals(Request(template(READS, pods), None), {}) == {}
    assert refusals(Request(engram(READS), None), {}) == {}
    assert refusals(Request(impulse(READS), None), {}) == {}
    assert "an Engram may only" in refusals(Request(engram(pods), None), {})["rights"][0]
    assert "an Impulse may only" in refusals(Request(impulse(pods), None), {})["rights"][0]


def test_an_impulse_may_ask_for_itself_and_nobody_else_for_it() -> None:
    itself = {"apiGroups": ["bubustack.io"], "resources": ["impulses"], "verbs": ["get"], "resourceNames": ["x"]}
    writes = {**itself, "resources": ["impulses/status"], "verbs": ["get", "patch"]}

    assert refusals(Request(impulse(itself, writes), None), {}) == {}
    assert refusals(Request(impulse({**itself, "verbs": ["get", "patch"]}), None), {}) == {}
    for beyond in ({**itself, "verbs": ["update"]}, {**itself, "resourceNames": ["other"]}, {**writes, "verbs": ["*"]}):
        assert refusals(Request(impulse(itself, beyond), None), {})["rights"]
    assert refusals(Request(engram(itself), None), {})["rights"]


@pytest.mark.parametrize(
    ("change", "user", "refused"),
    [
        ({"metadata": {"annotations": {"seen": "1"}}}, "system:serviceaccount:team:x-impulse-runner", False),
        ({"spec": {"with": {"n": 2}}}, "system:serviceaccount:team:x-impulse-runner", True),
        ({"spec": {"with": {"n": 2}}}, "system:serviceaccount:team:other-impulse-runner", True),
        ({"spec": {"with": {"n": 2}}}, "system:serviceaccount:team:deployer", False),
        ({"spec": {"with": {"n": 2}}}, "ann", False),
    ],
)
def test_the_container_of_an_impulse_may_change_its_metadata_and_never_its_spec(
    change: Object, user: str, refused: bool
) -> None:
    before = impulse()
    after = {**before, **{part: {**before[part], **fields} for part, fields in change.items()}}
    assert ("authors" in refusals(Request(after, before, user), {})) is refused


def test_random_rules_are_refused_exactly_when_they_are_never_handed_on() -> None:
    chance = random.Random(2)
    words: dict[str, list[str]] = {
        "apiGroups": ["", "apps", "bubustack.io", "rbac.authorization.k8s.io", "*"],
        "resources": ["pods", "secrets", "configmaps", "serviceaccounts", "serviceaccounts/token", "*", ""],
        "verbs": ["get", "list", "watch", "create", "patch", "impersonate", "*"],
        "resourceNames": ["a", "b", "*", "x"],
        "nonResourceURLs": ["/x"],
    }
    of_impulses = {"apiGroups": ["bubustack.io"], "resourceNames": ["x"]}
    seen = {True: 0, False: 0}
    asked: set[str] = set()
    for _ in range(3_000):
        rule = {**READS, "apiGroups": chance.choice([[""], ["apps"]]), "resources": ["pods"]}
        if chance.random() < 0.3:
            rule |= {**of_impulses, "resources": chance.sample(["impulses", "impulses/status"], chance.randint(1, 2))}
        for key in chance.sample(sorted(words), chance.randint(0, 2)):
            rule[key] = chance.sample(words[key], min(chance.randint(0, 2), len(words[key])))
        if is_known(asked, rule):
            continue
        for asking in (template(rule), engram(rule), impulse(rule)):
            refused = "rights" in refusals(Request(asking, None), {})
            seen[refused] += 1

            assert refused == bool(why_not_handed_on(asking)), rule
    assert min(seen.values()) > 100


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({}, True),
        ({"references.cross-namespace-policy": "deny"}, True),
        ({"references.cross-namespace-policy": " "}, True),
        ({"references.cross-namespace-policy": "grant"}, False),
        ({"references.cross-namespace-policy": "allow"}, False),
        ({"references.cross-namespace-policy": "Deny"}, False),  # not accepted: the previous value stays in force
        (None, False),
    ],
)
def test_references_are_held_while_the_setting_denies_them(settings: dict[str, str] | None, refused: bool) -> None:
    other = {"name": "e", "namespace": "shared"}
    branch = {"name": "c", "type": "executeStory", "with": {"storyRef": other}}

    for asked in (
        run(storyRef=other),
        story(steps=[{"name": "a", "ref": other}]),
        story(finally_=None, steps=[branch]),
    ):
        assert ("references" in refusals(Request(asked, None), settings)) == refused


def test_references_at_home_and_odd_ones_pass() -> None:
    for target in ({"name": "e", "namespace": "team"}, {"name": "e", "namespace": 7}, "text", {"name": "e"}):
        step = {"name": "c", "type": "executeStory", "with": {"storyRef": target}}

        assert refusals(Request(story(steps=[step]), None), {}) == {}


def test_the_limits_are_those_of_the_operators_configuration() -> None:
    def refused(characters: int, settings: dict[str, str] | None) -> bool:
        return "limits" in refusals(Request(run(inputs={"a": "x" * characters}), None), settings)

    key = "storyrun.max-inline-inputs-size"
    assert not refused(1023, {})
    assert refused(1024, {})  # plus one character of the key
    assert refused(20, {key: " 16 "})
    assert not refused(2000, {key: "4096"})
    assert not refused(2000, {key: "much"})
    assert not refused(2000, {key: "0"})
    assert not refused(2000, None)


def test_large_settings_of_definitions_and_steps_are_refused() -> None:
    large = {"a": "x" * 70_000, "b": 1, "c": {"d": 2}}
    for asked in (
        thing("bubustack.io", "Engram", {"templateRef": {"name": "t"}, "with": large}),
        thing("bubustack.io", "Impulse", {"templateRef": {"name": "t"}, "storyRef": {"name": "s"}, "with": large}),
        thing("bubustack.io", "Impulse", {"templateRef": {"name": "t"}, "storyRef": {"name": "s"}, "mapping": large}),
        story(steps=[{"name": "a", "ref": {"name": "e"}, "with": large}]),
        story(steps=[], **{"finally": [{"name": "a", "ref": {"name": "e"}, "with": large}]}),
    ):
        assert "limits" in refusals(Request(asked, None), {})


def test_nothing_waits_in_a_stream() -> None:
    inner = {"name": "p", "type": "parallel", "with": {"steps": [{"name": "w", "type": "gate"}]}}
    wait = {"name": "w", "type": "wait", "with": {"until": "true"}}

    for step in (wait, inner):
        assert "limits" in refusals(Request(story(pattern="realtime", steps=[step]), None), {})
        assert refusals(Request(story(pattern="batch", steps=[step]), None), {}) == {}
        assert refusals(Request(story(pattern="realtime", steps=[], **{"finally": [step]}), None), {}) == {}


def test_the_operator_and_administrators_write_any_status() -> None:
    old, new = run() | {"status": {}}, run() | {"status": {"phase": "Running"}}

    def refused(username: str, *groups: str) -> bool:
        return bool(refusals(Request(new, old, username, groups, "status"), {}))

    assert refused(ANN)
    assert refused(DEFAULT_INSTALLATION.user + "x")
    assert not refused(DEFAULT_INSTALLATION.user)
    assert not refused(ANN, "system:masters")


def test_what_was_given_with_an_approval_stays() -> None:
    def refused(was: Object, is_: Object) -> bool:
        old, new = (run() | {"status": {"gates": {"g": decision}}} for decision in (was, is_))
        return "status" in refusals(Request(new, old, ANN, (), "status"), {})

    approved, given = {"state": "Approved"}, {"state": "Approved", "data": {"a": "1"}}
    assert refused(approved, given)
    assert refused(given, approved)
    assert refused(given, {**given, "data": {"a": "1", "b": "2"}})
    assert not refused(given, {**given, "message": "fine"})
    assert not refused({"state": "Pending", "data": {"a": "2"}}, given)


@pytest.mark.parametrize("run_name", ["r", "a" * 49, "a" * 50, "a" * 200, "my.run", "my--run", "a.b-c--d", "m." * 30])
def test_a_step_is_reported_by_its_own_pods_whatever_their_account(run_name: str) -> None:
    step = step_of(run_name)
    new = copy.deepcopy(step) | {"status": {"phase": "Succeeded"}}
    own = pod_of(step)

    for account, pod, allowed in (
        (f"team:{runner_name(run_name)}", own, True),
        ("team:of-a-story-3f9c2a7d1b-engram-runner", own, True),
        ("team:default", own, True),
        (f"team:{runner_name(run_name)}", "", False),
        (f"team:{runner_name(run_name)}", f"{own}-x7k2p", False),
        (f"team:{runner_name(run_name)}", pod_of(step_of(run_name, "t")), pod_of(step_of(run_name, "t")) == own),
        (f"team:{runner_name(run_name)}", pod_of(step_of(f"{run_name}2")), pod_of(step_of(f"{run_name}2")) == own),
        ("team2:default", own, False),
        (f"other:{runner_name(run_name)}", own, False),
    ):
        caller = Caller(f"system:serviceaccount:{account}", pod=pod)

        assert bool(refusals(Request(new, step, caller.username, (), "status", pod), {})) != allowed
        assert bool(errors_among(status.validate(new, step, caller, CASES[0].world))) != allowed


def test_no_pod_reports_while_its_step_waits_for_another_attempt() -> None:
    """The Pods of all attempts have names of one form; those of the next one start after ``nextRetryAt`` is gone."""
    waits, own = {"phase": "Pending", "retries": 1, "nextRetryAt": "2026-01-01T00:00:00Z"}, "r-s-x7k2p"
    job, stream = step_of("r"), streaming_step("r-s")

    def refused(step: Object, stored: Object, reported: Object, pod: str) -> bool:
        old, new = ({**step, "status": status} for status in (stored, {**stored, **reported}))
        caller = Caller("system:serviceaccount:team:any", pod=pod)
        told = bool(refusals(Request(new, old, caller.username, (), "status", pod), {}))
        assert bool(errors_among(status.validate(new, old, caller, CASES[0].world))) == told
        return told

    assert refused(job, waits, {"phase": "Canceled"}, own)
    assert refused(job, waits, {"signals": {"a": {"v": 1}}}, own)
    assert not refused(job, waits, {}, own)
    assert not refused(job, {"phase": "Running", "retries": 1}, {"phase": "Succeeded"}, own)
    assert not refused(stream, waits, {"signals": {"a": {"v": 1}}}, "r-s-0")


def step_of(run_name: str, step: str = "s") -> Object:
    name = step_run_name(run_name, step)
    spec = {"storyRunRef": {"name": run_name}, "stepId": step}
    return thing("runs.bubustack.io", "StepRun", spec, name=name) | {"status": {}}


def pod_of(step: Object) -> str:
    """The name of a Pod as the API server generates it from the name of its Job."""
    return f"{step['metadata']['name']}-"[:58] + "x7k2p"


def test_which_pods_a_job_has_is_told_alike_by_policies_and_validators() -> None:
    """The API server shortens names with 56 to 63 characters."""
    chance = random.Random(3)
    seen = {True: 0, False: 0}
    for _ in range(300):
        job = "j" * chance.choice([1, 20, 56, 57, 58, 59, 63])
        pod = f"{job}-"[: chance.choice([57, 58, 58, 58, 59])] + chance.choice(["x7k2p", "x7k2p", "abcd", "x7k2px"])
        caller = Caller("system:serviceaccount:team:r-engram-runner", pod=pod)
        step = thing("runs.bubustack.io", "StepRun", {"storyRunRef": {"name": "r"}, "stepId": "s"}, name=job)
        new = copy.deepcopy(step) | {"status": {"phase": "Succeeded"}}
        allowed = is_pod_name(pod, job)
        seen[allowed] += 1

        assert bool(refusals(Request(new, step, caller.username, (), "status", pod), {})) != allowed
        assert bool(errors_among(status.validate(new, step, caller, CASES[0].world))) != allowed
    assert min(seen.values()) > 50


def test_which_pods_a_realtime_step_has_is_told_alike_by_policies_and_validators() -> None:
    """A policy cannot compute the digest of a name that was cut, so it is compared with genuine ones."""
    chance = random.Random(4)
    seen = {True: 0, False: 0}
    for _ in range(400):
        name = "j" * chance.choice([1, 20, 40, 41, 47, 51, 52, 53, 56, 57, 58, 63])
        name = name[:40] + "-" + name[41:] if len(name) > 52 and chance.random() < 0.3 else name
        hashed = chance.choice(["7d9b8c6f5", "7d9b8c6f55", "4444", "444", "x7k2p", ""])
        deployed = f"{name}-{hashed}-"[: chance.choice([57, 58, 58, 58])] + chance.choice(["x7k2p", "x7k2p", "abcd"])
        ordered = workload_name(name, StreamMode.STATEFUL_SET) + chance.choice(["-0", "-0", "-1"])
        pod = chance.choice([deployed, deployed, ordered, f"{name}-"[:58] + "x7k2p"])
        step = streaming_step(name)
        new = copy.deepcopy(step) | {"status": {"phase": "Running", "signals": {"a": {"v": 1}}}}
        caller = Caller("system:serviceaccount:team:r-engram-runner", pod=pod)
        allowed = is_stream_pod_name(pod, name)
        seen[allowed] += 1

        assert bool(refusals(Request(new, step, caller.username, (), "status", pod), {})) != allowed, (pod, name)
        assert bool(errors_among(status.validate(new, step, caller, CASES[0].world))) != allowed
    assert min(seen.values()) > 50


def streaming_step(name: str) -> Object:
    spec = {"storyRunRef": {"name": "r"}, "stepId": "s", "executor": STREAM}
    return thing("runs.bubustack.io", "StepRun", spec, name=name) | {"status": {}}


def test_a_realtime_step_reports_what_a_job_may_and_nothing_else() -> None:
    step = streaming_step("r-s")

    def refused(status: Object, pod: str = "r-s-7d9b8c6f5-x7k2p") -> bool:
        new = copy.deepcopy(step) | {"status": status}
        return bool(refusals(Request(new, step, "system:serviceaccount:team:r-engram-runner", (), "status", pod), {}))

    assert not refused({"signals": {"a": {"v": 1}}})
    assert not refused({"effects": [{"seq": 1, "key": "k", "status": "succeeded"}]}, "r-s-0")
    assert refused({"conditions": [{"type": "TransportReady", "status": "True"}]})
    assert refused({"phase": "Skipped"})
    assert refused({"retries": 1})
    assert refused({"signals": {"a": {"v": 1}}}, "r-s-x7k2p")
    assert refused({"signals": {"a": {"v": 1}}}, "r-t-7d9b8c6f5-x7k2p")


POOL = "fetcher-0123456789"
WORKER_POD = f"{POOL}-7d9b8c6f5-x7k2p"


def warm_step(attempt: int = 0, uid: str = "p1", **status: Any) -> Object:
    """A StepRun that the worker of Pod ``WORKER_POD`` has, with a text in its inputs that looks like the field."""
    spec = {"storyRunRef": {"name": "r"}, "stepId": "s", "executor": "worker"}
    text = '"workerUid":"p9"'
    given = Assignment(attempt, WORKER_POD, uid, environment={"BUBU_TRIGGER_DATA": text})
    step = thing("runs.bubustack.io", "StepRun", spec, name="r-s")
    return step | {"metadata": {**step["metadata"], **assignment_patch(given)}, "status": status}


def warm_refused(step: Object, pod: str = WORKER_POD, uid: str = "p1", account: str = POOL, **reported: Any) -> bool:
    """Whether the write is refused; policy and validators must agree."""
    new = copy.deepcopy(step) | {"status": {**step["status"], **reported}}
    caller = Caller(f"system:serviceaccount:team:{account}", pod=pod, pod_uid=uid)
    told = bool(refusals(Request(new, step, caller.username, (), "status", pod, uid), {}))
    assert bool(errors_among(status.validate(new, step, caller, CASES[0].world))) == told
    return told


def test_a_warm_step_is_reported_by_the_worker_that_it_is_assigned_to() -> None:
    running = {"phase": "Running"}
    assert not warm_refused(warm_step(), **running)
    assert not warm_refused(warm_step(), uid="", **running)
    assert not warm_refused(warm_step(2, retries=2), workerExit={"attempt": 2, "exitCode": 0}, phase="Succeeded")
    assert warm_refused(warm_step(), pod=f"{POOL}-7d9b8c6f5-other", **running)
    assert warm_refused(warm_step(), uid="p2", **running)
    assert warm_refused(warm_step(), uid="p9", **running)
    assert warm_refused(warm_step(), pod="r-s-x7k2p", **running)
    assert warm_refused(warm_step(), pod="", uid="", **running)
    assert warm_refused(warm_step(), retries=1)
    assert warm_refused(warm_step(), phase="Skipped")


def test_a_warm_step_that_is_not_assigned_is_reported_by_nobody() -> None:
    step = warm_step()
    bare = {**step, "metadata": {key: part for key, part in step["metadata"].items() if key != "annotations"}}
    del bare["metadata"]["labels"]
    assert warm_refused(bare, phase="Running")


@pytest.mark.parametrize(
    "over", [{"retries": 1}, {"retries": 10}, {"phase": "Pending", "retries": 1, "nextRetryAt": "2026-01-01T00:00:00Z"}]
)
def test_the_worker_of_an_earlier_attempt_only_says_that_it_has_let_go(over: Object) -> None:
    assert not warm_refused(warm_step(**over), workerExit={"attempt": 0, "exitCode": 143})
    assert warm_refused(warm_step(**over), phase="Succeeded")
    assert warm_refused(warm_step(**over), workerExit={"attempt": 0, "exitCode": 0}, output={"a": 1})
    assert warm_refused(warm_step(**over), workerExit={"attempt": 0, "exitCode": 0}, uid="p2")


def recorded_end(phase: str, **status: Any) -> Object:
    """The status of a StepRun whose end the operator has recorded."""
    done = {"type": "Progressing", "status": "False", "reason": "Completed", "message": ""}
    done["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    return {"phase": phase, "conditions": [done], **status}


@pytest.mark.parametrize("step", [step_of("r"), streaming_step("r-s"), warm_step()], ids=["job", "stream", "warm"])
def test_a_container_does_not_change_a_result_that_is_recorded(step: Object) -> None:
    pods = {"stream": "r-s-0", "worker": WORKER_POD}
    pod = pods.get(step["spec"].get("executor"), "r-s-x7k2p")

    def refused(stored: Object, **reported: Any) -> bool:
        old, new = ({**step, "status": status} for status in (stored, {**stored, **reported}))
        caller = Caller("system:serviceaccount:team:any", pod=pod, pod_uid="p1")
        told = bool(refusals(Request(new, old, caller.username, (), "status", pod, "p1"), {}))
        assert bool(errors_among(status.validate(new, old, caller, CASES[0].world))) == told
        return told

    for phase in sorted(TERMINAL_PHASES):
        recorded = recorded_end(str(phase), output={"a": 1})
        for wrong in (
            {"phase": "Running"},
            {"output": {"a": 2}},
            {"output": None},
            {"exitCode": 1},
            {"signals": {"k": {"v": 1}}},
        ):
            assert refused(recorded, **wrong)
        late = {"logs": {"k": 1}, "effects": [{"seq": 1, "key": "k"}]}
        assert not refused(recorded, **late, workerExit={"attempt": 0, "exitCode": 0})
        assert not refused(recorded)
    reported = {"phase": "Succeeded", "output": {"a": 1}}
    assert not refused(reported, output={"a": 2})  # its end is not recorded yet
    going = recorded_end("Running")
    assert not refused({**going, "conditions": [{**going["conditions"][0], "status": "True"}]}, phase="Succeeded")


def test_a_worker_claims_effects_and_no_other_pod_does() -> None:
    claim = thing("runs.bubustack.io", "EffectClaim", {"stepRunRef": {"name": "r-s"}, "effectKey": "k"}, name="c")

    def refused(pod: str, account: str) -> bool:
        user = f"system:serviceaccount:team:{account}"
        return "authors" in refusals(Request(claim, None, user, (), "", pod), {})

    assert not refused(WORKER_POD, POOL)
    assert refused(WORKER_POD, "report-0123456789-story-runner")
    assert refused("other-x7k2p", POOL)
    assert refused("", POOL)


def job(owner: str = "StepRun", **more: Any) -> Object:
    group = {"StepRun": "runs.bubustack.io/v1alpha1", "CronJob": "batch/v1"}[owner]
    reference = {"apiVersion": group, "kind": owner, "name": "r-s", "uid": "u1", "controller": True}
    metadata = {"name": "r-s", "namespace": "team", "ownerReferences": [reference], **more}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {}}


def test_only_the_operator_makes_the_job_of_a_step() -> None:
    plain = job() | {"metadata": {"name": "r-s", "namespace": "team"}}
    marked = job(annotations={ANNOTATION_ATTEMPT: "0", ANNOTATION_DEADLINE_AT: "2026-01-01T00:00:00Z"})
    later = job(annotations={ANNOTATION_ATTEMPT: "0", ANNOTATION_DEADLINE_AT: "2036-01-01T00:00:00Z"})
    labelled = copy.deepcopy(marked)
    labelled["metadata"]["labels"] = {"a": "b"}

    def refused(new: Object, old: Object | None, *who: Any) -> bool:
        return "jobs" in refusals(Request(new, old, *who), {})

    assert refused(job(), None)
    assert refused(job(), plain)
    assert refused(later, marked)
    assert refused(job(annotations={**marked["metadata"]["annotations"], ANNOTATION_EXECUTION_KEY: "0"}), marked)
    assert refused(job(annotations={ANNOTATION_ATTEMPT: "0"}), marked)
    assert not refused(job(), None, DEFAULT_INSTALLATION.user)
    assert not refused(job(), None, ANN, (ADMINISTRATORS,))
    for new, old in ((labelled, marked), (job("CronJob"), None), (plain, None), (plain, job())):
        assert not refused(new, old)
    assert not refused(labelled, marked, "system:serviceaccount:kube-system:job-controller")


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_only_the_operator_makes_the_workload_of_a_realtime_step(kind: str) -> None:
    def workload(owner: str = "StepRun", **more: Any) -> Object:
        return {**job(owner, **more), "apiVersion": "apps/v1", "kind": kind}

    plain = workload() | {"metadata": {"name": "r-s", "namespace": "team"}}
    marked = workload(annotations={ANNOTATION_ATTEMPT: "0"})
    rolled = workload(annotations={ANNOTATION_ATTEMPT: "0", "deployment.kubernetes.io/revision": "1"})

    def refused(new: Object, old: Object | None, *who: Any) -> bool:
        return "jobs" in refusals(Request(new, old, *who), {})

    assert refused(workload(), None)
    assert refused(workload(), plain)
    assert refused(workload(annotations={ANNOTATION_ATTEMPT: "1"}), marked)
    assert not refused(workload(), None, DEFAULT_INSTALLATION.user)
    for new, old in ((rolled, marked), (workload("CronJob"), None), (plain, None), (plain, workload())):
        assert not refused(new, old)


def worker_lease(name: str = WORKER_POD, uid: str = "p1", state: str = "ready", **metadata: Any) -> Object:
    labels, annotations = {LABEL_WORKER_POOL: POOL}, {ANNOTATION_WORKER_STATE: state}
    head = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    metadata = {"name": name, "namespace": "team", "labels": labels, "annotations": annotations, **metadata}
    return {**head, "metadata": metadata, "spec": {"holderIdentity": uid, "renewTime": "2026-01-01T00:00:00.000000Z"}}


def lease_refused(new: Object, old: Object | None, pod: str = WORKER_POD, uid: str = "p1", who: str = "") -> bool:
    user = who or f"system:serviceaccount:team:{POOL}"
    return "workers" in refusals(Request(new, old, user, (), "", pod, uid), {})


@pytest.mark.parametrize("old", [None, worker_lease()], ids=["created", "renewed"])
def test_only_the_pod_of_a_worker_says_that_the_worker_is_alive(old: Object | None) -> None:
    renewed = worker_lease()
    renewed["spec"]["renewTime"] = "2026-01-01T00:00:05.000000Z"

    assert not lease_refused(renewed, old)
    assert not lease_refused(renewed, old, uid="")  # an API server that does not name it
    assert lease_refused(renewed, old, pod=f"{POOL}-7d9b8c6f5-other", uid="p2")
    assert lease_refused(renewed, old, pod="", uid="")
    assert lease_refused(renewed, old, uid="p2")  # an earlier Pod of the same name
    assert lease_refused(renewed, old, who=f"system:serviceaccount:other:{POOL}")
    assert lease_refused(renewed, old, pod="", uid="", who=ANN)
    assert not lease_refused(renewed, old, pod="", uid="", who=DEFAULT_INSTALLATION.user)


def test_nobody_else_makes_a_worker_drain_or_takes_its_lease_away() -> None:
    other = {"pod": f"{POOL}-7d9b8c6f5-other", "uid": "p2"}

    assert lease_refused(worker_lease(state="draining"), worker_lease(), **other)
    assert lease_refused(worker_lease(uid="p2"), worker_lease(), **other)
    assert lease_refused(worker_lease(labels={}), worker_lease(), **other)
    assert lease_refused(worker_lease(), worker_lease(labels={}), **other)


def test_the_garbage_collector_changes_the_owners_of_a_workers_lease_and_other_leases_are_free() -> None:
    who = "system:serviceaccount:kube-system:generic-garbage-collector"
    node = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"holderIdentity": "node-1"}}
    node["metadata"] = {"name": "node-1", "namespace": "kube-node-lease"}

    assert not lease_refused(worker_lease(), worker_lease(ownerReferences=[{"name": "a"}]), "", "", who)
    assert not lease_refused(node, {**node, "spec": {}}, "", "", "system:node:node-1")
    assert not lease_refused(node, None, "", "", "system:node:node-1")


def test_deleted_objects_are_left_alone() -> None:
    going = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    for case in CASES:
        new = copy.deepcopy(case.refused)
        if isinstance(new.get("metadata"), dict):
            new["metadata"].update(going)

            assert refusals(request_of(case, new), settings_of(case)) == {}


def test_every_check_has_a_message_with_its_field_and_remedy() -> None:
    for policy in policies():
        document, binding = documents(policy, DEFAULT_INSTALLATION)

        assert binding["spec"]["policyName"] == document["metadata"]["name"]
        for check in document["spec"]["validations"]:
            field, _, rest = check["message"].partition(": ")
            assert field.startswith(("spec", "status", "metadata"))
            assert rest.endswith(")")
            assert check["reason"] == "Invalid"
