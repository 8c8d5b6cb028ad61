"""The effects of a run: what each EffectClaim of its steps says now. Pure.

The phase is derived here again, not read from the status: it is right also while no operator runs. Source: Trigger
contract 8.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from bubu_contract.instants import parse_instant_or_none
from core.api.conditions import find_condition
from core.api.objects import Object, step_path
from core.workloads.effect_lease import ClaimPhase, ClaimReason, lease_of, standing_of
from views.text import one_line


@dataclass(frozen=True, slots=True)
class EffectView:
    """One effect of one step."""

    claim: str
    """Name of the EffectClaim."""
    step: str
    """The step's path: ``fan/a`` is a branch of ``fan``."""
    key: str
    phase: ClaimPhase
    reason: ClaimReason
    message: str
    holder: str
    """Who performs the effect, or performed it; empty if no attempt holds the claim."""
    since: datetime | None
    """When it was completed; while it is held, when the holder took it; else since when it has been in its phase."""
    until: datetime | None
    """When another attempt may take it over; None if the effect has ended or no attempt holds it."""
    takeovers: int
    """How often an attempt took it from a holder that had vanished."""
    details: Object
    """What the effect returned."""

    @property
    def is_expired(self) -> bool:
        """Whether its holder has vanished."""
        return self.reason is ClaimReason.LEASE_EXPIRED


def effects_of(step_runs: Iterable[Object], claims: Iterable[Object], now: datetime) -> list[EffectView]:
    """The effects of the steps, by step and key."""
    steps = {step_run["metadata"]["name"]: step_run for step_run in step_runs}
    views = []
    for claim in claims:
        step_run = steps.get(step_run_name(claim))
        if step_run is not None and _is_meant(claim, step_run):
            views.append(_view(claim, step_path(step_run), now))
    return sorted(views, key=lambda view: (view.step, view.key))


def step_run_name(claim: Object) -> str:
    """The name of the StepRun that a claim belongs to."""
    return str(((claim.get("spec") or {}).get("stepRunRef") or {}).get("name") or "")


def _is_meant(claim: Object, step_run: Object) -> bool:
    uid = (claim["spec"].get("stepRunRef") or {}).get("uid")
    return not uid or uid == step_run["metadata"].get("uid")


def _view(claim: Object, step: str, now: datetime) -> EffectView:
    spec, standing, lease = claim["spec"], standing_of(claim, now), lease_of(claim)
    details, takeovers = spec.get("details"), spec.get("leaseTransitions")
    is_held = standing.phase is ClaimPhase.RESERVED and bool(lease.holder)
    return EffectView(
        claim=claim["metadata"]["name"],
        step=step,
        key=one_line(spec.get("effectKey") or ""),
        phase=standing.phase,
        reason=standing.reason,
        message=one_line(standing.message),
        holder=one_line(lease.holder),
        since=_since(claim, standing.phase, lease.acquired_at),
        until=lease.until if is_held else None,
        takeovers=takeovers if isinstance(takeovers, int) else 0,
        details=details if isinstance(details, dict) else {},
    )


def _since(claim: Object, phase: ClaimPhase, acquired_at: datetime | None) -> datetime | None:
    if phase is ClaimPhase.COMPLETED:
        return parse_instant_or_none(claim["spec"].get("completedAt"))
    if phase is ClaimPhase.RESERVED and acquired_at is not None:
        return acquired_at
    progressing = find_condition((claim.get("status") or {}).get("conditions") or (), "Progressing") or {}
    shown = (claim.get("status") or {}).get("phase") == phase
    changed_at = parse_instant_or_none(progressing.get("lastTransitionTime")) if shown else None
    return changed_at or parse_instant_or_none(claim["metadata"].get("creationTimestamp"))
