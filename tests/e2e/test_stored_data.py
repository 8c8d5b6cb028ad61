"""Large outputs with kills, in small. ``make bench BENCH=stored-data`` plays it in full size."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.stored_data.campaign import StoredDataPlan, StoreVictim, play
from tools.control_plane.binaries import MissingBinariesError, ensure_tool

PLAN = StoredDataPlan(
    runs=6, output_bytes=2 << 20, kills=dict.fromkeys(StoreVictim, 1), seconds=120.0, seed=12, at_once=2
)

"""With this seed a container and the store are killed in the first third, and the operator before the half."""


async def test_nothing_is_lost_and_nothing_is_left_while_operator_containers_and_store_are_killed(
    tmp_path: Path,
) -> None:
    """On a control plane of its own, whose programs no other test shares."""
    try:
        ensure_tool("versitygw")
    except MissingBinariesError as error:
        pytest.skip(str(error))

    outcome = await play(PLAN, tmp_path)

    assert outcome.problems == []
    assert outcome.stored_bytes > PLAN.runs * PLAN.output_bytes
    assert set(outcome.kills) == {str(victim) for victim in StoreVictim}
    print(
        f"{dict(outcome.kills)}, {outcome.retries} retries, {outcome.run_seconds:.1f} + {outcome.delete_seconds:.1f} s"
    )
