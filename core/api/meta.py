"""Types that all kinds share: object metadata, references between objects, conditions, schema and trace references."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from core.api.schema import (
    ATOMIC_MAP,
    CelRule,
    Instant,
    Int64,
    Keywords,
    NamespaceName,
    ObjectName,
    VersionText,
    WireModel,
)

_CONDITION_TYPE: Final = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
)

ValidationStatus = Literal["valid", "invalid", "unknown", "pending"]


class OwnerReference(WireModel):
    """The object that owns another one; deleting the owner deletes what it owns."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(WireModel):
    """Metadata of any object. The API server owns its schema, so CRDs render it as a bare object."""

    name: str | None = None
    generate_name: str | None = None
    namespace: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    finalizers: list[str] | None = None
    owner_references: list[OwnerReference] | None = None
    uid: str | None = None
    resource_version: str | None = None
    generation: int | None = None
    creation_timestamp: Instant | None = None
    deletion_timestamp: Instant | None = None
    deletion_grace_period_seconds: int | None = None
    self_link: str | None = None
    managed_fields: list[dict[str, Any]] | None = None


class RunReference(WireModel):
    """Names one object of a fixed kind, usually in the same namespace."""

    name: ObjectName = Field(description="Name of the object.")
    namespace: NamespaceName | None = Field(
        None,
        description="Namespace of the object; default: that of the referring object. Another namespace "
        "needs the operator's cross-namespace policy, usually a ReferenceGrant.",
    )
    uid: str | None = Field(None, description="UID the object must have; pins the reference to one incarnation.")


class ObjectReference(WireModel):
    """Names a versioned definition (a Story, Engram or Impulse), here or in another namespace."""

    name: ObjectName = Field(description="Name of the object.")
    namespace: NamespaceName | None = Field(
        None,
        description="Namespace of the object; default: that of the referring object. Another namespace "
        "needs the operator's cross-namespace policy, usually a ReferenceGrant.",
    )
    uid: str | None = Field(None, description="UID the object must have; informative.")
    version: VersionText | None = Field(
        None, description="The object's `spec.version` must equal this; absent accepts any version."
    )


class TemplateReference(WireModel):
    """Names a cluster-scoped template."""

    name: str = Field(min_length=1, max_length=253, description="Name of the template.")
    uid: str | None = Field(None, description="UID the template must have; informative.")
    version: VersionText | None = Field(
        None, description="The template's `spec.version` must equal this; absent accepts any version."
    )


class SecretReference(WireModel):
    """Names a Secret in the same namespace."""

    schema_keywords = ATOMIC_MAP

    name: str = Field("", description="Name of the Secret.")


class SchemaReference(WireModel):
    """Which JSON Schema a payload was checked against."""

    ref: str | None = Field(None, description="Schema id, for example `bubu://story/<namespace>/<story>/inputs`.")
    version: str | None = Field(None, description="Version of the definition that carries the schema.")


class TraceContext(WireModel):
    """The OpenTelemetry span that covers this run."""

    sampled: bool | None = Field(None, description="Whether the trace is recorded.")
    span_id: str | None = Field(None, description="Span id, 16 hexadecimal digits.")
    trace_id: str | None = Field(None, description="Trace id, 32 hexadecimal digits.")


class Condition(WireModel):
    """One observed aspect of an object, as in `metav1.Condition`."""

    last_transition_time: Instant = Field(description="When `status` last changed.")
    message: str = Field(max_length=32768, description="Explanation for users, with a remedy if there is one.")
    reason: str = Field(
        min_length=1,
        max_length=1024,
        pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        description="Machine-readable cause in CamelCase.",
    )
    status: Literal["True", "False", "Unknown"] = Field(description="`True`, `False` or `Unknown`.")
    type: str = Field(
        max_length=316,
        pattern=_CONDITION_TYPE,
        description="What is observed, for example `Ready`, `Progressing` or `Degraded`.",
    )
    observed_generation: Int64 | None = Field(
        None, ge=0, description="`metadata.generation` this condition was computed from."
    )


def _one_of_each_type(conditions: list[Condition]) -> list[Condition]:
    types = [condition.type for condition in conditions]
    if len(types) != len(set(types)):
        raise ValueError("must hold each type at most once; remove the older one")
    return conditions


Conditions = Annotated[
    list[Condition],
    Keywords({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
    AfterValidator(_one_of_each_type),
]
"""At most one condition of each type."""

CONDITION_SIZE_RULES: Final = (
    CelRule(
        "!has(self.conditions) || self.conditions.all(c, !has(c.reason) || size(c.reason) <= 64)",
        "status.conditions reason field must be <= 64 characters",
    ),
    CelRule(
        "!has(self.conditions) || self.conditions.all(c, !has(c.message) || size(c.message) <= 2048)",
        "status.conditions message field must be <= 2048 characters",
    ),
)
"""Stricter than the shared condition schema; ``core.api.conditions`` cuts texts to these sizes."""
