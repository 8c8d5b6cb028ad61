"""Whether a ResourceQuota keeps Pods from being created."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from bubu_contract.instants import parse_instant_or_none
from cli.doctor.context import RESOURCE_QUOTA, DoctorContext
from core.api.objects import Object
from core.api.quantity import parse_quantity
from core.api.resource import EVENT
from core.engine.clock import system_now
from core.kube.errors import ApiError
from views.doctor.diagnosis import Diagnosis, listed, ok, problem, warning
from views.text import one_line

_RECENT: Final = timedelta(minutes=15)
_EXCEEDED: Final = "exceeded quota"
_CONCERNS: Final = ("pods", "count/pods", "count/jobs.batch", "requests.", "limits.", "cpu", "memory")
_REMEDY: Final = ("raise the quota, or lower how many steps run at once", "bobrapet config storyrun.")


def diagnoses_of(quotas: Sequence[Object], events: Sequence[Object], now: datetime) -> list[Diagnosis]:
    """
    Args:
        events: Warnings of reason FailedCreate.
    """
    blocked = [event for event in events if _is_recent(event, now) and _EXCEEDED in str(event.get("note"))]
    found = []
    if blocked:
        newest = one_line(str(blocked[-1].get("note") or ""))
        found.append(problem(f"a quota keeps Pods from being created: {newest}", *_REMEDY))
    for quota in quotas:
        full = _full(quota.get("status") or {})
        if full and not blocked:
            place = f"{quota['metadata']['namespace']}/{quota['metadata']['name']}"
            found.append(warning(f"ResourceQuota {place} is used up: {listed(full)}", *_REMEDY))
    return found or [ok("no quota is used up" if quotas else "no quota limits the namespace")]


async def examine(context: DoctorContext) -> list[Diagnosis]:
    namespace = context.session.list_namespace
    quotas = (await context.client.list(RESOURCE_QUOTA, namespace)).items
    try:
        events = (await context.client.list(EVENT, namespace, field_selector="reason=FailedCreate")).items
    except ApiError:
        events = []  # they only add to the quotas
    return diagnoses_of(quotas, events, system_now())


def _full(status: Object) -> list[str]:
    used, hard = status.get("used") or {}, status.get("hard") or {}
    return [
        f"{name} {used[name]} of {most}"
        for name, most in hard.items()
        if name.startswith(_CONCERNS) and name in used and _is_used_up(str(used[name]), str(most))
    ]


def _is_used_up(used: str, most: str) -> bool:
    try:
        return parse_quantity(used) >= parse_quantity(most)
    except ValueError:
        return False


def _is_recent(event: Object, now: datetime) -> bool:
    times = [
        event.get("eventTime"),
        event.get("deprecatedLastTimestamp"),
        (event.get("series") or {}).get("lastObservedTime"),
    ]
    known = [found for each in times if (found := parse_instant_or_none(each))]
    return bool(known) and now - max(known) < _RECENT
