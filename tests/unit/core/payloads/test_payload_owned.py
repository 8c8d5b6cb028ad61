"""Which objects belong to a run, and how many listings it takes to find them."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.payloads.owned import objects_of_run
from core.payloads.store import Store
from tests.unit.core.payloads.memory_store import MemoryStore

OWN = (
    "inputs/team/run-a/input.sha256-1.json",
    "outputs/team/run-a/files/m.sha256-1.pt",
    "outputs/team/run-a/output.json",
    "outputs/team/run/ output.json",
    "outputs/team/run/output.json",
    "team/logs/run/a/run-a/1.log",
    "team/logs/run/a/run-a/2.log",
    "team/logs/run/a/run-a/3.log",
)
OTHERS = (
    "cache/team/run/x.json",
    "inputs/team/run-b/input.json",
    "outputs/other/run/output.json",
    "outputs/team/ru/output.json",
    "outputs/team/run-1/output.json",
    "outputs/team/run-a-b/output.json",
    "outputs/team/run.b/output.json",
    "outputs/team/runs/output.json",
    "outputs/team/zebra/output.json",
    "team/logs/run-1/a/run-1-a/1.log",
)
NAMES = ("run", "run-1", "run-a", "run-a-b", "run.a", "run.b", "runs", "a", "z")


async def found(store: MemoryStore, *step_runs: str, run: str = "run") -> list[str]:
    return [each.key for each in await objects_of_run(cast("Store", store), "team", run, step_runs)]


@pytest.mark.parametrize("page_objects", [1, 2, 3, 1000])
async def test_a_run_has_its_own_objects_and_not_those_of_runs_with_similar_names(page_objects: int) -> None:
    store = MemoryStore([*OWN, *OTHERS], page_objects=page_objects)

    assert sorted(await found(store, "run-a")) == sorted(OWN)


async def test_a_run_with_many_steps_needs_few_listings() -> None:
    steps = [f"run-{number}" for number in range(300)]
    store = MemoryStore([f"outputs/team/{step}/output.json" for step in steps], page_objects=1000)

    assert len(await found(store, *steps)) == 300
    assert len(store.pages) <= 6


async def test_the_objects_of_a_thousand_other_runs_are_not_listed() -> None:
    others = [f"outputs/team/run-{number}/output.json" for number in range(1000)]
    store = MemoryStore([*others, "outputs/team/run/output.json"], page_objects=10)

    assert await found(store) == ["outputs/team/run/output.json"]
    assert len(store.pages) <= 5


@given(
    st.sets(st.sampled_from(NAMES)),
    st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from(["output.json", "!", "0", "~"]))),
    st.integers(1, 4),
)
async def test_exactly_the_objects_of_its_owners_are_found(
    owners: set[str], objects: set[tuple[str, str]], page_objects: int
) -> None:
    store = MemoryStore([f"outputs/team/{owner}/{name}" for owner, name in objects], page_objects=page_objects)

    expected = {f"outputs/team/{owner}/{name}" for owner, name in objects if owner in owners | {"run"}}
    keys = await found(store, *owners)
    assert sorted(keys) == sorted(expected)
