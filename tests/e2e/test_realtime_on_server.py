"""Realtime runs on a real kube-apiserver, with everything that is a program of its own in an installation.

The same on the embedded cluster: ``test_realtime_embedded``.
"""

from __future__ import annotations

from pathlib import Path

from tests.e2e.stream_proof import (
    assert_whole,
    connect_in_time,
    kill_the_hub_and_stream_again,
    kill_the_operator_while_packets_flow,
    rest_for_a_minute,
)
from tests.e2e.stream_rig import STEPS, open_real_rig
from tests.integration.operator_cluster import step_phases
from tools.control_plane.session import SessionCluster


async def test_an_idle_run_writes_nothing_and_streams_after_its_hub_was_killed(
    tmp_path: Path, steerable: SessionCluster
) -> None:
    async with open_real_rig(tmp_path, steerable, elect=True) as rig:
        await connect_in_time(rig, tmp_path)
        await rest_for_a_minute(rig)
        await kill_the_hub_and_stream_again(rig, tmp_path)


async def test_no_packet_stops_while_the_operator_is_killed(tmp_path: Path, steerable: SessionCluster) -> None:
    async with open_real_rig(tmp_path, steerable) as rig:
        await connect_in_time(rig, tmp_path)
        await kill_the_operator_while_packets_flow(rig)


async def test_a_cancel_of_a_run_by_tls_loses_nothing_that_was_sent(tmp_path: Path, steerable: SessionCluster) -> None:
    """The hub has its certificate from the operator, and the containers its authority from a ConfigMap."""
    async with open_real_rig(tmp_path, steerable, tls=True) as rig:
        await connect_in_time(rig, tmp_path)
        rig.let_flow()
        await rig.until_kept(100)
        await rig.cancel()
        status = await rig.ended()
        assert status["phase"] == "Finished", status
        assert step_phases({"status": status}) == dict.fromkeys(STEPS, "Canceled")
        assert_whole(rig.kept())
        assert len(rig.kept()) >= rig.sent(), "the last one may have been sent without a note"
        await rig.nothing_runs()
