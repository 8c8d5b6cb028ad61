"""What the process of a hub needs wherever its runs come from: address, certificate files, metrics."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.telemetry.otlp.otlp_ignored import warn_of_ignored_variables
from core.telemetry.otlp.otlp_settings import OtlpSettingsError, names_a_collector, read_otlp_settings
from hub.metrics import HubMetrics
from hub.service import Hub
from manager.bind import Address

if TYPE_CHECKING:
    from core.telemetry.otlp.span_exporter import SpanExporter


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


def span_exporter(environ: Mapping[str, str]) -> SpanExporter | None:
    """Where the spans of packets go; None: no variable names a collector. Unlike the operator, a hub has no setting.

    Raises:
        HubStartError: a variable of OpenTelemetry cannot be used, or a file that one names.
    """
    warn_of_ignored_variables(environ)
    if not names_a_collector(environ):
        return None
    try:
        settings = read_otlp_settings(environ, "bobrapet-hub")
    except OtlpSettingsError as error:
        raise HubStartError(str(error)) from None
    if not settings.exports:
        return None
    from core.telemetry.otlp.span_exporter import SpanExporter

    try:
        return SpanExporter(settings)
    except OSError as error:
        raise HubStartError(f"OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE or _CLIENT_KEY: {error}") from None


def shown(metrics: HubMetrics | None, hub: Hub) -> AbstractContextManager[None]:
    """While the block runs, each exposition shows the live runs."""
    if metrics is None:
        return nullcontext()
    from core.telemetry.metrics import collected_by

    return collected_by(lambda: metrics.collect(hub.runs.values()))
