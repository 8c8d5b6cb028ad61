"""Measures the memory of the objects alone: a process holds the same objects as an operator and does nothing with them.

``python -m bench.held KUBECONFIG`` prints the resident bytes before and after its informers list all objects.
"""

from __future__ import annotations

import gc
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import trio

from bench.process import resident_bytes
from core.kube.client import open_client
from core.kube.config import load_config
from reconcilers.adapters.world import World


@dataclass(frozen=True, slots=True)
class Held:
    """The resident bytes of a process with empty informers, and with the same informers filled."""

    empty: int
    filled: int

    @property
    def more(self) -> int:
        return self.filled - self.empty


async def objects_held(kubeconfig: Path) -> Held:
    """Measures in a new process."""
    result = await trio.run_process([sys.executable, "-m", "bench.held", str(kubeconfig)], capture_stdout=True)
    empty, filled = map(int, result.stdout.split())
    return Held(empty, filled)


async def _hold(kubeconfig: Path) -> None:
    async with open_client(await load_config(kubeconfig)) as client:
        world = World.watching(client)
        empty = _resident()
        async with trio.open_nursery() as nursery:
            await nursery.start(world.run)
            print(empty, _resident())
            nursery.cancel_scope.cancel()


def _resident() -> int:
    gc.collect()
    return resident_bytes(os.getpid())


if __name__ == "__main__":
    trio.run(_hold, Path(sys.argv[1]))
