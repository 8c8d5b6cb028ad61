"""Shows on a realtime run that none of its streams is connected, once that has lasted for a while. It ends nothing.

A hub that restarts, or a network that fails for a moment, is not worth a word; and a run whose streams are away goes on
by itself when they come back. Source: streaming contract 3 and 14, in the improved form.
"""

from __future__ import annotations

from bubu_contract.instants import format_instant
from core.api.phases import Reason
from core.engine.clock import wait_for_wakeup
from core.engine.engine_context import EngineContext
from core.engine.ports import EventType
from core.engine.status.writer import StatusWriter
from core.engine.streams.connections import Streams


async def watch_topology(engine: EngineContext, status: StatusWriter, streams: Streams) -> None:
    """Keep the state of the run up to date until cancelled. It waits for changes and instants, and does not poll."""
    while True:
        streams.changed.clear()
        lost_at, due = streams.all_lost_since, None
        if streams.any_connected:
            status.apply(status.state.topology_restored())
        elif lost_at is not None:
            due = lost_at + engine.settings.disconnected_grace
            if engine.clock.now() >= due:
                why = f": {streams.why_lost}" if streams.why_lost else ""
                text = f"No stream of the run has been connected since {format_instant(lost_at)}{why}"
                before, due = status.state, None
                status.apply(before.topology_degraded(text))
                if not before.topology:
                    engine.events.emit(before.stored, EventType.WARNING, Reason.TOPOLOGY_DEGRADED, text)
        await wait_for_wakeup(streams.changed, engine.clock, due)
