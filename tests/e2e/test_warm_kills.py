"""Kills under warm steps, in small. ``make bench BENCH=warm-kill-on-server`` plays it in full size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.warm_kills.campaign import WarmPlan
from tests.e2e.warm_kills.on_server import play_on_server
from tools.control_plane.session import KUBECONFIG_VARIABLE

PLAN = WarmPlan(runs=3, items=150, kills=4, seconds=240.0, longest_pause_seconds=0.5, cancels=2)
"""One kill of each: operator, worker, process of a step, API server."""


async def test_warm_steps_succeed_once_and_in_order_while_everything_is_killed(tmp_path: Path) -> None:
    """On a control plane of its own, because other tests need theirs alive."""
    if os.environ.get(KUBECONFIG_VARIABLE):
        pytest.skip("kills the API server, so it needs a control plane of our own")
    verdict = await play_on_server(PLAN, tmp_path)

    assert set(verdict.killed.values()) == {1}
    assert (verdict.runs_in_order, verdict.succeeded) == (PLAN.runs, PLAN.runs * PLAN.items)
    assert verdict.retried > 0
    assert verdict.canceled == PLAN.cancels
    assert (verdict.recorded_twice, verdict.worked_after_end, verdict.overlapping) == (0, {}, 0)
