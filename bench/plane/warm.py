"""Measures warm workers on a real control plane, with a node that starts containers, and bare Jobs beside them."""

from __future__ import annotations

import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import orjson

from bench import warm
from bench.plane.stand import ROOT, open_plane_stand
from bench.process import cpu_seconds
from bench.report import Row
from tools.control_plane.node import open_node


async def warm_rows() -> list[Row]:
    """Raises the same errors as ``bench.warm.rows_of``."""
    python = ["/usr/bin/env", f"PYTHONPATH={ROOT / 'sdk'}", sys.executable]
    commands = {warm.IMAGE: [*python, str(warm.PROGRAM)], warm.BARE_IMAGE: [*warm.BARE_COMMAND]}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bobrapet-bench-")))
        images = folder / "images.json"
        images.write_bytes(orjson.dumps({"images": {name: {"command": each} for name, each in commands.items()}}))
        stand = await stack.enter_async_context(open_plane_stand(instant_node=False))
        await stack.enter_async_context(open_node(stand.plane, images, folder / "node"))
        return await warm.rows_of(warm.Site(stand.client, stand.writes, lambda: cpu_seconds([stand.operator.pid])))
