"""EngramTemplate and ImpulseTemplate: workers and listeners before they are configured.

Source: Operator contract 15.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.api.container import PlainContainer
from core.api.delivery import DeliveryPolicy
from core.api.execution import EXTENDED, RETRY_ON, RbacPolicy, WorkloadMode
from core.api.kind import AGE, Column, Kind, KindModel, KindVersion
from core.api.meta import Conditions, ValidationStatus
from core.api.probes import TemplateProbes
from core.api.resource import ENGRAM_TEMPLATE, IMPULSE_TEMPLATE
from core.api.scheduling import Placement
from core.api.schema import Int32, Int64, Integer, IntOrName, JsonObject, Quantity, WireModel
from core.api.storage import StoragePolicy
from core.api.volumes import PodNeeds
from core.api.warm import WarmWorkers

EngramMode = Literal["job", "deployment", "statefulset", "worker"]


class TemplateImages(WireModel):
    """Pulling of the image."""

    pull_policy: str | None = Field(
        None, description="`Always`, `IfNotPresent` or `Never`; default: operator key `images.pull-policy`."
    )


class TemplateJob(WireModel):
    """Recommended settings of Jobs."""

    recommended_backoff_limit: Int32 | None = Field(
        None, description="Restarts by the Job controller before it gives up."
    )
    recommended_restart_policy: str | None = Field(None, description="`Never` or `OnFailure`.")
    recommended_ttl_seconds_after_finished: Int32 | None = Field(None, description="Seconds a finished Job is kept.")


class TemplateResources(WireModel):
    """Recommended CPU, memory and extended resources, as Kubernetes quantities."""

    extended: dict[str, Quantity] | None = Field(None, description=EXTENDED)
    min_cpu_request: str | None = Field(None, description="Least CPU the container works with.")
    min_memory_request: str | None = Field(None, description="Least memory the container works with.")
    recommended_cpu_limit: str | None = Field(None, description="CPU the container may use at most.")
    recommended_cpu_request: str | None = Field(None, description="CPU reserved for the container.")
    recommended_ephemeral_storage_limit: str | None = Field(
        None, description="Local disk beyond which the Pod is evicted."
    )
    recommended_ephemeral_storage_request: str | None = Field(
        None, description="Local disk reserved for the container."
    )
    recommended_memory_limit: str | None = Field(None, description="Memory beyond which the container is killed.")
    recommended_memory_request: str | None = Field(None, description="Memory reserved for the container.")


class TemplateRetry(WireModel):
    """Recommended retries; fill what a step leaves open."""

    recommended_backoff: str | None = Field(
        None, description="How the delay grows: `exponential`, `linear` or `constant`."
    )
    recommended_base_delay: str | None = Field(None, description="First delay as a Go duration.")
    recommended_max_delay: str | None = Field(None, description="Upper bound of the delay as a Go duration.")
    recommended_max_retries: Integer | None = Field(None, description="Retries after the first attempt.")
    recommended_retry_on: list[IntOrName] | None = Field(None, description=RETRY_ON)


class TemplateSecurity(WireModel):
    """Security requirements of the container."""

    recommended_run_as_user: Int64 | None = Field(None, description="Numeric user id, greater than 0.")
    requires_no_privilege_escalation: bool | None = Field(None, description="Forbid gaining privileges.")
    requires_non_root: bool | None = Field(None, description="Refuse to start as root.")
    requires_read_only_root: bool | None = Field(None, description="Mount the image read-only.")


class ServicePort(WireModel):
    """One port of the Service."""

    port: Int32 = Field(description="Port of the Service.")
    target_port: Int32 = Field(description="Port of the container.")
    name: str | None = Field(None, description="Name of the port.")
    protocol: str | None = Field(None, description="`TCP` (default), `UDP` or `SCTP`.")


class TemplateService(WireModel):
    """Ports the container serves."""

    ports: list[ServicePort] | None = Field(None, description="Ports of the Service in front of the container.")


class TemplateExecution(PodNeeds):
    """Recommended ways to run a worker or listener; Engrams, Stories and steps may override them."""

    images: TemplateImages | None = Field(None, description="Pulling of the image.")
    job: TemplateJob | None = Field(None, description="Recommended settings of Jobs.")
    placement: Placement | None = Field(None, description="Nodes the Pods may run on.")
    probes: TemplateProbes | None = Field(None, description="Health checks.")
    rbac: RbacPolicy | None = Field(None, description="Permissions the container needs.")
    resources: TemplateResources | None = Field(None, description="Recommended CPU and memory.")
    retry: TemplateRetry | None = Field(None, description="Recommended retries.")
    security: TemplateSecurity | None = Field(None, description="Security requirements of the container.")
    service: TemplateService | None = Field(None, description="Ports the container serves.")
    storage: StoragePolicy | None = Field(None, description="Where large payloads are kept.")
    timeout: str | None = Field(None, description="Recommended longest duration as a Go duration.")
    warm: WarmWorkers | None = Field(
        None, description="Workers that are kept ready for the steps, instead of a Job for each attempt."
    )


class SecretDefinition(WireModel):
    """A Secret the container uses."""

    description: str | None = Field(None, description="What it is for, for users.")
    env_prefix: str | None = Field(
        None, description="Prefix of the environment variables; default: the logical name and `_`."
    )
    expected_keys: list[str] | None = Field(
        None, description="Keys the container reads; empty: all keys of the Secret."
    )
    mount_path: str | None = Field(
        None, description="Directory of the files; default `/etc/bubu/secrets/<logical name>`."
    )
    mount_type: Literal["env", "file", "both"] | None = Field(
        None,
        description="Hand the keys over as environment variables (`env`, default), as files (`file`) or as `both`.",
    )
    required: bool | None = Field(
        None, description="Refuse an Engram or Impulse that does not map this Secret; default false."
    )


class EngramTemplateSpec(WireModel):
    """What a worker is and needs."""

    supported_modes: list[EngramMode] = Field(
        min_length=1,
        max_length=4,
        description="Modes the image can run in, 1 to 4 of `job`, `deployment`, `statefulset`, `worker`. `worker`, "
        "beside `job`: it can serve as a warm worker.",
    )
    version: str = Field(description="Version of the template, which references may pin.")
    config_schema: JsonObject | None = Field(None, description="JSON Schema of an Engram's `with`.")
    container: PlainContainer | None = Field(
        None,
        description="For an image without an SDK: arguments, variables and where the output comes from. Only for mode "
        "`job`.",
    )
    declared_output_keys: list[str] | None = Field(
        None, description="Top-level keys of the output, for tools and checks of templates."
    )
    description: str | None = Field(None, description="What the worker does, for users.")
    execution: TemplateExecution | None = Field(None, description="Recommended ways to run it.")
    image: str | None = Field(None, max_length=512, description="Container image.")
    input_schema: JsonObject | None = Field(None, description="JSON Schema of a step's merged input.")
    output_schema: JsonObject | None = Field(None, description="JSON Schema of the output.")
    secret_schema: dict[str, SecretDefinition] | None = Field(
        None, description="Secrets the worker uses, by logical name."
    )


class TemplateStatus(WireModel):
    """What the operator found out about a template."""

    conditions: Conditions | None = Field(None, description="`Ready` shows whether the template can be used.")
    observed_generation: Int64 | None = Field(None, description="Generation this status was computed from.")
    usage_count: Int32 | None = Field(None, description="Engrams or Impulses that refer to this template.")
    validation_errors: list[str] | None = Field(None, description="What keeps the template from being used.")
    validation_status: ValidationStatus | None = Field(None, description="Result of the last check.")


class EngramTemplate(KindModel):
    """A kind of worker: image, modes and schemas that Engrams build on."""

    spec: EngramTemplateSpec = Field(description="What the worker is and needs.")
    status: TemplateStatus | None = Field(None, description="What the operator found out about it.")


class ImpulseTemplateSpec(WireModel):
    """What a listener is and needs."""

    supported_modes: list[WorkloadMode] = Field(
        min_length=1,
        max_length=3,
        description="Modes the image can run in: `deployment`, `statefulset`; the operator refuses `job` here.",
    )
    version: str = Field(description="Version of the template, which references may pin.")
    config_schema: JsonObject | None = Field(None, description="JSON Schema of an Impulse's `with`.")
    context_schema: JsonObject | None = Field(None, description="JSON Schema of the inputs the listener submits.")
    delivery_policy: DeliveryPolicy | None = Field(None, description="Default policy for turning events into runs.")
    description: str | None = Field(None, description="What the listener does, for users.")
    execution: TemplateExecution | None = Field(None, description="Recommended ways to run it.")
    image: str | None = Field(None, max_length=512, description="Container image.")
    secret_schema: dict[str, SecretDefinition] | None = Field(
        None, description="Secrets the listener uses, by logical name."
    )


class ImpulseTemplate(KindModel):
    """A kind of listener: image, modes and schemas that Impulses build on."""

    spec: ImpulseTemplateSpec = Field(description="What the listener is and needs.")
    status: TemplateStatus | None = Field(None, description="What the operator found out about it.")


ENGRAM_TEMPLATE_KIND = Kind(
    ENGRAM_TEMPLATE,
    short_names=("etpl",),
    categories=("bubu", "ai", "catalog"),
    versions=(
        KindVersion(
            "v1alpha1",
            EngramTemplate,
            columns=(
                Column("Description", ".spec.description"),
                Column("Version", ".spec.version"),
                Column("Usage", ".status.usageCount", "integer"),
                Column("Status", ".status.validationStatus"),
                AGE,
            ),
        ),
    ),
)

IMPULSE_TEMPLATE_KIND = Kind(
    IMPULSE_TEMPLATE,
    short_names=("itpl",),
    categories=("bubu", "ai", "catalog"),
    versions=(
        KindVersion(
            "v1alpha1",
            ImpulseTemplate,
            columns=(
                Column("Description", ".spec.description"),
                Column("Version", ".spec.version"),
                Column("Usage", ".status.usageCount", "integer"),
                Column("Status", ".status.validationStatus"),
                AGE,
            ),
        ),
    ),
)
