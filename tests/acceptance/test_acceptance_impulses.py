"""Trigger contract 6 and 15, on both servers: access, environment and status of the listener of an Impulse.

The model has no controller of Impulses; ``tests/unit/reconcilers/test_impulse.py`` has an API server in memory instead.
"""

from __future__ import annotations

from typing import Any

from bubu_contract.instants import format_instant
from core.api.objects import Object
from core.api.resource import DEPLOYMENT, IMPULSE, POD, ROLE, SERVICE_ACCOUNT, STORY
from core.engine.clock import system_now
from tests.acceptance.acceptance_stand import (
    IMPULSE_TEMPLATE_NAME,
    ON_SERVERS,
    Stand,
    condition,
    primitive,
    scenario,
    status_of,
)

WORKLOAD = "hook-work-impulse"
RUNNER = "hook-impulse-runner"
RUNS, IMPULSES = "runs.bubustack.io", "bubustack.io"


async def an_impulse(stand: Stand, **spec: Any) -> None:
    await stand.create(STORY, "story", {"steps": [primitive("nothing", "condition")]})
    references = {"templateRef": {"name": IMPULSE_TEMPLATE_NAME}, "storyRef": {"name": "story"}}
    await stand.create(IMPULSE, "hook", {**references, **spec})


async def shown(stand: Stand, phase: str, status: str, reason: str) -> Object:
    """Wait until the Impulse is in that phase and its condition Ready has these values; returns it."""

    def look() -> Object | None:
        found = stand.find(IMPULSE, "hook")
        if found is None or status_of(found).get("phase") != phase:
            return None
        return found if condition(found, "Ready") == (status, reason) else None

    found = await stand.until(look, f"the Impulse is {phase}, {status}, {reason}")
    assert found is not None
    return found


@scenario(rigs=ON_SERVERS)
async def test_15_7_1_the_role_has_exactly_these_rules_in_this_order(stand: Stand) -> None:
    await an_impulse(stand)
    await stand.until(lambda: stand.find(ROLE, RUNNER), "the listener has a Role")
    assert (await stand.read(ROLE, RUNNER))["rules"] == [
        {"apiGroups": [RUNS], "resources": ["storytriggers"], "verbs": ["create", "get"]},
        {"apiGroups": [RUNS], "resources": ["storyruns"], "verbs": ["get", "list", "patch"]},
        {"apiGroups": [IMPULSES], "resources": ["impulses"], "resourceNames": ["hook"], "verbs": ["get"]},
        {"apiGroups": [IMPULSES], "resources": ["impulses/status"], "resourceNames": ["hook"], "verbs": ["patch"]},
    ]


@scenario(rigs=ON_SERVERS)
async def test_15_7_2_the_account_of_somebody_else_is_not_adopted(stand: Stand) -> None:
    theirs = await stand.create(SERVICE_ACCOUNT, RUNNER, {}, labels={"app": "theirs"})
    await an_impulse(stand)
    failed = await shown(stand, "Failed", "False", "NameConflict")
    assert RUNNER in str(status_of(failed)["conditions"])
    assert (await stand.read(SERVICE_ACCOUNT, RUNNER))["metadata"] == theirs["metadata"]
    assert stand.find(ROLE, RUNNER) is None
    assert stand.find(DEPLOYMENT, WORKLOAD) is None
    await stand.delete(SERVICE_ACCOUNT, RUNNER)
    await shown(stand, "Pending", "False", "Reconciling")
    own = await stand.read(SERVICE_ACCOUNT, RUNNER)
    assert [owner["kind"] for owner in own["metadata"]["ownerReferences"]] == [IMPULSE.kind]


@scenario(rigs=ON_SERVERS)
async def test_15_7_3_the_environment_is_stored_in_the_order_of_the_contract(stand: Stand) -> None:
    await an_impulse(
        stand,
        secrets={"zed": "z", "api": "a"},
        deliveryPolicy={"dedupe": {"mode": "key", "keyTemplate": "{{ inputs.id }}"}},
        throttle={"maxInFlight": 3, "ratePerSecond": 2, "burst": 1},
        **{"with": {"n": 1}},
    )
    await stand.until(lambda: stand.find(DEPLOYMENT, WORKLOAD), "there is a Deployment")
    made = await stand.read(DEPLOYMENT, WORKLOAD)
    [container] = made["spec"]["template"]["spec"]["containers"]
    assert [variable["name"] for variable in container["env"]] == [
        *("BUBU_IMPULSE_NAME", "BUBU_IMPULSE_NAMESPACE", "BUBU_TARGET_STORY_NAME", "BUBU_TARGET_STORY_NAMESPACE"),
        *("BUBU_DEBUG", "BUBU_MAX_INLINE_SIZE", "BUBU_MAX_RECURSION_DEPTH", "BUBU_STEP_CONFIG"),
        *("BUBU_TRIGGER_DEDUPE_MODE", "BUBU_TRIGGER_DEDUPE_KEY_TEMPLATE"),
        *("BUBU_TRIGGER_RETRY_MAX_ATTEMPTS", "BUBU_TRIGGER_RETRY_BASE_DELAY", "BUBU_TRIGGER_RETRY_MAX_DELAY"),
        *("BUBU_TRIGGER_THROTTLE_MAX_IN_FLIGHT", "BUBU_TRIGGER_THROTTLE_RATE_PER_SECOND"),
        *("BUBU_TRIGGER_THROTTLE_BURST", "api_token", "BUBU_SECRET_api", "BUBU_SECRET_api_NAME", "BUBU_SECRET_zed"),
        *("BUBU_POD_NAME", "BUBU_POD_NAMESPACE"),
    ]


@scenario(rigs=ON_SERVERS)
async def test_15_7_6_the_phase_follows_the_pods(stand: Stand) -> None:
    """Two replicas, of which none, one and both are ready, and one again."""
    await an_impulse(stand)
    await shown(stand, "Pending", "False", "Reconciling")
    await stand.patch(DEPLOYMENT, WORKLOAD, {"spec": {"replicas": 2}})
    await stand.until(lambda: len(stand.all(POD)) == 2, "there are two Pods")
    first, second = sorted(pod["metadata"]["name"] for pod in stand.all(POD))
    await _counted(stand, 2, 0)
    await shown(stand, "Pending", "False", "Reconciling")
    await _is_ready(stand, first)
    await _counted(stand, 2, 1)
    await shown(stand, "Running", "False", "Reconciling")
    await _is_ready(stand, second)
    await _counted(stand, 2, 2)
    await shown(stand, "Running", "True", "DeploymentReady")
    await _is_ready(stand, first, ready=False)
    await _counted(stand, 2, 1)
    await shown(stand, "Running", "False", "Reconciling")


async def _counted(stand: Stand, replicas: int, ready: int) -> None:
    """Wait until the Impulse shows these numbers."""
    look, wanted = stand.find, (replicas, ready)
    fields = ("replicas", "readyReplicas")
    await stand.until(
        lambda: tuple(status_of(look(IMPULSE, "hook")).get(field, 0) for field in fields) == wanted,
        f"{ready} of {replicas} Pods are ready",
    )


async def _is_ready(stand: Stand, pod: str, *, ready: bool = True) -> None:
    told = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": format_instant(system_now())}
    await stand.patch(POD, pod, {"status": {"phase": "Running", "conditions": [told]}}, "status")
