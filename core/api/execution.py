"""Execution of workloads: policies of a whole definition, overrides of one workload, and their parts.

``core.policy`` decides which layer wins. Source: StepRun contract 10 and 11.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from core.api.probes import ProbeSwitches
from core.api.scheduling import Placement
from core.api.schema import (
    AtomicList,
    DescribedElsewhere,
    Int32,
    Int64,
    Integer,
    IntOrName,
    ObjectName,
    Quantity,
    WireModel,
)
from core.api.storage import StoragePolicy
from core.api.volumes import PodNeeds
from core.api.warm import WarmWorkers

CacheMode = Literal["read", "write", "readWrite"]
Backoff = Literal["exponential", "linear", "constant"]
WorkloadMode = Literal["job", "deployment", "statefulset"]
EXTENDED: Final = (
    "Extended resources such as `nvidia.com/gpu: 1`, and `hugepages-2Mi`; request and limit are equal. Merged key by "
    "key with inherited ones; 0 removes one."
)
RETRY_ON: Final = "Retried failures: `transient` (default), `any`, exit codes, names of errors."


class CachePolicy(WireModel):
    """Reuse of the output of an earlier execution with equal input; needs storage."""

    enabled: bool | None = Field(None, description="Whether the cache is used; default true if this object is given.")
    key: str | None = Field(
        None,
        description="Template for the cache key over `inputs`, `step` and `engram`; default: a hash of the whole "
        "input.",
    )
    in_flight: Literal["wait", "run"] | None = Field(
        None,
        description="What a step does while an equal step executes: `wait` for its output (default), or `run` at "
        "the same time.",
    )
    mode: CacheMode | None = Field(
        None, description="`read` looks up, `write` stores, `readWrite` (default) does both."
    )
    salt: str | None = Field(None, description="Text mixed into the key; change it to forget old entries.")
    ttl_seconds: Int32 | None = Field(None, description="Seconds an entry stays usable; 0 or absent: for ever.")


class PolicyRule(WireModel):
    """One rule of a Role."""

    verbs: AtomicList[str] = Field(description="Allowed verbs, for example `get`, `list`, `watch`.")
    api_groups: AtomicList[str] | None = Field(None, description="API groups; an empty string is the core group.")
    non_resource_urls: AtomicList[str] | None = Field(
        None, alias="nonResourceURLs", description="URLs outside the resources; have no effect in a Role."
    )
    resource_names: AtomicList[str] | None = Field(None, description="Names of single objects; empty: all.")
    resources: AtomicList[str] | None = Field(None, description="Plural resource names, for example `configmaps`.")


class RbacPolicy(WireModel):
    """Permissions granted to the workload's ServiceAccount, limited to its namespace."""

    rules: list[PolicyRule] | None = Field(None, description="Rules in the form of a Role.")


class RetrySpec(WireModel):
    """When a failed attempt is tried again."""

    backoff: Backoff | None = Field(None, description="How the delay grows; default `exponential`.")
    delay: str = Field("1s", description="Delay before the first retry, a Go duration.")
    jitter: Int32 | None = Field(
        None, ge=0, le=100, description="Random addition to each delay, in percent; default 0."
    )
    max_delay: str | None = Field(None, description="Longest delay, a Go duration; default 5m.")
    max_retries: Int32 = Field(3, ge=0, le=10, description="Retries after the first attempt.")
    retry_on: list[IntOrName] | None = Field(None, description=RETRY_ON)


class Resources(WireModel):
    """CPU, memory and extended resources of a container, as Kubernetes quantities."""

    cpu_limit: str | None = Field(None, description="CPU the container may use at most, for example `500m`.")
    cpu_request: str | None = Field(None, description="CPU reserved for the container, for example `100m`.")
    ephemeral_storage_limit: str | None = Field(
        None, description="Local disk beyond which the Pod is evicted, for example `10Gi`."
    )
    ephemeral_storage_request: str | None = Field(
        None, description="Local disk reserved for the container, for example `1Gi`."
    )
    extended: dict[str, Quantity] | None = Field(None, description=EXTENDED)
    memory_limit: str | None = Field(
        None, description="Memory beyond which the container is killed, for example `512Mi`."
    )
    memory_request: str | None = Field(None, description="Memory reserved for the container, for example `128Mi`.")


class StepSecurity(WireModel):
    """Security settings of a workload's Pod."""

    allow_privilege_escalation: bool | None = Field(
        None,
        description="Whether processes may gain privileges; default: operator key "
        "`security.allow-privilege-escalation`.",
    )
    read_only_root_filesystem: bool | None = Field(
        None, description="Mount the image read-only; default: operator key `security.read-only-root-filesystem`."
    )
    required_secrets: list[str] | None = Field(None, description="Logical names of Secrets the workload relies on.")
    run_as_non_root: bool | None = Field(
        None, description="Refuse to start as root; default: operator key `security.run-as-non-root`."
    )
    run_as_user: Int64 | None = Field(
        None,
        description="Numeric user id of the processes, greater than 0; default: operator key `security.run-as-user`.",
    )


class ExecutionOverrides(PodNeeds):
    """How one workload is run; each field has priority over the layers below it (Story, Engram, template, operator)."""

    automount_service_account_token: bool | None = Field(
        None, description="Ignored, except on Impulses: it would widen privileges."
    )
    cache: CachePolicy | None = Field(None, description="Reuse of an earlier result for equal input.")
    debug: bool | None = Field(None, description="Set BUBU_DEBUG in the container and log more.")
    image_pull_policy: str | None = Field(
        None,
        description="`Always`, `IfNotPresent` or `Never`; default: template, then operator key `images.pull-policy`.",
    )
    max_inline_size: Integer | None = Field(
        None,
        description="Bytes of a payload kept inline before it goes to storage; 0 always stores. Default: operator "
        "key `engram.default-max-inline-size`.",
    )
    placement: Placement | None = Field(None, description="Nodes the Pods may run on.")
    probes: ProbeSwitches | None = Field(None, description="Health checks to turn off.")
    rbac: RbacPolicy | None = Field(None, description="Further permissions of the ServiceAccount of the containers.")
    resources: Resources | None = Field(None, description="CPU, memory and extended resources of the container.")
    retry: RetrySpec | None = Field(None, description="What happens after a failed attempt.")
    security: StepSecurity | None = Field(None, description="Security settings of the Pod.")
    service_account_name: ObjectName | None = Field(
        None, description="Ignored, except on Impulses: it would widen privileges."
    )
    storage: StoragePolicy | None = Field(
        None, description="Where large payloads are kept; replaces an inherited value as a whole."
    )
    timeout: str | None = Field(
        None,
        description="Longest duration of one attempt as a Go duration such as `90s` or `1h30m`; default: Story "
        "`policy.timeouts.step`, then operator key `timeout.default-step`.",
    )
    warm: Annotated[WarmWorkers, DescribedElsewhere()] | None = Field(
        None, description="Workers kept ready for the steps: see the EngramTemplate."
    )


class JobPolicy(WireModel):
    """Settings of the Jobs that execute batch steps, and how long finished runs are kept."""

    backoff_limit: Int32 | None = Field(
        None,
        description="Restarts by the Job controller before it gives up; default: operator key `job.backoff-limit`. "
        "Prefer `retry`, which knows exit classes.",
    )
    restart_policy: str | None = Field(
        None, description="`Never` or `OnFailure`; default: operator key `job.restart-policy`."
    )
    story_run_retention_seconds: Int32 | None = Field(
        None,
        description="Seconds a finished StoryRun is kept; default: operator key `storyrun.retention-seconds` (86400).",
    )
    ttl_seconds_after_finished: Int32 | None = Field(
        None,
        description="Seconds finished child objects are kept; default: operator key `job.ttl-seconds-after-finished` "
        "(3600).",
    )


class RealtimePolicy(WireModel):
    """Settings of realtime steps."""

    ttl_seconds_after_finished: Int32 | None = Field(
        None,
        description="Seconds the children of a finished realtime run are kept; default: `job.ttlSecondsAfterFinished`.",
    )


class SecurityPolicy(WireModel):
    """Security settings of all Pods of a definition."""

    allow_privilege_escalation: bool | None = Field(
        None,
        description="Whether processes may gain privileges; default: operator key "
        "`security.allow-privilege-escalation`.",
    )
    read_only_root_filesystem: bool | None = Field(
        None, description="Mount the image read-only; default: operator key `security.read-only-root-filesystem`."
    )
    run_as_non_root: bool | None = Field(
        None, description="Refuse to start as root; default: operator key `security.run-as-non-root`."
    )
    run_as_user: Int64 | None = Field(
        None,
        description="Numeric user id of the processes, greater than 0; default: operator key `security.run-as-user`.",
    )


class ExecutionSpec(PodNeeds):
    """Defaults for every workload of a definition; single steps may override them."""

    cache: CachePolicy | None = Field(None, description="Reuse of an earlier result for equal input.")
    job: JobPolicy | None = Field(None, description="Settings of the Jobs of batch steps.")
    max_recursion_depth: Integer | None = Field(
        None,
        ge=1,
        description="How deep templates may resolve nested values; default: operator key "
        "`engram.default-max-recursion-depth`.",
    )
    placement: Placement | None = Field(None, description="Nodes the Pods may run on.")
    realtime: RealtimePolicy | None = Field(None, description="Settings of realtime steps.")
    resources: Resources | None = Field(None, description="CPU and memory of the containers.")
    retry: RetrySpec | None = Field(None, description="What happens after a failed attempt.")
    security: SecurityPolicy | None = Field(None, description="Security settings of the Pods.")
    service_account_name: str | None = Field(
        None, description="Ignored, because it would widen privileges: the operator chooses the ServiceAccount."
    )
    storage: StoragePolicy | None = Field(
        None, description="Where large payloads are kept; replaces an inherited value as a whole."
    )
    timeout: str | None = Field(
        None, description="Longest duration of one attempt as a Go duration such as `90s` or `1h30m`."
    )
    warm: Annotated[WarmWorkers, DescribedElsewhere()] | None = Field(
        None, description="Workers kept ready for the steps: see the EngramTemplate."
    )
