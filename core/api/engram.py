"""Engram: a configured worker, the unit of work of a Story. Source: Admission contract 5, Operator contract 14."""

from __future__ import annotations

from pydantic import Field

from core.api.execution import ExecutionOverrides, ExecutionSpec, WorkloadMode
from core.api.kind import AGE, Column, Kind, KindModel, KindVersion
from core.api.meta import Conditions, SecretReference, TemplateReference, ValidationStatus
from core.api.resource import ENGRAM
from core.api.schema import Instant, Int32, Int64, JsonObject, PhaseWord, VersionText, WireModel


class TransportTLS(WireModel):
    """Certificates for mutual TLS."""

    secret_ref: SecretReference | None = Field(None, description="Secret with `tls.crt`, `tls.key` and `ca.crt`.")
    use_default_tls: bool | None = Field(
        None,
        alias="useDefaultTLS",
        description="Without `secretRef`, fall back on the certificates the operator provides; default true.",
    )


class EngramTransport(WireModel):
    """Security of the stream of realtime steps."""

    tls: TransportTLS | None = Field(None, description="Certificates for mutual TLS.")


class EngramSpec(WireModel):
    """How a worker is configured."""

    template_ref: TemplateReference = Field(description="The EngramTemplate that brings image and schemas.")
    execution_policy: ExecutionSpec | None = Field(
        None,
        description="Resources, placement, volumes, classes and cache of the workload; its other fields are reserved.",
    )
    mode: WorkloadMode | None = Field(
        None,
        description="`job` (default) ends after each step; `deployment` and `statefulset` keep running for realtime "
        "Stories.",
    )
    overrides: ExecutionOverrides | None = Field(
        None,
        description="How the workload is run; has priority over the template. Story and step have priority over it.",
    )
    secrets: dict[str, str] | None = Field(
        None, description="Logical secret name of the template to the name of a Secret in this namespace."
    )
    transport: EngramTransport | None = Field(None, description="Security of the stream of realtime steps.")
    version: VersionText | None = Field(None, description="Version of this definition, which references may pin.")
    with_: JsonObject | None = Field(
        None,
        alias="with",
        description="Default input, checked against the template's `configSchema`; a step's `with` is deep-merged "
        "over it.",
    )


class EngramStatus(WireModel):
    """What the operator found out about an Engram."""

    conditions: Conditions | None = Field(None, description="`TemplateResolved` shows whether the template was found.")
    failed_executions: Int32 | None = Field(None, description="Executions that ended in phase `Failed`.")
    last_execution_time: Instant | None = Field(None, description="When the last execution ended.")
    observed_generation: Int64 | None = Field(None, description="Generation this status was computed from.")
    phase: PhaseWord | None = Field(None, description="Phase of a long-running worker.")
    ready_replicas: Int32 | None = Field(None, description="Replicas that are ready.")
    replicas: Int32 | None = Field(None, description="Replicas that exist.")
    total_executions: Int32 | None = Field(None, description="Executions that have ended.")
    triggers: Int64 | None = Field(None, description="StepRuns that used this Engram.")
    usage_count: Int32 | None = Field(None, description="Stories that refer to this Engram.")
    validation_errors: list[str] | None = Field(None, description="What keeps the Engram from being used.")
    validation_status: ValidationStatus | None = Field(None, description="Result of the last check.")


class Engram(KindModel):
    """A configured worker: a template plus settings and secrets; Stories use it as a step."""

    spec: EngramSpec = Field(description="How the worker is configured.")
    status: EngramStatus | None = Field(None, description="What the operator found out about it.")


ENGRAM_KIND = Kind(
    ENGRAM,
    short_names=("engram",),
    categories=("bubu", "ai"),
    versions=(
        KindVersion(
            "v1alpha1",
            Engram,
            columns=(
                Column("Template", ".spec.templateRef.name"),
                Column("Mode", ".spec.mode"),
                Column("Status", ".status.validationStatus"),
                Column("Usage", ".status.usageCount", "integer"),
                Column("Triggers", ".status.triggers", "integer"),
                AGE,
            ),
        ),
    ),
)
