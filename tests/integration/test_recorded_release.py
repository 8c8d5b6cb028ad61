"""Today's operator continues what the previous release has stored: recorded runs, in every state that they were in.

``tests/e2e/recorded_release.py`` made the files from an operator of that release on a real API server. Here each is the
content of a new cluster, in virtual time, in which the recorded containers continue.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import pytest
import trio
from trio.testing import MockClock

from bench.compressed import open_compressed_cluster
from bubu_contract.instants import parse_instant
from core.api.keys import LABEL_JOB_NAME
from core.api.objects import Object
from core.api.resource import POD, STORY_RUN

FOLDER: Final = Path(__file__).parent / "recorded_release"
MOMENTS: Final = tuple(sorted(path.stem for path in FOLDER.glob("*.jsonl")))
NAMESPACE_NAME: Final = "flows"
GATED: Final = "run-gated"
LONG_SECONDS: Final = 600.0
RUNS: Final = 10
STEP_RUNS: Final = 14
"""One of them had failed once, and waits to be retried: the Job of that attempt is gone already."""


@dataclass(frozen=True)
class Recorded:
    taken_at: str
    objects: list[Object]

    @property
    def containers(self) -> Counter[str]:
        """The containers that had ended, by StepRun."""
        return Counter(
            obj["metadata"]["labels"][LABEL_JOB_NAME]
            for obj in self.objects
            if obj["kind"] == POD.kind and obj["status"].get("phase") in ("Succeeded", "Failed")
        )


def read(moment: str) -> Recorded:
    head, *objects = map(orjson.loads, (FOLDER / f"{moment}.jsonl").read_bytes().splitlines())
    return Recorded(head["takenAt"], objects)


def test_there_are_recordings() -> None:
    assert {"at-work", "going-on-0", "going-on-1"} == set(MOMENTS)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_runs_of_the_previous_release_end_and_each_step_is_executed_once(
    autojump_clock: MockClock, moment: str
) -> None:
    recorded = read(moment)
    begin = parse_instant(recorded.taken_at)
    async with open_compressed_cluster(None, begin=begin, stored=recorded.objects) as cluster:
        approved = {"status": {"gates": {"ask": {"state": "Approved"}}}}
        await cluster.client.patch(STORY_RUN, GATED, approved, namespace=NAMESPACE_NAME, subresource="status")
        await trio.sleep(LONG_SECONDS)
        runs = (await cluster.client.list(STORY_RUN, NAMESPACE_NAME)).items
        executed = recorded.containers + cluster.node.started
    assert [run["status"]["phase"] for run in runs] == ["Succeeded"] * RUNS
    assert len(executed) == STEP_RUNS
    assert set(executed.values()) == {1}, executed
