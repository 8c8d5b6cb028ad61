"""The traffic of realtime steps in few characters: ``in 2,090 200/s  out 43 4.1/s  waits 12 (3 %)``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from bubu_contract.instants import format_instant
from core.graph.needs import Graph
from views.flow import StepFlow
from views.run_view import RunView, StepView

LINE_EVERY: Final = timedelta(seconds=10)
"""Between two lines about the counts of one step in a pipe."""
_FAST: Final = 600
"""Messages in a minute from which on tenths of a second's worth say nothing."""


def rate_text(per_minute: int) -> str:
    """``200/s``, ``4.1/s``, ``12/min``; empty for none."""
    if not per_minute:
        return ""
    if per_minute < 60:
        return f"{per_minute}/min"
    return f"{per_minute / 60:.1f}/s" if per_minute < _FAST else f"{round(per_minute / 60):,}/s"


def flow_texts(steps: Iterable[StepView]) -> dict[str, str]:
    """For each step with a stream its traffic, in columns."""
    flows = {step.name: _still(step.flow, step) for step in steps if step.flow is not None}
    cells = {name: _cells(flow) for name, flow in flows.items()}
    widths = [max(map(len, column)) for column in zip(*cells.values(), strict=True)] if cells else []
    return {name: _row(row, widths, _remarks(flows[name])) for name, row in cells.items()}


def flow_text(step: StepView) -> str:
    """The same for one step alone, without columns; empty if nothing has passed or will."""
    if step.flow is None:
        return ""
    flow = _still(step.flow, step)
    parts = []
    if flow.has_sources or flow.delivered:
        parts.append(_total("in", flow.delivered, flow.delivered_per_minute))
    if flow.has_targets or flow.received:
        parts.append(_total("out", flow.received, flow.received_per_minute))
    return ", ".join((*parts, *_remarks(flow)))


def edge_rates(view: RunView, graph: Graph) -> dict[tuple[str, str], str]:
    """How fast messages pass from each need to each step.

    A step with one need gets all its messages from there; of one with several only what each of them sends is known,
    which a condition may thin out.
    """
    flows = {step.name: step.flow for step in view.steps if step.flow is not None and step.at_work}
    found = {}
    for step in graph.order:
        needs = graph.needs[step]
        for need in needs:
            target, source = flows.get(step), flows.get(need)
            per_minute = source.received_per_minute if source is not None else 0
            if target is not None and len(needs) == 1:
                per_minute = target.delivered_per_minute
            if per_minute:
                found[need, step] = rate_text(per_minute)
    return found


class FlowLines:
    """One line for each step whose counts have changed, in a form for grep, and not more often than is of use."""

    def __init__(self) -> None:
        self._printed: dict[str, tuple[datetime, StepFlow]] = {}

    def lines(self, view: RunView, now: datetime) -> list[str]:
        """The lines that are due."""
        found = []
        for step in view.steps:
            flow = step.flow
            if flow is None or not step.at_work or not (flow.received or flow.delivered or flow.lost):
                continue
            printed_at, printed = self._printed.get(step.name, (None, None))
            if printed == flow or (printed_at is not None and now - printed_at < LINE_EVERY):
                continue
            self._printed[step.name] = now, flow
            found.append(f"{format_instant(now)} {view.name} {step.name} {flow_text(step)}")
        return found


def _still(flow: StepFlow, step: StepView) -> StepFlow:
    """Without the last rates, if the step has ended."""
    return flow if step.at_work else replace(flow, received_per_minute=0, delivered_per_minute=0)


def _total(word: str, count: int, per_minute: int) -> str:
    rate = rate_text(per_minute)
    return f"{word} {count:,} ({rate})" if rate else f"{word} {count:,}"


def _cells(flow: StepFlow) -> tuple[str, ...]:
    into = (f"in {flow.delivered:,}", rate_text(flow.delivered_per_minute))
    out = (f"out {flow.received:,}", rate_text(flow.received_per_minute))
    nothing = ("", "")
    return (
        *(into if flow.has_sources or flow.delivered else nothing),
        *(out if flow.has_targets or flow.received else nothing),
    )


def _row(cells: Sequence[str], widths: Sequence[int], remarks: Sequence[str]) -> str:
    """Each count to the left and its rate to the right of a column; a column that no step has takes no room."""
    padded = [
        f"{cell:>{width}}" if index % 2 else f"{cell:<{width}}"
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    pairs = [" ".join(part for part in padded[at : at + 2] if part) for at in range(0, len(padded), 2)]
    return "  ".join(part for part in (*pairs, ", ".join(remarks)) if part).rstrip()


def _remarks(flow: StepFlow) -> list[str]:
    found = []
    if flow.waiting:
        found.append(
            f"{flow.waiting:,} waiting" + (f" ({flow.waiting_percent} % full)" if flow.waiting_percent else "")
        )
    if flow.lost:
        found.append(f"{flow.lost:,} lost")
    if flow.paused_by:
        found.append(f"blocked by {', '.join(flow.paused_by)}")
    return found
