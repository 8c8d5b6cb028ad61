"""Webhook deliveries with kills, in small. ``make bench BENCH=deliveries`` plays it in full size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.deliveries.campaign import DeliveryPlan, play
from tests.e2e.deliveries.killing import Victim
from tools.control_plane.session import KUBECONFIG_VARIABLE

PLAN = DeliveryPlan(count=100, per_second=50.0, kills=dict.fromkeys(Victim, 1), seconds=120.0, seed=83)
"""With this seed the API server is killed first, while deliveries arrive, then the operator, then the Impulse."""


async def test_each_delivery_starts_one_run_while_operator_impulse_and_api_server_are_killed(tmp_path: Path) -> None:
    """On a control plane of its own, because other tests need theirs alive."""
    if os.environ.get(KUBECONFIG_VARIABLE):
        pytest.skip("kills the API server, so it needs a control plane of our own")
    outcome = await play(PLAN, tmp_path)

    assert outcome.problems == []
    assert {kill.victim for kill in outcome.kills} == set(Victim)
    print(f"{outcome.requests} requests, repeated {dict(outcome.repeated)}, done after {outcome.run_seconds:.1f} s")
