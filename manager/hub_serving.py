"""What the process of a hub needs wherever its runs come from: address, certificate files, metrics."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from hub.metrics import HubMetrics
from hub.service import Hub
from manager.bind import Address


class HubStartError(Exception):
    """The hub cannot start. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class HubFiles:
    """A certificate (PEM) and its key."""

    certificate: Path
    key: Path


def listen_error(address: Address, error: OSError) -> HubStartError:
    why = os.strerror(error.errno) if error.errno else str(error)
    return HubStartError(f"cannot listen on {address}: {why}; free it or choose another")


def metrics_of(address: Address | None) -> HubMetrics | None:
    """The metrics of this process, recorded from now on; None if they are served nowhere."""
    if address is None:
        return None
    from core.telemetry.catalogue import CLIENT_CATALOGUE
    from core.telemetry.hub_catalogue import HUB_CATALOGUE
    from core.telemetry.metrics import start_recording

    start_recording((*HUB_CATALOGUE, *CLIENT_CATALOGUE))
    return HubMetrics()


def shown(metrics: HubMetrics | None, hub: Hub) -> AbstractContextManager[None]:
    """While the block runs, each exposition shows the live runs."""
    if metrics is None:
        return nullcontext()
    from core.telemetry.metrics import collected_by

    return collected_by(lambda: metrics.collect(hub.runs.values()))
