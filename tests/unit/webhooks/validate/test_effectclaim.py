"""Admission must accept what the SDK of existing step containers sends, one update after the other."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

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


def test_a_lease_that_is_held_is_not_taken() -> None:
    (finding,) = admission.validate(
        held("b", "2026-01-01T00:00:30Z"), held("a", "2026-01-01T00:00:00Z"), InMemoryView()
    )

    assert str(finding) == (
        "spec.holderIdentity: another holder has the lease for 60s from 2026-01-01T00:00:00+00:00 "
        "(wait until it expires)"
    )
