"""No run costs more requests to a real API server than docs/write-budget.md allows; the audit log has counted them.

Most scenarios are played at the same time, each in a namespace of its own, with admission as in an installation. Each
is played once, and counts: what depends on the time is explained by the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import trio

from core.api.keys import FINALIZER_STORY_RUN
from core.api.resource import CONFIG_MAP, SECRET, STORY_RUN
from core.engine.clock import system_now
from deployment.permissions.table import CONFIG_NAME, OPERATOR_NAMESPACE
from tests.e2e.admission_rig import NAMES, ask_admission
from tests.e2e.object_store.gateway import BUCKET, REGION, Gateway, open_gateway
from tests.e2e.operator_rig import ROOT, OperatorRig, eventually
from tests.e2e.write_budget import scenarios, waiting
from tests.e2e.write_budget.budget import BUDGET, Part
from tests.e2e.write_budget.counting import beside_runs, counted, sent_requests, while_idle
from tests.e2e.write_budget.judging import Played, deviations, due_to_circumstances, slopes
from tests.e2e.write_budget.scenario_budgets import SCENARIOS
from tests.e2e.write_budget.scenarios import Scene

REPORT = ROOT / "report/write-budget.txt"
STEPS = ("one_step", "five_steps_in_a_row", "ten_branches")
"""Played before the others: beside them Jobs are late, and then the log explains more requests."""
WAITING, STORED = "a_waiting_run", "a_stored_output"
QUIET_SECONDS = 12.0
"""Longer than counts of definitions and of repeated Events may wait before they are written, which is 10 s."""
LONGEST_QUIET_SECONDS = 60.0
"""What goes on for longer is found while runs wait."""
IDLE_SECONDS = 60.0
LONGEST_SECONDS = 240.0


async def test_no_run_costs_more_requests_than_its_budget(rig: OperatorRig, tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as gateway:
        authority = rig.directory / "store-authority.pem"
        authority.write_bytes(gateway.authority.ca_file.read_bytes())
        operator = await rig.start_operator(
            "operator", "--webhook-bind-address=127.0.0.1:0", NAMES, variables=scenarios.store_variables(rig)
        )
        await eventually(lambda: answers_reviews(operator.log), operator.tail)
        await ask_admission(rig, operator)

        began = system_now().timestamp()
        later = [name for name in SCENARIOS if name not in (*STEPS, STORED)]
        played, scenes = await play(rig, STEPS, [*later, *waiting.PLAYS])

        elsewhere, since = beside_runs(rig.audit_events(), began), system_now().timestamp()
        await trio.sleep(IDLE_SECONDS)
        idle = while_idle(rig.audit_events(), since)

        await use_store(rig, gateway, scenes[WAITING])
        stored, _ = await play(rig, [STORED])
        played |= stored

    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(report(played))
    found = {"in no namespace": elsewhere, "while runs wait": idle, "a further step": slopes(played, SCENARIOS)}
    wrong = strange_of(played) | {what: lines for what, lines in found.items() if lines}
    assert wrong == {}, "\n".join(f"{name}: {line}" for name, lines in wrong.items() for line in lines)


async def answers_reviews(log: Path) -> bool:
    return "admission reviews are answered" in await trio.Path(log).read_text()


async def play(rig: OperatorRig, *groups: Iterable[str]) -> tuple[dict[str, Played], dict[str, Scene]]:
    """Play these scenarios, those of a group at the same time, to their ends; returns when nothing more is sent."""
    scenes: dict[str, Scene] = {}
    for names in map(list, groups):
        of_group = {name: await scenarios.prepare(rig, name.replace("_", "-")) for name in names}
        with trio.fail_after(LONGEST_SECONDS):
            async with trio.open_nursery() as nursery:
                for name, scene in of_group.items():
                    nursery.start_soon(waiting.PLAYS.get(name) or getattr(scenarios, name), scene)
        scenes |= of_group
    await quiet(rig)
    return {name: await scene.played() for name, scene in scenes.items() if name in SCENARIOS}, scenes


def strange_of(played: Mapping[str, Played]) -> dict[str, list[str]]:
    """What deviates from its budget, and how."""
    found = {name: deviations(one, SCENARIOS[name]) for name, one in played.items()}
    return {name: lines for name, lines in found.items() if lines}


async def quiet(rig: OperatorRig) -> None:
    """Wait until nothing of ours was sent for some time: counts are written late."""
    sent, since = -1, trio.current_time()
    with trio.move_on_after(LONGEST_QUIET_SECONDS):
        while trio.current_time() < since + QUIET_SECONDS:
            now = sum(each.request.sender.is_ours for each in sent_requests(rig.audit_events()))
            if now != sent:
                sent, since = now, trio.current_time()
            await trio.sleep(1)


async def use_store(rig: OperatorRig, gateway: Gateway, live: Scene) -> None:
    """Configure an object store; returns when the operator knows it: then the live run has the finalizer."""
    secret = {"stringData": gateway.credentials}
    await rig.create(SECRET, "store-access", secret, OPERATOR_NAMESPACE)
    namespace = STORED.replace("_", "-")
    settings = {
        "controller.storage.provider": "s3",
        "controller.storage.s3.bucket": BUCKET,
        "controller.storage.s3.region": REGION,
        "controller.storage.s3.endpoint": gateway.url,
        "controller.storage.s3.use-path-style": "true",
        "controller.storage.s3.auth-secret-name": "store-access",
        "controller.storage.s3.credential-namespaces": namespace,
    }
    await rig.create(CONFIG_MAP, CONFIG_NAME, {"data": settings}, OPERATOR_NAMESPACE)
    await live.until(STORY_RUN, live.name, lambda run: FINALIZER_STORY_RUN in (run["metadata"].get("finalizers") or ()))


def report(played: Mapping[str, Played]) -> str:
    """For readers: all requests of each scenario, and their sums; and the Warnings."""
    return "\n".join([line for name, one in played.items() for line in _lines(name, one)] + [""])


def _lines(name: str, played: Played) -> Iterable[str]:
    sent, timed = counted(played.sent), due_to_circumstances(played, SCENARIOS[name])
    account = sum(sent[cost.request] for cost in BUDGET[Part.ACCOUNT])
    yield (
        f"{name}: {played.ours} of ours, {account} of them for the account, {timed.total()} because of time; "
        f"{sent.total()} in all"
    )
    yield from (f"    {number:3} {request}" for request, number in sorted(sent.items()))
    yield from (f"    Warning {each.reason} about a {each.kind}: {n}" for each, n in sorted(played.warned.items()))
