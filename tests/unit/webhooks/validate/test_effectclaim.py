"""Admission must accept what the SDK of existing step containers sends, one update after the other."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from webhooks.cluster_view import InMemoryView
from webhooks.validate import admission

WORLD = InMemoryView(
    [
        {
            "apiVersion": "runs.bubustack.io/v1alpha1",
            "kind": "StepRun",
            "metadata": {"name": "run-1-charge", "namespace": "default", "uid": "u1"},
        }
    ]
)


def claim(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "runs.bubustack.io/v1alpha1",
        "kind": "EffectClaim",
        "metadata": {"name": "run-1-charge-effect-8329de16458124ff", "namespace": "default"},
        "spec": {"stepRunRef": {"name": "run-1-charge", "uid": "u1"}, "effectKey": "deliver-webhook", **spec},
    }


def held(holder: str, at: str, **spec: Any) -> dict[str, Any]:
    return claim(holderIdentity=holder, acquireTime=at, renewTime=at, leaseDurationSeconds=60, **spec)


def test_a_claim_is_reserved_released_taken_again_and_completed() -> None:
    reserved = held("a", "2026-01-01T00:00:00.250000Z")
    released = claim(completionStatus="released", leaseDurationSeconds=60)
    again = held("b", "2026-01-01T00:00:01.750000Z", completionStatus="released", leaseTransitions=1)
    completed = held("b", "2026-01-01T00:00:01.750000Z", completionStatus="completed", leaseTransitions=1)
    completed["spec"] |= {"renewTime": "2026-01-01T00:00:02.990000Z", "completedAt": "2026-01-01T00:00:02Z"}
    life = [None, reserved, released, again, completed]

    assert [admission.validate(new, old, WORLD) for old, new in pairwise(life) if new] == [[]] * 4


@pytest.mark.parametrize(
    ("annotations", "uid", "allowed"),
    [
        pytest.param({"runs.bubustack.io/restored-at": "2026-01-02T00:00:00Z"}, "u1", True, id="restored"),
        pytest.param({"runs.bubustack.io/restored-at": "2026-01-02T00:00:00Z"}, "u2", False, id="of another object"),
        pytest.param({}, "u1", False, id="not restored"),
    ],
)
def test_only_the_claim_of_a_restored_step_run_follows_it(annotations: dict[str, str], uid: str, allowed: bool) -> None:
    metadata = {"name": "run-1-charge", "namespace": "default", "uid": "u1", "annotations": annotations}
    step_run = {"apiVersion": "runs.bubustack.io/v1alpha1", "kind": "StepRun", "metadata": metadata}
    old, new = (claim(stepRunRef={"name": "run-1-charge", "uid": each}) for each in ("old", uid))

    assert (admission.validate(new, old, InMemoryView([step_run])) == []) is allowed


SHAPES: dict[str, Any] = {
    "create": {
        "stepRunRef": {"name": "run1-step-notify", "uid": "u1"},
        "effectKey": "provider.call",
        "idempotencyKey": "K",
        "holderIdentity": "ns-a:run1-step-notify:provider.call:0b8a7d5e-3c52-4a3e-9f0e-8f0f3b0f9a11",
        "leaseDurationSeconds": 600,
        "acquireTime": "2026-01-01T10:00:00.123456Z",
        "renewTime": "2026-01-01T10:00:00.123456Z",
    }
}
SHAPES["renew"] = {**SHAPES["create"], "renewTime": "2026-01-01T10:00:30.130000Z"}
SHAPES["complete"] = {
    **SHAPES["renew"],
    "renewTime": "2026-01-01T10:00:41.987654Z",
    "completedAt": "2026-01-01T10:00:41Z",
    "completionStatus": "completed",
    "details": {"providerId": "abc"},
}
SHAPES["release"] = {
    "stepRunRef": {"name": "run1-step-notify", "uid": "u1"},
    "effectKey": "provider.call",
    "idempotencyKey": "K",
    "leaseDurationSeconds": 600,
    "completionStatus": "released",
}
SHAPES["reacquire"] = {
    **SHAPES["release"],
    "holderIdentity": "ns-a:run1-step-notify:provider.call:7a2c1a4e-5d7f-4b5e-8a55-1c1f0f6b2d22",
    "acquireTime": "2026-01-01T10:00:31.000001Z",
    "renewTime": "2026-01-01T10:00:31.000001Z",
}
SHAPES["takeover"] = {
    **SHAPES["create"],
    "holderIdentity": "ns-a:run1-step-notify:provider.call:c1d2e3f4-0000-4000-8000-000000000000",
    "acquireTime": "2026-01-01T10:10:30.130000Z",
    "renewTime": "2026-01-01T10:10:30.130000Z",
    "leaseTransitions": 1,
}
"""The specs that the Go SDK sends, as Trigger contract 8.4 has them. ``takeover`` comes when the lease of ``renew`` has
expired.
"""

NOTIFIED = InMemoryView(
    [
        {
            "apiVersion": "runs.bubustack.io/v1alpha1",
            "kind": "StepRun",
            "metadata": {"name": "run1-step-notify", "namespace": "ns-a", "uid": "u1"},
        }
    ]
)


def sent(spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "runs.bubustack.io/v1alpha1",
        "kind": "EffectClaim",
        "metadata": {"name": "run1-step-notify-effect-3cba18bf9177d558", "namespace": "ns-a"},
        "spec": spec,
    }


def refusals(before: dict[str, Any] | None, after: dict[str, Any]) -> list[str]:
    found = admission.validate(sent(after), sent(before) if before is not None else None, NOTIFIED)
    return [finding.rule.id for finding in found]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "create"),
        ("create", "renew"),
        ("create", "complete"),
        ("renew", "complete"),
        ("renew", "release"),
        ("release", "reacquire"),
        ("renew", "takeover"),
    ],
)
def test_what_the_go_sdk_sends_is_admitted(before: str | None, after: str) -> None:
    assert refusals(SHAPES[before] if before else None, SHAPES[after]) == []


def test_a_claim_that_was_released_and_taken_again_can_be_completed_and_renewed() -> None:
    again = SHAPES["reacquire"]
    done = {"renewTime": "2026-01-01T10:00:35.500000Z", "completedAt": "2026-01-01T10:00:35Z"}

    assert refusals(again, {**again, "renewTime": "2026-01-01T10:01:01.000001Z"}) == []
    assert refusals(again, {**again, **done, "completionStatus": "completed"}) == []


@pytest.mark.parametrize(
    ("completed_at", "admitted"),
    [
        pytest.param("2026-01-01T10:00:41Z", True, id="whole-second-of-the-renewal"),
        pytest.param("2026-01-01T10:00:41.987654Z", True, id="exactly-the-renewal"),
        pytest.param("2026-01-01T10:00:41.987653Z", False, id="a-microsecond-before-the-renewal"),
        pytest.param("2026-01-01T10:00:40Z", False, id="a-second-before-the-renewal"),
        pytest.param("2026-01-01T11:00:41.987654+01:00", True, id="another-time-zone"),
    ],
)
def test_a_completion_in_whole_seconds_is_compared_in_seconds_and_any_other_exactly(
    completed_at: str, admitted: bool
) -> None:
    done = {**SHAPES["complete"], "completedAt": completed_at}

    assert refusals(SHAPES["renew"], done) == ([] if admitted else ["claim/times"])


def test_a_renewal_before_the_acquisition_is_refused_within_the_second() -> None:
    early = {**SHAPES["create"], "renewTime": "2026-01-01T10:00:00.123455Z"}

    assert refusals(None, early) == ["claim/times"]


def test_a_completed_claim_is_final_and_times_count_as_instants() -> None:
    done = SHAPES["complete"]
    same = {
        **done,
        "acquireTime": "2026-01-01T11:00:00.123456+01:00",
        "completedAt": "2026-01-01T10:00:41Z",
        "details": {"providerId": "abc", "note": "seen"},
    }
    exact = {**done, "completedAt": "2026-01-01T10:00:41.987654Z"}

    assert refusals(done, same) == []
    assert refusals(exact, done) == []  # a client that knows whole seconds only writes the claim back
    assert refusals(done, {**done, "renewTime": "2026-01-01T10:00:41.987655Z"}) == ["claim/completed-frozen"]
    assert "claim/completed-frozen" in refusals(done, SHAPES["release"])


@pytest.mark.parametrize(
    ("before", "at", "admitted"),
    [
        pytest.param("create", "2026-01-01T10:09:59.999999Z", False, id="held"),
        pytest.param("create", None, False, id="held-without-saying-when"),
        pytest.param("create", "2026-01-01T10:10:00.123455Z", False, id="a-microsecond-too-early"),
        pytest.param("create", "2026-01-01T10:10:00.123456Z", True, id="expired"),
        pytest.param("reacquire", "2026-01-01T10:05:00.000000Z", False, id="taken-again-after-a-release"),
        pytest.param("release", "2026-01-01T10:00:31.000000Z", True, id="released"),
    ],
)
def test_another_holder_takes_a_claim_only_when_its_lease_has_expired(
    before: str, at: str | None, admitted: bool
) -> None:
    taken = {**SHAPES[before], "holderIdentity": "pod-2:1"}
    for key in ("acquireTime", "renewTime"):
        taken.pop(key, None)
    if at is not None:
        taken |= {"acquireTime": at, "renewTime": at}

    assert refusals(SHAPES[before], taken) == ([] if admitted else ["claim/lease-held"])


def test_a_lease_that_is_held_is_not_taken() -> None:
    (finding,) = admission.validate(
        held("b", "2026-01-01T00:00:30Z"), held("a", "2026-01-01T00:00:00Z"), InMemoryView()
    )

    assert str(finding) == (
        "spec.holderIdentity: another holder has the lease until 2026-01-01T00:01:00.000000Z "
        "(wait until it expires, and set acquireTime)"
    )


def test_a_stored_reference_of_another_shape_is_a_changed_one() -> None:
    stored = claim(stepRunRef=1)
    findings = admission.validate(claim(), stored, WORLD)

    assert [finding.path for finding in findings] == ["spec.stepRunRef.name", "spec.stepRunRef.uid"]
