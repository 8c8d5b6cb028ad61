"""The campaign on a real control plane of its own, whose API server is killed, too."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import orjson
import trio

from bench.plane.stand import ROOT, open_plane_stand
from tests.e2e.warm_kills.campaign import IMAGE, PROGRAM, Victims, WarmPlan, WarmVerdict, play
from tools.control_plane.node import open_node
from tools.control_plane.ports import unshared_port
from tools.control_plane.processes import ServerError

_AWAY_SECONDS: Final = 0.5
"""How long an API server is away in addition to its start."""


async def play_on_server(plan: WarmPlan, directory: Path) -> WarmVerdict:
    """
    Raises:
        trio.TooSlowError: it took longer than the plan allows.
    """
    beats, images = directory / "beats", directory / "images.json"
    program = ["/usr/bin/env", f"PYTHONPATH={ROOT / 'sdk'}", sys.executable, str(PROGRAM), str(beats)]
    images.write_bytes(orjson.dumps({"images": {IMAGE: {"command": program}}}))
    async with _open_victims(images, directory / "node") as victims:
        return await play(plan, victims, beats)


@asynccontextmanager
async def _open_victims(images: Path, node_folder: Path) -> AsyncIterator[Victims]:
    async with AsyncExitStack() as stack:
        stand = await stack.enter_async_context(open_plane_stand(unshared_port(), instant_node=False))
        await stack.enter_async_context(open_node(stand.plane, images, node_folder))
        nursery = await stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(stand.keep_the_operator)

        def operator_pid() -> int:
            try:
                return stand.operator.pid
            except ServerError as error:
                raise LookupError("no operator runs") from error

        async def kill_api_server() -> None:
            await stand.plane.api_server.kill()
            await trio.sleep(_AWAY_SECONDS)
            await stand.plane.api_server.restart()

        yield Victims(stand.client, os.getpid(), operator_pid, {"API server": kill_api_server})
        nursery.cancel_scope.cancel()
