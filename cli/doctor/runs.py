"""Runs that make no progress although they could, and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import trio

from bubu_contract.instants import parse_instant
from cli.doctor.context import DoctorContext
from cli.facts import read_facts
from core.api.objects import Object, has_ended, is_being_deleted
from core.api.resource import STORY_RUN
from core.engine.clock import system_now
from views.doctor.diagnosis import Diagnosis, listed, ok, problem, warning
from views.why.cause import Cause, CauseKind, CommandIn, Explanation
from views.why.explanation import explain

PATIENCE: Final = timedelta(minutes=2)
"""How long a run may wait for something other than its own steps before it counts as stuck."""
OPERATOR_PATIENCE: Final = timedelta(seconds=30)
"""The same for a reaction of the operator, which takes milliseconds."""
MOST_RUNS: Final = 20
"""Runs that are looked into, oldest first."""
_AT_ONCE: Final = 4
_CALM: Final = frozenset(
    {
        *(CauseKind.RUNNING, CauseKind.STARTING, CauseKind.SLEEP, CauseKind.ENDED, CauseKind.NEEDS, CauseKind.WAIT),
        *(CauseKind.GATE, CauseKind.CHILD, CauseKind.BRANCHES, CauseKind.RETRY, CauseKind.DRAIN, CauseKind.SUSPENDED),
        CauseKind.FAILED,
    }
)
"""What a healthy run may wait for as long as it likes: its own steps, time, and people."""


def of_explanations(
    explanations: Sequence[Explanation], alive: int, now: datetime, command: CommandIn
) -> list[Diagnosis]:
    """One answer for each run that is stuck.

    Args:
        alive: how many runs have not ended.
    """
    found = []
    for explanation in explanations:
        stuck = [cause for cause in explanation.causes if _is_stuck(cause, explanation, now)]
        if stuck:
            remedy = command(explanation.namespace, "why", explanation.run)
            found.append(_of_stuck(explanation, stuck, remedy))
    if found:
        return found
    looked_at = f", {len(explanations)} of them looked into" if alive > len(explanations) else ""
    return [ok(f"{alive} runs are under way{looked_at}; none is stuck" if alive else "no run is under way")]


async def examine(context: DoctorContext) -> list[Diagnosis]:
    session = context.session
    runs = (await context.client.list(STORY_RUN, session.list_namespace)).items
    alive = [run for run in runs if not has_ended(run) or is_being_deleted(run)]
    oldest = sorted(alive, key=lambda run: str(run["metadata"]["creationTimestamp"]))[:MOST_RUNS]
    limiter, explanations = trio.CapacityLimiter(_AT_ONCE), dict[str, Explanation]()

    async def look(run: Object) -> None:
        async with limiter:
            found = explain(await read_facts(session, run), "", session.command_in)
            explanations[run["metadata"]["uid"]] = found

    async with trio.open_nursery() as nursery:
        for run in oldest:
            nursery.start_soon(look, run)
    ordered = [explanations[run["metadata"]["uid"]] for run in oldest]
    return of_explanations(ordered, len(alive), system_now(), session.command_in)


def age_of(obj: Object, now: datetime) -> timedelta:
    return now - parse_instant(obj["metadata"]["creationTimestamp"])


def _is_stuck(cause: Cause, explanation: Explanation, now: datetime) -> bool:
    if cause.kind in _CALM:
        return False
    since = cause.since or explanation.since
    patience = OPERATOR_PATIENCE if cause.kind is CauseKind.OPERATOR else PATIENCE
    return since is None or now - since > patience


def _of_stuck(explanation: Explanation, causes: Sequence[Cause], remedy: str) -> Diagnosis:
    texts = [f"step {cause.step} {cause.text}" if cause.step else cause.text for cause in causes]
    text = f"run {explanation.namespace}/{explanation.run}: {listed(texts, 3)}"
    is_the_operators = any(cause.kind is CauseKind.OPERATOR for cause in causes)
    return problem(text, "", remedy) if is_the_operators else warning(text, "", remedy)
