"""A real Prometheus scrapes a real operator and a real hub, and finds what dashboards and alerts ask for.

Takes about a minute, most of it waiting for scrapes. Prometheus comes from PATH or from Debian's package.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import pytest
from ruamel.yaml import YAML

from core.api.objects import Object
from core.api.resource import CUSTOM_RESOURCE_DEFINITION
from deployment.observability.dashboards import dashboards
from deployment.observability.files import CONFIG_MAP, DIRECTORY, SIDECAR_LABEL
from deployment.observability.rule import JOB
from deployment.observability.rules import GROUPS
from tests.e2e.kubectl import Kubectl
from tests.e2e.observability.load import refuse_one, rotate, start
from tests.e2e.observability.pictures import ROOT, filled_in, job_of
from tests.e2e.observability.prometheus import Prometheus
from tests.e2e.observability.stage import QUEUE, Stage, open_stage
from tests.e2e.operator_rig import FLOWS, eventually
from tools.control_plane.binaries import MissingBinariesError, ensure_debian_program
from tools.control_plane.building import BuildError
from tools.control_plane.session import SessionCluster

CLAIMS: Final = "effectclaims.runs.bubustack.io"
ENDED_SECONDS: Final = 120.0
ONLY_IN_TROUBLE: Final = frozenset(
    {
        "Errors of controllers a minute",
        "Objects that cannot be read, a minute",
        "Runs checked by the resync, a minute",
        "Crashes of runs in the last hour",
        "Wait of expressions for their turn, by lane",
        "Reviews left undecided a second, by limit",
        "Failures a minute, by operation",
        "Failures in the last hour",
        "Lost in the last hour",
        "Share of steps from the output cache, by Engram",
        "Packets that were lost or not meant for a step, a minute",
        "Refused clients and connections a minute, by reason",
        "Calls that have ended, a minute, by code",
        "Time that calls were open",
        "Spans of traces a second, by outcome",
    }
)
"""Panels that are empty while all is well, for the first ten minutes, or without an object store or traces."""
MAY_BE_PENDING: Final = frozenset({"BobrapetRunsFailing", "BobrapetStepsRetrying"})
"""One Story always fails; the steps of another one fail and are retried by chance."""


@pytest.fixture
async def stage(tmp_path: Path, pytestconfig: pytest.Config) -> AsyncIterator[Stage]:
    if pytestconfig.getoption("control_plane") != "real":
        pytest.skip("needs a real control plane: --control-plane real")
    try:
        ensure_debian_program("prometheus", "prometheus")
    except (MissingBinariesError, BuildError) as error:
        pytest.skip(str(error))
    async with open_stage(tmp_path, "1s") as opened:
        yield opened


async def value_of(prometheus: Prometheus, expression: str) -> float:
    return sum(line.points[-1][1] for line in await prometheus.at(expression))


async def panels_without_data(prometheus: Prometheus) -> set[str]:
    """Titles of the panels of all dashboards that show nothing. Every query must be accepted."""
    empty = set()
    for board in dashboards():
        for panel in board.panels:
            queries = [filled_in(target["expr"], job_of(board)) for target in panel["targets"]]
            found = [bool(await prometheus.at(query)) for query in queries]
            if found and not any(found):
                empty.add(panel["title"])
    return empty


async def end_watches(stage: Stage) -> None:
    """API servers end the watches of a kind whose definition changes."""
    changed = {"spec": {"names": {"shortNames": ["shown"]}}}
    await stage.rig.client.patch(CUSTOM_RESOURCE_DEFINITION, CLAIMS, changed)


async def answers_to_others(stage: Stage) -> list[int]:
    """Without a token, and with that of an account without the role."""
    targets = await stage.prometheus.targets()
    [address, _] = [target["scrapeUrl"] for target in targets if target["labels"]["job"] == JOB]
    token = await stage.rig.plane.token_of("default", FLOWS)
    async with httpx.AsyncClient(verify=False) as client:
        anonymous = await client.get(address)
        stranger = await client.get(address, headers={"Authorization": f"Bearer {token}"})
    return [anonymous.status_code, stranger.status_code]


async def test_dashboards_and_alerts_find_what_they_ask_for(stage: Stage) -> None:
    prometheus = stage.prometheus
    await start(stage, "sensors")
    for story in ("report", "payments", "crawl", "model", "model", "reminder"):
        await start(stage, story)
    await refuse_one(stage)
    await rotate(stage)
    await end_watches(stage)

    async def all_has_happened() -> bool:
        if not await value_of(prometheus, 'sum(bobrapet_watch_restarts_total{resource="effectclaims"})'):
            return False
        ended = await value_of(prometheus, 'sum(bobrapet_storyruns_total{story!="sensors"})')
        return ended >= 6 and await value_of(prometheus, "sum(bobrapet_hub_messages_delivered_total)") > 0

    await eventually(all_has_happened, stage.replicas[0].tail, seconds=ENDED_SECONDS)
    unseen: set[str] | None = None

    async def all_was_shown() -> bool:
        nonlocal unseen
        for story in ("model", "report", "crawl"):  # some panels show only what is under way, or happens now and then
            await start(stage, story)
        empty = await panels_without_data(prometheus) - ONLY_IN_TROUBLE
        unseen = empty if unseen is None else unseen & empty
        return not unseen

    await eventually(all_was_shown, lambda: f"no data: {sorted(unseen or ())}", seconds=ENDED_SECONDS)

    assert {target["health"] for target in await prometheus.targets()} == {"up"}
    rules = await prometheus.rules()
    assert len(rules) == sum(len(group.recordings) + len(group.alerts) for group in GROUPS)
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] == "err"] == []
    assert await prometheus.firing() - MAY_BE_PENDING == set()

    # What is counted is right, and each replica counts its own: only the leader's runs exist.
    failed = await value_of(prometheus, 'bobrapet_storyruns_total{story="payments", phase="Failed"}')
    denied = await value_of(prometheus, 'bobrapet_admission_decisions_total{decision="denied"}')
    waited = await value_of(prometheus, f'bobrapet_storyrun_queue_age_seconds_count{{queue="{QUEUE}"}}')
    left = await value_of(prometheus, 'min(bobrapet_certificate_expiry_timestamp_seconds{certificate="leaf"}) - time()')
    assert (failed, denied >= 1, waited >= 1) == (1, True, True)
    assert 6 * 86_400 < left <= 7 * 86_400
    assert await answers_to_others(stage) == [401, 403]


def test_kustomize_combines_rules_monitors_and_dashboards(
    steerable: SessionCluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kubectl = Kubectl(steerable, tmp_path_factory.mktemp("kubectl"))
    found: list[Object] = list(YAML(typ="safe", pure=True).load_all(kubectl("kustomize", str(ROOT / DIRECTORY)).out))

    by_kind = {document["kind"]: document for document in found}
    assert sorted(by_kind) == ["ConfigMap", "PodMonitor", "PrometheusRule", "ServiceMonitor"]
    config_map = by_kind["ConfigMap"]
    assert (config_map["metadata"]["name"], config_map["metadata"]["labels"]) == (CONFIG_MAP, SIDECAR_LABEL)
    assert {json.loads(text)["uid"] for text in config_map["data"].values()} == {board.uid for board in dashboards()}
    config_map["metadata"]["namespace"] = "default"
    applied = kubectl("apply", "--server-side", "--dry-run=server", "--filename=-", stdin=json.dumps(config_map))
    assert applied.err == ""
