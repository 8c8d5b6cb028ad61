"""The effects of a run, as ``bobrapet effects`` shows them, on an API server in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cli.facts import read_facts
from cli.options import CommonOptions, TimeStyle
from cli.runs import run_manifest, start_run
from cli.session import Session
from cli.verbs.effects import effects_of_run, shown
from core.api.objects import Object
from core.api.resource import EFFECT_CLAIM, STEP_RUN, STORY_RUN, Resource
from core.workloads.effect_lease import lease_of

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
TAKEN = "2026-01-02T11:55:00.500000Z"

WithOptions = Callable[[Session, CommonOptions], Session]


async def made(session: Session, resource: Resource, name: str, spec: Object, **metadata: Any) -> Object:
    typed = {"apiVersion": resource.api_version, "kind": resource.kind}
    return await session.client.create(
        resource, {**typed, "metadata": {"name": name, **metadata}, "spec": spec}, namespace="default"
    )


async def a_run(session: Session, *steps: str, name: str = "shop-1") -> Object:
    """A run whose steps are at work."""
    run = await start_run(session, run_manifest("shop", "default", {}, name=name))
    owner = {"apiVersion": run["apiVersion"], "kind": run["kind"], "name": name, "uid": run["metadata"]["uid"]}
    labels = {"bubustack.io/storyrun": name}
    for step in steps:
        spec = {"storyRunRef": {"name": name}, "stepId": step}
        await made(session, STEP_RUN, f"{name}-{step}", spec, labels=labels, ownerReferences=[owner])
    return run


async def a_claim(session: Session, step_run: str, key: str, **spec: Any) -> None:
    given = {"stepRunRef": {"name": step_run}, "effectKey": key, **spec}
    await made(session, EFFECT_CLAIM, f"{step_run}-{key}", given)


def held(seconds: int = 600) -> Object:
    return {"holderIdentity": "pod-1:5f0c", "acquireTime": TAKEN, "renewTime": TAKEN, "leaseDurationSeconds": seconds}


async def a_shop(session: Session) -> Object:
    run = await a_run(session, "charge", "mail")
    await a_run(session, "charge", name="shop-2")
    done = {"completionStatus": "completed", "completedAt": "2026-01-02T11:56:00Z", "details": {"receipt": "ch_1"}}
    await a_claim(session, "shop-1-charge", "card", **held(), **done)
    await a_claim(session, "shop-1-mail", "customer", **held(), leaseTransitions=1)
    await a_claim(session, "shop-1-mail", "owner", **held(60))
    await a_claim(session, "shop-1-mail", "printer", completionStatus="released")
    await a_claim(session, "shop-2-charge", "card", **held())
    return run


async def test_each_claim_is_one_line(session: Session, with_options: WithOptions) -> None:
    run = await a_shop(session)
    effects = await effects_of_run(session, run, NOW)

    lines = [line.split("   ") for line in shown(session, effects, NOW).splitlines()]
    told = [[cell.strip() for cell in line if cell.strip()] for line in lines]

    assert told[0] == ["STEP", "EFFECT", "PHASE", "HOLDER", "SINCE", "LEASE-UNTIL", "DETAILS"]
    assert told[1] == ["charge", "card", "Completed", "pod-1:5f0c", "4m", '{"receipt": "ch_1"}']
    assert told[2] == ["mail", "customer", "Reserved", "pod-1:5f0c", "4m", "in 5m00s"]
    assert told[3] == ["mail", "owner", "Reserved", "pod-1:5f0c", "4m", "expired"]
    assert told[4][:3] == ["mail", "printer", "Released"]
    assert len(told) == 5

    wide = with_options(session, CommonOptions(output="wide", time_style=TimeStyle.ISO))
    line = shown(wide, effects, NOW).splitlines()[2].split()
    assert line[4:] == ["2026-01-02T11:55:00Z", "2026-01-02T12:05:00Z", "1", "shop-1-mail-customer"]


async def test_programs_get_all_of_it(session: Session, with_options: WithOptions) -> None:
    effects = await effects_of_run(session, await a_shop(session), NOW)

    documents = json.loads(shown(with_options(session, CommonOptions(output="json")), effects, NOW))["items"]
    names = shown(with_options(session, CommonOptions(output="name")), effects, NOW)

    assert documents[0] == {
        "step": "charge",
        "effect": "card",
        "phase": "Completed",
        "reason": "Completed",
        "message": "The effect has happened",
        "holder": "pod-1:5f0c",
        "since": "2026-01-02T11:56:00.000000Z",
        "leaseUntil": None,
        "takeovers": 0,
        "claim": "shop-1-charge-card",
        "details": {"receipt": "ch_1"},
    }
    assert documents[2]["reason"] == "LeaseExpired"
    assert names.splitlines()[0] == "effectclaim/shop-1-charge-card"


async def test_long_details_are_cut_to_the_line(session: Session, with_options: WithOptions) -> None:
    run = await a_run(session, "charge")
    await a_claim(session, "shop-1-charge", "card", details={"note": "x\n" * 100})
    effects = await effects_of_run(session, run, NOW)

    (line,) = shown(session, effects, NOW).splitlines()[1:]
    wide = with_options(session, CommonOptions(output="wide"))

    assert line.endswith("…")
    assert len(shown(wide, effects, NOW).splitlines()[1]) > 300


async def test_a_run_without_step_runs_has_no_effects(session: Session) -> None:
    assert await effects_of_run(session, await a_run(session), NOW) == []


async def test_why_reads_claims_only_of_steps_that_are_tried_again(session: Session) -> None:
    run = await a_shop(session)
    assert (await read_facts(session, run)).claims == {}

    await session.client.patch(
        STEP_RUN, "shop-1-mail", {"status": {"retries": 1}}, namespace="default", subresource="status"
    )
    facts = await read_facts(session, await session.client.get(STORY_RUN, "shop-1", "default"))

    assert [lease_of(claim).holder for claim in facts.claims["shop-1-mail"]] == ["pod-1:5f0c", "pod-1:5f0c", ""]
    assert list(facts.claims) == ["shop-1-mail"]
