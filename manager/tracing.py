"""Whether traces are exported, and where to: the settings, the variables of OpenTelemetry, and the task that exports.

``telemetry.enabled`` starts and ends the export while the process runs; the variables are read once, at its start.
Until it is on, neither protobuf nor an HTTP client is loaded. Source: operator contract 1.3, 3.6 and 9.
"""

from __future__ import annotations

import platform
import socket
from collections.abc import Callable
from dataclasses import replace

import trio

from core.engine.wakeup import WakeUp
from core.policy.settings import OperatorSettings
from core.telemetry.logs import get_logger
from core.telemetry.otlp.otlp_settings import OtlpSettings, OtlpSettingsError
from core.telemetry.tracing.run_trace import TraceRules
from reconcilers.traces.trace_projection import TraceProjection

_log = get_logger("telemetry")


class Tracing:
    """``run`` exports what a projection gives it, while the settings ask for it.

    ``otlp``: the variables, or what is wrong with them.
    """

    def __init__(
        self,
        settings: Callable[[], OperatorSettings],
        otlp: OtlpSettings | OtlpSettingsError = OtlpSettings(),  # noqa: B008 - frozen
        shutdown_seconds: float = 5.0,
    ) -> None:
        self._settings = settings
        self._otlp = otlp
        self._shutdown_seconds = shutdown_seconds
        self._changed = WakeUp()

    def rules(self) -> TraceRules:
        """What counts for a run now."""
        settings = self._settings()
        if isinstance(self._otlp, OtlpSettingsError):
            return TraceRules(propagates=settings.trace_propagation)
        return TraceRules(settings.tracing_enabled, settings.trace_propagation, self._otlp.sampler)

    def settings_changed(self) -> None:
        self._changed.wake()

    async def run(self, projection: TraceProjection) -> None:
        """Export while the settings ask for it; spans that wait are sent before this ends."""
        while True:
            self._changed.clear()
            otlp = self._wanted()
            if otlp is None:
                await self._changed.wait()
                continue
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._export, projection, otlp, nursery.cancel_scope)
                while self._wanted() is not None:
                    await self._changed.wait()
                    self._changed.clear()
                nursery.cancel_scope.cancel()
            if self._wanted() is not None:
                await self._changed.wait()  # the export failed, which is logged: only other settings can help

    def _wanted(self) -> OtlpSettings | None:
        """The settings to export by; None: nothing is exported."""
        if not self._settings().tracing_enabled:
            return None
        if isinstance(self._otlp, OtlpSettingsError):
            _log.warning("traces are not exported: their variables cannot be used", cause=str(self._otlp))
            return None
        return self._otlp if self._otlp.exports else None

    async def _export(self, projection: TraceProjection, otlp: OtlpSettings, scope: trio.CancelScope) -> None:
        from core.telemetry.otlp.span_exporter import SpanExporter  # only a process that exports needs protobuf

        try:
            exporter = SpanExporter(replace(otlp, resource={**_of_process(), **otlp.resource}), self._shutdown_seconds)
        except OSError as error:
            _log.error("traces cannot be exported: a file that a variable names cannot be used", cause=str(error))
            scope.cancel()
            return
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(exporter.run)
                _log.info("traces are exported", endpoint=otlp.endpoint.partition("?")[0])
                projection.sink = exporter
                nursery.start_soon(projection.catch_up, name="spans that were not sent before the start")
        finally:
            projection.sink = None


def _of_process() -> dict[str, str]:
    """What the resource says of this process, unless a variable says otherwise."""
    return {
        "host.name": socket.gethostname(),
        "process.runtime.name": platform.python_implementation().lower(),
        "process.runtime.version": platform.python_version(),
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "bobrapet",
    }
