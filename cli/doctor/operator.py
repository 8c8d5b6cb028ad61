"""Whether the operator runs: its Deployment, its version, and the Lease of the one that works."""

from __future__ import annotations

from datetime import datetime, timedelta
from importlib.metadata import version

import httpx

from bubu_contract.instants import parse_instant_or_none
from cli.doctor.context import DoctorContext
from core.api.conditions import find_condition
from core.api.objects import Object
from core.api.resource import LEASE
from core.engine.clock import system_now
from core.kube.errors import NotFoundError
from deployment.permissions.names import LEASE_NAME
from views.doctor.diagnosis import Diagnosis, Health, ok, problem, skipped, warning


def of_deployment(
    deployment: Object | None, place: str, own_version: str, *, works_elsewhere: bool = False
) -> list[Diagnosis]:
    """``works_elsewhere``: an operator renews the Lease, so that one works although no Deployment is there."""
    if deployment is None and works_elsewhere:
        return [skipped(f"there is no Deployment {place}; the operator that renews the Lease runs elsewhere")]
    if deployment is None:
        return [
            problem(
                f"there is no Deployment {place}: no operator is installed there",
                "install it, or name its namespace with --operator-namespace; a manager outside the cluster has none",
            )
        ]
    spec, status = deployment["spec"], deployment.get("status") or {}
    wanted, ready = spec.get("replicas", 1), status.get("readyReplicas") or 0
    found = []
    if not wanted:
        found.append(
            problem(f"{place} is scaled to 0: nothing runs", "scale it up", f"kubectl {_scale(place)} --replicas=2")
        )
    elif not ready:
        why = (find_condition(status.get("conditions") or (), "Available") or {}).get("message") or ""
        found.append(
            problem(
                f"none of {wanted} replicas of {place} is ready{f': {why}' if why else ''}",
                "look at it",
                f"kubectl {_logs(place)}",
            )
        )
    elif ready < wanted:
        found.append(
            warning(f"{ready} of {wanted} replicas of {place} are ready", "look at it", f"kubectl {_logs(place)}")
        )
    else:
        found.append(ok(f"{ready} of {wanted} replicas of {place} are ready"))
    return [*found, *_of_version(spec["template"]["spec"]["containers"][0].get("image") or "", own_version)]


def of_lease(lease: Object | None, now: datetime) -> Diagnosis:
    """Whether a replica holds the Lease and renews it."""
    remedy = "look at the logs of the operator; it needs the Lease to work"
    if lease is None:
        return problem("no operator has ever taken the Lease", remedy)
    spec = lease.get("spec") or {}
    holder, renewed_at = spec.get("holderIdentity"), parse_instant_or_none(spec.get("renewTime"))
    if not holder or renewed_at is None:
        return problem("nobody holds the Lease: no operator works", remedy)
    age = (now - renewed_at).total_seconds()
    if age > float(spec.get("leaseDurationSeconds") or 15):
        return problem(f"the Lease of {holder} was renewed {round(age)} s ago: no operator works", remedy)
    return ok(f"{holder} works; it renewed its Lease {max(round(age), 0)} s ago")


async def examine(context: DoctorContext) -> list[Diagnosis]:
    if (embedded := context.embedded) is not None:
        return [await _of_embedded(embedded.metrics_url)]
    place = f"{context.installation.namespace}/{context.deployment_name}"
    deployment = await context.deployment()
    renewed = deployment is None and of_lease(await _lease(context), system_now()).health is Health.OK
    return of_deployment(deployment, place, version("bobrapet"), works_elsewhere=renewed)


async def examine_lease(context: DoctorContext) -> list[Diagnosis]:
    if context.is_embedded:
        return [skipped("the operator of an embedded cluster needs no Lease")]
    deployment = await context.deployment()
    container = (deployment or {"spec": {"template": {"spec": {"containers": [{}]}}}})["spec"]["template"]["spec"]
    arguments = container["containers"][0].get("args") or ()
    if any(each.lstrip("-") == "leader-elect=false" for each in arguments):
        return [skipped("leader election is off (--leader-elect=false)")]
    return [of_lease(await _lease(context), system_now())]


async def _lease(context: DoctorContext) -> Object | None:
    try:
        return await context.client.get(LEASE, LEASE_NAME, context.installation.namespace)
    except NotFoundError:
        return None


async def _of_embedded(metrics_url: str) -> Diagnosis:
    """Whether the operator's process answers."""
    try:
        async with httpx.AsyncClient(timeout=timedelta(seconds=3).total_seconds(), trust_env=False) as client:
            response = await client.get(metrics_url)
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        return problem(
            f"the operator of the embedded cluster does not answer: {why}",
            "it is restarted within seconds; if it is not, start the cluster again",
            "bobrapet down && bobrapet up",
        )
    if response.is_error:
        return problem(f"the operator of the embedded cluster answers HTTP {response.status_code}", "see cluster.log")
    return ok("the operator of the embedded cluster answers")


def _of_version(image: str, own: str) -> list[Diagnosis]:
    name, _, tag = image.partition("@")[0].rpartition(":")
    if not name or "/" in tag or tag in ("", "latest"):
        return [skipped(f"the image {image!r} does not say which version of the operator runs")]
    if tag.removeprefix("v") == own:
        return [ok(f"operator and command have version {own}")]
    return [
        warning(
            f"the operator has version {tag}, this command {own}",
            "use the command of the operator's version where they disagree",
        )
    ]


def _scale(place: str) -> str:
    namespace, _, name = place.partition("/")
    return f"--namespace {namespace} scale deployment/{name}"


def _logs(place: str) -> str:
    namespace, _, name = place.partition("/")
    return f"--namespace {namespace} describe deployment/{name}"
