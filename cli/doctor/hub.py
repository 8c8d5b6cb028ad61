"""Whether a hub serves, which the steps of realtime Stories need."""

from __future__ import annotations

from datetime import datetime

from bubu_contract.instants import format_instant
from cli.doctor.context import DoctorContext
from core.api.objects import Object
from core.api.resource import LEASE
from core.engine.clock import system_now
from core.kube.errors import NotFoundError
from deployment.permissions.names import HUB_LEASE_NAME
from views.doctor.diagnosis import Diagnosis, ok, skipped, warning
from views.why.stream import hub_standing


def diagnose(lease: Object | None, now: datetime, namespace: str) -> Diagnosis:
    """A hub is needed only where a Story is realtime."""
    if lease is None:
        return skipped("no hub has ever served; only realtime Stories need one")
    standing = hub_standing(lease, now)
    if standing.is_there:
        return ok("a hub serves realtime Stories")
    since = f" since {format_instant(standing.since)}" if standing.since is not None else ""
    return warning(
        f"no hub serves{since}: realtime Stories wait",
        "look at it",
        f"kubectl --namespace {namespace} describe deployment/{HUB_LEASE_NAME}",
    )


async def examine(context: DoctorContext) -> list[Diagnosis]:
    namespace = context.installation.namespace
    try:
        lease = await context.client.get(LEASE, HUB_LEASE_NAME, namespace)
    except NotFoundError:
        lease = None
    return [diagnose(lease, system_now(), namespace)]
