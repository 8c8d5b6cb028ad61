"""What the status of a claim shows, and when it is written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from bubu_contract.instants import format_precise_instant
from core.api.objects import Object
from core.api.resource import EFFECT_CLAIM
from core.api.resource import STEP_RUN as STEP_RUN_KIND
from core.api.unreadable import Unreadable, marked
from core.workloads.effect_lease import standing_of
from reconcilers.effectclaim import EffectClaimReconciler, is_as_shown, owner_reference, status_with
from reconcilers.runtime.controller import Key
from reconcilers.runtime.outcome import After, Done, Outcome
from tests.unit.reconcilers.memory_server import MemoryServer, open_process
from tests.unit.reconcilers.reconciler_samples import NOW, Answering, clock, open_world, run, step_run, stored

NAME = "one-fetch-effect-1"
STEP_RUN = step_run(run("one"))
SECONDS = timedelta(seconds=1)


def claim(*, generation: int = 1, status: Object | None = None, **spec: Any) -> Object:
    reference = {"name": "one-fetch", "uid": STEP_RUN["metadata"]["uid"]}
    meta = {"generation": generation, "ownerReferences": [owner_reference(STEP_RUN)]}
    obj = stored("EffectClaim", NAME, meta=meta, spec={"stepRunRef": reference, "effectKey": "charge", **spec})
    return obj if status is None else {**obj, "status": status}


def held(holder: str = "pod-1:a", renewed_at: datetime = NOW) -> Object:
    at = format_precise_instant(renewed_at)
    return {"holderIdentity": holder, "acquireTime": at, "renewTime": at, "leaseDurationSeconds": 60}


def shown(obj: Object, now: datetime = NOW) -> Object:
    return status_with(obj, standing_of(obj, now), now)


def values(status: Object) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}


def test_the_status_has_phase_and_three_conditions_with_one_reason() -> None:
    status = shown(claim(generation=3, **held()))

    assert (status["observedGeneration"], status["phase"]) == (3, "Reserved")
    assert values(status) == {
        "Ready": ("False", "Reserved"),
        "Progressing": ("True", "Reserved"),
        "Degraded": ("False", "Reserved"),
    }
    assert {each["observedGeneration"] for each in status["conditions"]} == {3}


def test_a_renewal_changes_nothing_that_is_shown_and_another_holder_does() -> None:
    before = shown(claim(**held()))
    renewed = claim(generation=2, status=before, **held(renewed_at=NOW + 20 * SECONDS))
    taken = claim(generation=2, status=before, **held("pod-2:b"))

    assert is_as_shown(renewed, shown(renewed, NOW + 20 * SECONDS))
    assert not is_as_shown(taken, shown(taken))


async def reconciled(obj: Object, now: datetime = NOW, *, step_run: Object = STEP_RUN) -> tuple[Outcome, list[Object]]:
    """The outcome, and what was written."""
    server = Answering(obj)
    async with open_world(server) as (client, world):
        world.step_runs.remember(step_run)
        world.informer(EFFECT_CLAIM).remember(obj)
        outcome = await EffectClaimReconciler(client, world, clock(now)).reconcile(Key("team", NAME))
    return outcome, server.patches


async def test_a_held_claim_is_looked_at_again_when_its_lease_expires() -> None:
    outcome, patches = await reconciled(claim(**held()))

    assert outcome == After(60 * SECONDS)
    assert [patch["status"]["phase"] for patch in patches] == ["Reserved"]


async def test_the_expiry_is_shown_at_its_instant_and_once() -> None:
    before = shown(claim(**held()))
    outcome, patches = await reconciled(claim(status=before, **held()), NOW + 59 * SECONDS)
    assert (outcome, patches) == (After(SECONDS), [])

    outcome, patches = await reconciled(claim(status=before, **held()), NOW + 60 * SECONDS)
    assert outcome == Done()
    assert values(patches[0]["status"])["Degraded"] == ("True", "LeaseExpired")

    after = shown(claim(**held()), NOW + 60 * SECONDS)
    outcome, patches = await reconciled(claim(status=after, **held()), NOW + 90 * SECONDS)
    assert (outcome, patches) == (Done(), [])


async def test_a_renewal_writes_nothing_and_moves_the_instant() -> None:
    before = shown(claim(**held()))
    renewed = claim(generation=2, status=before, **held(renewed_at=NOW + 20 * SECONDS))

    assert await reconciled(renewed, NOW + 20 * SECONDS) == (After(60 * SECONDS), [])


async def test_details_that_are_added_to_a_completed_claim_are_observed() -> None:
    done: Object = {"completionStatus": "completed", "completedAt": "2025-01-02T03:04:05Z"}
    before = shown(claim(**done))

    outcome, patches = await reconciled(claim(generation=2, status=before, **done))

    assert outcome == Done()
    assert patches[0]["status"]["observedGeneration"] == 2
    assert "phase" not in patches[0]["status"]


async def test_a_claim_without_its_owner_gets_it_beside_the_others() -> None:
    obj = claim(**held())
    other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "mine", "uid": "u"}
    former = {**owner_reference(STEP_RUN), "uid": "of-an-earlier-one"}
    obj["metadata"]["ownerReferences"] = [other, former]

    _, patches = await reconciled(obj)

    owner = {
        "apiVersion": "runs.bubustack.io/v1alpha1",
        "kind": "StepRun",
        "name": "one-fetch",
        "uid": STEP_RUN["metadata"]["uid"],
    }
    assert patches[0]["metadata"]["ownerReferences"] == [other, former, owner]
    assert patches[1]["status"]["phase"] == "Reserved"


@pytest.mark.parametrize("field", ["deletionTimestamp", "unreadable", "absent"])
async def test_what_is_gone_or_cannot_be_read_is_left_alone(field: str) -> None:
    """The server of this test refuses every request."""
    obj = claim(**held())
    if field == "deletionTimestamp":
        obj["metadata"][field] = "2025-01-02T03:04:05Z"
    async with open_world() as (client, world):
        if field == "unreadable":
            obj = marked({**obj, "spec": {}}, Unreadable((("spec",),), "is too deep"))
        if field != "absent":
            world.informer(EFFECT_CLAIM).remember(obj)
        assert await EffectClaimReconciler(client, world, clock()).reconcile(Key("team", NAME)) == Done()


# Which claims stay, on an API server in memory.


async def kept(reference: Object, *known: Object, later: Sequence[Object] = ()) -> bool:
    """Whether a claim with that ``stepRunRef`` is still there after one look.

    Args:
        known: the StepRuns that the process knows.
        later: StepRuns of which no event has arrived yet.
    """
    server = MemoryServer((STEP_RUN_KIND, EFFECT_CLAIM), claim(stepRunRef=reference, **held()), *known)
    async with open_process(server) as (client, world):
        for obj in later:
            server.put(obj)
        await EffectClaimReconciler(client, world, clock()).reconcile(Key("team", NAME))
    return bool(server.all(EFFECT_CLAIM))


MEANT: Object = {"name": "one-fetch", "uid": STEP_RUN["metadata"]["uid"]}


async def test_a_claim_is_deleted_without_its_step_run() -> None:
    assert not await kept(MEANT)
    assert await kept(MEANT, STEP_RUN)


async def test_a_claim_on_an_earlier_step_run_of_that_name_is_deleted() -> None:
    assert not await kept({**MEANT, "uid": "of-an-earlier-one"}, STEP_RUN)
    assert await kept({"name": "one-fetch"}, STEP_RUN)


async def test_a_claim_on_a_step_run_of_another_namespace_is_deleted_although_there_is_one() -> None:
    elsewhere = {**STEP_RUN, "metadata": {**STEP_RUN["metadata"], "namespace": "elsewhere"}}
    assert not await kept({**MEANT, "namespace": "elsewhere"}, STEP_RUN, elsewhere)


async def test_a_claim_on_a_step_run_that_no_event_has_brought_yet_is_kept() -> None:
    assert await kept(MEANT, later=[STEP_RUN])
    former = {**STEP_RUN, "metadata": {**STEP_RUN["metadata"], "uid": "of-an-earlier-one"}}
    assert await kept(MEANT, former, later=[STEP_RUN])


async def test_the_facts_about_an_effect_are_not_kept() -> None:
    async with open_world() as (_, world):
        kept = world.informer(EFFECT_CLAIM).remember(claim(details={"receipt": "x" * 5000}))
    assert "details" not in kept["spec"]
