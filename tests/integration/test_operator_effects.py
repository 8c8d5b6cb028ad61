"""The operator and EffectClaims: where an effect stands, and which claims are deleted."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bubu_contract.instants import format_precise_instant, parse_instant
from bubu_contract.submission import claim_name
from core.api.objects import Object, owners_of
from core.api.resource import EFFECT_CLAIM, STEP_RUN, STORY_RUN
from core.engine.clock import system_now
from core.engine.errors import StaleError, UnavailableError
from reconcilers.adapters.world import World
from reconcilers.controllers import watched_kinds
from reconcilers.effectclaim import EffectClaimReconciler, owner_reference
from reconcilers.runtime.controller import Key
from reconcilers.runtime.outcome import After, Done, Outcome
from tests.integration.adapter_world import AdapterWorld
from tests.integration.operator_cluster import NAMESPACE_NAME, OperatorCluster, status_of, step
from tests.unit.reconcilers.reconciler_samples import clock

NAME = claim_name(NAMESPACE_NAME, "one-charge", "card")
NOW = datetime(2026, 1, 1, 10, 0, 30, tzinfo=UTC)
HELD: Object = {
    "holderIdentity": "pod-1:5f0c",
    "acquireTime": "2026-01-01T10:00:00.123456Z",
    "renewTime": "2026-01-01T10:00:00.123456Z",
    "leaseDurationSeconds": 60,
}


def spec_of(step_run: Object | str, **spec: Any) -> Object:
    """The spec of a claim; with the UID of the StepRun unless only its name is given."""
    if isinstance(step_run, str):
        return {"stepRunRef": {"name": step_run}, "effectKey": "card", **spec}
    metadata = step_run["metadata"]
    reference = {"name": metadata["name"], "uid": metadata["uid"]}
    return {"stepRunRef": reference, "effectKey": "card", **spec}


def conditions(claim: Object) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in status_of(claim)["conditions"]}


@dataclass
class Claims:
    """A reconciler whose watches bring nothing: it knows what the test shows it."""

    there: AdapterWorld
    known: World = field(init=False)

    def __post_init__(self) -> None:
        self.known = World.watching(self.there.wired, watched_kinds())

    async def step_run(self, *, known: bool = True) -> Object:
        obj = await self.there.create(STEP_RUN, "one-charge", {"storyRunRef": {"name": "one"}, "stepId": "charge"})
        if known:
            self.known.step_runs.remember(obj)
        return obj

    async def claim(self, spec: Object, **metadata: Any) -> Object:
        obj = await self.there.create(EFFECT_CLAIM, NAME, spec, **metadata)
        self.known.informer(EFFECT_CLAIM).remember(obj)
        return obj

    async def update(self, **spec: Any) -> None:
        patch = {"spec": spec}
        obj = await self.there.client.patch(EFFECT_CLAIM, NAME, patch, namespace=NAMESPACE_NAME)
        self.known.informer(EFFECT_CLAIM).remember(obj)

    async def reconcile(self, now: datetime = NOW) -> Outcome:
        reconciler = EffectClaimReconciler(self.there.wired, self.known, clock(now))
        return await reconciler.reconcile(Key(NAMESPACE_NAME, NAME))

    async def stored(self) -> list[Object]:
        return (await self.there.client.list(EFFECT_CLAIM, NAMESPACE_NAME)).items


@pytest.fixture
async def claims(there: AdapterWorld) -> Claims:
    return Claims(there)


# Which claims stay.


async def test_a_claim_whose_step_run_is_gone_is_deleted(claims: Claims) -> None:
    await claims.claim(spec_of("one-charge", **HELD))

    assert await claims.reconcile() == Done()

    assert await claims.stored() == []
    assert "GET one-charge" in claims.there.wire.reads
    assert await claims.reconcile() == Done()


async def test_a_claim_of_a_step_run_that_the_watch_has_not_brought_is_not_deleted(claims: Claims) -> None:
    step_run = await claims.step_run(known=False)
    await claims.claim(spec_of(step_run, **HELD))

    await claims.reconcile()

    [stored] = await claims.stored()
    assert status_of(stored)["phase"] == "Reserved"


async def test_a_claim_of_a_step_run_whose_predecessor_is_still_known_is_not_deleted(claims: Claims) -> None:
    await claims.step_run()
    await claims.there.client.delete(STEP_RUN, "one-charge", NAMESPACE_NAME)
    await claims.claim(spec_of(await claims.step_run(known=False), **HELD))

    await claims.reconcile()

    assert len(await claims.stored()) == 1


async def test_a_claim_of_a_step_run_that_was_replaced_is_deleted(claims: Claims) -> None:
    former = await claims.step_run()
    await claims.there.client.delete(STEP_RUN, "one-charge", NAMESPACE_NAME)
    await claims.claim(spec_of(former, **HELD, completionStatus="completed", completedAt="2026-01-01T10:00:02Z"))
    await claims.step_run()

    await claims.reconcile()

    assert await claims.stored() == []


async def test_a_claim_on_a_step_run_in_another_namespace_is_deleted(claims: Claims) -> None:
    """Admission refuses it; it may have been created without admission."""
    await claims.step_run()
    await claims.claim(spec_of("one-charge") | {"stepRunRef": {"name": "one-charge", "namespace": "elsewhere"}})

    await claims.reconcile()

    assert await claims.stored() == []
    assert "GET one-charge" not in claims.there.wire.reads


async def test_no_claim_is_deleted_while_the_api_server_cannot_be_asked(claims: Claims) -> None:
    await claims.claim(spec_of("one-charge", **HELD))
    claims.there.wire.refuse = "GET one-charge"

    with pytest.raises(UnavailableError):
        await claims.reconcile()

    assert len(await claims.stored()) == 1


@pytest.mark.parametrize("changed", ["written", "replaced"])
async def test_a_claim_that_has_changed_since_it_was_read_is_not_deleted(claims: Claims, changed: str) -> None:
    """The next look decides again: the change may be that of the StepRun's own container."""
    old = await claims.claim(spec_of("one-charge", **HELD))
    if changed == "written":
        spec = {"spec": {"renewTime": "2026-01-01T10:00:20.123456Z"}}
        await claims.there.client.patch(EFFECT_CLAIM, NAME, spec, namespace=NAMESPACE_NAME)
    else:
        await claims.there.client.delete(EFFECT_CLAIM, NAME, NAMESPACE_NAME)
        await claims.there.create(EFFECT_CLAIM, NAME, old["spec"])

    with pytest.raises(StaleError):
        await claims.reconcile()

    assert len(await claims.stored()) == 1


async def test_a_claim_gets_its_step_run_as_an_owner_once(claims: Claims) -> None:
    step_run = await claims.step_run()
    await claims.claim(spec_of("one-charge", **HELD))

    await claims.reconcile()
    await claims.reconcile()

    [stored] = await claims.stored()
    assert owners_of(stored) == [owner_reference(step_run)]
    assert claims.there.wire.writes == [f"PATCH {NAME}", "PATCH status"]


# What is shown.


async def test_a_claim_is_shown_from_its_reservation_to_its_completion(claims: Claims) -> None:
    step_run = await claims.step_run()
    await claims.claim(spec_of(step_run, **HELD), ownerReferences=[owner_reference(step_run)])

    assert await claims.reconcile() == After(timedelta(seconds=30, microseconds=123456))
    await claims.update(renewTime="2026-01-01T10:00:20.123456Z")
    await claims.reconcile()
    assert claims.there.wire.writes == ["PATCH status"]  # a renewal changes nothing that is shown
    done = {"completedAt": "2026-01-01T10:00:41Z", "renewTime": "2026-01-01T10:00:41.987654Z"}
    await claims.update(**done, completionStatus="completed", details={"receipt": 7})
    assert await claims.reconcile(NOW + timedelta(days=1)) == Done()
    assert await claims.reconcile(NOW + timedelta(days=2)) == Done()

    [stored] = await claims.stored()
    assert status_of(stored)["phase"] == "Completed"
    assert status_of(stored)["observedGeneration"] == stored["metadata"]["generation"]
    assert conditions(stored) == {
        "Ready": ("True", "Completed"),
        "Progressing": ("False", "Completed"),
        "Degraded": ("False", "Completed"),
    }
    assert claims.there.wire.writes == ["PATCH status"] * 2


async def test_an_expired_lease_is_shown_until_another_attempt_takes_the_claim(claims: Claims) -> None:
    step_run = await claims.step_run()
    await claims.claim(spec_of(step_run, **HELD), ownerReferences=[owner_reference(step_run)])

    assert await claims.reconcile(NOW + timedelta(minutes=1)) == Done()
    [expired] = await claims.stored()
    at = "2026-01-01T10:02:00.000000Z"
    await claims.update(holderIdentity="pod-2:1", acquireTime=at, renewTime=at, leaseTransitions=1)
    await claims.reconcile(NOW + timedelta(minutes=2))
    [taken] = await claims.stored()

    assert status_of(expired)["phase"] == status_of(taken)["phase"] == "Reserved"
    assert conditions(expired)["Degraded"] == ("True", "LeaseExpired")
    assert conditions(taken)["Progressing"] == ("True", "Reserved")


async def test_a_claim_that_changes_while_its_status_is_written_is_looked_at_again(claims: Claims) -> None:
    step_run = await claims.step_run()
    await claims.claim(spec_of(step_run, **HELD), ownerReferences=[owner_reference(step_run)])
    released = {
        "spec": dict.fromkeys(("holderIdentity", "acquireTime", "renewTime")) | {"completionStatus": "released"}
    }
    await claims.there.client.patch(EFFECT_CLAIM, NAME, released, namespace=NAMESPACE_NAME)

    with pytest.raises(StaleError):
        await claims.reconcile()
    await claims.update()
    await claims.reconcile()

    assert status_of((await claims.stored())[0])["phase"] == "Released"


# With a whole operator.


async def a_step_at_work(world: OperatorCluster) -> Object:
    """The StepRun of a step that runs until its run is canceled."""
    await world.engram("charge", "sleep 60")
    await world.story("shop", step("charge"))
    await world.run("one", "shop")
    return await world.step("one-charge", "Running")


def of_now(seconds: int, **spec: Any) -> Object:
    """A lease that begins now."""
    at = format_precise_instant(system_now())
    return {"holderIdentity": "pod:1", "acquireTime": at, "renewTime": at, "leaseDurationSeconds": seconds, **spec}


async def test_an_operator_shows_when_a_lease_expires_without_an_event(world: OperatorCluster) -> None:
    async with world.operator() as traffic:
        step_run = await a_step_at_work(world)
        lease = of_now(2)
        await world.create(EFFECT_CLAIM, NAME, spec_of(step_run, **lease))
        await world.until(EFFECT_CLAIM, NAME, lambda claim: status_of(claim).get("phase") == "Reserved")
        expired = await world.until(
            EFFECT_CLAIM, NAME, lambda claim: conditions(claim).get("Degraded") == ("True", "LeaseExpired")
        )
        ends_at = parse_instant(lease["renewTime"]) + timedelta(seconds=2)
        assert system_now() >= ends_at
        assert [owner["kind"] for owner in owners_of(expired)] == ["StepRun"]
        assert traffic.writes["PATCH effectclaims/status"] == 2
        assert traffic.writes["PATCH effectclaims"] == 1


async def test_claims_go_with_their_step_run_and_with_a_redrive(world: OperatorCluster) -> None:
    async with world.operator():
        step_run = await a_step_at_work(world)
        done = {"completionStatus": "completed", "completedAt": "2026-01-01T00:00:00Z"}
        await world.create(EFFECT_CLAIM, NAME, spec_of(step_run, **done))
        await world.until(EFFECT_CLAIM, NAME, lambda claim: status_of(claim).get("phase") == "Completed")

        redrive = {"metadata": {"annotations": {"storyrun.bubustack.io/redrive-token": "again"}}}
        await world.client.patch(STORY_RUN, "one", redrive, namespace=NAMESPACE_NAME)
        uid = step_run["metadata"]["uid"]
        await world.until(STEP_RUN, "one-charge", lambda obj: obj["metadata"]["uid"] != uid)
        await world.gone(EFFECT_CLAIM, NAME)


async def test_a_new_step_run_is_not_kept_from_its_effects_by_a_claim_of_an_earlier_one(world: OperatorCluster) -> None:
    """Here the garbage collection cannot delete the claim, because another owner keeps it."""
    spec = {"storyRunRef": {"name": "one"}, "stepId": "charge"}
    async with world.operator():
        keeper = await world.create(STORY_RUN, "keeper", {"storyRef": {"name": "nowhere"}})
        owner = {**owner_reference(keeper), "kind": STORY_RUN.kind}
        former = await world.create(STEP_RUN, "one-charge", spec)
        await world.create(EFFECT_CLAIM, NAME, spec_of(former, **of_now(600)), ownerReferences=[owner])
        await world.until(EFFECT_CLAIM, NAME, lambda claim: status_of(claim).get("phase") == "Reserved")

        await world.client.delete(STEP_RUN, "one-charge", NAMESPACE_NAME)
        await world.create(STEP_RUN, "one-charge", spec)
        await world.gone(EFFECT_CLAIM, NAME)


async def test_a_restarted_operator_deletes_a_claim_whose_step_run_went_meanwhile(world: OperatorCluster) -> None:
    await world.create(EFFECT_CLAIM, NAME, spec_of("one-charge", **of_now(600)))
    async with world.operator() as traffic:
        await world.gone(EFFECT_CLAIM, NAME)
    assert traffic.writes["DELETE effectclaims"] == 1
