"""A server process that several tasks kill and start."""

from __future__ import annotations

from pathlib import Path

import trio

from tools.control_plane.processes import ServerProcess, open_process


async def test_a_kill_ends_with_the_process_that_it_has_killed(tmp_path: Path) -> None:
    """Another task may have started the next one before this one looks again."""
    async with open_process("sleeper", ["/bin/sleep", "60"], tmp_path) as process:
        first = process.pid
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_restart, process)
            nursery.start_soon(process.kill)
        assert process.running
        assert process.pid != first


async def _restart(process: ServerProcess) -> None:
    await trio.lowlevel.checkpoint()  # the other task has begun, and means the first process
    await process.kill()
    process.start()


async def test_a_stop_leaves_the_process_that_was_started_meanwhile(tmp_path: Path) -> None:
    async with open_process("sleeper", ["/bin/sleep", "60"], tmp_path) as process:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_restart, process)
            nursery.start_soon(process.stop)
        assert process.running
