"""Trigger contract 8.3 and 15, on the model: which EffectClaims are deleted, and which are not.

``tests/integration/test_operator_effects.py`` shows the same on both servers.
"""

from __future__ import annotations

from typing import Any

from bubu_contract.submission import claim_name
from core.api.objects import Object
from core.api.resource import EFFECT_CLAIM, STEP_RUN, STORY, STORY_RUN
from tests.acceptance.acceptance_stand import HANGS, ON_MODEL, Stand, engram, reached, scenario, status_of
from tests.acceptance.model_stand import ModelStand

STEP = "run-a"
LATE_SECONDS = 60.0


async def a_step_at_work(stand: Stand) -> Object:
    """The StepRun of a step that does not end by itself."""
    stand.scripts["a"] = HANGS
    await stand.create(STORY, "story", {"steps": [engram("a")]})
    await stand.create(STORY_RUN, "run", {"storyRef": {"name": "story"}})
    await reached(stand, "a", "Running")
    return await stand.read(STEP_RUN, STEP)


async def claim(stand: Stand, step_run: str = STEP, **reference: Any) -> str:
    """The name of a new claim on the effect of a step."""
    name = claim_name(stand.namespace, step_run, "card")
    spec = {"stepRunRef": {"name": step_run, **reference}, "effectKey": "card", "holderIdentity": "pod:1"}
    await stand.create(EFFECT_CLAIM, name, spec)
    return name


async def deleted(stand: Stand, name: str) -> None:
    await stand.until(lambda: stand.find(EFFECT_CLAIM, name) is None, f"{name} is deleted")


@scenario(rigs=ON_MODEL)
async def test_15_8_8_a_claim_without_its_step_run_is_deleted(stand: Stand) -> None:
    await deleted(stand, await claim(stand, "nobody"))


@scenario(rigs=ON_MODEL)
async def test_15_8_9_a_claim_on_an_earlier_step_run_of_that_name_is_deleted(stand: Stand) -> None:
    await a_step_at_work(stand)
    await deleted(stand, await claim(stand, uid="of-an-earlier-one"))


@scenario(rigs=ON_MODEL)
async def test_15_8_10_a_claim_on_a_step_run_elsewhere_is_deleted(stand: Stand) -> None:
    """Although there is such a StepRun."""
    spec = {"storyRunRef": {"name": "run"}, "stepId": "a"}
    await stand.create(STEP_RUN, STEP, spec, namespace="elsewhere")
    await deleted(stand, await claim(stand, namespace="elsewhere"))


@scenario(rigs=ON_MODEL)
async def test_15_8_11_a_claim_on_a_step_run_that_no_event_has_brought_yet_is_kept(stand: Stand) -> None:
    assert isinstance(stand, ModelStand)
    stand.world.lags = {STEP_RUN.kind: LATE_SECONDS}
    async with stand.away():
        pass
    created = await stand.create(STEP_RUN, STEP, {"storyRunRef": {"name": "run"}, "stepId": "a"})
    name = await claim(stand, uid=created["metadata"]["uid"])
    await stand.until(lambda: status_of(stand.find(EFFECT_CLAIM, name)).get("phase") == "Reserved", "it is shown")
    assert stand.world.processes[-1].known.get(STEP_RUN.kind, stand.namespace, STEP) is None
    await stand.pause(2 * LATE_SECONDS)
    assert stand.find(EFFECT_CLAIM, name) is not None
