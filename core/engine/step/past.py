"""Whether a step may have been at work before this process starts it. Pure.

What surely has not is started with fewer questions to the API server.
"""

from __future__ import annotations

from collections.abc import Callable

from bubu_contract.instants import parse_instant_or_none
from core.api import keys
from core.api.objects import Object
from core.api.phases import Phase
from core.engine.concurrency.rules import LONGEST_CHAIN, parent_of
from core.engine.step.record import has_run_again
from core.engine.step.state import steps_from


def may_have_a_past(run: Object, find: Callable[[str, str], Object | None]) -> bool:
    """Whether Pods with the names that ``run`` will use may exist: it, or a run above it, has run again.

    ``find`` returns the StoryRun with that namespace and name, if it is known.
    """
    above: Object | None = run
    for _ in range(LONGEST_CHAIN):
        if above is None or has_run_again(above):
            return True
        parent = parent_of(above)
        if parent is None:
            return False
        above = find(str(above["metadata"]["namespace"]), str(parent.get("name")))
    return True


def may_have_begun(run: Object, step: str) -> bool:
    """Whether, by what is stored of the run, the step may have had a StepRun: it has a state, and does not wait for its
    first slot.
    """
    entry = ((run.get("status") or {}).get("stepStates") or {}).get(step)
    state = steps_from({step: entry}).get(step) if entry else None
    return state is not None and (state.phase is not Phase.PENDING or state.has_lost_its_slot)


def why_missing_in_backup(run: Object, step: str) -> str | None:
    """Why a step without a StepRun must not start: a backup has brought the run back, the step had begun in it, and
    the backup lacks its StepRun, so nobody knows what the step has done. None: it may start.
    """
    restored_at = parse_instant_or_none((run["metadata"].get("annotations") or {}).get(keys.ANNOTATION_RESTORED_AT))
    entry = ((run.get("status") or {}).get("stepStates") or {}).get(step) if restored_at is not None else None
    state = steps_from({step: entry}).get(step) if entry else None
    if state is None or state.started_at is None or restored_at is None or not may_have_begun(run, step):
        return None
    if state.started_at >= restored_at:
        return None
    return "its StepRun is not in the backup, so it is unknown what the step has done; start another run"
