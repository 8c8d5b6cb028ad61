"""Rows of Jobs, Deployments, ReplicaSets, StatefulSets and revisions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from localcluster.server import tables_age
from localcluster.server.types import Object

_NONE = "<none>"


def job_cells(job: Object, now: datetime) -> list[Any]:
    """Name, Status, Completions, Duration, Age, Containers, Images, Selector."""
    status = job.get("status") or {}
    names, images = _containers(job)
    return [
        job["metadata"]["name"],
        _job_status(job, status),
        _completions(job.get("spec") or {}, status.get("succeeded", 0)),
        _duration(status, now),
        _age(job, now),
        names,
        images,
        _selector(job),
    ]


def deployment_cells(deployment: Object, now: datetime) -> list[Any]:
    """Name, Ready, Up-to-date, Available, Age, Containers, Images, Selector."""
    status = deployment.get("status") or {}
    names, images = _containers(deployment)
    return [
        deployment["metadata"]["name"],
        _ready_of_desired(deployment),
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        _age(deployment, now),
        names,
        images,
        _selector(deployment),
    ]


def replica_set_cells(replica_set: Object, now: datetime) -> list[Any]:
    """Name, Desired, Current, Ready, Age, Containers, Images, Selector."""
    status = replica_set.get("status") or {}
    names, images = _containers(replica_set)
    return [
        replica_set["metadata"]["name"],
        _desired(replica_set),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        _age(replica_set, now),
        names,
        images,
        _selector(replica_set),
    ]


def stateful_set_cells(stateful_set: Object, now: datetime) -> list[Any]:
    """Name, Ready, Age, Containers, Images."""
    names, images = _containers(stateful_set)
    return [
        stateful_set["metadata"]["name"],
        _ready_of_desired(stateful_set),
        _age(stateful_set, now),
        names,
        images,
    ]


def controller_revision_cells(revision: Object, now: datetime) -> list[Any]:
    """Name, Controller, Revision, Age."""
    metadata = revision["metadata"]
    owners = [owner for owner in metadata.get("ownerReferences") or () if owner.get("controller")]
    return [
        metadata["name"],
        _with_kind(owners[0]) if owners else _NONE,
        revision.get("revision", 0),
        _age(revision, now),
    ]


def _with_kind(owner: Object) -> str:
    """``statefulset.apps/web``."""
    group, slash, _ = owner["apiVersion"].partition("/")
    return f"{owner['kind'].lower()}{'.' + group if slash else ''}/{owner['name']}"


def label_selector_text(selector: Object | None) -> str:
    """A label selector in command-line form: ``a=b,key in (x,y),other``."""
    if not selector:
        return _NONE
    terms = [(key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        key, values = expression.get("key", ""), ",".join(sorted(expression.get("values") or ()))
        match expression.get("operator"):
            case "In":
                terms.append((key, f"{key} in ({values})"))
            case "NotIn":
                terms.append((key, f"{key} notin ({values})"))
            case "DoesNotExist":
                terms.append((key, f"!{key}"))
            case _:
                terms.append((key, key))
    return ",".join(text for _, text in sorted(terms)) or _NONE


def _job_status(job: Object, status: Object) -> str:
    held = {found["type"] for found in status.get("conditions") or () if found.get("status") == "True"}
    if "Complete" in held or "Failed" in held:
        return "Complete" if "Complete" in held else "Failed"
    if job["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return next((kind for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet") if kind in held), "Running")


def _completions(spec: Object, succeeded: int) -> str:
    if spec.get("completions") is not None:
        return f"{succeeded}/{spec['completions']}"
    parallelism = spec.get("parallelism", 0)
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _duration(status: Object, now: datetime) -> str:
    started = tables_age.instant(status.get("startTime"))
    if started is None:
        return ""
    return tables_age.human_duration((tables_age.instant(status.get("completionTime")) or now) - started)


def _containers(workload: Object) -> tuple[str, str]:
    template = ((workload.get("spec") or {}).get("template") or {}).get("spec") or {}
    containers = template.get("containers") or ()
    return (
        ",".join(container.get("name", "") for container in containers),
        ",".join(container.get("image", "") for container in containers),
    )


def _selector(workload: Object) -> str:
    return label_selector_text((workload.get("spec") or {}).get("selector"))


def _desired(workload: Object) -> int:
    return int((workload.get("spec") or {}).get("replicas", 0))


def _ready_of_desired(workload: Object) -> str:
    return f"{(workload.get('status') or {}).get('readyReplicas', 0)}/{_desired(workload)}"


def _age(workload: Object, now: datetime) -> str:
    return tables_age.age(workload["metadata"].get("creationTimestamp"), now)
