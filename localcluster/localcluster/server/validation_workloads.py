"""Validation of Jobs, Deployments, ReplicaSets, StatefulSets and revisions, and of changes to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from localcluster.server import cause, validation_names
from localcluster.server.cause import Cause, CauseReason
from localcluster.server.types import Object
from localcluster.server.validation_pod import pod_spec_causes

_JOB_COUNTS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_JOB_FIXED = ("completions", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
_SUSPENDED_MUTABLE = ("nodeSelector", "tolerations", "affinity", "schedulingGates")
_CONTROLLER_UID = "batch.kubernetes.io/controller-uid"


def job_causes(job: Object, old: Object | None) -> Iterator[Cause]:
    """Everything wrong with a Job, or with a change of one."""
    spec = job.get("spec") or {}
    yield from _counts(spec, _JOB_COUNTS)
    template = spec.get("template") or {}
    pod_spec = template.get("spec") or {}
    if spec.get("completionMode") not in (None, "NonIndexed", "Indexed"):
        yield cause.not_supported("spec.completionMode", spec["completionMode"], ["Indexed", "NonIndexed"])
    for value in ((template.get("metadata") or {}).get("labels") or {}).values():
        if len(value) > validation_names.LABEL_BYTES:
            yield cause.invalid("spec.template.labels", value, "must be no more than 63 bytes")
    yield from pod_spec_causes(pod_spec, "spec.template.spec")
    if pod_spec.get("restartPolicy", "Always") == "Always":
        yield cause.required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')
    yield from _job_selector_causes(job, spec, is_new=old is None)
    if old is not None:
        yield from _job_change_causes(spec, old)


def deployment_causes(deployment: Object, old: Object | None) -> Iterator[Cause]:
    """Everything wrong with a Deployment, or with a change of one."""
    spec = deployment.get("spec") or {}
    yield from _counts(spec, ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"))
    yield from _selector_causes(spec, "deployment")
    strategy = spec.get("strategy") or {}
    if strategy.get("type") not in (None, "Recreate", "RollingUpdate"):
        yield cause.not_supported("spec.strategy", strategy, ["Recreate", "RollingUpdate"])
    if strategy.get("type") == "Recreate" and strategy.get("rollingUpdate") is not None:
        detail = "may not be specified when strategy `type` is 'Recreate'"
        yield cause.forbidden("spec.strategy.rollingUpdate", detail)
    yield from _always_template_causes(spec)
    if old is not None:
        yield from _fixed(spec, old, ("selector",))


def replica_set_causes(replica_set: Object, old: Object | None) -> Iterator[Cause]:
    """Everything wrong with a ReplicaSet, or with a change of one."""
    spec = replica_set.get("spec") or {}
    yield from _counts(spec, ("replicas", "minReadySeconds"))
    yield from _selector_causes(spec, "replicaset")
    yield from _always_template_causes(spec)
    if old is not None:
        yield from _fixed(spec, old, ("selector",))


def stateful_set_causes(stateful_set: Object, old: Object | None) -> Iterator[Cause]:
    """Everything wrong with a StatefulSet, or with a change of one."""
    spec = stateful_set.get("spec") or {}
    yield from _counts(spec, ("replicas", "minReadySeconds", "revisionHistoryLimit"))
    yield from _selector_causes(spec, "statefulset")
    yield from _always_template_causes(spec)
    if spec.get("podManagementPolicy") not in (None, "OrderedReady", "Parallel"):
        field = "spec.podManagementPolicy"
        yield cause.not_supported(field, spec["podManagementPolicy"], ["OrderedReady", "Parallel"])
    if old is not None:
        fixed = ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates")
        before = old.get("spec") or {}
        if any(spec.get(name) != before.get(name) for name in fixed):
            detail = (
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
                "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
                "'minReadySeconds' are forbidden"
            )
            yield cause.forbidden("spec", detail)


def controller_revision_causes(revision: Object, old: Object | None) -> Iterator[Cause]:
    """Everything wrong with a ControllerRevision; its data never changes."""
    number, data = revision.get("revision"), revision.get("data")
    if number is not None and number < 0:
        yield cause.invalid("revision", number, "must be greater than or equal to 0")
    if old is not None:
        if data != old.get("data"):
            yield cause.invalid("data", data, "field is immutable")
    elif data is None:
        yield cause.required("data", "data is mandatory")
    elif not isinstance(data, dict):
        yield cause.required("data", "data must be a valid JSON object")


def selects(selector: Object, labels: Object) -> bool:
    """Whether a label selector matches ``labels``."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_term_holds(term, labels) for term in selector.get("matchExpressions") or ())


def _term_holds(term: Object, labels: Object) -> bool:
    key, values = str(term.get("key", "")), term.get("values") or ()
    match term.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def _selector_causes(spec: Object, kind: str) -> Iterator[Cause]:
    selector = spec.get("selector")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if selector is None:
        yield cause.required("spec.selector")
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield cause.invalid("spec.selector", selector, f"empty selector is invalid for {kind}")
        return
    if selector is None or not selects(selector, labels):
        yield cause.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")


def _always_template_causes(spec: Object) -> Iterator[Cause]:
    pod_spec = (spec.get("template") or {}).get("spec") or {}
    yield from pod_spec_causes(pod_spec, "spec.template.spec")
    if pod_spec.get("restartPolicy", "Always") in ("OnFailure", "Never"):
        yield cause.not_supported("spec.template.spec.restartPolicy", pod_spec["restartPolicy"], ["Always"])


def _job_selector_causes(job: Object, spec: Object, *, is_new: bool) -> Iterator[Cause]:
    selector = spec.get("selector")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if selector is None:
        yield cause.required("spec.selector")
    elif is_new and spec.get("manualSelector") is not True and selector.get("matchLabels") != _own_labels(job):
        yield cause.invalid("spec.selector", selector, "`selector` not auto-generated")
    if selector is None or not selects(selector, labels):
        shown: Any = labels or None
        yield cause.invalid("spec.template.metadata.labels", shown, "`selector` does not match template `labels`")


def _own_labels(job: Object) -> Object:
    return {_CONTROLLER_UID: job["metadata"].get("uid")}


def _job_change_causes(spec: Object, old: Object) -> Iterator[Cause]:
    before = old.get("spec") or {}
    yield from _fixed(spec, old, _JOB_FIXED)
    yield from _fixed(spec, old, ("selector",))
    new_template, old_template = spec.get("template") or {}, before.get("template") or {}
    if before.get("suspend") and not (old.get("status") or {}).get("startTime"):
        new_template, old_template = _without_scheduling(new_template), _without_scheduling(old_template)
    if new_template != old_template:
        yield Cause(CauseReason.INVALID, 'Invalid value: "object": field is immutable', "spec.template")


def _without_scheduling(template: Object) -> Object:
    """The template without the fields that a suspended Job may change before it first runs: scheduling and labels."""
    pod_spec = {key: value for key, value in (template.get("spec") or {}).items() if key not in _SUSPENDED_MUTABLE}
    return {"spec": pod_spec}


def _fixed(spec: Object, old: Object, names: tuple[str, ...]) -> Iterator[Cause]:
    before = old.get("spec") or {}
    for name in names:
        if spec.get(name) != before.get(name):
            yield cause.invalid(f"spec.{name}", spec.get(name), "field is immutable")


def _counts(spec: Object, names: tuple[str, ...]) -> Iterator[Cause]:
    for name in names:
        value = spec.get(name)
        if value is not None and value < 0:
            yield cause.invalid(f"spec.{name}", value, "must be greater than or equal to 0")
