"""Impulse: a listener that starts Stories. Source: Admission contract 6, Trigger contract 6 and 7."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from core.api.delivery import DeliveryPolicy
from core.api.execution import ExecutionOverrides, WorkloadMode
from core.api.kind import AGE, Column, Kind, KindModel, KindVersion
from core.api.meta import Conditions, ObjectReference, TemplateReference
from core.api.resource import IMPULSE
from core.api.scheduling import Placement
from core.api.schema import Instant, Int32, Int64, JsonObject, PhaseWord, VersionText, WireModel


class ImpulseService(WireModel):
    """The Service in front of a listener."""

    annotations: dict[str, str] | None = Field(None, description="Annotations of the Service.")
    labels: dict[str, str] | None = Field(None, description="Labels of the Service.")
    type: str | None = Field(None, description="`ClusterIP` (default), `NodePort` or `LoadBalancer`.")


class Throttle(WireModel):
    """Limits on starting Stories; an event beyond them waits."""

    burst: Int32 | None = Field(None, description="Events that may exceed the rate at once.")
    max_in_flight: Int32 | None = Field(None, description="Submissions in flight; 0 or absent: no limit.")
    rate_per_second: Int32 | None = Field(None, description="Submissions per second; 0 or absent: no limit.")


class ImpulseJob(WireModel):
    """Settings of a Job."""

    active_deadline_seconds: Int64 | None = Field(None, description="Seconds the Job may be active.")
    backoff_limit: Int32 | None = Field(None, description="Restarts before the Job fails.")
    completions: Int32 | None = Field(None, description="Successful Pods needed.")
    parallelism: Int32 | None = Field(None, description="Pods at a time.")
    ttl_seconds_after_finished: Int32 | None = Field(None, description="Seconds the finished Job is kept.")


class ResourceAmounts(WireModel):
    """Amounts as Kubernetes quantities."""

    cpu: str | None = Field(None, description="CPU, for example `500m`.")
    ephemeral_storage: str | None = Field(None, description="Local scratch space, for example `1Gi`.")
    memory: str | None = Field(None, description="Memory, for example `256Mi`.")


class WorkloadResources(WireModel):
    """Resources and placement of a workload."""

    limits: ResourceAmounts | None = Field(None, description="What the container may use at most.")
    placement: Placement | None = Field(None, description="Nodes the Pods may run on.")
    requests: ResourceAmounts | None = Field(None, description="What is reserved for the container.")


class StatefulSetSettings(WireModel):
    """Settings of a StatefulSet."""

    service_name: str = Field(description="Name of the Service, also of a Deployment; must be a DNS label.")
    pod_management_policy: str | None = Field(None, description="`OrderedReady` (default) or `Parallel`.")


class RollingUpdate(WireModel):
    """Pace of a rolling update."""

    max_surge: str | None = Field(None, description="Pods beyond the wanted number, a count or a percentage.")
    max_unavailable: str | None = Field(None, description="Pods that may be missing, a count or a percentage.")


class UpdateStrategy(WireModel):
    """How Pods are replaced."""

    rolling_update: RollingUpdate | None = Field(None, description="Pace of a rolling update.")
    type: Literal["RollingUpdate", "Recreate"] | None = Field(
        None, description="`RollingUpdate` (default) or `Recreate`."
    )


class ImpulseWorkload(WireModel):
    """Kind of workload that runs a listener."""

    job: ImpulseJob | None = Field(None, description="Settings of a Job; without effect, as listeners do not end.")
    mode: WorkloadMode | None = Field(
        None,
        description="`deployment` or `statefulset`; default: `statefulset` when `statefulSet` is given, else "
        "`deployment`. `job` is refused.",
    )
    resources: WorkloadResources | None = Field(
        None,
        description="Resources and placement of the workload; `execution.placement` has priority over this placement.",
    )
    stateful_set: StatefulSetSettings | None = Field(None, description="Settings of a StatefulSet.")
    update_strategy: UpdateStrategy | None = Field(
        None, description="How the Pods of a Deployment are replaced; a StatefulSet replaces one after the other."
    )


class ImpulseSpec(WireModel):
    """How a listener is configured."""

    story_ref: ObjectReference = Field(description="The Story to start.")
    template_ref: TemplateReference = Field(description="The ImpulseTemplate that brings image and schemas.")
    delivery_policy: DeliveryPolicy | None = Field(
        None,
        description="How events become runs: deduplication and retries; fields given here have priority over those of "
        "the template.",
    )
    execution: ExecutionOverrides | None = Field(
        None, description="How the workload is run; has priority over the template."
    )
    mapping: JsonObject | None = Field(
        None, description="Template that turns an event into inputs of the Story; no SDK reads it yet."
    )
    secrets: dict[str, str] | None = Field(
        None, description="Logical secret name of the template to the name of a Secret in this namespace."
    )
    service: ImpulseService | None = Field(
        None, description="The Service in front of the listener, when the template declares ports."
    )
    throttle: Throttle | None = Field(None, description="Limits on starting Stories.")
    version: VersionText | None = Field(None, description="Version of this definition, which references may pin.")
    with_: JsonObject | None = Field(
        None, alias="with", description="Configuration of the listener, checked against the template's `configSchema`."
    )
    workload: ImpulseWorkload | None = Field(None, description="Kind of workload; without it a Deployment is used.")


class CountedTriggers(WireModel):
    """Totals of what the operator has counted for good; it need not exist any more."""

    failed: Int64 | None = Field(None, description="StoryTriggers that were rejected.")
    launched: Int64 | None = Field(None, description="StoryTriggers that led to a run.")
    received: Int64 | None = Field(None, description="StoryTriggers.")
    through: Instant | None = Field(None, description="The totals contain everything up to this instant.")


class ImpulseStatus(WireModel):
    """What the operator found out about an Impulse."""

    conditions: Conditions | None = Field(
        None, description="`Ready` shows whether the listener is up, and what keeps it from being up."
    )
    counted: CountedTriggers | None = Field(None, description="The part of the counters that cannot fall any more.")
    failed_triggers: Int64 | None = Field(None, description="Events whose StoryTrigger was rejected.")
    last_success: Instant | None = Field(None, description="When a run started by this Impulse last succeeded.")
    last_throttled: Instant | None = Field(None, description="When an event last had to wait.")
    last_trigger: Instant | None = Field(None, description="When an event last arrived.")
    observed_generation: Int64 | None = Field(None, description="Generation this status was computed from.")
    phase: PhaseWord | None = Field(None, description="Phase of the workload.")
    ready_replicas: Int32 | None = Field(None, description="Replicas that are ready.")
    replicas: Int32 | None = Field(None, description="Replicas that exist.")
    stories_launched: Int64 | None = Field(None, description="Events whose StoryTrigger led to a run, new or not.")
    throttled_triggers: Int64 | None = Field(None, description="Events that had to wait; SDKs count them.")
    triggers_received: Int64 | None = Field(None, description="Events received: StoryTriggers of this Impulse.")


class Impulse(KindModel):
    """A listener: a long-running workload that starts a Story for each event it receives."""

    spec: ImpulseSpec = Field(description="How the listener is configured.")
    status: ImpulseStatus | None = Field(None, description="What the operator found out about it.")


_READY: Final = '.status.conditions[?(@.type=="Ready")]'

IMPULSE_KIND = Kind(
    IMPULSE,
    short_names=("imp",),
    categories=("bubu", "ai"),
    versions=(
        KindVersion(
            "v1alpha1",
            Impulse,
            columns=(
                Column("Template", ".spec.templateRef.name"),
                Column("Story", ".spec.storyRef.name"),
                Column("Phase", ".status.phase"),
                Column("Reason", f"{_READY}.reason"),
                Column("Triggers", ".status.triggersReceived", "integer"),
                Column("Launched", ".status.storiesLaunched", "integer", wide=True),
                Column("Failed", ".status.failedTriggers", "integer", wide=True),
                AGE,
                Column("Message", f"{_READY}.message", wide=True),
            ),
        ),
    ),
)
