"""Effects that a step cannot perform yet, because an earlier attempt holds their claims. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from bubu_contract.instants import parse_instant_or_none
from core.api.objects import Object
from core.workloads.effect_lease import ABANDONED, COMPLETED, lease_of
from views.pod_wait import container_state
from views.text import one_line
from views.why.cause import Cause, CauseKind, CommandIn, Facts


def held_effects(facts: Facts, step: str, command: CommandIn) -> Iterator[Cause]:
    """A cause for each claim that was taken before the current attempt began, and that has not ended."""
    step_run = facts.step_runs.get(step)
    if step_run is None:
        return
    name = step_run["metadata"]["name"]
    began_at = _attempt_began_at(step_run, facts.pods.get(name))
    for claim in facts.claims.get(name, ()):
        lease, spec = lease_of(claim), claim.get("spec") or {}
        if not lease.holder or spec.get("completionStatus") in (COMPLETED, ABANDONED):
            continue
        if began_at is not None and (lease.acquired_at is None or lease.acquired_at >= began_at):
            continue  # the current attempt performs it
        key, holder = one_line(spec.get("effectKey") or ""), one_line(lease.holder)
        yield Cause(
            CauseKind.EFFECT,
            facts.namespace,
            facts.name,
            step,
            f"cannot perform effect {key!r} yet: an earlier attempt ({holder}) holds its claim and did not complete it",
            lease.acquired_at,
            until=lease.until,
            then="the next attempt takes it over, unless its holder renews it",
            who="the operator continues by itself",
            commands=(command(facts.namespace, "effects", facts.name),),
        )


def _attempt_began_at(step_run: Object, pod: Object | None) -> datetime | None:
    """When the current attempt got its Pod; None: there is no attempt now, only an earlier one."""
    if (step_run.get("status") or {}).get("nextRetryAt") or pod is None or container_state(pod).get("terminated"):
        return None
    return parse_instant_or_none(pod["metadata"].get("creationTimestamp"))
