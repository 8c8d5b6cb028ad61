"""Realtime runs on the cluster of ``bobrapet up``, which starts operator and hub again when they die.

The same on a real API server: ``test_realtime_on_server``.
"""

from __future__ import annotations

from pathlib import Path

from tests.e2e.stream_proof import (
    connect_in_time,
    kill_the_hub_and_stream_again,
    kill_the_operator_while_packets_flow,
    rest_for_a_minute,
)
from tests.e2e.stream_rig import open_embedded_rig


async def test_an_idle_run_writes_nothing_and_streams_after_its_hub_was_killed(tmp_path: Path) -> None:
    async with open_embedded_rig(tmp_path) as rig:
        await connect_in_time(rig, tmp_path)
        await rest_for_a_minute(rig)
        await kill_the_hub_and_stream_again(rig, tmp_path)


async def test_no_packet_stops_while_the_operator_is_killed(tmp_path: Path) -> None:
    async with open_embedded_rig(tmp_path) as rig:
        await connect_in_time(rig, tmp_path)
        await kill_the_operator_while_packets_flow(rig)
