"""Runs all measurements on one control plane, so that their figures can be divided by each other.

``BOBRAPET_BENCH_FIGURES=FILE`` also writes them as JSON. Ratios are compared with the file in this folder.
"""

from __future__ import annotations

import os
from pathlib import Path

import trio

from bench.plane.figure import BASELINE, Figure, as_rows, read_figures, write_figures
from bench.plane.rates import rates
from bench.plane.reactions import reactions
from bench.plane.runs import chains, writes
from bench.plane.sleepers import sleepers
from bench.plane.stand import open_plane_stand
from bench.plane.warm import warm_rows
from bench.report import Row
from bench.warm_kill import measure_on_server

FIGURES_VARIABLE = "BOBRAPET_BENCH_FIGURES"


def measure() -> list[Row]:
    return [*_told(trio.run(_measure)), *measure_warm(), *measure_on_server()]


def measure_warm() -> list[Row]:
    """Measures only warm workers; takes about two minutes."""
    return trio.run(warm_rows)


def measure_rates() -> list[Row]:
    """Measures only the rates; takes about three minutes."""
    return _told(trio.run(_rates))


def measure_reactions() -> list[Row]:
    """Measures only the reactions; takes about eight minutes."""
    return _told(trio.run(_reactions))


def _told(figures: list[Figure]) -> list[Row]:
    if path := os.environ.get(FIGURES_VARIABLE):
        write_figures(figures, Path(path))
    return as_rows(figures, read_figures(BASELINE))


async def _rates() -> list[Figure]:
    async with open_plane_stand() as stand:
        return await rates(stand)


async def _reactions() -> list[Figure]:
    async with open_plane_stand() as stand:
        return await reactions(stand)


async def _measure() -> list[Figure]:
    async with open_plane_stand() as stand:
        return [
            *await rates(stand),
            *await chains(stand),
            *await reactions(stand),
            *await writes(stand),
            *await sleepers(stand),
        ]
