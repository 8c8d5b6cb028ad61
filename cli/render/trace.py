"""A timeline for programs: as data, and in Chrome's Trace Event Format, which Perfetto (ui.perfetto.dev) opens. Pure.

Source: "Trace Event Format" by the Chromium project: complete events (``ph: X``) with ``ts`` and ``dur`` in
microseconds, and metadata events (``ph: M``) that name processes and threads.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from bubu_contract.instants import format_instant
from core.api.objects import Object
from views.timeline import Timeline, TimelineRow, TimelineSpan

_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def document_of(timeline: Timeline) -> Object:
    """The timeline as data; instants are RFC 3339, durations are seconds."""
    return {
        "namespace": timeline.namespace,
        "run": timeline.run,
        "story": timeline.story,
        "phase": timeline.phase,
        "execution": timeline.execution,
        "startedAt": format_instant(timeline.began_at) if timeline.began_at else None,
        "finishedAt": format_instant(timeline.ended_at) if timeline.is_over else None,
        "steps": [_step(row) for row in timeline.rows],
        "unseen": list(timeline.unseen),
    }


def trace_of(timeline: Timeline) -> Object:
    """One process for each run, one thread for each step; a span is an event with its activity as category."""
    processes = {run: number for number, run in enumerate(dict.fromkeys(row.run for row in timeline.rows), start=1)}
    events = [_named("process_name", number, 0, f"StoryRun {run}") for run, number in processes.items()]
    for thread, row in enumerate(timeline.rows, start=1):
        process = processes[row.run]
        events.append(_named("thread_name", process, thread, _name(row)))
        sort = _named("thread_sort_index", process, thread, "")
        events.append({**sort, "args": {"sort_index": thread}})
        events += [_event(row, span, process, thread) for span in row.spans]
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"run": timeline.run}}


def _step(row: TimelineRow) -> Object:
    return {
        "run": row.run,
        "step": row.step,
        "iteration": row.iteration or None,
        "phase": row.phase,
        "attempts": row.attempts,
        "isEarlier": row.is_earlier,
        "used": row.used or None,
        "spans": [
            {
                "activity": str(span.activity),
                "startedAt": format_instant(span.began_at),
                "finishedAt": format_instant(span.ended_at),
                "seconds": span.duration.total_seconds(),
            }
            for span in row.spans
        ],
    }


def _name(row: TimelineRow) -> str:
    return f"iteration {row.iteration}" if row.iteration else row.step


def _named(what: str, process: int, thread: int, name: str) -> Object:
    return {"ph": "M", "name": what, "pid": process, "tid": thread, "args": {"name": name}}


def _event(row: TimelineRow, span: TimelineSpan, process: int, thread: int) -> Object:
    return {
        "ph": "X",
        "name": f"{_name(row)}: {span.activity}",
        "cat": str(span.activity),
        "ts": (span.began_at - _EPOCH) // _MICROSECOND,
        "dur": span.duration // _MICROSECOND,
        "pid": process,
        "tid": thread,
        "args": {"step": row.step, "phase": row.phase, "attempts": row.attempts},
    }
