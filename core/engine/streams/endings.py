"""Why the streams of a realtime run end before they have ended by themselves. The run goes on with its clean-up. Pure.

Source: streaming contract 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from core.api.phases import Phase, Reason
from core.engine.status.state import RunState
from core.engine.step.endings import Ending
from core.engine.step.verdict import Conclusion


def partner_failed(failed: Iterable[str], state: RunState, now: datetime) -> Ending | None:
    """A stream of the run has failed for good, so the others have lost a part of their topology, and would never end by
    themselves. The conclusion is that of the step that failed first; None: none of the steps ``failed`` is recorded.
    """
    ends = {name: each.finished_at or now for name in failed if (each := state.step(name)) is not None}
    if not ends:
        return None
    first = min(ends, key=ends.__getitem__)
    conclusion = Conclusion(Phase.FAILED, Reason.DEPENDENCY_FAILED, f"step {first} failed", has_error=True)
    return Ending(conclusion, Phase.CANCELED, f"step {first!r} failed", ends[first])


def topology_terminated(terminated_at: datetime) -> Ending:
    """Another program has recorded that no stream of the run will continue."""
    text = "realtime topology terminated"
    conclusion = Conclusion(Phase.FAILED, Reason.TOPOLOGY_TERMINATED, text, has_error=True)
    return Ending(conclusion, Phase.FAILED, text, terminated_at, drains=False, step_message=text)
