"""Until when the steps of a run wait, from the annotation in which the operator stores it. Pure."""

from __future__ import annotations

from datetime import datetime

from core.api import keys
from core.api.objects import Object
from core.engine.step.timers import Timer, TimerKind, timers_from


def timers_of(run: Object) -> dict[str, Timer]:
    """Timers by step, and by clean-up group (``@finally``)."""
    return timers_from((run["metadata"].get("annotations") or {}).get(keys.ANNOTATION_STEP_TIMERS))


def deadlines_of(run: Object) -> dict[str, datetime]:
    """Instants by step, and by clean-up group."""
    return {name: timer.at for name, timer in timers_of(run).items()}


def timed_gates_of(run: Object) -> frozenset[str]:
    """Steps that are open gates with a timeout."""
    return frozenset(name for name, timer in timers_of(run).items() if timer.kind is TimerKind.GATE)
