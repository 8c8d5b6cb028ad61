"""No run costs more requests to a real API server than docs/write-budget.md allows; the audit log has counted them.

All scenarios are played at the same time, each in a namespace of its own, with admission as in an installation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import trio

from core.api.keys import FINALIZER_STORY_RUN
from core.api.resource import CONFIG_MAP, SECRET, STORY_RUN
from deployment.permissions.table import CONFIG_NAME, OPERATOR_NAMESPACE
from tests.e2e.admission_rig import NAMES, ask_admission
from tests.e2e.object_store.gateway import BUCKET, REGION, Gateway, open_gateway
from tests.e2e.operator_rig import ROOT, OperatorRig, eventually
from tests.e2e.write_budget import scenarios
from tests.e2e.write_budget.budget import BUDGET, EVENTS, SCENARIOS, WARNINGS, Part, deviations
from tests.e2e.write_budget.counting import Request, requests_by_namespace
from tests.e2e.write_budget.scenarios import Scene

REPORT = ROOT / "report/write-budget.txt"
WAITING, STORED = "a_waiting_run", "a_stored_output"
QUIET_SECONDS = 12.0
"""Longer than counts of definitions and of repeated Events may wait before they are written, which is 10 s."""
IDLE_SECONDS = 60.0
LONGEST_SECONDS = 240.0


async def test_no_run_costs_more_requests_than_its_budget(rig: OperatorRig, tmp_path: Path) -> None:
    trouble: dict[str, Counter[str]] = {}
    async with open_gateway(tmp_path) as gateway:
        authority = rig.directory / "store-authority.pem"
        authority.write_bytes(gateway.authority.ca_file.read_bytes())
        operator = await rig.start_operator(
            "operator", "--webhook-bind-address=127.0.0.1:0", NAMES, variables=scenarios.store_variables(rig)
        )
        await eventually(lambda: answers_reviews(operator.log), operator.tail)
        await ask_admission(rig, operator)

        scenes = await play(rig, *(name for name in SCENARIOS if name != STORED))
        await quiet(rig)
        counted = {name: scene.requests() for name, scene in scenes.items()}
        await trio.sleep(IDLE_SECONDS)
        idle = {
            name: [str(request) for request in of_ours(scene.requests() - counted[name])]
            for name, scene in scenes.items()
        }

        await use_store(rig, gateway, scenes[WAITING])
        stored = await play(rig, STORED)
        await quiet(rig)
        counted |= {name: scene.requests() for name, scene in stored.items()}

        for name, scene in {**scenes, **stored}.items():
            warnings = await scene.warnings()
            trouble[name] = warnings if warnings.total() > WARNINGS.get(name, 0) else Counter()
            counted[name][EVENTS] -= max(0, warnings.total() - WARNINGS.get(name, 0))

    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(report(counted, trouble))
    assert {name: lines for name, lines in idle.items() if lines} == {}
    found = {name: deviations(counted[name], budget) for name, budget in SCENARIOS.items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


async def answers_reviews(log: Path) -> bool:
    return "admission reviews are answered" in await trio.Path(log).read_text()


async def play(rig: OperatorRig, *names: str) -> dict[str, Scene]:
    """The scenarios of these names, at the same time, to their ends."""
    scenes = {name: await scenarios.prepare(rig, name.replace("_", "-")) for name in names}
    with trio.fail_after(LONGEST_SECONDS):
        async with trio.open_nursery() as nursery:
            for name, scene in scenes.items():
                nursery.start_soon(getattr(scenarios, name), scene)
    return scenes


async def quiet(rig: OperatorRig) -> None:
    """Wait until nothing of ours was sent for some time: counts are written late."""
    sent, since = -1, trio.current_time()
    while trio.current_time() < since + QUIET_SECONDS:
        now = sum(sum(of_ours(each).values()) for each in requests_by_namespace(rig.audit_events()).values())
        if now != sent:
            sent, since = now, trio.current_time()
        await trio.sleep(1)


async def use_store(rig: OperatorRig, gateway: Gateway, live: Scene) -> None:
    """Configure an object store; returns when the operator knows it: then the live run has the finalizer."""
    secret = {"stringData": gateway.credentials}
    await rig.create(SECRET, "store-access", secret, OPERATOR_NAMESPACE)
    settings = {
        "controller.storage.provider": "s3",
        "controller.storage.s3.bucket": BUCKET,
        "controller.storage.s3.region": REGION,
        "controller.storage.s3.endpoint": gateway.url,
        "controller.storage.s3.use-path-style": "true",
        "controller.storage.s3.auth-secret-name": "store-access",
        "controller.storage.s3.credential-namespaces": STORED.replace("_", "-"),
    }
    await rig.create(CONFIG_MAP, CONFIG_NAME, {"data": settings}, OPERATOR_NAMESPACE)
    await live.until(STORY_RUN, live.name, lambda run: FINALIZER_STORY_RUN in (run["metadata"].get("finalizers") or ()))


def of_ours(sent: Counter[Request]) -> Counter[Request]:
    return Counter({request: number for request, number in sent.items() if request.sender.is_ours})


def report(counted: Mapping[str, Counter[Request]], trouble: Mapping[str, Counter[str]]) -> str:
    """For readers: all requests of each scenario, and their sums; and the Warnings where some tell of trouble."""
    lines = []
    for name, sent in counted.items():
        ours, account = of_ours(sent).total(), sum(sent[cost.request] for cost in BUDGET[Part.ACCOUNT])
        lines.append(f"{name}: {ours} of ours, {account} of them for the account; {sent.total()} in all")
        lines += [f"    {number:3} {request}" for request, number in sorted(sent.items())]
        lines += [
            f"    Warning {reason}: {number}, partly in addition" for reason, number in sorted(trouble[name].items())
        ]
    return "\n".join([*lines, ""])
